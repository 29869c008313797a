"""The ``curate`` command as a whole: its verbs, in the order in which they are listed, and how it ends."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
import traceback
from typing import NoReturn

import typer

from curation.base import interrupts, memory, reading
from curation.base.errors import CurationError, installing
from curation.base.text import is_text, printable
from curation.cli import auditing, curating, examples, exchange, history, modelling, reviewing, selecting

app = typer.Typer(
    name="curate",
    help="Curate face-expression data: find copies, leaks, doubtful faces and labels; decide, log, version.\n\n"
    "Start with: curate run DATA. Then: curate show, curate issues, curate explain PATH, curate undo SEQ.",
    epilog=examples.epilog(""),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _before_any_command() -> None:
    memory.require(memory.Needed.reading)


PANELS: dict[str, tuple[str, ...]] = {
    "Curate": ("run", "scan", "check", "apply", "overlap", "sample", "doctor"),
    "Inspect": ("report", "issues", "coverage", "show", "explain", "diff", "versions", "log"),
    "Decide": (
        "review",
        "plan-review",
        "decide",
        "select",
        "split",
        "undo",
        "merge",
        "annotations",
        "votes",
        "tag",
        "forget",
    ),
    "Verify": ("gate", "verify", "audit", "evaluate-labels"),
    "Export": ("export", "card", "export-model"),
    "Models": ("train", "ladder", "crossval", "evaluate", "compare", "learning-curve", "predict"),
}
"""The verbs as the help lists them: by purpose."""

for _family in (curating, history, exchange, auditing, modelling, reviewing, selecting):
    app.registered_commands += _family.app.registered_commands
    app.registered_groups += _family.app.registered_groups
_PANEL_OF = {verb: panel for panel, verbs in PANELS.items() for verb in verbs}
_PLACE = {verb: place for place, verb in enumerate(_PANEL_OF)}


def _name_of(verb: typer.models.CommandInfo) -> str:
    return verb.name or (verb.callback.__name__ if verb.callback else "")


app.registered_commands.sort(key=lambda verb: _PLACE.get(_name_of(verb), len(_PLACE)))
for _verb in app.registered_commands:
    _verb.epilog = examples.epilog(_name_of(_verb))
    _verb.rich_help_panel = _PANEL_OF.get(_name_of(_verb))
for _group in app.registered_groups:
    _group.rich_help_panel = _PANEL_OF.get(_group.name or "")


_DEBUG = "CURATE_DEBUG"
"""Environment variable under which a fault of our own ends with its traceback."""

OWN_FAULT = "a fault of this tool"
"""How the command ends where nobody thought of what happened; no test is content with it."""

OUT_OF_MEMORY = (
    "curate: out of memory; nothing already committed was changed: free memory, or use --workers 1, and run the same "
    "command again"
)


_ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "correct its permissions, or name another folder; "),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space and run the same command again; "),
}
"""What to do about an error of the operating system that no command expects."""


_GARBAGE = 100_000
"""Objects between two collections of cycles: tables hold none, and Python's usual 700 cost a twelfth of a command."""


def main() -> None:
    """Run the command; what a user can mend is one sentence on standard error and exit status 1."""
    gc.set_threshold(_GARBAGE)
    # a broken pipe (curate issues | head) is no error; threads of libraries are set by the workers on purpose
    signal.signal(signal.SIGINT, interrupts.unwind)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding shows what it can
    try:
        app()
    except KeyboardInterrupt:
        interrupts.say()
        sys.exit(interrupts.STATUS)
    except SystemExit as end:
        if end.code == interrupts.STATUS:  # what Typer makes of a KeyboardInterrupt, without a word
            interrupts.say()
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        explain_missing(error)
    finally:
        signal.signal(signal.SIGINT, interrupts.end_at_once)
        code = getattr(sys.exc_info()[1], "code", 0)
        interrupts.limit_exit(code if isinstance(code, int) else 1)


def explain_missing(error: Exception) -> NoReturn:
    """End with one sentence: what a user can mend, or that a fault is our own."""
    if isinstance(error, CurationError):
        _end(str(error))
    odd = next((word for word in sys.argv if not is_text(word)), None)
    if isinstance(error, UnicodeError) and odd is not None:  # tables hold nothing else, so nothing in them is meant
        _end(f"{odd!r} is not UTF-8, and nothing of that name is known; give it in UTF-8")
    from curation.cli import doctor  # only now: what is right need not load it

    if isinstance(error, ModuleNotFoundError) and (extra := doctor.extra_of(error.name or "")):
        _end(f"this needs the extra {extra}, of which {error.name} is not installed; run: {installing(extra)}")
    if memory.ran_out(error):
        sys.exit(OUT_OF_MEMORY)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        advice = _ADVICE.get(error.errno or 0, "")
        _end(f"{error.strerror or error}{where}; {advice}nothing already committed was changed")
    if os.environ.get(_DEBUG):
        raise error
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {reading.first_line(error)}"
    _end(
        f"{OWN_FAULT} ({what}, in {place.filename}, line {place.lineno}); nothing already committed was "
        f"changed: please report it with what the same command prints under {_DEBUG}=1"
    )


def _end(sentence: str) -> NoReturn:
    sys.exit(f"curate: {printable(sentence)}")


if __name__ == "__main__":
    main()
