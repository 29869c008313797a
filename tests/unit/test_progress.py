"""The progress display: a count only of what was counted, in its own unit."""

from __future__ import annotations

import io
import sys

import pytest

from curation.base.progress import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, title: str, unit: str, *counts: tuple[int, int]) -> str:
    """Return what a terminal gets of a step; what stands for standard error is taken in the test's own phase."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "xterm")
    with Display().step(title, unit) as report:
        for done, total in counts:
            report(done, total)
    return terminal.getvalue()


def test_a_step_that_is_not_counted_claims_no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, "Starting the database", "images")
    assert "Starting the database" in text and "images" not in text and "1/1" not in text


def test_a_count_is_in_the_steps_own_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, "Comparing the candidates", "pairs", (1_200, 3_000), (3_000, 3_000))
    assert "3,000 of 3,000 pairs" in text and "images" not in text


def test_a_name_in_a_title_is_neither_markup_nor_an_order_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, "Aligning a[/red][bold]b\x1b]0;mine\x07.csv", "images", (1, 2))
    assert r"a[/red][bold]b\x1b]0;mine\x07.csv" in text and "\x1b]0" not in text and "\x07" not in text


def test_a_quiet_display_shows_nothing_and_a_pipe_gets_a_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(quiet=True).step("Measuring") as report:
        report(1, 2)
    assert capsys.readouterr().err == ""
    with Display().step("Measuring"):
        pass
    assert capsys.readouterr().err.startswith("Measuring: ")
