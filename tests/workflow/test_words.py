"""What the command says: summaries first, words for evidence, what a decision changed, stable names for machines."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import curation
from curation.cli.commands import PANELS, app
from tests.conftest import Curate, as_json

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "json.md"


@pytest.fixture
def own(curated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(curated, tmp_path / "own"))


def some_path(own: Path) -> str:
    """An image in which nothing was found."""
    space = curation.Workspace(own, quiet=True)
    return sorted(set(space.version().kept["path"]) - set(space.issues()["path"]))[0]


def test_issues_begin_with_a_summary_conflicts_and_leaks_on_top_and_speak_in_words(own: Path, curate: Curate) -> None:
    lines = curate("issues", "-w", own).stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["check", "label_conflict", "split_leak", "unreadable"]
    assert any(line.startswith("Not run: mislabelled, ambiguous; to run: curate check") for line in lines)
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("path ")) :]
    assert "label_conflict" in table[1] and "copies, labels" in " ".join(table[1:3])
    assert not re.search(r'[{}"]', "\n".join(table[:-2]))
    few = curate("issues", "--check", "low_contrast", "-n", 2, "-w", own).stdout
    assert "below the limit" in few and "more rows" in few and "scored" not in few
    row = as_json(curate("issues", "--json", "-w", own))[0]
    assert json.loads(row["evidence"])  # machines get the numbers


def test_the_log_has_a_line_for_each_time_that_a_policy_decided_and_all_of_it_is_there_too(
    own: Path, curate: Curate
) -> None:
    path = some_path(own)
    curate("decide", path, "--exclude", "--reason", "no", "--by", "ada", "-w", own)
    lines = curate("log", "-w", own).stdout.splitlines()
    numbered = [line for line in lines if re.match(r"[0-9]", line)]
    assert len(numbered) == 2 and "person:ada" in lines[1] and path in lines[1] and "exclude" in lines[1]
    assert re.match(r"1-\d+ ", lines[2]) and "policy:balanced" in lines[2] and "exclude " in lines[2]
    entries = as_json(curate("log", "--json", "-w", own))
    every = curate("log", "--all", "-n", 0, "-w", own).stdout.splitlines()
    assert len([line for line in every if re.match(r"\d+ ", line)]) == len(entries)
    assert "person:ada" in curate("log", "--by", "ada", "-w", own).stdout
    assert "policy:balanced" not in curate("log", "--by", "ada", "-w", own).stdout
    assert "1 more rows" not in curate("log", "-n", 2, "-w", own).stdout


def test_a_long_path_is_one_word_in_every_table(sample: Path, curate: Curate, tmp_path: Path) -> None:
    long = "a_folder_with_a_name_that_is_far_too_long_for_any_column_of_any_table" * 2
    folder = tmp_path / "faces" / long / "happy"
    folder.mkdir(parents=True)
    for number, picture in enumerate(sorted((sample / "train" / "happy").glob("*.jpg"))[:30]):
        shutil.copy(picture, folder / f"{number}.jpg")
    shutil.copy(folder / "0.jpg", folder / "copy.jpg")
    curate("run", tmp_path / "faces", "-w", tmp_path / "own")
    paths = [row["path"] for row in as_json(curate("issues", "--json", "-w", tmp_path / "own"))]
    text = curate("issues", "-n", 0, "-w", tmp_path / "own").stdout
    assert paths and all(len(path) > 130 and path in text for path in paths)


def test_versions_that_do_not_differ_say_so_and_the_raw_one_has_one_table(own: Path, curate: Curate) -> None:
    assert curate("diff", "cleaned", "cleaned", "-w", own).stdout.startswith("No differences")
    raw = curate("show", "raw", "-w", own).stdout
    assert "before" not in raw and "after" not in raw and raw.count("validation") == 1
    both = curate("show", "cleaned", "-w", own).stdout
    assert "before" in both and "after" in both


def test_a_decision_ends_with_what_it_changed_and_not_with_a_hash(own: Path, curate: Curate) -> None:
    path = some_path(own)
    said = curate("decide", path, "--exclude", "--reason", "odd", "--by", "ada", "-w", own).stdout
    assert "1 left out" in said and f"{path}: kept as " in said and "(odd)" in said
    assert not re.search(r"[0-9a-f]{20}", said)
    assert "Nothing changed" in curate("decide", path, "--exclude", "--reason", "odd", "--by", "ada", "-w", own).stdout
    number = as_json(curate("log", "--json", "-w", own))[0]["seq"]
    undone = curate("undo", number, "--by", "ada", "-w", own).stdout
    assert "1 kept again" in undone
    applied = curate("apply", "--policy", "deck", "-w", own).stdout
    assert "compared with" in applied and not re.search(r"[0-9a-f]{20}", applied)


def test_the_page_of_what_changed_shows_it_by_reason_and_person_and_the_report_links_it(
    own: Path, curate: Curate
) -> None:
    path = some_path(own)
    curate("decide", path, "--exclude", "--reason", "looks odd", "--by", "ada", "-w", own)
    curate("report", "-w", own)
    (made,) = (own / "reports").glob("changes-*.html")
    text = made.read_text(encoding="utf-8")
    assert f'href="{made.name}"' in (own / "reports" / "cleaning.html").read_text(encoding="utf-8")
    for words in ("looks odd", "by ada", "Left out", "data:image/jpeg", path.rpartition("/")[2]):
        assert words in text
    printed = curate("diff", "raw", "cleaned", "--page", "-w", own).stdout.strip()
    whole = Path(printed).read_text(encoding="utf-8")
    assert "policy balanced" in whole and "by ada" in whole and "Near copies" in whole


def test_the_report_names_the_policy_in_force_and_the_command_that_gives_it_again(
    sample: Path, curate: Curate, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    curate("run", sample, "--limit", 120, "-w", own)
    curate("apply", "--policy", "deck", "-w", own)
    path = as_json(curate("issues", "--check", "low_contrast", "--json", "-w", own))[0]["path"]
    curate("decide", path, "--keep", "--by", "ada", "-w", own)
    curate("report", "-w", own)
    page = (own / "reports" / "cleaning.html").read_text(encoding="utf-8")
    assert "Policy <strong>deck</strong>" in page
    assert f"curate run {sample} --policy deck --limit 120" in page


def test_every_verb_stands_in_one_panel_of_the_help(curate: Curate) -> None:
    verbs = {verb.name or verb.callback.__name__.removesuffix("_") for verb in app.registered_commands if verb.callback}
    verbs |= {group.name for group in app.registered_groups if group.name}
    listed = [verb for panel in PANELS.values() for verb in panel]
    assert sorted(listed) == sorted(verbs)
    said = curate("--help").stdout
    assert all(f"─ {panel} ─" in said for panel in PANELS)


def test_names_in_json_are_those_that_the_reference_lists(own: Path, curate: Curate) -> None:
    """Machines read them: a name may be added, never taken away or changed without saying so there."""
    listed = dict(re.findall(r"^\| `curate ([^`]+)` \| (.*?) \|$", DOCS.read_text(encoding="utf-8"), re.M))
    assert len(listed) >= 12
    path = some_path(own)
    for command, columns in listed.items():
        words = [path if word == "PATH" else word for word in command.split()]
        found = as_json(curate(*words, "--json", "-w", own, check=False))
        rows = found if isinstance(found, list) else [found]
        assert rows, f"curate {command} gives nothing to compare"
        assert sorted(rows[0]) == sorted(re.findall(r"`(\w+)`", columns)), command
