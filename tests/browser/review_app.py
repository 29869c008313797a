"""The command ``curate review`` while it runs, and what a person does on the App's page."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.browser.chromium import ARTIFACTS
from tests.conftest import CURATE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Response

START_S = 600
"""The App is up in 7 s on a quiet machine; one that many tests share has been seen to take many times that."""

STEP_S = 300
"""For what takes the App a second when the machine is quiet."""

GLANCE_S = 5
"""For a click on what is there already."""

SAME_S = 30
"""A grid that shows another view has other tiles by then."""

SHOWS_OTHER = """before => {
  const names = [...document.querySelectorAll("#face-curation-viewer:not([hidden]) figcaption")];
  return names.length && names.map((each) => each.innerText.split("\\n")[0]).join("|") !== before.join("|");
}"""
"""Whether the opened view shows something else than before."""

GLANCE_MS = 200
"""A key counts when its picture has been on the screen for a moment, see keys.js."""


class App:
    """``curate review`` of one person, from its start to its end; its database and plugins lie in the workspace.

    With ``inside`` it is started as in the README: in a folder, on the default workspace there, a relative path.
    """

    def __init__(self, workspace: Path, *options: object, inside: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        where = [] if inside else ["-w", str(workspace)]
        command = [str(CURATE), "review", *where, "--port", str(port), "--no-browser", "--no-pull"]
        self.said = workspace.parent / f"said-{port}.txt"
        with self.said.open("w") as output:
            self.running = subprocess.Popen(
                [*command, *map(str, options)],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=workspace.parent if inside else None,
            )
        try:
            self.url = self._address()
        except BaseException:
            self.kill()
            raise

    def _address(self) -> str:
        """Wait for the address that the command says: its port was free a moment ago, and may not be any more."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            over = self.running.poll() is not None
            found = re.search(r"Open (http://localhost:\d+/) ", self.said.read_text())
            if found:
                return found[1]
            assert not over, f"it ended: {self.said.read_text()}"
            time.sleep(0.2)
        raise AssertionError(f"the App is not up after {START_S} s: {self.said.read_text()}")

    def processes(self) -> list[psutil.Process]:
        """Return the command with all that it started: its database, its server."""
        try:
            command = psutil.Process(self.running.pid)
            return [command, *command.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """End all of it at once, as a power cut would."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.running.wait(STEP_S)

    def close(self) -> None:
        """End it as Ctrl-C does."""
        if self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
        try:
            self.running.wait(STEP_S)
        finally:
            self.kill()

    def open_in(self, browser: Browser, heard: list[Response] | None = None) -> Page:
        """Open the page and wait for its tiles and keys; ``heard`` is given all that the server answers."""
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(STEP_S * 1000)
        if heard is not None:
            page.on("response", lambda answer: heard.append(answer))
        page.goto(self.url, wait_until="domcontentloaded")
        bar(page).wait_for()
        tiles(page).first.wait_for()
        return page


def bar(page: Page) -> Locator:
    """Return the bar of keys at the bottom."""
    return page.locator("#face-curation-keys")


def tiles(page: Page) -> Locator:
    """Return the pictures of the grid."""
    return page.locator("[data-cy=looker]")


def panel(page: Page) -> Locator:
    """Return the review panel beside the grid."""
    return page.locator("[data-cy=panel-content-face_review]")


def viewer(page: Page) -> Locator:
    """Return the opened view, which is there only while it is open."""
    return page.locator("#face-curation-viewer:not([hidden])")


def shown(page: Page) -> list[str]:
    """Return the names of what the opened view shows: an image, or the copies of a group."""
    return [text.splitlines()[0] for text in viewer(page).locator("figcaption").all_inner_texts()]


def seen(page: Page, after: list[str]) -> list[str]:
    """Wait until the opened view shows something else than ``after``, long enough for a key to count; return it."""
    until = time.monotonic() + STEP_S
    while True:
        page.wait_for_function(SHOWS_OTHER, arg=after)
        pictures = viewer(page).locator(".frame > img:first-child")
        assert all(pictures.evaluate_all("all => all.map(each => each.complete && each.naturalWidth > 0)"))
        page.wait_for_timeout(GLANCE_MS)
        now = shown(page)
        if now and now != after:  # a group that is drawn again with its answer is for a moment shown in part
            return now
        assert time.monotonic() < until, "the opened view goes on showing what was answered"


def on_tiles(page: Page, words: str) -> Locator:
    """Return the tags on the tiles that say exactly this."""
    return tiles(page).get_by_text(words, exact=True)


MARK_TILES = "document.querySelectorAll('[data-cy=looker]').forEach(tile => { tile.dataset.before = ''; })"
GONE = "number => document.querySelectorAll('[data-cy=looker][data-before]').length < number"


def look_at(page: Page, view: str, images: int) -> None:
    """Choose a saved view and wait until its pictures are there, and not only its number, which may be the same."""
    from playwright.sync_api import TimeoutError as TooLate

    page.locator("[data-cy=saved-views-selection]").click()
    page.evaluate(MARK_TILES)
    before = page.locator("[data-before]").count()
    page.locator(".MuiMenu-root").get_by_text(view, exact=True).first.click()
    with suppress(TooLate):  # the view was chosen before, or has the same images
        page.wait_for_function(GONE, arg=before, timeout=SAME_S * 1000)
    page.get_by_text(f"{images:,} sample{'s' if images > 1 else ''}", exact=True).wait_for()
    tiles(page).nth(min(images, 12) - 1).wait_for()


def choose(page: Page, *places: int) -> None:
    """Tick tiles by their places in the grid, or untick them.

    A box is there only under the mouse. A grid that is laid out anew moves it away between the two, so a click that
    finds none in ``GLANCE_S`` is made again from the start.
    """
    for place in places:
        tile = tiles(page).nth(place)
        until = time.monotonic() + STEP_S
        while not _clicked(tile):
            assert time.monotonic() < until, f"tile {place} cannot be ticked"


def _clicked(tile: Locator) -> bool:
    from playwright.sync_api import TimeoutError as TooLate

    tile.hover()
    try:
        tile.locator("input[type=checkbox]").locator("xpath=..").click(timeout=GLANCE_S * 1000)
    except TooLate:
        return False
    return True


def picture(page: Page, name: str) -> None:
    """Keep a screenshot, to be looked at."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.wait_for_timeout(1500)  # the App fades its tiles in
    page.screenshot(path=ARTIFACTS / f"review-{name}.png")
