"""The workspace: one folder on disk that holds every result; its paths, atomic writes and lock.

A file is either replaced atomically or, once committed, never written again; a reader therefore needs no lock.
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
from curation.base.text import is_text, printable

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""Number of the folder's layout; a workspace with another number is refused, never guessed at."""

MARKER = "workspace.json"
"""What tells a workspace from other folders: its format and where its data is."""

_JOURNAL = "curate"
"""The logger of ``curation.base.progress``."""

_JOURNAL_BYTES = 2**20
"""Size at which the log is put aside as curate.log.1."""


@dataclass(frozen=True)
class Workspace:
    """Paths inside one workspace folder."""

    root: Path

    @property
    def marker(self) -> Path:
        """What the workspace is: its format and the source of its data."""
        return self.root / MARKER

    @property
    def settings(self) -> Path:
        """The user's settings, if any."""
        return self.root / "curate.toml"

    @property
    def images(self) -> Path:
        """The images table."""
        return self.root / "images.parquet"

    @property
    def listing(self) -> Path:
        """Where each image's bytes are and what the source says of it; see ``read_listing``."""
        return self.root / "listing.parquet"

    @property
    def ingest(self) -> Path:
        """What was left out of the source and why."""
        return self.root / "ingest.json"

    @property
    def measurements(self) -> Path:
        """Folder of the measurements, by content hash and probe fingerprint."""
        return self.root / "measurements"

    @property
    def issues(self) -> Path:
        """The issues table."""
        return self.root / "issues.parquet"

    @property
    def opinion_issues(self) -> Path:
        """What peers found, as issue rows under their names; never read by a check or a policy."""
        return self.root / "opinion_issues.parquet"

    @property
    def pairs(self) -> Path:
        """Verified near-duplicate pairs of distinct contents."""
        return self.root / "pairs.parquet"

    @property
    def subjects(self) -> Path:
        """Who is who among the faces, where somebody asked; how it was found is beside it as JSON."""
        return self.root / "subjects.parquet"

    @property
    def decisions(self) -> Path:
        """The append-only log of decisions."""
        return self.root / "decisions.jsonl"

    @property
    def policies(self) -> Path:
        """Folder of the policies that were applied, by their fingerprints."""
        return self.root / "policies"

    @property
    def overlaps(self) -> Path:
        """Folder of what this data shares with others, and of what was measured on those."""
        return self.root / "overlaps"

    @property
    def manifests(self) -> Path:
        """Folder of the manifest versions."""
        return self.root / "manifests"

    @property
    def tags(self) -> Path:
        """Names given to versions, append-only."""
        return self.manifests / "tags.jsonl"

    @property
    def models(self) -> Path:
        """Folder of the training runs."""
        return self.root / "models"

    @property
    def predictions(self) -> Path:
        """Folder of the predictions tables."""
        return self.root / "predictions"

    @property
    def labels(self) -> Path:
        """The judgement of every label."""
        return self.root / "labels.parquet"

    @property
    def folds(self) -> Path:
        """Folder of the cross-validations' fits, by recipe and content."""
        return self.predictions / "folds"

    @property
    def reports(self) -> Path:
        """Folder of the pages."""
        return self.root / "reports"

    @property
    def findings(self) -> Path:
        """Folder of what was found out about models, by run and section."""
        return self.root / "findings"

    @property
    def peer_pages(self) -> Path:
        """Folder of the pages that peers made themselves, a folder per peer."""
        return self.reports / "peers"

    @property
    def review(self) -> Path:
        """Folder of what people answer in the App: journals, sessions, blind samples, conflicts."""
        return self.root / "review"

    @property
    def votes(self) -> Path:
        """Folder of the votes tables: imported ones and people's blind labels."""
        return self.root / "votes"

    @property
    def blind_labels(self) -> Path:
        """Votes table of people's blind labels: path, label, person, time."""
        return self.votes / "blind.parquet"

    @property
    def sources(self) -> Path:
        """Folder of unpacked archives, by content hash."""
        return self.root / "sources"

    @property
    def written(self) -> Path:
        """Folder of what was written outside, a record per file: it may be written over while nobody changed it."""
        return self.root / "written"

    @property
    def state(self) -> Path:
        """Which inputs the tables on disk were made from."""
        return self.root / "state.json"

    @property
    def challenges(self) -> Path:
        """What was learned of the data's challenges; see ``curation.checks.challenges.model``."""
        return self.root / "challenges.npz"

    @property
    def calibration(self) -> Path:
        """Thresholds that an audit fitted to these images (``settings``) and what it measured (``evidence``)."""
        return self.root / "calibration.json"

    @property
    def journal(self) -> Path:
        """The command's own messages, for a person to read after the fact."""
        return self.root / "curate.log"


def is_workspace(folder: Path) -> bool:
    """Return whether ``folder`` is a workspace of this tool, of any format."""
    try:
        return "format" in reading.json_object(reading.contents(folder / MARKER))
    except (OSError, ValueError):
        return False


def option_of(workspace: Workspace) -> str:
    """Return what names a workspace on the command line; "" for the default one."""
    return "" if workspace.root == Path("workspace") else f" -w {shlex.quote(str(workspace.root))}"


def app_dataset(root: Path, version: str) -> str:
    """Return what a version is called in the App: the workspace's folder, a mark of where it lies, and the version."""
    mark = hashlib.sha256(str(root.resolve()).encode("utf-8")).hexdigest()[:6]
    return f"{root.resolve().name} {mark} {version}"


def create_workspace(root: Path) -> Workspace:
    """Return the workspace at ``root``, made if it is absent.

    Raises:
        WorkspaceError: the folder exists, holds files and is no workspace, or cannot be written.

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
    """Refuse a folder that is no workspace and cannot become one; nothing is made.

    Raises:
        WorkspaceError: it holds other files.

    """
    _require_text(root)
    if not root.exists() or os.path.lexists(Workspace(root).marker):
        return
    other_files = [entry.name for entry in os.scandir(root) if not _may_precede_marker(entry.name)]
    if other_files:
        raise WorkspaceError(
            f"{root} holds other files ({other_files[0]}) and is no workspace; name an empty or new folder with -w"
        )


def _may_precede_marker(name: str) -> bool:
    """A settings file may be laid down first; locks and temporary files are ours."""
    return name in {"curate.toml", "curate.log", "curate.log.1"} or name.startswith(".")


def open_workspace(root: Path) -> Workspace:
    """Return the workspace at ``root``.

    Raises:
        WorkspaceError: there is none, it is of another format, or holds what no workspace of ours does.

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
    """Hold the workspace's writer lock; the operating system frees it when its holder dies.

    Raises:
        WorkspaceError: another process holds it for longer than ``timeout_s`` seconds; it is named.

    """
    written = (workspace.root, workspace.manifests)
    with files.locked_folder(workspace.root, "wait for it or use another workspace", timeout_s, written):
        _remove_stale_temporaries(workspace.root)
        with _journal_kept(workspace):
            yield


class _OneLine(logging.Formatter):
    """What is done, on one line each, whatever names are in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(super().format(record))


class _Journal(RotatingFileHandler):
    """A log that a full disk silences: what is worth a sentence fails by itself."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's own name
        """Go on without the line."""


@contextlib.contextmanager
def _journal_kept(workspace: Workspace) -> Iterator[None]:
    """Write what is done under the lock to the workspace's log: the command, its steps, how it ended."""
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
    """Delete what a killed writer left half written; only the lock's holder may call this."""
    folders = (root, *(root / name for name in ("manifests", "reports", "review", "votes", "predictions")))
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
    if found["path"].duplicated().any():
        raise WorkspaceError(f"{workspace.listing} is damaged (an image twice); delete it and run: curate run DATA")
    found = found.astype(dict.fromkeys(("path", "url", "split", "label"), "str"))
    marker = files.read_json(workspace.marker) or {}
    found["url"] = _moved(found["url"], workspace, marker.get("folder", ""))
    trust.require_own_images(found, marker, workspace.sources)
    return found.assign(**{name: "" for name in ("subject", "soft_label") if name not in found})


def source_of(workspace: Workspace) -> str:
    """Return where the data set was read from, "" where that is not recorded.

    Raises:
        WorkspaceError: the marker is damaged.

    """
    return str((files.read_json(workspace.marker) or {}).get("source", ""))


def read_opinions(workspace: Workspace) -> pd.DataFrame | None:
    """Return what peers flagged, as issue rows with the columns peer and version; None where none has been asked.

    Raises:
        WorkspaceError: the table is damaged.

    """
    return files.read_table(workspace.opinion_issues) if workspace.opinion_issues.exists() else None


def _moved(urls: pd.Series, workspace: Workspace, before: object) -> pd.Series:
    """Return where images that lie in the workspace itself are now, after it was moved or copied from ``before``."""
    now = str(workspace.root.absolute())
    if not isinstance(before, str) or before in ("", now):
        return urls
    inside = f"{before}/{workspace.sources.name}/"
    return urls.where(~urls.str.startswith(inside), f"{now}/{workspace.sources.name}/" + urls.str.slice(len(inside)))


def foreign(root: Path) -> list[str]:
    """Return what the workspace at ``root``, which somebody sent, would touch or wants to be trusted with.

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


def read_issues(workspace: Workspace) -> pd.DataFrame:
    """Return the issues table, checked against its schema.

    Raises:
        WorkspaceError: the table is absent or damaged.

    """
    return files.read_checked("issues", workspace.issues)
