"""Text for a terminal or a log: no character in a name, label or reason may control the terminal."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")
"""Control characters (C0, DEL, C1), line and paragraph separators, direction marks, lone surrogates, soft hyphens; not
the joiners and marks that scripts and emoji need."""


def printable(text: str) -> str:
    r"""Return ``text`` on one line, with every control character spelled out: ``\x1b``, ``\u202e``."""

    def spelled(found: re.Match[str]) -> str:
        code = ord(found[0])
        return {9: r"\t", 10: r"\n", 13: r"\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")

    return _UNSEEN.sub(spelled, text)


def json_printable(text: str) -> str:
    """Return a JSON text of the same value without such characters; line ends between values stay."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def is_text(text: str) -> bool:
    """Return whether ``text`` can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
