"""Select representative subsets to train on, and images to label next.

A subset is diverse (facility location: every image has a chosen one near it) or typical (where images lie densest).
Copies count once, and labels that are probably wrong count less. Images not chosen are excluded by decisions, so that
``curate undo`` reverts a selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.arrays import Floats32, Ints
from curation.base.errors import WorkspaceError, did_you_mean
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import Workspace, read_images
from curation.checks import nearness
from curation.decisions import manifest
from curation.decisions.log import Draft
from curation.models.runs import copy_groups
from curation.pipeline import challenges, decisions, label_store
from curation.pipeline.axes import axes as axes_of
from curation.pipeline.overlap import folder_of, other_side, overlap

How = Literal["diverse", "typical"]

CLASS = "class"
"""A selection may be balanced by class, besides the axes."""

EMBED = "curate check watermark --embed"
"""Command that embeds a data set."""

_NOT_EMBEDDED = f"no image is embedded, so similar images are not known; run: {EMBED}"

_TRAIN = "train"


@dataclass(frozen=True)
class Candidates:
    """Images that may be chosen, one per group of copies, and their embeddings.

    Attributes:
        frame: path, split, label, sha256, right (probability of the label, 1 where labels are not judged), judged.
        points: (n, dimensions) projected embeddings of unit length.

    """

    frame: pd.DataFrame
    points: Floats32


@dataclass(frozen=True)
class Selection:
    """A selection: chosen images (path, split, label, right) in order of choice, the version, and sentences."""

    chosen: pd.DataFrame
    version: manifest.Version | None
    lines: list[str]

    def record(self) -> dict[str, Any]:
        """Return the result as a JSON record."""
        return {
            "chosen": self.chosen.to_dict("records"),
            "version": self.version.name if self.version else None,
            "lines": self.lines,
        }


def candidates(workspace: Workspace, version: manifest.Version, split: str, settings: Settings) -> Candidates:
    """Return the kept, labelled images of a split, one per group of copies.

    Of copies it is the one whose label is likeliest right, then the first by path.

    Raises:
        WorkspaceError: there are none, or some are not embedded.

    """
    rows = manifest.rows(workspace, version)
    kept = rows[(rows["status"] == "kept") & (rows["label"] != "") & (rows["split"] == split)]
    stored = challenges.embeddings(workspace, settings)
    if kept.empty:
        raise WorkspaceError(f"{version.name} keeps no labelled image in the split {split!r}")
    if stored is None:
        raise WorkspaceError(_NOT_EMBEDDED)
    issues = read_issues(workspace).flagged
    unreadable = set(issues.loc[issues["check"] == "unreadable", "path"])
    kept = kept[~kept["path"].isin(unreadable)]
    groups = copy_groups(issues)
    frame = kept[["path", "split", "label", "sha256"]].assign(**_right(workspace, kept))
    frame["picture"] = [groups.get(path, path) for path in frame["path"]]
    frame = frame.sort_values(["right", "path"], ascending=[False, True]).drop_duplicates("picture")
    frame = frame.sort_values("path", ignore_index=True).drop(columns="picture")
    found = stored.known(frame["sha256"].tolist())
    if not found.known.all():
        raise WorkspaceError(f"{int((~found.known).sum()):,} images are not embedded; run: {EMBED}")
    return Candidates(frame, nearness.projection(found.embedding, settings.seed)(found.embedding))


def _right(workspace: Workspace, kept: pd.DataFrame) -> dict[str, Any]:
    """Return right (probability of each image's label) and judged, from the judgement of labels."""
    judged = label_store.stored(workspace, read_images(workspace))
    if judged is None:
        return {"right": 1.0, "judged": False}
    known = judged.set_index("path").reindex(kept["path"])
    right = [
        1.0 - wrong if label == given else posterior.get(label, 0.0) if isinstance(posterior, dict) else 1.0
        for label, given, wrong, posterior in zip(
            kept["label"], known["label"], known["wrong"], known["posterior"], strict=True
        )
    ]
    return {"right": np.clip(np.asarray(right, np.float64), 0, 1), "judged": True}


def choose(pool: Candidates, number: int, how: How, balance: Sequence[str], axes: pd.DataFrame) -> Ints:
    """Return the rows chosen: each class gets its share, or the same number as the others if balanced by class.

    Args:
        pool: to choose from.
        number: of images; at most all are chosen.
        how: diverse or typical.
        balance: class and axes: within a class each value of an axis gets the same number, as far as possible.
        axes: values of the axes, indexed by path.

    """
    levels = [("label", CLASS in balance), *((axis, True) for axis in balance if axis != CLASS)]
    values = pool.frame.join(axes, on="path")
    leaves = [(np.arange(len(values)), min(number, len(values)))]
    for column, even in levels:
        divided = []
        for rows, count in leaves:
            codes, kinds = pd.factorize(values[column].iloc[rows], sort=True)
            parts = [rows[codes == kind] for kind in range(len(kinds))]
            each = nearness.shares(np.array([len(part) for part in parts]), count, even=even)
            divided += list(zip(parts, each.tolist(), strict=True))
        leaves = divided
    right = pool.frame["right"].to_numpy(dtype=np.float64)
    pick = _diverse if how == "diverse" else _typical
    return np.concatenate([pick(pool.points, right, rows, count) for rows, count in leaves if count])


def _diverse(points: Floats32, right: Any, rows: Ints, count: int) -> Ints:
    parts = [rows[part] for part in nearness.partitions(points[rows], 0)]
    each = nearness.shares(np.array([len(part) for part in parts]), count, even=False)
    picked = [
        part[nearness.chosen(points[part], right[part], most)[0]]
        for part, most in zip(parts, each.tolist(), strict=True)
    ]
    return np.concatenate(picked)


def _typical(points: Floats32, right: Any, rows: Ints, count: int) -> Ints:
    away = np.nan_to_num(nearness.lonely(points[rows]))
    place = np.empty(len(rows))
    place[np.argsort(away, kind="stable")] = np.arange(len(rows))
    worth = (1 - place / len(rows)) * right[rows]
    return rows[np.argsort(-worth, kind="stable")[:count]]


def select(
    workspace: Workspace,
    number: int,
    settings: Settings,
    display: Display,
    *,
    by: str,
    how: How = "diverse",
    balance: Sequence[str] = (),
    split: str = "",
    dry_run: bool = False,
) -> Selection:
    """Keep ``number`` images of a split of the cleaned version and exclude the others; the caller holds the lock.

    Other splits stay as they are. Copies of excluded images are excluded too, so that none takes their place.

    Args:
        workspace: that was curated and embedded.
        number: of images.
        settings: in force.
        display: shows the steps.
        by: the person's name.
        how: diverse or typical.
        balance: class and axes, see :func:`choose`.
        split: "" for train, or for all where there is no split train.
        dry_run: take no decision.

    Raises:
        WorkspaceError: there is nothing to choose from, or no such axis.

    """
    version = manifest.find(workspace, "cleaned")
    rows = manifest.rows(workspace, version)
    split = split or (_TRAIN if (rows["split"] == _TRAIN).any() else rows["split"].mode().iloc[0])
    axes, _ = axes_of(workspace, settings)
    for name in balance:
        known = [CLASS, *axes.columns]
        if name not in known:
            raise WorkspaceError(f"no axis {name!r} is known here; {did_you_mean(name, known)}")
    with display.step("Selecting"):
        pool = candidates(workspace, version, split, settings)
        taken = choose(pool, number, how, balance, axes)
    chosen = pool.frame.iloc[taken].reset_index(drop=True)
    lines = _sentences(pool, chosen, number, how, split)
    columns = ["path", "split", "label", "right"]
    if dry_run:
        return Selection(chosen[columns], None, [*lines, "Nothing was decided (--dry-run)."])
    reason = f"not among the {len(chosen)} selected ({', '.join([how, *(f'balanced by {name}' for name in balance)])})"
    gone = _left_out(rows, set(chosen["path"]), split, copy_groups(read_issues(workspace).rows))
    recorded = decisions.record(
        workspace, {by: [Draft(path, "exclude", "", reason) for path in gone]}, settings, display
    )
    undo = f"To revert it: curate undo {recorded.version.name}"
    return Selection(chosen[columns], recorded.version, [*lines, *recorded.notes, undo])


def _left_out(rows: pd.DataFrame, chosen: set[str], split: str, groups: dict[str, str]) -> list[str]:
    """Return the images to exclude: the labelled ones of the split that were not chosen, and their excluded copies."""
    mine = rows[(rows["split"] == split) & (rows["label"] != "") & ~rows["path"].isin(chosen)]
    mine = mine[(mine["status"] == "kept") | mine["path"].isin(groups)]
    named = {groups[path] for path in mine["path"] if path in groups}
    others = rows[(rows["status"] == "excluded") & rows["path"].map(lambda path: groups.get(path, "") in named)]
    return sorted({*mine["path"], *others["path"]} - chosen)


def _sentences(pool: Candidates, chosen: pd.DataFrame, number: int, how: How, split: str) -> list[str]:
    counts = ", ".join(
        f"{label} {count:,}" for label, count in chosen["label"].value_counts(sort=False).sort_index().items()
    )
    named = f" of the split {split}" if split else ""
    lines = [f"{len(chosen):,} of {len(pool.frame):,} pictures{named} selected, {how}: {counts}."]
    if number > len(pool.frame):
        lines.append(
            f"There are fewer than {number:,}: copies count once, and only kept, labelled images can be chosen."
        )
    if pool.frame["judged"].all():
        expected = (1 - chosen["right"]).sum(), (1 - pool.frame["right"]).mean() * len(chosen)
        lines.append(
            f"Labels expected to be wrong among them: {expected[0]:.0f}; among as many at random {expected[1]:.0f}."
        )
    else:
        lines.append(
            "Labels are not judged, so a wrong one counts like a right one: curate check mislabelled --labels fast"
        )
    if how == "diverse":
        lines.append("Within each partition the choice has at least 63 % of the best possible value (1 - 1/e).")
    return lines


@dataclass(frozen=True)
class Suggestions:
    """What to label next, best first: path, split, label, adds, alike (similarity to the nearest image here)."""

    ranked: pd.DataFrame
    copies: int
    lines: list[str]

    def record(self) -> dict[str, Any]:
        """Return the result as a JSON record."""
        return {"ranked": self.ranked.to_dict("records"), "copies": self.copies, "lines": self.lines}


def ask_next(workspace: Workspace, source: str, number: int, settings: Settings, display: Display) -> Suggestions:
    """Rank the images of another data set by what they add to this one; the caller holds the lock.

    Images that are here already, exactly or as near copies, are left out (``overlap`` runs first), and equal pixels
    count once. Images are weighted by the face detector's score.

    Args:
        workspace: that was curated and embedded.
        source: the pool, as ``curate run`` takes it, or a workspace; labels are not needed.
        number: of images.
        settings: in force.
        display: shows the steps.

    Raises:
        WorkspaceError: no image here is embedded. CurationError: there is no such pool.

    """
    from curation.measure.embedding import embed

    stored = challenges.embeddings(workspace, settings)
    model = challenges.stored_model(workspace)
    if stored is None:
        raise WorkspaceError(_NOT_EMBEDDED)
    shared = set(overlap(workspace, source, settings, display).theirs["path"])
    folder = folder_of(workspace, source)
    side = other_side(workspace, source, folder, settings, display)
    fresh = side.images[~side.images["path"].isin(shared)].drop_duplicates("pixel_sha256")
    fresh = fresh.sort_values("path", ignore_index=True)
    rows = manifest.rows(workspace, manifest.find(workspace, "cleaned"))
    here = stored.known(rows.loc[rows["status"] == "kept", "sha256"].tolist())
    heads = model.heads if model else {}
    contents = fresh.drop_duplicates("sha256")[["sha256", "url"]]
    embed(contents, folder, settings.measure, heads, stored.digest, display)
    there = replace(stored, store=folder).known(fresh["sha256"].tolist())
    fresh, embedding = fresh[there.known].reset_index(drop=True), there.embedding[there.known]
    ranked = _ranked(fresh, embedding, here.embedding[here.known], number, settings.seed)
    lines = [
        f"{len(shared):,} of the {len(side.images):,} readable images of {side.name} are here already and left out.",
        f"Of the {len(fresh):,} others these {len(ranked):,} add most.",
    ]
    if not there.known.all():
        lines.append(f"{int((~there.known).sum()):,} could not be read again and are not ranked.")
    return Suggestions(ranked, len(shared), lines)


def _ranked(
    fresh: pd.DataFrame, embedding: npt.NDArray[np.float16], here: npt.NDArray[np.float16], number: int, seed: int
) -> pd.DataFrame:
    """Return the images that add most to those here and those ranked before them, merged over partitions."""
    names = ["path", "split", "label"]
    if fresh.empty:
        return fresh[names].assign(adds=0.0, alike=0.0)
    project = nearness.projection(here if len(here) > nearness.NEIGHBOURS else embedding, seed)
    points = project(embedding)
    alike = nearness.nearest_alike(points, project(here))
    merit = fresh["face_score"].clip(0, 1).to_numpy(dtype=np.float64)
    found, gains = [], []
    for part in nearness.partitions(points, seed):
        rows, gain = nearness.chosen(points[part], merit[part], number, alike[part])
        found.append(part[rows])
        gains.append(gain)
    rows, adds = np.concatenate(found), np.concatenate(gains)
    order = np.argsort(-adds, kind="stable")[:number]
    table = fresh.iloc[rows[order]][names].reset_index(drop=True)
    return table.assign(adds=adds[order].round(4), alike=alike[rows[order]].round(4))
