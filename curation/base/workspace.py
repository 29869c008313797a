"""The workspace: the folder that holds every result; its paths, its lock, and the readers of its tables.

A file is either replaced atomically or, once committed, never written again, so readers need no lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from curation.base import files, reading, trust
from curation.base.errors import WorkspaceError
from curation.base.frames import are_distinct
from curation.base.text import is_text, printable

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""Number of the folder's layout; a workspace with another number is refused."""

MARKER = "workspace.json"
"""The file that makes a folder a workspace: its format and where its data is."""

_JOURNAL = "curate"
"""The logger of ``curation.base.progress``."""

_JOURNAL_BYTES = 2**20
"""Size at which the log is rotated to curate.log.1."""


class _Below:
    """The path of something in a workspace, relative to its folder."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __get__(self, workspace: Workspace, owner: type[Workspace]) -> Path:
        return workspace.root / self._place


@dataclass(frozen=True)
class Workspace:
    """Paths inside one workspace folder."""

    root: Path

    marker = _Below(MARKER)
    """Format of the workspace and source of its data."""
    settings = _Below("curate.toml")
    """The user's settings, if any."""
    images = _Below("images.parquet")
    """The images table."""
    listing = _Below("listing.parquet")
    """Where each image's bytes are and what the source states about it; see ``read_listing``."""
    ingest = _Below("ingest.json")
    """What was left out of the source and why."""
    measurements = _Below("measurements")
    """Folder of the measurements, by content hash and probe fingerprint."""
    issues = _Below("issues.parquet")
    """The issue rows that are stored whole; see ``curation.base.issues``."""
    scores = _Below("scores")
    """Folder of the scores and numbers of every check, a row an image, by content hash: the issues name the file."""
    opinion_issues = _Below("opinion_issues.parquet")
    """What peers found, as issue rows under their names; never read by a check or a policy."""
    pairs = _Below("pairs.parquet")
    """Verified near-duplicate pairs of distinct contents."""
    subjects = _Below("subjects.parquet")
    """Who is who among the faces, if asked for; how it was found is beside it as JSON."""
    decisions = _Below("decisions.jsonl")
    """The append-only log of decisions."""
    policies = _Below("policies")
    """Folder of the policies that were applied, by their fingerprints."""
    overlaps = _Below("overlaps")
    """Folder of what this data set shares with others, and of what was measured on those."""
    manifests = _Below("manifests")
    """Folder of the manifest versions."""
    tags = _Below("manifests/tags.jsonl")
    """Names given to versions, append-only."""
    models = _Below("models")
    """Folder of the training runs."""
    predictions = _Below("predictions")
    """Folder of the tables of predictions."""
    labels = _Below("labels.parquet")
    """The judgement of every label."""
    folds = _Below("predictions/folds")
    """Folder of the fits of cross-validations, by recipe and content."""
    reports = _Below("reports")
    """Folder of the pages."""
    findings = _Below("findings")
    """Folder of findings about models, by run and section."""
    peer_pages = _Below("reports/peers")
    """Folder of the pages that peers write themselves, a folder per peer."""
    review = _Below("review")
    """Folder of what people answer in the App: journals, sessions, blind samples, conflicts."""
    votes = _Below("votes")
    """Folder of the votes tables: imported ones and people's blind labels."""
    blind_labels = _Below("votes/blind.parquet")
    """Votes table of people's blind labels: path, label, person, time."""
    sources = _Below("sources")
    """Folder of unpacked archives, by content hash."""
    written = _Below("written")
    """Folder of records of files written outside: one may be overwritten as long as nobody changed it."""
    state = _Below("state.json")
    """Which inputs the tables on disk were made from."""
    challenges = _Below("challenges.npz")
    """The model of the data's challenges; see ``curation.checks.challenges.model``."""
    calibration = _Below("calibration.json")
    """Thresholds that an audit fitted to these images (``settings``) and what it measured (``evidence``)."""
    journal = _Below("curate.log")
    """Log of the commands, for people to read."""


def is_workspace(folder: Path) -> bool:
    """Return whether ``folder`` is a workspace of this tool, of any format."""
    try:
        return "format" in reading.json_object(reading.contents(folder / MARKER))
    except (OSError, ValueError):
        return False


def option_of(workspace: Workspace) -> str:
    """Return the option that names a workspace on the command line, "" for the default one."""
    return "" if workspace.root == Path("workspace") else f" -w {shlex.quote(str(workspace.root))}"


def app_dataset(root: Path, version: str) -> str:
    """Return the name of a version in the App: the workspace's folder, a hash of its location, and the version."""
    mark = hashlib.sha256(str(root.resolve()).encode("utf-8")).hexdigest()[:6]
    return f"{root.resolve().name} {mark} {version}"


def create_workspace(root: Path) -> Workspace:
    """Return the workspace at ``root``, created if it is absent.

    Raises:
        WorkspaceError: the folder holds other files, or cannot be written.

    """
    workspace = Workspace(root)
    _require_text(root)
    try:
        if os.path.lexists(workspace.marker):
            return open_workspace(root)
        require_own(root)
        files.make_folder(root)
        trust.require_plain(root)
        files.write_json(workspace.marker, {"format": FORMAT})
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WorkspaceError(f"cannot make a workspace at {root}: {reason}; name another folder with -w") from error
    return workspace


def _require_text(root: Path) -> None:
    if not is_text(str(root.absolute())):
        raise WorkspaceError(f"the folder {str(root)!r} has a name that is not UTF-8; name another with -w")


def require_own(root: Path) -> None:
    """Refuse a folder that is not a workspace and cannot become one; nothing is created.

    Raises:
        WorkspaceError: it holds other files.

    """
    _require_text(root)
    if not root.exists() or os.path.lexists(Workspace(root).marker):
        return
    # a settings file may come first; locks and temporary files are this tool's
    own = {"curate.toml", "curate.log", "curate.log.1"}
    other_files = [entry.name for entry in os.scandir(root) if entry.name not in own and entry.name[0] != "."]
    if other_files:
        raise WorkspaceError(
            f"{root} holds other files ({other_files[0]}) and is not a workspace; name an empty or new folder with -w"
        )


def open_workspace(root: Path) -> Workspace:
    """Return the workspace at ``root``.

    Raises:
        WorkspaceError: there is none, it has another format, or holds anything but files and folders.

    """
    workspace = Workspace(root)
    _require_text(root)
    try:
        found = reading.json_object(reading.contents(workspace.marker))
        number = found["format"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WorkspaceError(f"no workspace at {root}; make one with: curate run DATA -w {root}") from error
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WorkspaceError(f"{workspace.marker} cannot be read ({reason}); restore it or use a new folder") from error
    if number != FORMAT:
        raise WorkspaceError(
            f"{root} has workspace format {number!r}, this version reads {FORMAT}; use the version that made it"
        )
    trust.require_plain(root)
    return workspace


@contextlib.contextmanager
def locked(workspace: Workspace, timeout_s: float = 10.0) -> Iterator[None]:
    """Hold the workspace's writer lock; the operating system releases it if the process dies.

    Raises:
        WorkspaceError: another process, which is named, holds it for longer than ``timeout_s`` seconds.

    """
    written = (workspace.root, workspace.manifests)
    with files.locked_folder(workspace.root, "wait for it or use another workspace", timeout_s, written):
        _remove_stale_temporaries(workspace.root)
        with _journal_kept(workspace):
            yield


class _OneLine(logging.Formatter):
    """One line per record, whatever characters are in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(super().format(record))


class _Journal(RotatingFileHandler):
    """A log that a full disk silences: what the command itself writes fails with its own error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's own name
        """Go on without the line."""


@contextlib.contextmanager
def _journal_kept(workspace: Workspace) -> Iterator[None]:
    """Log what is done under the lock: the command, its steps, how it ended."""
    logger = logging.getLogger(_JOURNAL)
    handler = _Journal(workspace.journal, maxBytes=_JOURNAL_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(_OneLine("%(asctime)s %(process)d %(levelname)s %(message)s"))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    command = [Path(sys.argv[0]).name, *(files.bare_url(word) if "://" in word else word for word in sys.argv[1:])]
    logger.info("begins: %s", " ".join(command))
    try:
        yield
        logger.info("done")
    except BaseException as error:
        logger.error("failed: %s: %s", type(error).__name__, files.without_secrets(str(error)))
        raise
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


def _remove_stale_temporaries(root: Path) -> None:
    """Delete unfinished files of killed writers; the caller holds the lock."""
    names = ("manifests", "reports", "review", "votes", "predictions", "policies", "written", "overlaps", "scores")
    folders = (root, *(root / name for name in names))
    for folder in filter(Path.is_dir, folders):
        for entry in folder.glob(".*.tmp"):
            if files.is_abandoned(entry):  # the App writes its journals without the lock
                entry.unlink(missing_ok=True)


def read_listing(workspace: Workspace) -> pd.DataFrame:
    """Read where each image's bytes are: path, url, bytes, mtime_ns, split, label, subject, soft_label.

    Raises:
        WorkspaceError: the table is absent or damaged, or names a file outside the data set.

    """
    texts, to_do = ("path", "url", "split", "label"), "delete it and run: curate run DATA"
    found = files.read_table(workspace.listing, to_do, texts=texts, numbers=("bytes", "mtime_ns"))
    if not are_distinct(found["path"].astype("str")):
        raise WorkspaceError(f"{workspace.listing} is damaged (an image twice); delete it and run: curate run DATA")
    found = found.astype(dict.fromkeys(("path", "url", "split", "label"), "str"))
    marker = files.read_json(workspace.marker) or {}
    found["url"] = _moved(found["url"], workspace, marker.get("folder", ""))
    trust.require_own_images(found, marker, workspace.sources)
    return found.assign(**{name: "" for name in ("subject", "soft_label") if name not in found})


def source_of(workspace: Workspace) -> str:
    """Return where the data set was read from, "" if that is not recorded.

    Raises:
        WorkspaceError: the marker is damaged.

    """
    return str((files.read_json(workspace.marker) or {}).get("source", ""))


def read_opinions(workspace: Workspace) -> pd.DataFrame | None:
    """Return what peers flagged, as issue rows with the columns peer and version; None if none was run.

    Raises:
        WorkspaceError: the table is damaged.

    """
    return files.read_table(workspace.opinion_issues) if workspace.opinion_issues.exists() else None


def _moved(urls: pd.Series, workspace: Workspace, before: object) -> pd.Series:
    """Return the URLs of images inside the workspace after it was moved or copied from ``before``."""
    now = str(workspace.root.absolute())
    if not isinstance(before, str) or before in ("", now):
        return urls
    inside = f"{before}/{workspace.sources.name}/"
    return urls.where(~urls.str.startswith(inside), f"{now}/{workspace.sources.name}/" + urls.str.slice(len(inside)))


def foreign(root: Path) -> list[str]:
    """Return what a workspace from somebody else would touch or asks to be trusted with, a sentence each.

    Raises:
        WorkspaceError: there is none, or it is damaged.

    """
    workspace = Workspace(root)
    if not is_workspace(root):
        raise WorkspaceError(f"no workspace at {root}; name the folder that was sent with -w")
    marker = reading.json_object(reading.contents(workspace.marker))
    listing = None
    if workspace.listing.is_file() and not workspace.listing.is_symlink():
        listing = files.read_table(workspace.listing)[["path", "url"]].astype("str")
    return trust.foreign(root, marker, listing)


def read_images(workspace: Workspace) -> pd.DataFrame:
    """Return the images table, checked against its schema.

    Raises:
        WorkspaceError: the table is absent or damaged.

    """
    return files.read_checked("images", workspace.images)
