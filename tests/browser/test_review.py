"""Review in the FiftyOne App, in a real browser, on 2,000 real images: decide with keys, pull, undo, label blind.

The tests share one App and follow each other as a person's work does; each leaves nothing answered behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from curation.base.workspace import open_workspace
from curation.decisions import log, manifest
from curation.pipeline import summary
from curation.review import journal
from tests.browser.chromium import ARTIFACTS
from tests.browser.neighbours import judge_by_neighbours
from tests.browser.review_app import App, bar, choose, look_at, on_tiles, panel, picture, tiles
from tests.conftest import Curate, as_json

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("fiftyone.constants", reason="FiftyOne is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, faces: Path, curate: Curate) -> Path:
    folder = tmp_path_factory.mktemp("review") / "faces"
    curate("run", faces, "--limit", 2000, "-w", folder)
    judge_by_neighbours(folder)
    curate("check", "mislabelled", "ambiguous", "-w", folder)
    return folder


@pytest.fixture(scope="module")
def app(workspace: Path, browser: Browser) -> Iterator[App]:
    started = App(workspace, "--by", "ada", "--check", "near_duplicate")
    yield started
    started.close()


@pytest.fixture(scope="module")
def page(app: App, browser: Browser) -> Iterator[Page]:
    opened = app.open_in(browser)
    yield opened
    opened.close()


def flagged(curate: Curate, workspace: Path, check: str) -> list[dict[str, Any]]:
    return list(as_json(curate("issues", "--check", check, "--json", "-w", workspace)))


def title(check: str) -> str:
    return summary.check_words(check)[0]


def person_decisions(workspace: Path) -> list[log.Entry]:
    return [entry for entry in log.read(workspace / "decisions.jsonl") if entry.actor.startswith("person:")]


def cleaned(workspace: Path) -> manifest.Version:
    return manifest.find(open_workspace(workspace), "cleaned")


def pulled(curate: Curate, workspace: Path) -> dict[str, Any]:
    return dict(as_json(curate("review", "pull", "--json", "-w", workspace)))


def pressed(workspace: Path) -> list[journal.Line]:
    """Return the presses that are on disk and were not taken back."""
    return journal.active_presses(journal.read(workspace / "review" / "journal"))


def test_the_app_opens_on_the_queue_with_its_keys_a_map_and_a_histogram(page: Page) -> None:
    assert tiles(page).count() >= 20
    words = bar(page).inner_text()
    for word in ("ada:", "happy", "neutral", "sad", "surprise", "keep", "exclude", "unsure", "next", "undo"):
        assert word in words
    picture(page, "opened")
    page.locator("[data-cy=panel-tab-embeddings]").click()
    page.locator("[data-cy=embeddings-runs-page]").get_by_text("map", exact=True).click()
    page.get_by_text("2,000 points").wait_for()
    picture(page, "map")
    page.locator("[data-cy=panel-tab-histograms]").click()
    page.locator("[data-cy=histograms-container] svg").first.wait_for()
    assert page.locator("[data-cy=histograms-container] input").first.input_value() == "label.label"
    picture(page, "histogram")
    page.locator("[data-cy=panel-tab-face_review]").click()


def test_three_are_selected_a_key_excludes_them_the_pull_has_exactly_those_and_undo_restores_the_hash(
    page: Page, workspace: Path, curate: Curate
) -> None:
    before = cleaned(workspace)
    look_at(page, title("near_duplicate"), len(flagged(curate, workspace, "near_duplicate")))
    choose(page, 0, 2, 4)
    picture(page, "selected")
    page.keyboard.press("e")
    on_tiles(page, "exclude").nth(2).wait_for()
    picture(page, "excluded")

    found = pulled(curate, workspace)
    assert (found["decided"], found["undone"], found["conflicts"]) == (3, 0, 0)
    decisions = person_decisions(workspace)
    assert [(entry.actor, entry.action) for entry in decisions] == [("person:ada", "exclude")] * 3
    after = manifest.rows(open_workspace(workspace), cleaned(workspace))
    mine = after[after["reason"].str.startswith("seen in the App")]
    assert sorted(mine["path"]) == sorted(entry.path for entry in decisions)
    assert set(mine["status"]) == {"excluded"}
    assert cleaned(workspace).hash != before.hash
    assert pulled(curate, workspace)["decided"] == 0 and len(person_decisions(workspace)) == 3

    page.keyboard.press("z")
    on_tiles(page, "exclude").first.wait_for(state="detached")
    tiles(page).nth(5).wait_for()  # the grid was drawn again, not only cleared
    assert on_tiles(page, "exclude").count() == 0
    picture(page, "undone")
    assert pulled(curate, workspace)["undone"] == 3
    assert cleaned(workspace).hash == before.hash
    assert as_json(curate("verify", "--json", "-w", workspace))["ok"]


def test_labels_in_doubt_have_saved_views_in_plain_words_worst_first(
    page: Page, workspace: Path, curate: Curate
) -> None:
    for check in ("ambiguous", "mislabelled"):
        found = flagged(curate, workspace, check)
        look_at(page, title(check), len(found))
        choose(page, 0)
        worst = min(found, key=lambda row: (row["score"], row["path"]))
        panel(page).get_by_text(worst["path"]).wait_for()
        panel(page).get_by_text("nearest say").wait_for()
        choose(page, 0)
    picture(page, "mislabelled")


def test_a_digit_relabels_s_with_two_digits_softens_and_no_key_does_anything_while_somebody_types(
    page: Page, workspace: Path, curate: Curate
) -> None:
    before = cleaned(workspace)
    look_at(page, title("mislabelled"), len(flagged(curate, workspace, "mislabelled")))
    choose(page, 0)
    page.locator("[data-cy=sidebar-field-add-group-input]").click()
    page.keyboard.type("e4k")
    assert pressed(workspace) == []
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("4")
    on_tiles(page, "→ surprise").first.wait_for()
    assert [(line.action, line.value, len(line.paths)) for line in pressed(workspace)] == [("relabel", "surprise", 1)]

    choose(page, 1)
    page.keyboard.press("s")
    bar(page).get_by_text("press two digits").wait_for()
    page.keyboard.press("3")
    bar(page).get_by_text("between sad and").wait_for()
    picture(page, "softening")
    page.keyboard.press("2")
    on_tiles(page, "→ 50% neutral / 50% sad").first.wait_for()
    picture(page, "softened")

    assert pulled(curate, workspace)["decided"] == 2
    relabelled, softened = person_decisions(workspace)[-2:]
    rows = manifest.rows(open_workspace(workspace), cleaned(workspace)).set_index("path")
    assert (relabelled.action, softened.action) == ("relabel", "soften")
    assert rows.loc[relabelled.path, "label"] == "surprise"
    assert json.loads(rows.loc[softened.path, "soft_label"]) == {"neutral": 0.5, "sad": 0.5}
    page.keyboard.press("z")
    on_tiles(page, "→ 50% neutral / 50% sad").first.wait_for(state="detached")
    page.keyboard.press("z")
    on_tiles(page, "→ surprise").first.wait_for(state="detached")
    assert pulled(curate, workspace)["undone"] == 2
    assert cleaned(workspace).hash == before.hash


def test_n_brings_whole_groups_of_copies_and_an_answer_brings_the_next(
    page: Page, workspace: Path, curate: Curate
) -> None:
    queue = len(flagged(curate, workspace, "near_duplicate"))
    page.keyboard.press("n")
    panel(page).get_by_text("copies:").first.wait_for()
    picture(page, "next")
    page.keyboard.press("k")
    on_tiles(page, "keep").nth(1).wait_for()
    (line,) = pressed(workspace)
    assert line.action == "keep" and len(line.paths) >= 2
    bar(page).get_by_text(f"{queue - len(line.paths)} of {queue} left; keep: {len(line.paths)}").wait_for()
    page.keyboard.press("z")
    on_tiles(page, "keep").first.wait_for(state="detached")
    bar(page).get_by_text(f"{queue} of {queue} left").wait_for()


def test_a_killed_app_loses_nothing_that_was_pressed_and_opens_again(
    page: Page, app: App, workspace: Path, curate: Curate
) -> None:
    tiles(page).nth(8).click()
    page.locator("#modal").wait_for()  # one image is opened: a key is about it
    picture(page, "one-image")
    page.keyboard.press("e")
    bar(page).get_by_text("left; exclude: 1").wait_for()
    assert "mongod" in {process.name() for process in app.processes()}
    app.kill()
    assert pulled(curate, workspace)["decided"] == 1
    assert [entry.action for entry in person_decisions(workspace)][-1] == "exclude"
    said = curate("review", "--push-only", "--by", "ada", "-w", workspace).stdout
    assert said.startswith("0 images pushed, ") and " 0 removed" in said


def test_blind_labels_are_given_without_a_hint_and_reported_with_kappas(
    workspace: Path, browser: Browser, curate: Curate
) -> None:
    heard: list[Response] = []
    app = App(workspace, "--by", "cleo", "--blind", "--queue", 24)
    try:
        page = app.open_in(browser, heard)
        shown = page.locator("body").inner_text()
        told = [answer.text() for answer in heard if "json" in answer.headers.get("content-type", "")]
        for hint in ("/happy/", "/neutral/", "/sad/", "/surprise/", "original_label", "nearest say"):
            assert hint not in shown and not any(hint in text for text in told)
        assert tiles(page).first.inner_text().strip() == ""
        for key, label, places in (("1", "happy", range(5)), ("3", "sad", range(5, 10))):
            choose(page, *places)
            page.keyboard.press(key)
            on_tiles(page, label).nth(4).wait_for()
        picture(page, "blind")
    finally:
        app.close()
    mine = [line for line in pressed(workspace) if line.reviewer == "cleo"]
    raw = manifest.rows(open_workspace(workspace), manifest.find(open_workspace(workspace), "raw"))
    given = dict(zip(raw["path"], raw["label"], strict=True))
    other = journal.Journal(workspace / "review" / "journal", "dan")
    for path in (path for line in mine for path in line.paths):
        other.write("label", [path], given[path])
    assert pulled(curate, workspace)["blind_labels"] == 20
    figures = {row["figure"]: row for row in as_json(curate("votes", "--json", "-w", workspace))}
    assert figures["accuracy of dan"]["value"] == 1.0 > figures["accuracy of cleo"]["value"]
    kappa = figures["agreement of cleo and dan (Cohen's kappa)"]
    assert kappa["images"] == 10 and kappa["low"] <= kappa["value"] <= kappa["high"]
    curate("report", "-w", workspace)
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto((workspace / "reports" / "cleaning.html").as_uri())
    section = page.locator("#people-section")
    for figure in ("accuracy of cleo", "Cohen's kappa", "Fleiss' kappa"):
        assert figure in section.inner_text()
    section.screenshot(path=ARTIFACTS / "review-people.png")
    page.close()
