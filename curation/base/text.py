"""Text on its way to a terminal or a log: nothing in a name, label or reason may steer what shows it."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")
"""Control characters (C0, DEL, C1), ends of lines and paragraphs, what turns the direction of writing, halves of
characters, soft hyphens. Joiners and marks that scripts and emoji need are none of them."""


def printable(text: str) -> str:
    r"""Return ``text`` on one line, with every character that a terminal would obey spelled: ``\x1b``, ``\u202e``."""
    return _UNSEEN.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {9: r"\t", 10: r"\n", 13: r"\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def json_printable(text: str) -> str:
    """Return a JSON text with the same value and without such characters; line ends between values stay."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def is_text(text: str) -> bool:
    """Return whether ``text`` can be written as UTF-8; an argument of other bytes cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
