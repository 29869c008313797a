"""The cleaning report in a real browser: it opens, works, follows light and dark, and axe finds nothing serious."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
import pytest

from reports import changes_page, cleaning_page
from reports.changes import Origin
from tests.browser.chromium import ARTIFACTS, SIZES, Watched, screenshot, serious_violations
from tests.unit.report_frames import example, origin, with_every_check

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "cleaning.html"
    found = example(400, stem="a_long_name_without_any_place_to_break_it_")
    # a surplus copy that is also dark: its gallery caption holds a reason with another file's long path
    copy = (found.issues["check"] == "dark") & (found.issues["path"] == found.paths[1])
    found = replace(found, issues=found.issues.assign(is_issue=found.issues["is_issue"] | copy))
    path.write_text(cleaning_page(found.tables(origin())), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of much: twenty thousand images of the seven classes of FER-2013, and every check was run."""
    classes = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    found = with_every_check(example(20_000, labels=classes, pairs=400))
    path = tmp_path_factory.mktemp("dense") / "large.html"
    path.write_text(cleaning_page(found.tables(origin())), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1366, "height": 768}, color_scheme="light")
    page.goto(report.as_uri())
    yield page
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_opens_without_errors_requests_or_sideways_scrolling(
    browser: Browser, report: Path, size: str, scheme: Literal["light", "dark"]
) -> None:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    watched = Watched(page)
    page.goto(report.as_uri())
    page.locator("#before-after").scroll_into_view_if_needed()
    assert watched.fits(width)
    assert page.evaluate("document.documentElement.scrollHeight") < 50_000
    assert watched.errors == []
    assert watched.outside() == []
    screenshot(page, f"cleaning-{size}-{scheme}")
    page.close()


def test_every_picture_can_be_decoded(opened: Page) -> None:
    opened.locator("[data-fold=open]").click()
    script = "Promise.all([...document.images].filter(i => i.src).map(i => i.decode().then(() => i.naturalWidth)))"
    widths = opened.evaluate(script)
    assert widths and set(widths) == {48}


def test_a_table_is_sorted_by_its_headings_with_the_keyboard_and_totals_stay_last(opened: Page) -> None:
    heading = opened.locator("#images-before thead th", has_text="happy")
    heading.locator("button").focus()
    opened.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    shown = opened.locator("#images-before tbody th").all_inner_texts()
    assert (shown[0], shown[-1]) == ("train", "all")
    opened.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    shown = opened.locator("#images-before tbody th").all_inner_texts()
    assert (shown[-2], shown[-1]) == ("train", "all")


def test_a_table_is_downloaded_as_csv_with_unrounded_values(opened: Page) -> None:
    with opened.expect_download() as waiting:
        opened.locator("[data-csv=images-before]").click()
    lines = Path(waiting.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "split,happy,sad,all,share"
    assert lines[-1].startswith("all,") and lines[-1].endswith(",400,1.0")


def test_the_theme_button_changes_page_and_charts(opened: Page) -> None:
    colour = "each => getComputedStyle(each).fill"
    bar = opened.locator("#distributions rect.passed").first
    before = [bar.evaluate(colour), opened.evaluate("getComputedStyle(document.body).backgroundColor")]
    opened.locator("#theme").click()
    opened.locator("#theme").click()
    assert opened.locator("#theme").inner_text() == "Theme: dark"
    after = [bar.evaluate(colour), opened.evaluate("getComputedStyle(document.body).backgroundColor")]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_on_a_phone_every_column_is_there_and_nothing_has_to_be_scrolled_to(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(report.as_uri())
    page.locator("[data-fold=open]").click()
    cells = page.locator("#checks tbody tr").first.locator("th, td")
    assert cells.count() == page.locator("#checks thead th").count()
    for place in range(cells.count()):
        box = cells.nth(place).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.close()


def test_a_command_is_copied_by_a_click(opened: Page) -> None:
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.locator(".anomalies button.copy").first.click()
    opened.get_by_text("copied", exact=True).wait_for()
    copied = opened.evaluate("navigator.clipboard.readText()")
    assert copied == "curate review --check label_conflict -w mine"


def test_pictures_are_filtered_by_class_split_check_and_text_sorted_and_enlarged(opened: Page) -> None:
    filters, visible = opened.locator("#filters"), opened.locator("#gallery .item:visible, #copies .item:visible")
    filters.locator("[name=check]").select_option("no_face")
    assert set(visible.evaluate_all("all => all.map(each => each.dataset.check)")) == {"no_face"}
    both = visible.count()
    filters.locator("[name=label]").select_option("sad")
    assert 0 < visible.count() < both
    assert filters.locator("[role=status]").inner_text().startswith(f"{visible.count()} of ")
    filters.locator("[type=reset]").click()
    opened.locator("[data-fold=open]").click()
    filters.locator("[name=text]").fill("break_it_9.jpg")
    assert visible.count() >= 1
    assert all("break_it_9.jpg" in text for text in visible.evaluate_all("all => all.map(each => each.dataset.text)"))
    filters.locator("[name=split]").select_option("validation")
    assert visible.count() == 0
    filters.locator("[type=reset]").click()
    opened.locator("#gallery [data-large]").first.click()
    large = opened.locator("#large img")
    assert large.is_visible() and (large.bounding_box() or {})["width"] > 300
    assert opened.locator("#large code").inner_text().startswith("curate explain ")
    opened.keyboard.press("Escape")
    assert not large.is_visible()


def test_a_link_to_a_folded_section_unfolds_it(opened: Page) -> None:
    opened.locator("[data-fold=close]").click()
    assert not opened.locator("#reproduce").evaluate("details => details.open")
    opened.locator("a[href='#reproduce']").click()
    opened.locator("#reproduce[open]").wait_for()  # the page forbids eval, which wait_for_function may need


def test_in_print_sections_are_unfolded_and_fit_eight_pages(browser: Browser, dense: Path) -> None:
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.goto(dense.as_uri())
    page.locator("[data-fold=close]").click()
    ARTIFACTS.mkdir(exist_ok=True)
    printed = page.pdf(path=ARTIFACTS / "cleaning-print.pdf", format="A4", print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8
    assert not page.locator("#reproduce").evaluate("details => details.open")
    page.close()


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = example(40)
    kinds = ["left out", "left out", "relabelled", "kept again"]
    frame = pd.DataFrame(
        {
            "kind": kinds,
            "why": ["Near copies", "looks odd", "looks odd", "no decision is in force any more"],
            "who": ["policy balanced", "ada", "<b>ben</b>", "nobody"],
            "total": [90, 1, 1, 1],
            "path": found.paths[1:5],
            "before": "kept as happy",
            "after": ["excluded as happy", "excluded as happy", "kept as sad", "kept as happy"],
            "reason": ["a copy of x.jpg", "looks odd", "looks odd", ""],
            "label": "happy",
            "split": ["train", "validation", "train", "train"],
            "sha256": [f"{n:064x}" for n in range(4)],
            "thumbnail": [found.pictures[path] for path in found.paths[1:5]],
        }
    )
    path = tmp_path_factory.mktemp("changed") / "changes.html"
    path.write_text(changes_page(frame, Origin("faces", "v2", "v3", "2026-01-02")), encoding="utf-8")
    return path


@pytest.mark.parametrize("size", SIZES)
def test_the_page_of_what_changed_fits_every_screen_and_asks_for_nothing(
    browser: Browser, changed: Path, size: str
) -> None:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    watched = Watched(page)
    page.goto(changed.as_uri())
    page.locator("[data-fold=open]").click()
    assert watched.fits(width) and watched.errors == [] and watched.outside() == []
    text = page.locator("body").inner_text()
    assert "by <b>ben</b>" in text and "Here: 1 of them." in text
    screenshot(page, f"changes-{size}")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser: Browser, report: Path, changed: Path, scheme: str) -> None:
    assert serious_violations(browser, report, scheme) == []
    assert serious_violations(browser, changed, scheme) == []


def test_a_page_of_twenty_thousand_images_is_small_and_can_be_used_within_two_seconds(
    browser: Browser, dense: Path
) -> None:
    """Readable, sortable and foldable. The time is the page's own (its thread's): other work here is not its fault."""
    assert dense.stat().st_size < 3 * 2**20
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(dense.as_uri())
    page.locator("#images-before thead button").first.click()
    told = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    assert 0 < told["TaskDuration"] < 2
    page.close()
