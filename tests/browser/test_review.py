"""Review in the FiftyOne App, in a real browser, on 2,000 real images: decide with keys, pull, undo."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation import manifest, workspace
from curation.decisions import log
from tests.browser.chromium import ARTIFACTS, CHROMIUM, FLAGS
from tests.conftest import CURATE, Curate, as_json

if TYPE_CHECKING:
    from playwright.sync_api import Page

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("fiftyone.constants", reason="FiftyOne is not installed")

pytestmark = [pytest.mark.app, pytest.mark.browser, pytest.mark.slow, pytest.mark.data]

START_S = 300
"""The App needs 7 s on a quiet machine; a busy one may need many times that."""

VIEW = "Near copies"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, faces: Path, curate: Curate) -> Path:
    folder = tmp_path_factory.mktemp("review") / "faces"
    curate("run", faces, "--limit", 2000, "-w", folder)
    return folder


@pytest.fixture(scope="module")
def address(space: Path) -> Iterator[str]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(CURATE), "review", "--by", "ada", "--check", "near_duplicate", "-w", str(space)]
    said = space.parent / "said.txt"
    with said.open("w") as output:
        running = subprocess.Popen(
            [*command, "--port", str(port), "--no-browser", "--no-pull"], stdout=output, stderr=subprocess.STDOUT
        )
        waited = time.monotonic() + START_S
        while "Open http" not in said.read_text() and running.poll() is None and time.monotonic() < waited:
            time.sleep(0.5)
        assert "Open http" in said.read_text(), said.read_text()
        yield f"http://localhost:{port}/"
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
        running.wait(60)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    ARTIFACTS.mkdir(exist_ok=True)
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1440, "height": 900})
        opened.set_default_timeout(120_000)
        opened.goto(address, wait_until="domcontentloaded")
        opened.locator("#face-curation-keys").wait_for()
        opened.locator("[data-cy=looker]").first.wait_for()
        opened.get_by_text("Dismiss", exact=True).click()  # the App's own advertisement, shown once
        yield opened
        browser.close()


def person_decisions(space: Path) -> list[log.Entry]:
    return [entry for entry in log.read(space / "decisions.jsonl") if entry.actor.startswith("person:")]


def cleaned(space: Path) -> manifest.Version:
    return manifest.find(workspace.open_existing(space), "cleaned")


def test_the_app_opens_on_the_queue_with_its_keys(page: Page) -> None:
    assert page.locator("[data-cy=looker]").count() >= 20
    bar = page.locator("#face-curation-keys").inner_text()
    for word in ("ada:", "happy", "neutral", "sad", "surprise", "keep", "exclude", "unsure", "next", "undo"):
        assert word in bar
    page.screenshot(path=ARTIFACTS / "review-opened.png")


def test_three_are_selected_a_key_excludes_them_the_pull_has_exactly_those_and_undo_restores_the_hash(
    page: Page, space: Path, curate: Curate
) -> None:
    before = cleaned(space)
    page.locator("[data-cy=saved-views-selection]").click()
    page.get_by_text(VIEW, exact=True).first.click()
    page.locator("[data-cy=view-stage-container]").filter(has_text="Match").first.wait_for()
    page.locator("[data-cy=looker]").first.wait_for()
    page.wait_for_timeout(3000)
    for place in (0, 2, 4):
        tile = page.locator("[data-cy=looker]").nth(place)
        tile.hover()
        tile.locator("input[type=checkbox]").locator("xpath=..").click()
    page.screenshot(path=ARTIFACTS / "review-selected.png")
    page.keyboard.press("e")
    page.locator("[data-cy=looker]").get_by_text("exclude", exact=True).nth(2).wait_for()
    page.screenshot(path=ARTIFACTS / "review-excluded.png")

    pulled = as_json(curate("review", "pull", "--json", "-w", space))
    assert (pulled["decided"], pulled["undone"], pulled["conflicts"]) == (3, 0, 0)
    decisions = person_decisions(space)
    assert [(entry.actor, entry.action) for entry in decisions] == [("person:ada", "exclude")] * 3
    after = manifest.rows(workspace.open_existing(space), cleaned(space))
    mine = after[after["reason"].str.startswith("seen in the App")]
    assert sorted(mine["path"]) == sorted(entry.path for entry in decisions)
    assert set(mine["status"]) == {"excluded"}
    assert cleaned(space).hash != before.hash
    again = as_json(curate("review", "pull", "--json", "-w", space))
    assert again["decided"] == 0 and len(person_decisions(space)) == 3

    page.keyboard.press("z")
    page.locator("[data-cy=looker]").get_by_text("exclude", exact=True).first.wait_for(state="detached")
    page.locator("[data-cy=looker]").nth(5).wait_for()  # the grid was drawn again, not only cleared
    assert page.locator("[data-cy=looker]").get_by_text("exclude", exact=True).count() == 0
    page.screenshot(path=ARTIFACTS / "review-undone.png")
    assert as_json(curate("review", "pull", "--json", "-w", space))["undone"] == 3
    assert cleaned(space).hash == before.hash
    assert as_json(curate("verify", "--json", "-w", space))["ok"]
