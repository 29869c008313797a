"""Every argument of every verb, given what nobody would type: one sentence, and nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import typer

from tests.faults.trust.base import Home

HOSTILE: dict[str, str] = {
    "nothing": "",
    "a byte that is not UTF-8": os.fsdecode(b"caf\xe9\xff"),
    "half a character": "\udcd8",
    "a superscript": "\u00b2",
    "a thousand digits": "9" * 1000,
    "a colour": "\x1b[31mred\x1b[0m",
    "two lines": "one\ntwo",
    "a long word": "x" * 5000,
    "another script": "\u202e\u5341\u0662\U0001f642",
    "a path up": "../../..",
    "NaN": "nan",
    "below nothing": "-7",
    "a fraction": "0.5",
    "quotes": "'\"`$(id)`;%s{{7*7}}",
}
"""What is given for each argument, by name."""

SLOW = frozenset({"train", "crossval", "compare", "ladder", "evaluate", "predict", "export-model", "evaluate-labels"})
"""Verbs that load a framework of networks: they are given these values in the long form only."""

UNUSED = frozenset({"install_completion", "show_completion", "help"})


def _valid(home: Home, name: str) -> dict[str, str]:
    """Return arguments under which a verb does something quick, by the name of its parameter."""
    image = home.images()[0].relative_to(home.data).as_posix()
    answers = home.top / "crowd.csv"
    answers.write_text(f"path,happy,sad\n{image},3,1\n")
    known = {
        **{"data": str(home.data), "version": "cleaned", "destination": str(home.out / "x"), "path": image},
        **{"before": "raw", "after": "cleaned", "paths": image, "target": "1", "name": "tagged", "file": str(answers)},
        **{"recipe": "nosuch", "model": "nosuch", "images": str(home.images()[0]), "first": "raw"},
        **{"second": "cleaned"},
    }
    return {} if name == "sample" else known


OPTIONS: dict[str, tuple[str, ...]] = {
    "decide": ("--exclude",),
    "review": ("--push-only",),
    "audit": ("--sample", "3"),
    "ladder": ("--list",),
}
"""Options without which a verb says no more than that it lacks them, or takes long."""


def _verbs() -> Iterator[tuple[tuple[str, ...], Any]]:
    from curation.cli import commands

    command: Any = typer.main.get_command(commands.app)
    for name, verb in sorted(command.commands.items()):
        if hasattr(verb, "commands"):
            for below, inner in sorted(verb.commands.items()):
                yield (name, below), inner
        yield (name,), verb


def _cases(*, slow: bool) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    for words, verb in _verbs():
        if (words[0] in SLOW) == slow and words != ("review",):
            for parameter in verb.params:
                if parameter.name not in UNUSED and not getattr(parameter, "is_flag", False):
                    for what in HOSTILE:
                        yield words, parameter, what


def run(home: Home, *, every: int = 1, slow: bool = False) -> None:
    """Give each parameter each value; a case is one parameter of one verb, or of the short form one value of it."""
    last = None
    for number, (words, parameter, what) in enumerate(_cases(slow=slow)):
        if number % every:
            continue
        case = f"{' '.join(words)}, {parameter.name}"
        if case != last:
            home.begin(case)
        last = case
        home.case = f"{case}, {what}"
        unhurt = home.keep(home.data, home.other)
        home.run(*_line(home, words, parameter, HOSTILE[what]), bare=True)
        unhurt()


def _line(home: Home, words: tuple[str, ...], parameter: Any, value: str) -> list[str]:
    valid = _valid(home, words[0])
    verb = next(found for names, found in _verbs() if names == words)
    line = list(words)
    for other in verb.params:
        is_mine = other.name == parameter.name
        if other.param_type_name == "argument":
            if is_mine or (other.required and other.name in valid):
                line.append(value if is_mine else valid[other.name])
        elif is_mine:
            line += [f"{other.opts[0]}={value}"] if other.opts[0].startswith("--") else [other.opts[0], value]
        elif other.required and other.name in valid:
            line += [other.opts[0], valid[other.name]]
    if parameter.name not in ("draw", "queue"):
        line += OPTIONS.get(words[0], ())
    if parameter.name == "folder":
        return line
    return [*line, "-w", str(home.space)] if any(other.name == "folder" for other in verb.params) else line
