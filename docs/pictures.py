"""Make the pictures of README and site from the drawn sample, and measure the checks on it: python docs/pictures.py.

Needs Chromium, and for the picture of the App the extra ``review``. No picture of a person is in them: the faces are
drawn. What the checks found of what was planted goes into ``measured.json``, from which the site's tables are made.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from curation.base.issues import read_issues
from curation.base.workspace import open_workspace
from curation.checks.registry import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
CURATE = [sys.executable, "-m", "curation"]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
MOST_BYTES = 200_000
_START_S = 600
_FACE = 96
"""Side in px at which a 48 px face is shown."""

_SAME_AS = {check: {"blank"} for check in ("no_face", "low_contrast", "dark", "bright")}
"""What else a check is right about: an empty picture shows no face either, and is black, white or grey."""


def main() -> None:
    """Curate a sample, measure the checks, photograph report and App."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is absent; install it (Debian: apt-get install chromium) and run this again")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for command in (["sample", "sample"], ["run", "sample", "--subject-from", r"/(p\d+)_"]):
            subprocess.run([*CURATE, *command], cwd=folder, check=True)  # noqa: S603 -- our own command
        issues = read_issues(open_workspace(folder / "workspace")).every()
        truth = pd.read_csv(folder / "sample" / "truth.csv", keep_default_na=False)
        found = score(issues, truth)
        measured = {
            "date": datetime.now(UTC).date().isoformat(),
            "images": len(truth),
            "checks": found,
            "not_run": {check: len(paths) for check, paths in planted(truth).items() if check not in found},
        }
        (DOCS / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
        wanted = planted(truth)
        for check in CHECKS:
            draw_check(check, issues, wanted.get(check, set()), folder / "sample")
        people(truth, folder / "sample")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS.split())
            report(browser, folder / "workspace" / "reports" / "cleaning.html")
            app(browser, folder)
            browser.close()


def score(issues: pd.DataFrame, truth: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return for every check with a known truth: planted, found of them, flagged, right and plain ones of those.

    An image may be right under two checks and is planted under one (what is dark has little contrast too), so right is
    a lower bound; plain are the false alarms.
    """
    kind = truth.set_index("path")["defect"].str.partition(":")[0]
    source = _sources(truth)
    copies = {
        check: set(source.index[source.duplicated(keep=False)]) for check in ("exact_duplicate", "near_duplicate")
    }
    found = {}
    for check, wanted in planted(truth).items():
        rows = issues[issues["check"] == check]
        if rows.empty:
            continue
        flagged = set(rows.loc[rows["is_issue"], "path"])
        also = set(kind.index[kind.isin(_SAME_AS.get(check, set()))]) | copies.get(check, set())
        found[check] = {
            "planted": len(wanted),
            "found": len(wanted & flagged),
            "flagged": len(flagged),
            "right": len(flagged & (wanted | also)),
            "plain": len(flagged & set(kind.index[kind == "plain"]) - wanted - also),
        }
    return found


def _sources(truth: pd.DataFrame) -> pd.Series:
    """Return by path the picture that an image is, or is a copy of."""
    of = truth.set_index("path")["of"]
    return of.where(of != "", of.index.to_series())


def planted(truth: pd.DataFrame) -> dict[str, set[str]]:
    """Return for every check the paths that it should flag."""
    told = truth.set_index("path")
    kind = told["defect"].str.partition(":")[0]
    wanted: dict[str, set[str]] = {check: set(kind.index[kind == check]) for check in CHECKS if (kind == check).any()}
    places = told.index.to_series().str.split("/", expand=True)
    for check, column in (("label_conflict", 1), ("split_leak", 0)):
        several = places[column].groupby(_sources(truth)).transform("nunique") > 1
        wanted[check] = set(several.index[several])
    several = told["subject"].map(places[0].groupby(told["subject"]).nunique()) > 1
    wanted["subject_leak"] = set(told.index[several & (told["subject"] != "")])
    return wanted


def draw_check(check: str, issues: pd.DataFrame, wanted: set[str], folder: Path) -> None:
    """Draw up to six images that a check flags, copies beside each other; what is planted where it was not run.

    What is planted for it comes first: what else it flags is another check's picture.
    """
    rows = issues[(issues["check"] == check) & issues["is_issue"]]
    rows = rows.assign(other=~rows["path"].isin(wanted)).sort_values(["other", "score", "path"])
    if len(rows) and (rows["group"] != "").any():
        groups = rows[rows["group"] != ""].groupby("group", sort=False)["path"]
        paths = [path for _, members in list(groups)[:3] for path in members.tolist()[:2]]
    elif len(rows):
        paths = rows["path"].tolist()[:6]
    else:
        paths = sorted(wanted)[:6]
    strip(paths, folder, IMAGES / "checks" / f"{check}.png")


def people(truth: pd.DataFrame, folder: Path) -> None:
    """Draw some of the people, and a session of one of them."""
    plain = truth[truth["defect"] == "plain"]
    strip(plain.drop_duplicates("subject")["path"].tolist()[:24], folder, IMAGES / "people.png", columns=12)
    sessions = plain[plain["session"] != ""]
    longest = sessions["session"].value_counts().index[0]
    strip(sessions.loc[sessions["session"] == longest, "path"].tolist(), folder, IMAGES / "session.png")


def strip(paths: Iterable[str], folder: Path, to: Path, columns: int = 6) -> None:
    """Write pictures beside each other; those that cannot be read are left out, and nothing is written for none."""
    faces = []
    for path in paths:
        try:
            faces.append(Image.open(folder / path).convert("L").resize((_FACE, _FACE), Image.Resampling.BICUBIC))
        except OSError:
            continue
    to.parent.mkdir(parents=True, exist_ok=True)
    if not faces:
        to.unlink(missing_ok=True)
        return
    step = _FACE + 4
    rows = -(-len(faces) // columns)
    sheet = Image.new("L", (step * min(columns, len(faces)) - 4, step * rows - 4), 255)
    for place, face in enumerate(faces):
        sheet.paste(face, (step * (place % columns), step * (place // columns)))
    sheet.save(to, optimize=True)


def report(browser: Browser, page_file: Path) -> None:
    """Photograph the report: its top, and two of its sections."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.goto(page_file.as_uri())
    page.wait_for_timeout(1500)
    # where the scratch folder lies is of no interest to a reader
    page.evaluate("document.querySelectorAll('code.source').forEach(e => e.textContent = 'sample')")
    keep(page, "report")
    for name, heading in (("copies", "Copies, conflicts, leaks"), ("observed", "Observed issues")):
        page.get_by_role("link", name=heading).first.click()
        page.wait_for_timeout(800)
        if name == "observed":  # of the first check, unreadable files, there is nothing to see
            page.evaluate("location.hash = 'gallery-no_face'")
            page.wait_for_timeout(800)
        keep(page, name)


def app(browser: Browser, folder: Path) -> None:
    """Photograph the App: its grid, and the view in which copies are decided."""
    with reviewing(folder) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(_START_S * 1000)
        page.goto(address, wait_until="domcontentloaded")
        page.locator("#face-curation-keys").wait_for()
        page.locator("[data-cy=looker]").first.wait_for()
        page.wait_for_timeout(4000)  # the App fades its tiles in
        keep(page, "app-grid")
        page.keyboard.press("n")
        page.locator("#face-curation-viewer:not([hidden]) figcaption").first.wait_for()
        page.wait_for_timeout(2000)
        keep(page, "app")


@contextmanager
def reviewing(folder: Path) -> Iterator[str]:
    """Yield the App's address while ``curate review`` runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["review", "--check", "label_conflict", "--by", "ada", "--port", str(port), "--no-browser", "--no-pull"]
    said = folder / "said.txt"
    with said.open("w") as output:
        running: subprocess.Popen[Any] = subprocess.Popen(  # noqa: S603 -- our own command
            [*CURATE, *words], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + _START_S
        while not (found := re.search(r"Open (http://localhost:\d+/) ", said.read_text())):
            if running.poll() is not None or time.monotonic() > until:
                sys.exit(f"the App did not start: {said.read_text()}")
            time.sleep(0.2)
        yield found[1]
    finally:
        running.terminate()
        running.wait(_START_S)


def keep(page: Page, name: str) -> None:
    """Write what the page shows as WebP, in the best quality that is small enough for a repository."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for quality in (85, 75, 60, 45, 30):
        data = io.BytesIO()
        picture.save(data, "WEBP", quality=quality, method=6)
        if data.tell() <= MOST_BYTES:
            break
    (IMAGES / f"{name}.webp").write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
