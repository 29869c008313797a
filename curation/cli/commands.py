"""The ``curate`` command as a whole: its verbs, in the order in which they are listed, and how it ends."""

from __future__ import annotations

import os
import signal
import sys

import typer

from curation.base import interrupts, memory
from curation.base.errors import CurationError
from curation.cli import auditing, curating, examples, exchange, history, modelling, reviewing

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
    "Look": ("report", "issues", "show", "explain", "diff", "versions", "log"),
    "Decide": ("review", "decide", "undo", "merge", "annotations", "votes", "tag"),
    "Make sure": ("gate", "verify", "audit", "evaluate-labels"),
    "Hand on": ("export", "card", "export-model"),
    "Models": ("train", "ladder", "crossval", "evaluate", "compare", "predict"),
}
"""The verbs as the help lists them: by what somebody is after."""

for _family in (curating, history, exchange, auditing, modelling, reviewing):
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


OUT_OF_MEMORY = (
    "curate: out of memory; nothing already committed was changed: free memory, or take --workers 1, and give the same "
    "command again"
)


def main() -> None:
    """Run the command; what a user can mend is one sentence on standard error and exit status 1."""
    # a broken pipe (curate issues | head) is no error; threads of libraries are set by the workers on purpose
    signal.signal(signal.SIGINT, interrupts.unwind)
    try:
        app()
    except CurationError as error:
        sys.exit(f"curate: {error}")
    except KeyboardInterrupt:
        interrupts.say()
        sys.exit(interrupts.STATUS)
    except SystemExit as end:
        if end.code == interrupts.STATUS:  # what Typer makes of a KeyboardInterrupt, without a word
            interrupts.say()
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (MemoryError, ImportError, RuntimeError, OSError) as error:
        if memory.ran_out(error):
            sys.exit(OUT_OF_MEMORY)
        if not isinstance(error, OSError):
            raise
        where = f" ({error.filename})" if error.filename else ""
        sys.exit(f"curate: {error.strerror or error}{where}; nothing already committed was changed")
    finally:
        signal.signal(signal.SIGINT, interrupts.end_at_once)


if __name__ == "__main__":
    main()
