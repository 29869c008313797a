"""Whatever is typed, and whatever byte of a workspace is another one: the command works or says one sentence."""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.base.text import printable
from curation.cli import commands

VERBS: tuple[tuple[str, ...], ...] = (
    ("show", "{}"),
    ("diff", "{}", "{}"),
    ("explain", "{}"),
    ("log", "--path", "{}"),
    ("issues", "--check", "{}"),
    ("issues", "--peer", "{}"),
    ("tag", "{}", "{}"),
    ("undo", "{}"),
    ("decide", "{}", "--relabel", "{}", "--reason", "{}", "--by", "{}"),
    ("apply", "--policy", "{}"),
    ("export", "{}", "--format", "{}", "-o", "{}"),
    ("votes", "import", "{}", "--name", "{}"),
    ("audit", "--answers", "{}"),
    ("coverage", "--on", "{}"),
    ("annotations", "{}"),
)
"""With a place for each argument."""

TYPED = st.text(max_size=30) | st.text("\udc80\udcff\ud800/.-\n\x1b\u00b20123456789vV", max_size=30)
READERS = (("show",), ("versions",), ("issues",), ("log",), ("verify",), ("diff", "raw", "cleaned"), ("votes",))


def ended(arguments: list[str]) -> tuple[int, str]:
    """Run the command in this process; return its exit status and what it printed."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patched.setattr(sys, "argv", ["curate", *arguments])
        try:
            commands.main()
            status: object = 0
        except SystemExit as end:
            status = end.code
    signal.signal(signal.SIGINT, before)
    text = said.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    return (status, text) if isinstance(status, int) else (1, f"{text}{status}\n")


def assert_ended_well(arguments: list[str]) -> None:
    status, said = ended(arguments)
    assert status in (0, 1, 2), ascii((arguments, status, said))
    assert commands.OWN_FAULT not in said and "Traceback" not in said, ascii((arguments, said))
    if status == 1 and not said.startswith("{"):
        last = said.strip().splitlines()[-1]
        assert printable(last) == last, ascii((arguments, said))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(VERBS), st.lists(TYPED, min_size=4, max_size=4))
def test_whatever_is_typed(curated: Path, tmp_path: Path, verb: tuple[str, ...], typed: list[str]) -> None:
    space = tmp_path / "space"
    shutil.rmtree(space, ignore_errors=True)
    shutil.copytree(curated, space)
    values = iter(typed)
    words = [next(values) if word == "{}" else word for word in verb]
    with contextlib.chdir(tmp_path):
        assert_ended_well([*words, "-w", str(space)])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_byte_of_a_workspace_is_another_one(curated: Path, tmp_path: Path, data: st.DataObject) -> None:
    space = tmp_path / "space"
    shutil.rmtree(space, ignore_errors=True)
    shutil.copytree(curated, space)
    files = sorted(path for path in space.rglob("*") if path.is_file() and "measurements" not in path.parts)
    place = data.draw(st.sampled_from(files))
    content = bytearray(place.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        match data.draw(st.integers(0, 2)):
            case 0:
                content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case 1:
                del content[at : at + data.draw(st.integers(1, 50))]
            case _:
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    place.write_bytes(content)
    assert_ended_well([*data.draw(st.sampled_from(READERS)), "-w", str(space)])
