"""Review in the FiftyOne App, in a real browser, as a person works: decide, undo, pull, label blind.

The tests share one App, started with the README's own lines in a fresh folder on drawn faces; they follow each other as
a person's work does, and each leaves nothing answered behind.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from curation.base.workspace import open_workspace
from curation.decisions import log, manifest
from curation.pipeline import summary
from curation.pipeline.label_queue import BATCH
from curation.review import journal
from curation.review.review_session import ReviewSession, load_session
from tests.browser.chromium import ARTIFACTS
from tests.browser.neighbours import judge_by_neighbours
from tests.browser.review_app import App, bar, choose, look_at, on_tiles, picture, seen, shown, tiles, viewer
from tests.conftest import CURATE, Curate, as_json
from tests.needs import needs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

needs("playwright", reason="playwright is not installed")
needs("fiftyone", reason="FiftyOne is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.app, pytest.mark.slow, pytest.mark.timeout(1800)]

CLASSES = ("happy", "neutral", "sad", "surprise")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, curate: Curate) -> Path:
    """The default workspace of a fresh folder: everything is done there, by relative paths."""
    folder = tmp_path_factory.mktemp("fresh")
    for words in (["sample", "faces", "--images", "240"], ["run", "faces"]):
        subprocess.run([str(CURATE), *words], cwd=folder, check=True, capture_output=True, timeout=600)
    judge_by_neighbours(folder / "workspace")
    curate("check", "mislabelled", "ambiguous", "-w", folder / "workspace")
    return folder / "workspace"


@pytest.fixture(scope="module")
def app(workspace: Path, browser: Browser) -> Iterator[App]:
    started = App(workspace, "--by", "ada", inside=True)
    yield started
    started.close()


@pytest.fixture(scope="module")
def page(app: App, browser: Browser) -> Iterator[Page]:
    opened = app.open_in(browser)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def nothing_left_behind(workspace: Path) -> Iterator[None]:
    """Take back what a test has answered, and end with nothing opened."""
    yield
    by_person: dict[str, list[journal.Line]] = {}
    for line in pressed(workspace):
        by_person.setdefault(line.reviewer, []).append(line)
    for person, lines in by_person.items():
        undoing = journal.Journal(workspace / "review" / "journal", person)
        for line in lines:
            undoing.undo(line)


def close_all(page: Page) -> None:
    """Leave nothing opened and nothing selected."""
    if viewer(page).count():
        page.keyboard.press("Escape")
        viewer(page).wait_for(state="detached")
    page.locator("#modal [data-cy=modal]").wait_for(state="detached")


def take_back(page: Page, workspace: Path) -> None:
    """Undo, in the App, everything that was pressed."""
    while lines := pressed(workspace):
        page.keyboard.press("z")
        bar(page).get_by_text("undone").wait_for()
        until = time.monotonic() + 60
        while len(pressed(workspace)) >= len(lines):
            assert time.monotonic() < until
            page.wait_for_timeout(50)
        page.wait_for_timeout(300)
        # an opened view goes back to what was taken back, later than that is on disk: a key before that would be lost
        until = time.monotonic() + 5
        while viewer(page).is_visible() and shown(page) != list(lines[-1].paths) and time.monotonic() < until:
            page.wait_for_timeout(50)


def flagged(curate: Curate, workspace: Path, check: str) -> list[dict[str, Any]]:
    return list(as_json(curate("issues", "--check", check, "--json", "-w", workspace)))


def title(check: str) -> str:
    return summary.check_words(check)[0]


def person_decisions(workspace: Path) -> list[log.Entry]:
    return [
        entry
        for entry in log.entries_of(log.Log(workspace / "decisions.jsonl").table)
        if entry.actor.startswith("person:")
    ]


def cleaned(workspace: Path) -> manifest.Version:
    return manifest.find(open_workspace(workspace), "cleaned")


def pulled(curate: Curate, workspace: Path) -> dict[str, Any]:
    return dict(as_json(curate("review", "pull", "--json", "-w", workspace)))


def pressed(workspace: Path) -> list[journal.Line]:
    """Return the presses that are on disk and were not taken back."""
    return journal.active_presses(journal.read(workspace / "review" / "journal"))


def decide_images(page: Page, number: int) -> tuple[list[tuple[list[str], str]], float]:
    """Decide image after image in the opened view as a person does: look, then press.

    Returns what was pressed on which images, and the seconds that the machine took for it.
    """
    keys = {"k": "keep", "e": "exclude", "u": "unsure", **{str(n + 1): name for n, name in enumerate(CLASSES)}}
    done: list[tuple[list[str], str]] = []
    page.keyboard.press("n")
    before: list[str] = []
    waited = 0.0
    while sum(len(names) for names, _ in done) < number:
        started = time.monotonic()
        names = seen(page, before)
        waited += time.monotonic() - started
        key = list(keys)[len(done) % len(keys)]
        done.append((names, keys[key]))
        page.keyboard.press(key)
        before = names
    seen(page, before)
    return done, waited


def as_pressed(lines: list[journal.Line]) -> dict[str, str]:
    return {path: line.value or line.action for line in lines for path in line.paths}


def as_said(done: list[tuple[list[str], str]], labels: dict[str, str]) -> dict[str, str]:
    """Naming an image's own label is keeping it."""
    return {path: "keep" if said == labels.get(path) else said for names, said in done for path in names}


def test_no_advertisement_lies_over_the_page_and_the_bar_names_every_key(page: Page) -> None:
    page.wait_for_timeout(1000)
    assert page.get_by_text("Accelerate your workflow").count() == 0
    words = bar(page).inner_text()
    for word in ("ada:", *CLASSES, "keep", "exclude", "unsure", "next", "undo", "map", "queue"):
        assert word in words
    picture(page, "opened")


def test_three_are_selected_a_key_excludes_them_without_a_reload_and_undo_restores_the_hash(
    page: Page, workspace: Path, curate: Curate
) -> None:
    before = cleaned(workspace)
    look_at(page, title("near_duplicate"), len(flagged(curate, workspace, "near_duplicate")))
    choose(page, 0, 2, 4)
    picture(page, "selected")
    tiles(page).first.evaluate("tile => { tile.dataset.mark = 'same'; }")
    page.keyboard.press("e")
    on_tiles(page, "exclude").nth(2).wait_for()
    assert page.locator("[data-mark=same]").count() == 1  # a grid that is drawn anew has other tiles
    picture(page, "excluded")

    found = pulled(curate, workspace)
    assert (found["decided"], found["undone"], found["conflicts"]) == (3, 0, 0)
    decisions = person_decisions(workspace)[-3:]
    assert [(entry.actor, entry.action) for entry in decisions] == [("person:ada", "exclude")] * 3
    after = manifest.rows(open_workspace(workspace), cleaned(workspace)).set_index("path")
    assert set(after.loc[[entry.path for entry in decisions], "status"]) == {"excluded"}
    assert pulled(curate, workspace)["decided"] == 0

    page.keyboard.press("z")
    on_tiles(page, "exclude").first.wait_for(state="detached")
    assert page.locator("[data-mark=same]").count() == 1
    assert pulled(curate, workspace)["undone"] == 3
    assert cleaned(workspace).hash == before.hash
    assert as_json(curate("verify", "--json", "-w", workspace))["ok"]


LATE_TILES = """lateMs => {
  const tile = window.__fol__.AbstractLooker.prototype;
  const own = window.ownUpdateSample ||= tile.updateSample;
  tile.updateSample = lateMs ? function (...told) { setTimeout(() => own.apply(this, told), lateMs); } : own;
}"""
"""Has every tile take what is told to it so many milliseconds late, as on a busy machine; 0: at once."""


def test_a_decision_is_drawn_on_its_tile_however_late_the_tile_takes_it(
    page: Page, workspace: Path, curate: Curate
) -> None:
    look_at(page, title("low_contrast"), len(flagged(curate, workspace, "low_contrast")))
    page.evaluate(LATE_TILES, 5_000)
    choose(page, 0)
    page.keyboard.press("e")
    on_tiles(page, "exclude").first.wait_for(timeout=60_000)
    page.evaluate(LATE_TILES, 0)
    take_back(page, workspace)
    close_all(page)


def test_a_key_that_comes_before_the_next_picture_does_nothing_and_says_so(page: Page, workspace: Path) -> None:
    before = len(pressed(workspace))
    page.keyboard.press("n")
    first = seen(page, [])
    page.keyboard.type("keu", delay=20)  # three keys in 60 ms: one picture was seen
    bar(page).get_by_text("key did nothing").or_(bar(page).get_by_text("being written down")).wait_for()
    second = seen(page, first)
    (line,) = pressed(workspace)[before:]
    assert (line.action, sorted(line.paths)) == ("keep", sorted(first))
    assert second != first
    take_back(page, workspace)
    close_all(page)


def test_one_key_is_for_the_whole_group_a_click_narrows_it_and_undo_shows_it_again(
    page: Page, workspace: Path, curate: Curate
) -> None:
    look_at(page, title("near_duplicate"), len(flagged(curate, workspace, "near_duplicate")))
    tiles(page).nth(1).click()
    group = seen(page, [])
    assert len(group) >= 2
    viewer(page).get_by_text("copies of one picture").wait_for()
    page.keyboard.press("k")
    after = seen(page, group)
    assert after != group
    assert [sorted(line.paths) for line in pressed(workspace)] == [sorted(group)]
    page.keyboard.press("z")
    assert seen(page, after) == group
    assert pressed(workspace) == []

    viewer(page).locator(".frame").first.click()  # the key is about the others
    page.wait_for_timeout(300)
    page.keyboard.press("e")
    viewer(page).locator(".stamp", has_text="exclude").first.wait_for()
    (line,) = pressed(workspace)
    assert sorted(line.paths) == sorted(group[1:])
    assert shown(page) == group  # one of it is still open
    picture(page, "group")
    page.keyboard.press("z")
    viewer(page).locator(".stamp").first.wait_for(state="detached")
    close_all(page)


def test_where_a_near_copy_differs_is_marked(page: Page, workspace: Path, curate: Curate) -> None:
    look_at(page, title("near_duplicate"), len(flagged(curate, workspace, "near_duplicate")))
    tiles(page).first.click()
    names = seen(page, [])
    for _ in range(40):
        if viewer(page).locator(".frame img + img").count() or not names:
            break
        page.keyboard.press("ArrowRight")
        names = seen(page, names)
        page.wait_for_timeout(400)
    assert viewer(page).locator(".frame img + img").count() >= 1
    viewer(page).get_by_text("differs from the first where marked").first.wait_for()
    picture(page, "difference")
    close_all(page)


def test_arrows_walk_the_grids_order_also_after_decisions_and_one_escape_closes_everything(
    page: Page, workspace: Path, curate: Curate
) -> None:
    look_at(page, title("low_contrast"), len(flagged(curate, workspace, "low_contrast")))
    tiles(page).nth(1).click()
    first = seen(page, [])
    page.keyboard.press("u")
    second = seen(page, first)
    page.keyboard.press("u")
    third = seen(page, second)
    page.keyboard.press("ArrowLeft")
    assert seen(page, third) == second
    page.keyboard.press("ArrowLeft")
    assert seen(page, second) == first
    viewer(page).locator(".stamp", has_text="unsure").wait_for()
    assert [list(line.paths) for line in pressed(workspace)] == [first, second]
    take_back(page, workspace)
    page.keyboard.press("Escape")
    viewer(page).wait_for(state="detached")
    page.locator("#modal [data-cy=modal]").wait_for(state="detached")


def test_the_mouse_alone_decides(page: Page, workspace: Path, curate: Curate) -> None:
    look_at(page, title("low_contrast"), len(flagged(curate, workspace, "low_contrast")))
    tiles(page).first.click()
    first = seen(page, [])
    bar(page).locator("button[data-key=e]").click()
    second = seen(page, first)
    assert [(line.action, list(line.paths)) for line in pressed(workspace)] == [("exclude", first)]
    bar(page).locator("button[data-key=z]").click()
    assert seen(page, second) == first
    viewer(page).locator("[data-close]").click()
    viewer(page).wait_for(state="detached")


def test_a_key_with_nothing_selected_says_so(page: Page, workspace: Path) -> None:
    page.keyboard.press("3")
    bar(page).get_by_text("select images first, or open one").wait_for()
    assert pressed(workspace) == []


def test_labels_in_doubt_show_a_suggestion_that_a_key_accepts_worst_first(
    page: Page, workspace: Path, curate: Curate
) -> None:
    found = flagged(curate, workspace, "mislabelled")
    look_at(page, title("mislabelled"), len(found))
    copies = {row["path"] for row in as_json(curate("issues", "--json", "-w", workspace)) if row["group"]}
    worst = next(row for row in found if row["path"] not in copies)
    suggestion = json.loads(worst["evidence"])["suggestion"]
    on_tiles(page, f"{suggestion}?").first.wait_for()
    tiles(page).first.click()
    names = seen(page, [])
    while names != [worst["path"]]:
        page.keyboard.press("ArrowRight")
        names = seen(page, names)
    viewer(page).get_by_text("nearest say").first.wait_for()
    viewer(page).get_by_text("suggested:").wait_for()
    bar(page).get_by_text("as imported:").wait_for()
    picture(page, "suggestion")
    names = shown(page)
    page.keyboard.press("a")
    seen(page, names)
    said = as_pressed(pressed(workspace))
    assert said[worst["path"]] == suggestion
    take_back(page, workspace)
    close_all(page)


def test_a_digit_relabels_s_with_two_classes_softens_and_no_key_does_anything_while_somebody_types(
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
    on_tiles(page, "→ surprise").or_(on_tiles(page, "keep")).first.wait_for()
    assert len(pressed(workspace)) == 1

    choose(page, 1)
    page.keyboard.press("s")
    bar(page).get_by_text("press two classes").wait_for()
    page.keyboard.press("3")
    bar(page).get_by_text("between sad and").wait_for()
    page.keyboard.press("2")
    on_tiles(page, "→ 50% neutral / 50% sad").first.wait_for()
    picture(page, "softened")

    assert pulled(curate, workspace)["decided"] == 2
    softened = person_decisions(workspace)[-1]
    rows = manifest.rows(open_workspace(workspace), cleaned(workspace)).set_index("path")
    assert softened.action == "soften"
    assert json.loads(rows.loc[softened.path, "soft_label"]) == {"neutral": 0.5, "sad": 0.5}
    take_back(page, workspace)
    assert pulled(curate, workspace)["undone"] == 2
    assert cleaned(workspace).hash == before.hash


def test_the_map_shows_all_images_by_label_issue_and_decision_and_a_lasso_makes_the_queue(page: Page) -> None:
    page.keyboard.press("m")
    shape = page.locator("#face-curation-map")
    canvas = shape.locator("canvas")
    canvas.wait_for()
    everything = shape.locator("[role=status]").inner_text()
    for by in ("label", "issue", "decision"):
        shape.locator("select").select_option(by)
        assert shape.locator("li").count() >= 2
        picture(page, f"map-{by}")
    box = canvas.bounding_box()
    assert box is not None
    corners = [(0.2, 0.2), (0.9, 0.2), (0.9, 0.8), (0.2, 0.8), (0.2, 0.2)]
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()
    shape.get_by_text("images chosen").wait_for()
    chosen = int(shape.locator("[role=status]").inner_text().split()[0].replace(",", ""))
    assert 0 < chosen < int(everything.split()[0].replace(",", ""))
    page.keyboard.press("q")
    viewer(page).wait_for()
    bar(page).get_by_text(f"of {chosen} left").wait_for()
    close_all(page)


def test_fiftyones_own_view_is_one_key_away_and_enlarges_smoothly(page: Page) -> None:
    tiles(page).first.click()
    seen(page, [])
    page.keyboard.press("v")
    viewer(page).wait_for(state="detached")
    page.locator("#modal [data-cy=looker] canvas").first.wait_for()
    assert page.evaluate(
        "(() => { const pen = document.createElement('canvas').getContext('2d');"
        " pen.imageSmoothingEnabled = false; return pen.imageSmoothingEnabled; })()"
    )
    picture(page, "own-view")
    page.keyboard.press("v")
    viewer(page).wait_for()
    close_all(page)


@pytest.mark.parametrize("inside", [True, False], ids=["relative", "absolute"])
def test_a_person_decides_fifty_images_in_time_none_wrong_and_none_unseen(
    inside: bool, app: App, page: Page, workspace: Path, browser: Browser
) -> None:
    other = None if inside else App(workspace, "--by", "ben")
    try:
        mine = page if other is None else other.open_in(browser)
        rows = manifest.rows(open_workspace(workspace), cleaned(workspace)).set_index("path")
        kept_as_they_came = rows[(rows["status"] == "kept")]["label"].to_dict()
        done, waited = decide_images(mine, 50)
        lines = [line for line in pressed(workspace) if line.reviewer == ("ada" if other is None else "ben")]
        assert len(lines) >= len(done) and sum(len(names) for names, _ in done) >= 50
        assert as_pressed(lines) == as_said(
            done, {path: kept_as_they_came.get(path, "") for names, _ in done for path in names}
        )
        assert waited < 75
        picture(mine, "decided" if inside else "decided-absolute")
        close_all(mine)
    finally:
        if other is not None:
            other.close()


def test_fifty_answers_change_the_order_of_what_comes_next(workspace: Path, browser: Browser) -> None:
    """Eve finds every image neutral: after 25 and after 50 answers the opened view goes on in another order."""
    app = App(workspace, "--by", "eve", "--queue", "gain")
    try:
        page = app.open_in(browser)
        orders = [next_of_queue(workspace)]
        page.keyboard.press("n")
        names, asked, spent = seen(page, []), list[str](), list[float]()
        for batch in (1, 2):
            while len(asked) < batch * BATCH:
                assert next(path for path in orders[-1] if path not in asked) in names
                asked += names
                before = processor_seconds(app)
                page.keyboard.press("2")
                names = seen(page, names)
                spent.append(processor_seconds(app) - before)
            left = [path for path in orders[-1] if path not in asked]
            orders.append(next_of_queue(workspace))
            assert set(orders[-1]) == set(left) and orders[-1][:10] != left[:10]
        assert orders[-1][0] in names
        assert max(spent) < 2 + median(spent)
        page.keyboard.press("ArrowLeft")
        assert seen(page, names)[0] == asked[-1]  # what was answered stays behind
        picture(page, "ranked-anew")
    finally:
        app.close()


def next_of_queue(workspace: Path) -> list[str]:
    """Return what is open in the queue of the App that was started last, as the answers on disk rank it."""
    newest = max((workspace / "review" / "sessions").glob("*.json"), key=lambda file: file.stat().st_mtime)
    return [path for path, _ in ReviewSession(load_session(newest)).open_items()]


def processor_seconds(app: App) -> float:
    """Return what all processes of an App have used: the machine may be busy with other things."""
    return sum(sum(process.cpu_times()[:2]) for process in app.processes())


def test_a_killed_app_loses_nothing_that_was_pressed_and_opens_again(
    page: Page, app: App, workspace: Path, curate: Curate
) -> None:
    # what earlier tests took back on disk alone is still on other tiles
    tags = on_tiles(page, "exclude").count()
    choose(page, next(place for place, words in enumerate(tiles(page).all_inner_texts()) if "exclude" not in words))
    page.keyboard.press("e")
    on_tiles(page, "exclude").nth(tags).wait_for()
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
        words = page.locator("body").inner_text()
        assert tiles(page).first.inner_text().strip() == ""
        page.keyboard.press("n")
        seen(page, [])
        words += viewer(page).inner_text() + bar(page).inner_text()
        told = [answer.text() for answer in heard if "json" in answer.headers.get("content-type", "")]
        for hint in ("/happy/", "/neutral/", "/sad/", "/surprise/", "original_label", "nearest say", "copies of one"):
            assert hint not in words and not any(hint in text for text in told)
        close_all(page)
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
