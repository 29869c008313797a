"""Programs that run in a separate process, and perhaps with another interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PRIVATE_FIFTYONE: Mapping[str, str] = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_DATABASE_VALIDATION": "false",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    # a database of its own, deleted with the folder: never that of the user
    "FIFTYONE_DATABASE_DIR": "{folder}/database",
    "FIFTYONE_DATABASE_URI": "",
    "FIFTYONE_DATABASE_NAME": "curate",
}
"""Environment of a program that uses FiftyOne without touching the user's own datasets; it must also not join a running
database (see ``alone`` in the programs)."""

_MOST_WORDS = 300
"""Characters of a failed program's last line that are shown."""


def scratch_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder for a program, whose database may still hold a file in it when the folder is deleted."""
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


_SEARCH = """
import json, re, sys
pattern, texts = json.load(sys.stdin)
found = (re.search(pattern, text) for text in texts)
json.dump([(match[1] if match.re.groups else match[0]) or "" if match else "" for match in found], sys.stdout)
"""


def searched(pattern: str, texts: Sequence[str], limit_s: float) -> list[str]:
    """Return what a valid regular expression finds in each text: its first group if any, else the match; "" for none.

    Some expressions never end (``(a+)+$``), and only ending their process stops them.

    Raises:
        TimeoutError: it takes longer than ``limit_s`` seconds.

    """
    command, given = [sys.executable, "-I", "-S", "-c", _SEARCH], json.dumps([pattern, list(texts)])
    try:
        done = subprocess.run(  # noqa: S603 -- our own program
            command, input=given, capture_output=True, text=True, check=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"it takes longer than {limit_s:.0f} s") from error
    found: list[str] = json.loads(done.stdout)
    return found


LIMIT_S = 6 * 3600.0
"""Seconds for one program: a peer may take hours for a million images, a dead database hangs forever."""


def run(python: str, program: Path, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a script on a folder and return "" if it succeeded, else the last line of its output.

    Args:
        python: the interpreter
        program: a script that is given ``folder`` and imports nothing of this toolkit
        folder: its scratch folder
        environment: its variables ({folder} is filled in), "" for those that it must not see

    """
    # isolated: neither this folder nor the user's PYTHONPATH may shadow the program's own modules
    command = [python, "-I", str(program), str(folder)]
    own = {name: text.format(folder=folder) for name, text in environment.items()}
    given = {name: text for name, text in {**os.environ, **own}.items() if text}
    try:
        done = subprocess.run(  # noqa: S603 -- the user's own interpreter, our own program
            command, capture_output=True, text=True, errors="replace", env=given, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {LIMIT_S / 3600:g} hours"
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
    return said[:_MOST_WORDS]
