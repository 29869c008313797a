"""Script in names of files, folders and labels, and in reasons, is text in the FiftyOne App and in our plugin there.

Also what the App listens on, and that it does not track.

The tests share one App; none needs another, but the last two spoil it: they have script run, and end it.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from curation.base import files
from curation.pipeline import summary
from tests.browser.review_app import STEP_S, App, bar, choose, look_at, on_tiles, panel, picture, tiles, viewer
from tests.conftest import Curate, as_json
from tests.needs import needs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

needs("playwright", reason="playwright is not installed")
needs("fiftyone", reason="FiftyOne is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.app, pytest.mark.slow, pytest.mark.timeout(1800)]

LABELS = ("\"'><svg onload=window.pwned=1>", "<img src=x onerror=window.pwned=1>")
"""Names of class folders, in the order of their keys; no "/" can be in one."""

STEMS = (
    "<img src=x onerror=alert(window.pwned=1)>",
    "<iframe srcdoc='<img src=x onerror=parent.pwned=1>'>",
    "<details open ontoggle=window.pwned=1>",
    "\"'><svg onload=window.pwned=1>",
    "<a href='javascript:window.pwned=1'>x",
    "[x](javascript:window.pwned=1)",  # our panel is Markdown
    "![x](x)",
    "`<script>window.pwned=1<script>`",
)

REASON = "</b><img src=x onerror=window.pwned=1>[x](javascript:window.pwned=1)"

MARKUP = """() => [...document.querySelectorAll("*")].flatMap((node) => [...node.attributes]
  .filter(({name, value}) =>
    (/^on|^srcdoc$/.test(name) && value.includes("pwned")) || /^\\s*javascript:/i.test(value) ||
    (name === "src" && value === "x"))
  .map(({name, value}) => `${node.tagName} ${name}=${value}`))"""
"""Lists what of the attacks became markup, whether or not it runs."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, sample: Path, curate: Curate) -> Path:
    """A workspace of attacks: its own name, its source's, labels, file names, and a person's reason for every image."""
    top = tmp_path_factory.mktemp("hostile")
    pictures = iter(sorted(sample.rglob("*.jpg")))
    for label in LABELS:
        folder = top / STEMS[0] / label
        folder.mkdir(parents=True)
        for stem in STEMS:
            shutil.copy(next(pictures), folder / f"{stem}.jpg")
    shutil.copy(folder / f"{STEMS[0]}.jpg", folder.with_name(LABELS[0]) / f"copy {STEMS[0]}.jpg")
    found = top / LABELS[1]
    curate("run", top / STEMS[0], "-w", found)
    paths = files.read_table(found / "images.parquet")["path"]
    curate("decide", *paths, "--exclude", "--reason", REASON, "--by", "ben", "-w", found)
    return found


@pytest.fixture(scope="module")
def app(workspace: Path, browser: Browser) -> Iterator[App]:
    started = App(workspace, "--by", "ada", "--queue", "random", "--pull")
    yield started
    started.close()


@pytest.fixture(scope="module")
def heard() -> list[Response]:
    """What the server answered."""
    return []


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """The dialogs that opened."""
    return []


@pytest.fixture(scope="module")
def opened(app: App, browser: Browser, heard: list[Response], asked: list[str]) -> Iterator[Page]:
    page = app.open_in(browser, heard)
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    yield page
    page.close()


@pytest.fixture
def page(opened: Page, heard: list[Response], asked: list[str]) -> Iterator[Page]:
    """The App's page; whatever a test shows on it must not have run, nor be markup."""
    yield opened
    opened.wait_for_timeout(500)
    assert opened.evaluate("window.pwned") is None and asked == []
    assert opened.evaluate(MARKUP) == []
    assert [answer.url for answer in heard if urlsplit(answer.url).path.endswith("/x")] == []


def conflicts(page: Page, workspace: Path, curate: Curate) -> None:
    """Show the two copies under different labels: their evidence names both."""
    found = as_json(curate("issues", "--check", "label_conflict", "--json", "-w", workspace))
    look_at(page, summary.check_words("label_conflict")[0], len(found))


def test_in_the_review_panel_and_on_the_tiles(page: Page, workspace: Path, curate: Curate) -> None:
    look_at(page, "Excluded by this version", 2 * len(STEMS) + 1)
    said = panel(page)
    for place in range(len(STEMS) + 1):  # one label's, in the order of their paths
        choose(page, place)
        said.get_by_text(f"excluded: {REASON}").wait_for()
        shown = said.inner_text()
        assert f"labelled {LABELS[0]}" in shown and sum(f"{stem}.jpg" in shown for stem in STEMS) >= 1
        assert page.evaluate(MARKUP) == []
        choose(page, place)
        said.get_by_text("Select images, or open one").wait_for()
    conflicts(page, workspace, curate)
    choose(page, 0, 1)
    said.get_by_text(f"{LABELS[1]}/{STEMS[0]}.jpg").first.wait_for()
    picture(page, "hostile-panel")
    choose(page, 0, 1)


def test_in_the_bar_of_keys_and_in_an_answer(page: Page, workspace: Path, curate: Curate) -> None:
    conflicts(page, workspace, curate)
    choose(page, 0)
    page.keyboard.press("s")
    page.keyboard.press("1")
    bar(page).get_by_text(f"between {LABELS[0]} and").wait_for()
    page.keyboard.press("2")
    shares = f"50% {LABELS[0]} / 50% {LABELS[1]}"
    on_tiles(page, f"→ {shares}").first.wait_for()
    bar(page).get_by_text(shares).wait_for()
    picture(page, "hostile-answer")


def test_in_the_sidebar_with_its_lists_of_values(page: Page) -> None:
    sidebar = page.locator("[data-cy=sidebar-column]").first
    page.locator("[data-cy=sidebar-field-arrow-enabled-label]").click()
    for label in LABELS:
        sidebar.get_by_text(label[:8]).first.wait_for()
    picture(page, "hostile-sidebar")
    page.locator("[data-cy=sidebar-field-arrow-enabled-label]").click()
    sidebar.hover()
    page.mouse.wheel(0, 5000)
    page.locator("[data-cy=sidebar-group-entry-METADATA]").click()
    page.mouse.wheel(0, 5000)
    page.locator("[data-cy=sidebar-field-arrow-enabled-reason]").click()
    sidebar.get_by_text(REASON[:12]).first.wait_for()
    picture(page, "hostile-reasons")


def test_in_the_histogram_and_on_the_map(page: Page) -> None:
    page.locator("[data-cy=panel-tab-histograms]").click()
    page.locator("[data-cy=histograms-container] svg").first.wait_for()
    picture(page, "hostile-histogram")
    page.locator("[data-cy=panel-tab-face_review]").click()
    page.keyboard.press("m")
    legend = page.locator("#face-curation-map")
    for label in LABELS:
        legend.get_by_text(label, exact=True).wait_for()
    picture(page, "hostile-map")
    assert page.evaluate(MARKUP) == []
    page.keyboard.press("Escape")
    legend.wait_for(state="detached")


def test_in_an_operators_form(page: Page) -> None:
    page.keyboard.press("`")
    page.keyboard.type("Review: relabel")
    page.get_by_text("Review: relabel", exact=True).wait_for()
    page.keyboard.press("Enter")
    form = page.locator("[data-cy=operators-prompt-modal]")
    form.locator("[role=combobox]").click()
    for label in LABELS:
        page.locator("[role=option]").get_by_text(label, exact=True).wait_for()
    picture(page, "hostile-form")
    page.locator("[role=option]").first.click()
    form.get_by_text("Cancel").click()
    form.wait_for(state="detached")


def test_in_an_opened_image_its_record_and_the_panel_beside_it(page: Page) -> None:
    tiles(page).first.click()
    mine = viewer(page)
    mine.get_by_text("onerror").first.wait_for()
    mine.get_by_text(f"excluded: {REASON}").first.wait_for()
    picture(page, "hostile-image")
    assert page.evaluate(MARKUP) == []
    page.keyboard.press("v")
    modal = page.locator("#modal")
    modal.locator("[data-cy=path-field]").get_by_text("onerror").first.wait_for()
    modal.locator("[data-cy=reason-field]").get_by_text(REASON).first.wait_for()
    modal.locator("[data-cy=looker]").hover()
    page.keyboard.press("j")  # the App's own view of the record
    modal.get_by_text("_dataset_id").wait_for()
    picture(page, "hostile-record")
    page.keyboard.press("j")
    modal.locator("[data-cy=panel-tab-face_review]").click()
    modal.locator("[data-cy=panel-content-face_review]").get_by_text(f"excluded: {REASON}").first.wait_for()
    picture(page, "hostile-image-panel")
    page.keyboard.press("Escape")


def test_the_app_and_its_database_listen_on_loopback_only(app: App) -> None:
    served = [place for process in app.processes() for place in process.net_connections("inet")]
    listening = {place.laddr for place in served if place.status == psutil.CONN_LISTEN}
    assert len(listening) >= 2  # the server's and the database's
    assert {address for address, _ in listening} <= {"127.0.0.1", "::1"}


def test_the_apps_page_is_told_not_to_track(page: Page, heard: list[Response]) -> None:
    told = [answer.text() for answer in heard if urlsplit(answer.url).path == "/graphql"]
    assert any('"doNotTrack":true' in text.replace(" ", "") for text in told)
    assert not any('"doNotTrack":false' in text.replace(" ", "") for text in told)


def test_the_same_names_run_where_a_page_takes_them_for_markup(opened: Page) -> None:
    opened.evaluate("name => document.body.insertAdjacentHTML('beforeend', name)", LABELS[1])
    opened.wait_for_function("window.pwned === 1")  # nothing else would have kept the tests above from failing
    assert opened.evaluate(MARKUP) == ["IMG src=x", "IMG onerror=window.pwned=1"]


def test_ctrl_c_in_the_terminal_still_brings_the_answers_in(app: App) -> None:
    app.running.send_signal(signal.SIGINT)
    assert app.running.wait(STEP_S) == 0
    assert "1 decisions pulled" in app.said.read_text()
