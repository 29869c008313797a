"""Exact and near copies shared with another data set, on both sides, by split and class.

Nothing is decided here. Shared images are stored in the workspace and become issues of the check ``overlap``, on which
a policy may act (``[[exclude]] check = "overlap"``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from curation.base import files, memory
from curation.base import settings as settings_of
from curation.base.errors import WorkspaceError
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_listing
from curation.pipeline import steps

if TYPE_CHECKING:
    from curation.checks.duplicates.candidates import Candidates
    from curation.checks.duplicates.find import Engine

SHARED_COLUMNS = ["path", "split", "label", "sha256", "kind", "probability", "transform"]
"""An image and how it is shared (exact or near); then follow the path of its likeliest partner, and the splits and
labels of all its partners."""

_PICTURES = 60
"""Most pairs that the page shows, taken in turn from each split, class and kind."""


_SURE = 0.95
"""Least probability of a near copy between two data sets. It is higher than within one, whose own pairs show how alike
two of its people may look (``curation.checks.duplicates.calibration.in_company``)."""


@dataclass(frozen=True)
class Side:
    """One of the two data sets: images with measurements, one row per image, and the folder of its thumbnails."""

    name: str
    images: pd.DataFrame
    store: Path
    settings: Settings


@dataclass(frozen=True)
class Overlap:
    """What two data sets share: ``mine`` and ``theirs`` have a row per shared image with its likeliest partner."""

    name: str
    mine: pd.DataFrame
    theirs: pd.DataFrame
    counts: pd.DataFrame
    lines: list[str]
    page: Path

    def record(self) -> dict[str, Any]:
        """Return the result as a JSON record."""
        tables = {"shared": self.mine, "theirs": self.theirs, "counts": self.counts}
        return {
            "other": self.name,
            **{name: table.to_dict("records") for name, table in tables.items()},
            "page": str(self.page),
        }


def overlap(workspace: Workspace, other: str, settings: Settings, display: Display) -> Overlap:
    """Find what the workspace's data shares with ``other``, store it, and run the check; the caller holds the lock.

    Args:
        workspace: that was scanned.
        other: a data set as ``curate run`` takes it, or a workspace, whose measurements are read.
        settings: in force.
        display: shows the steps.

    Raises:
        CurationError: there is no such data set, or it holds no images.

    """
    memory.require(memory.Needed.curating)
    scanned = steps.scanned_before(workspace, settings, display)
    here = Side("this data", _joined(scanned.images, scanned.measurements), workspace.measurements, settings)
    folder = folder_of(workspace, other)
    there = other_side(workspace, other, folder, settings, display)
    mine, theirs = _shared(workspace, here, there, display)
    files.write_table(folder / "shared.parquet", mine)
    counts = pd.concat([_counted("this data", here.images, mine), _counted("the other", there.images, theirs)])
    lines = _sentences(here, there, mine, theirs)
    page = workspace.reports / f"overlap-{folder.name}.html"
    files.write_bytes(page, _page(here, there, mine, counts, lines).encode("utf-8"))
    steps.check(workspace, scanned, settings, display)
    return Overlap(there.name, mine, theirs, counts.reset_index(drop=True), [*lines, f"Page: {page}"], page)


def folder_of(workspace: Workspace, other: str) -> Path:
    """Return the workspace's folder for another data set: the last part of its address, and a hash of the whole."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", files.bare_url(other).rstrip("/").rpartition("/")[2]).strip("-")[:40]
    digest = hashlib.sha256(other.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return workspace.overlaps / f"{words or 'other'}-{digest}"


def _joined(images: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the readable images with split, label and hashes of their pixels."""
    wanted = ["path", "sha256", "pixel_sha256", "dhash", "phash", "face_score"]
    readable = measurements.loc[measurements["error"] == "", wanted]
    stated = ["path", "split", "label", *(["url"] if "url" in images else [])]
    return images[stated].merge(readable, on="path")


def other_side(workspace: Workspace, other: str, folder: Path, settings: Settings, display: Display) -> Side:
    """Return the other data set, measured into ``folder`` unless it is a workspace with its own measurements."""
    from curation.measure import load_measurements, measure

    name = files.bare_url(other)
    second = Workspace(Path(other))
    if second.marker.is_file():
        own = settings_of.of_workspace(second)
        measured = load_measurements(read_listing(second), second.measurements, own.measure)
        return Side(name, _joined(read_listing(second), measured), second.measurements, own)
    from curation.formats.source import read_source

    with display.step("Listing the other images"):
        listing = read_source(other, workspace.sources).frame
    if listing.empty:
        raise WorkspaceError(f"no images in {name}")
    store = folder / "measurements"
    with display.step("Measuring the other images") as report:
        measure(listing, store, settings.measure, settings.engine, report)
    measured = load_measurements(listing, store, settings.measure)
    return Side(name, _joined(listing, measured), store, settings)


def _shared(workspace: Workspace, here: Side, there: Side, display: Display) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the shared images of both sides, each with its likeliest partner on the other."""
    near = _near_pairs(workspace, here, there, display)
    same = here.images.merge(there.images, on="pixel_sha256")[["pixel_sha256"]].drop_duplicates()
    exact = pd.DataFrame({"a": same["pixel_sha256"], "b": same["pixel_sha256"]}).assign(
        kind="exact", probability=1.0, transform="none"
    )
    pairs = _without_shots(workspace, pd.concat([exact, near], ignore_index=True))
    return _partnered(here, there, pairs), _partnered(there, here, pairs.rename(columns={"a": "b", "b": "a"}))


def _without_shots(workspace: Workspace, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs without those that are only another shot of the session of a likelier copy here."""
    if not workspace.pairs.exists():
        return pairs
    known = steps.read_pairs(workspace)
    known = known.loc[known["relation"].astype("str") == "same_session", ["pixel_sha256_a", "pixel_sha256_b"]]
    shots = pd.MultiIndex.from_frame(known.astype("str"))
    likeliest = pairs.sort_values("probability", ascending=False, kind="stable").drop_duplicates("b")
    best = pairs["b"].map(dict(zip(likeliest["b"], likeliest["a"], strict=True)))
    either = [pd.MultiIndex.from_arrays(both).isin(shots) for both in ((pairs["a"], best), (best, pairs["a"]))]
    return pairs[~(either[0] | either[1])]


def _partnered(side: Side, other: Side, pairs: pd.DataFrame) -> pd.DataFrame:
    partners = other.images.groupby("pixel_sha256").agg(
        other_path=("path", "min"), other_sha256=("sha256", "first"), splits=("split", set), labels=("label", set)
    )
    found = side.images.merge(pairs, left_on="pixel_sha256", right_on="a").merge(
        partners, left_on="b", right_index=True
    )
    ordered = found.sort_values(["path", "kind", "probability", "other_path"], ascending=[True, True, False, True])
    best = ordered.drop_duplicates("path").set_index("path")
    for column, name in (("splits", "other_splits"), ("labels", "other_labels")):
        every = ordered.groupby("path")[column].agg(lambda sets: ", ".join(sorted(set().union(*sets) - {""})))
        best[name] = every.reindex(best.index)
    return best.reset_index()[[*SHARED_COLUMNS, "other_path", "other_splits", "other_labels", "other_sha256"]]


def _near_pairs(workspace: Workspace, here: Side, there: Side, display: Display) -> pd.DataFrame:
    """Return the near copies between the distinct contents of both sides: a, b (pixels), kind and more."""
    from curation.checks.duplicates import find_near_duplicates
    from curation.measure import load_thumbnails

    sides = [side.images.drop_duplicates("pixel_sha256").sort_values("pixel_sha256") for side in (here, there)]
    stores = [(side.store, side.settings.measure) for side in (here, there)]
    thumbnails = [
        load_thumbnails(contents["sha256"].tolist(), *store) for contents, store in zip(sides, stores, strict=True)
    ]
    both = pd.concat(sides, ignore_index=True)
    dhash, phash = (both[name].to_numpy(dtype=np.int64) for name in ("dhash", "phash"))
    found = find_near_duplicates(
        np.concatenate(thumbnails),
        dhash,
        phash,
        here.settings.duplicates,
        display,
        engine=_between(len(sides[0]), len(both)),
        folder=workspace.root,
    )
    across = (found["i"] < len(sides[0])) & (found["j"] >= len(sides[0]))
    found = found[across & (found["relation"] == "near_duplicate") & (found["probability"] >= _SURE)]
    names = both["pixel_sha256"].to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "a": names[found["i"].to_numpy()],
            "b": names[found["j"].to_numpy()],
            "kind": "near",
            "probability": found["probability"].to_numpy(dtype=np.float64),
            "transform": found["transform"].astype("str").to_numpy(),
        }
    )


def _between(first: int, size: int) -> Engine:
    """Return the search that compares rows below ``first`` with rows from there to ``size``.

    Pictures with a likely copy are also compared with their own side: one that has shots of its session there is
    likelier to meet another shot than a copy (``curation.checks.duplicates.calibration.in_company``).
    """
    from curation.checks.duplicates import local_engine

    engine = local_engine()

    def across(pictures: Any, named: Candidates, report: Any) -> Any:
        a, b = named.pairs.T
        apart = (a < first) & (b >= first)
        likely = np.zeros(int(b.max(initial=-1)) + 1, dtype=np.bool_)
        for batch in engine.verify(pictures, named.some(apart), report):
            likely[batch.candidates.pairs[batch.odds > 0]] = True
            yield batch
        home = ~apart & (likely[a] | likely[b]) & (b < size)
        yield from engine.verify(pictures, named.some(home), None)

    return engine._replace(verify=across)


def _counted(whose: str, images: pd.DataFrame, shared: pd.DataFrame) -> pd.DataFrame:
    """Return side, split, label, images, exact, near, share (0..1): a row per class and split with shared images."""
    kinds = shared.groupby(["split", "label", "kind"]).size().unstack(fill_value=0)
    kinds = kinds.reindex(columns=["exact", "near"], fill_value=0)
    sizes = images.groupby(["split", "label"]).size().rename("images")
    counts = kinds.join(sizes).reset_index()
    counts["share"] = (counts["exact"] + counts["near"]) / counts["images"]
    counts.insert(0, "side", whose)
    return counts[["side", "split", "label", "images", "exact", "near", "share"]]


def _sentences(here: Side, there: Side, mine: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
    lines = []
    for side, shared, where in ((here, mine, f"in {there.name}"), (there, theirs, "in this data")):
        exact = int((shared["kind"] == "exact").sum())
        lines.append(
            f"{len(shared):,} of the {len(side.images):,} readable images of {side.name} are {where}: "
            f"{exact:,} as they are, {len(shared) - exact:,} as near copies."
        )
    sizes = here.images.groupby("split").size()
    for split, rows in mine[mine["split"] != ""].groupby("split"):
        uses = rows["other_splits"].str.split(", ").explode().loc[lambda names: names != ""].value_counts()
        named = ", ".join(f"{number:,} in its {name}" for name, number in uses.items())
        lines.append(f"Of the split {split}: {len(rows):,} of {sizes[split]:,}{f' ({named})' if named else ''}.")
    differing = mine[(mine["label"] != mine["other_labels"]) & (mine["label"] != "") & (mine["other_labels"] != "")]
    if len(differing):
        lines.append(f"{len(differing):,} of them have another label there.")
    return lines


def _page(here: Side, there: Side, mine: pd.DataFrame, counts: pd.DataFrame, lines: Sequence[str]) -> str:
    """Return the page: counts, and pairs of pictures from each split and class in turn."""
    from curation.measure import load_thumbnails
    from reports import overlap_page

    turn = mine.groupby(["split", "label", "kind"]).cumcount()
    shown = mine.assign(turn=turn).sort_values(["turn", "path"]).head(_PICTURES).drop(columns="turn")
    for side, column in ((here, "sha256"), (there, "other_sha256")):
        pictures = load_thumbnails(shown[column].tolist(), side.store, side.settings.measure)
        shown[f"{column}_picture"] = [picture.tobytes() for picture in pictures]
    return overlap_page(there.name, lines, counts, shown, len(mine))
