"""Who is who, in the App: a person's pictures side by side, one key for them, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import curation
from curation.review import journal
from tests.browser.review_app import App, bar, picture, seen, tiles, viewer
from tests.conftest import Curate, as_json
from tests.needs import needs
from tests.workflow.test_subjects import draw_people

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

needs("playwright", reason="playwright is not installed")
needs("fiftyone", reason="FiftyOne is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.app, pytest.mark.slow, pytest.mark.timeout(1800)]

PEOPLE, PICTURES = 8, 4


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, curate: Curate) -> Path:
    folder = tmp_path_factory.mktemp("people-app")
    splits = ["test" if not place and person % 2 else "train" for person in range(PEOPLE) for place in range(PICTURES)]
    source = draw_people(folder / "data", PEOPLE, PICTURES, splits, np.random.default_rng(5))
    curate("run", source, "-w", folder / "workspace")
    return folder / "workspace"


@pytest.fixture(scope="module")
def page(workspace: Path, browser: Browser) -> Iterator[Page]:
    app = App(workspace, "--by", "ada", "--check", "subject_leak")
    opened = app.open_in(browser)
    yield opened
    opened.close()
    app.close()


def pressed(workspace: Path) -> list[journal.Line]:
    return journal.active_presses(journal.read(workspace / "review" / "journal"))


def test_one_key_says_that_a_persons_pictures_are_one_and_another_that_some_are_not(
    page: Page, workspace: Path, curate: Curate
) -> None:
    opened = curation.Workspace(workspace, quiet=True)
    before, leaks = opened.version("cleaned"), opened.issues("subject_leak")
    assert leaks["group"].nunique() == PEOPLE // 2
    page.keyboard.press("n")
    first = seen(page, [])
    assert len(first) == PICTURES and len({name[:2] for name in first}) == 1
    viewer(page).get_by_text(f"{PICTURES} pictures of one person, in several splits (test, train)").wait_for()
    viewer(page).get_by_text("in test").first.wait_for()
    for words in (f"same person ({PICTURES})", "no two are one person"):
        bar(page).get_by_text(words).wait_for()
    picture(page, "people")
    page.keyboard.press("p")
    second = seen(page, first)
    assert second[0][:2] != first[0][:2]

    viewer(page).locator(".frame").first.click()
    bar(page).get_by_text("not the person of those left out").wait_for()
    page.wait_for_timeout(300)
    page.keyboard.press("o")
    viewer(page).locator(".stamp", has_text="not the same").nth(PICTURES - 2).wait_for()
    picture(page, "people-not-the-same")
    lines = pressed(workspace)
    assert [(line.action, sorted(line.paths)) for line in lines] == [
        ("same", sorted(first)),
        ("not_same", sorted(second[1:])),
    ]

    done = as_json(curate("review", "pull", "--json", "-w", workspace))
    assert done["decided"] == len(first) + len(second)  # the names of both, and one line that tells the second apart
    subject = opened.version("cleaned").rows.set_index("path")["subject"]
    assert subject[first].nunique() == 1 and subject[first[0]]
    assert set(subject[second[1:]]) == {""} and subject[second[0]]
    left = opened.issues("subject_leak")
    assert left["group"].nunique() == PEOPLE // 2 - 1 and not set(second) & set(left["path"])

    for kind in ("not_same", "same"):  # z shows again what it was about
        page.keyboard.press("z")
        page.wait_for_timeout(1500)
        assert kind not in {line.action for line in pressed(workspace)}
    assert as_json(curate("review", "pull", "--json", "-w", workspace))["undone"] == done["decided"]
    assert opened.version("cleaned").hash == before.hash
    assert set(opened.issues("subject_leak")["path"]) == set(leaks["path"])
    page.keyboard.press("Escape")


def test_people_are_a_view_of_their_own_and_a_tile_opens_all_of_one(page: Page, workspace: Path) -> None:
    page.locator("[data-cy=saved-views-selection]").click()
    page.locator(".MuiMenu-root").get_by_text("People in several splits, person by person", exact=True).click()
    page.wait_for_function("n => document.querySelectorAll('[data-cy=looker]').length === n", arg=PEOPLE // 2)
    picture(page, "people-view")
    tiles(page).first.click()
    names = seen(page, [])
    assert len(names) == PICTURES and len({name[:2] for name in names}) == 1
    viewer(page).get_by_text("of one person").first.wait_for()
    page.keyboard.press("Escape")
    viewer(page).wait_for(state="detached")
    assert pressed(workspace) == []
