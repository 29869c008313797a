"""Make the pictures of the README from the drawn sample: python docs/pictures.py (needs Chromium).

No picture of a person is in them: the faces are drawn.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
CURATE = Path(sys.executable).with_name("curate")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def main() -> None:
    """Curate a sample and photograph its report."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is absent; install it (Debian: apt-get install chromium) and run this again")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for command in (["sample", "sample"], ["run", "sample"]):
            subprocess.run([str(CURATE), *command], cwd=scratch, check=True)  # noqa: S603 -- our own command
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS.split())
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.goto((Path(scratch) / "workspace" / "reports" / "cleaning.html").as_uri())
            page.wait_for_timeout(1500)
            # where the scratch folder lies is of no interest to a reader
            page.evaluate("document.querySelectorAll('code.source').forEach(e => e.textContent = 'sample')")
            page.screenshot(path=IMAGES / "report.png")
            for name, heading in (("copies", "Copies, conflicts, leaks"), ("observed", "Observed issues")):
                _section(page, heading, IMAGES / f"{name}.png")
            browser.close()


def _section(page: Page, heading: str, path: Path) -> None:
    """Photograph the page from a section's heading on."""
    page.get_by_role("link", name=heading).first.click()
    page.wait_for_timeout(800)
    page.screenshot(path=path)


if __name__ == "__main__":
    main()
