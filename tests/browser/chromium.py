"""Chromium for the tests: how it is started, what is opened in it, what is looked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ARTIFACTS = Path(__file__).parents[2] / "artifacts"
"""Where screenshots are kept, to be looked at."""

SIZES = {"phone": (390, 844), "tablet": (768, 1024), "laptop": (1366, 768)}
SERIOUS = {"serious", "critical"}


class Watched:
    """A page whose errors and requests are written down from the start."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def outside(self) -> list[str]:
        """Return the requests that left the file."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]

    def fits(self, width: int) -> bool:
        """Tell whether nothing has to be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth") <= width)


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)


def serious_violations(browser: Browser, path: Path, scheme: str) -> list[str]:
    """Return the serious and critical rules of axe that a page breaks with all its sections open."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    # axe brings its own script, which the page's content security policy rightly refuses
    page = browser.new_page(
        viewport={"width": 1366, "height": 768},
        color_scheme="dark" if scheme == "dark" else "light",
        bypass_csp=True,
    )
    page.goto(path.as_uri())
    page.locator("[data-fold=open]").click()
    found = axe.Axe().run(page).response["violations"]
    page.close()
    return [violation["id"] for violation in found if violation["impact"] in SERIOUS]
