"""The page of six questions in a real browser: it opens, folds, prints, downloads, and axe finds nothing serious."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("mapie", reason="the extra train is not installed")

from reports.findings import findings_page
from tests.browser.chromium import ARTIFACTS, SIZES, Watched, screenshot, serious_violations
from tests.unit.findings_frames import EVIL, page_of, section_tables

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "models.html"
    path.write_text(findings_page(page_of(section_tables())), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1366, "height": 768}, color_scheme="light")
    page.goto(report.as_uri())
    yield page
    page.close()


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("laptop", "light")])
def test_the_page_opens_without_errors_requests_or_sideways_scrolling(
    browser: Browser, report: Path, size: str, scheme: Literal["light", "dark"]
) -> None:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    watched = Watched(page)
    page.goto(report.as_uri())
    for chart in page.locator("[data-chart]").all():  # drawn when it comes into view
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()
    assert watched.fits(width)
    assert watched.errors == []
    assert watched.outside() == []
    screenshot(page, f"findings-{size}-{scheme}")
    page.close()


def test_every_picture_can_be_decoded(opened: Page) -> None:
    widths = opened.evaluate("Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
    assert widths and set(widths) == {24, 32}


def test_names_from_the_data_are_text(opened: Page) -> None:
    assert opened.locator("main script:not([type])").count() == 0
    assert EVIL in opened.locator("h1").inner_text()


def test_a_table_is_sorted_and_downloaded_as_csv_with_unrounded_values(opened: Page) -> None:
    opened.locator("#sets thead th", has_text="images").locator("button").click()
    counts = [int(text) for text in opened.locator("#sets tbody tr td:nth-child(3)").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    with opened.expect_download() as waiting:
        opened.locator("[data-csv=sets]").click()
    lines = Path(waiting.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "set,classes,images,share"
    assert len(lines) == len(counts) + 1


def test_sections_fold_and_a_link_unfolds_them(opened: Page) -> None:
    opened.locator("[data-fold=close]").click()
    assert not opened.locator("#groups").evaluate("details => details.open")
    opened.locator("a[href='#groups']").click()
    opened.locator("#groups[open]").wait_for()


def test_in_print_charts_are_drawn_and_sections_unfolded(opened: Page) -> None:
    opened.locator("[data-fold=close]").click()
    ARTIFACTS.mkdir(exist_ok=True)
    opened.pdf(path=ARTIFACTS / "findings-print.pdf", format="A4", print_background=True)
    drawn = opened.evaluate("[...document.querySelectorAll('[data-chart]')].every(e => e.querySelector('.main-svg'))")
    assert drawn


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser: Browser, report: Path, scheme: str) -> None:
    assert serious_violations(browser, report, scheme) == []
