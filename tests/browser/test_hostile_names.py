"""Script in file names, labels and sources does nothing in the pages, opened and used in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reports import cleaning_page, evaluation_page
from tests.browser.chromium import Watched, screenshot
from tests.browser.test_model_pages import evaluation_tables
from tests.unit.report_frames import example, origin

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

ATTACKS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "\"'><svg onload=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    "<a href='javascript:window.pwned=1'>x</a>",
)


def cleaning(attack: str) -> str:
    found = example(labels=("happy", attack), stem=attack.replace("/", "_"))
    return cleaning_page(found.tables(origin(source=attack, policy_description=attack, commands=(attack,))))


def evaluation(attack: str) -> str:
    found = evaluation_tables()
    renamed = {"sad": attack}
    tables = {
        name: getattr(found, name).replace(renamed).rename(columns={"f1 sad": f"f1 {attack}"})
        for name in ("headline", "confusion", "gallery", "metrics", "pairs")
    }
    tables["gallery"]["path"] = attack + tables["gallery"]["path"]
    classes = tuple(renamed.get(name, name) for name in found.classes)
    return evaluation_page(replace(found, classes=classes, facts=[*found.facts, (attack, attack)], **tables))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("make", [cleaning, evaluation])
def test_script_in_names_is_shown_and_never_run(browser: Browser, tmp_path: Path, make, attack: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "page.html"
    path.write_text(make(attack), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    watched = Watched(page)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    if page.locator("[data-fold=open]").count():
        page.locator("[data-fold=open]").first.click()
    for chart in page.locator(".js-plotly-plot").all():
        chart.scroll_into_view_if_needed()
        chart.hover()
    page.wait_for_timeout(300)
    assert page.evaluate("window.pwned") is None and asked == []
    assert page.evaluate("document.querySelectorAll('[onerror],[onload],a[href^=javascript]').length") == 0
    assert watched.outside() == []
    if attack == ATTACKS[1]:
        screenshot(page, f"hostile-{make.__name__}")
    page.close()
