"""The brake: it keeps a policy from excluding most of a class, a split or a person, or all of a cell.

Such a loss is rarely intended: either checks are wrong about this data, or the data themselves are wrong. The images,
with all members of their groups of copies, are kept until a person decides or accepts the loss.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from curation.base.frames import is_in
from curation.base.settings import BrakeSettings
from curation.decisions.log import Draft
from curation.decisions.replay import HELD, group_of

_FEWEST_OF_A_PERSON = 4
"""Smaller losses of a person's images are no reason to stop."""

_COPIES = frozenset({"exact_duplicate", "near_duplicate", "label_conflict"})
"""Checks behind decisions on copies."""

_OWN_CHECKS = {
    "pose": {"turned_face", "rolled_face"},
    "illumination": {"dark", "bright"},
    "sharpness": {"blurry"},
    "face size": {"small_face"},
    "occlusion": {"occluded_face"},
}
"""Axis of coverage -> checks for one end of it: a policy that excludes by these empties the cell on purpose."""

_NO_CHOICE = "unreadable"
"""The check of undecodable images, which are excluded in any case, because nobody could use them."""


@dataclass(frozen=True)
class Loss:
    """What a policy would exclude from one part of the data: ``left_out`` of ``of`` images, or groups of copies.

    kind is class, split, class in split (name: split/class), subject, label conflicts, or an axis of coverage (name:
    the cell's, as in "turned sad faces in test"; images are pictures, copies counted once).
    """

    kind: str
    name: str
    left_out: int
    of: int

    @property
    def key(self) -> str:
        """Its identifier among accepted losses."""
        return f"{self.kind}:{self.name}"

    def sentence(self) -> str:
        """Return the loss in words."""
        share = f"{self.left_out:,} of {self.of:,} ({self.left_out / self.of:.0%})"
        if self.kind in _OWN_CHECKS:
            return f"all {self.of:,} {self.name}"
        if self.kind == "label conflicts":
            return f"{share} groups of copies, for their different labels"
        if not self.name:
            return f"{share} of {'all' if self.kind == 'split' else 'the unlabelled'} images"
        return f"{share} of the {self.kind} {self.name!r}"

    def record(self) -> dict[str, Any]:
        """Return the loss for a version's record."""
        return asdict(self)


def losses(images: pd.DataFrame, drafts: Iterable[Draft], limits: BrakeSettings) -> list[Loss]:
    """Return where a policy would exclude more than ``limits`` allow, the largest loss first.

    Args:
        images: those that the policy judges: path, split, label; perhaps subject ("" if unknown); and perhaps one
            column per axis of coverage ("" if unknown) and picture, equal for all copies of one.
        drafts: what the policy decides.
        limits: the settings.

    """
    chosen = _by_choice(drafts)
    unusable = {draft.path for draft in drafts if draft.action == "exclude"} - set(chosen)
    left = images[~is_in(images["path"], unusable)]
    left = left.assign(gone=is_in(left["path"], chosen))
    found = [
        *_beyond(left, "class", left["label"], limits.class_share, limits.min_images),
        *_beyond(left, "split", left["split"], limits.split_share, limits.min_images),
        *(loss for loss in _beyond(left, "class in split", _cell(left), 1.0, 1) if loss.of >= limits.min_images),
    ]
    if "subject" in left:
        known = left[left["subject"] != ""]
        found += _beyond(known, "subject", known["subject"], limits.subject_share, _FEWEST_OF_A_PERSON, empty=False)
    found += _emptied(left, chosen, found, limits)
    return sorted(
        [*found, *_conflicts(chosen.values(), limits)], key=lambda loss: (-loss.left_out, loss.kind, loss.name)
    )


def _by_choice(drafts: Iterable[Draft]) -> dict[str, Draft]:
    """Return path -> exclusion, for images that a person could decide to keep."""
    return {draft.path: draft for draft in drafts if draft.action == "exclude" and draft.issue != _NO_CHOICE}


def _cell(images: pd.DataFrame) -> pd.Series:
    return images["split"] + "/" + images["label"]


def _emptied(
    images: pd.DataFrame, chosen: dict[str, Draft], found: Sequence[Loss], limits: BrakeSettings
) -> list[Loss]:
    """Return the cells of class, split and value that lose every picture, unless the class is lost anyway."""
    if "picture" not in images:
        return []
    names = {kind: [loss.name for loss in found if loss.kind == kind] for kind in ("class", "split", "class in split")}
    lost = images["label"].isin(names["class"]) | images["split"].isin(names["split"])
    left = images[(images["label"] != "") & ~lost & ~_cell(images).isin(names["class in split"])]
    # a picture is not lost if a copy of it stays in the class
    left = left[left.groupby(["split", "label", "picture"])["gone"].transform("all") | ~left["gone"]]
    emptied = []
    for axis in _OWN_CHECKS:
        cells = _named(left, axis).to_frame("cell").join(left[["path", "picture", "gone"]])
        cells = cells[(cells["cell"] != "") & ~is_in(cells["path"], _meant(axis, chosen))]
        counts = cells.groupby("cell").agg(gone=("gone", "all"), size=("picture", "nunique"))
        counts = counts[counts["gone"] & (counts["size"] >= limits.min_images)]
        emptied += [Loss(axis, str(name), int(size), int(size)) for name, size in counts["size"].items()]
    return emptied


def _named(images: pd.DataFrame, axis: str) -> pd.Series:
    """Return the name of each image's cell on an axis, "" for none."""
    if axis not in images:
        return pd.Series("", index=images.index)
    where = (" in " + images["split"]).where(images["split"] != "", "")
    return (images[axis] + " " + images["label"] + " faces" + where).where(images[axis] != "", "")


def _meant(axis: str, chosen: dict[str, Draft]) -> list[str]:
    """Return the images that are excluded because of their value on an axis."""
    return [path for path, draft in chosen.items() if draft.issue.partition("#")[0] in _OWN_CHECKS[axis]]


def _beyond(
    images: pd.DataFrame, kind: str, part: pd.Series, share: float, fewest: int, *, empty: bool = True
) -> list[Loss]:
    """Return the parts that lose more than ``share`` and at least ``fewest`` images, or (``empty``) everything."""
    counts = images.groupby(part)["gone"].agg(["sum", "size"])
    beyond = (counts["sum"] > share * counts["size"]) & (counts["sum"] >= fewest)
    if empty:
        beyond |= counts["sum"] == counts["size"]
    return [Loss(kind, str(name), int(gone), int(size)) for name, gone, size in counts[beyond].itertuples(name=None)]


def _conflicts(chosen: Iterable[Draft], limits: BrakeSettings) -> list[Loss]:
    groups: dict[str, bool] = {}
    images = 0
    for draft in chosen:
        check, _, group = draft.issue.partition("#")
        if check in _COPIES:
            conflict = check == "label_conflict"
            images += conflict
            groups[group] = groups.get(group, False) or conflict
    number = sum(groups.values())
    if images >= limits.min_images and number > limits.conflict_share * len(groups):
        return [Loss("label conflicts", "", number, len(groups))]
    return []


def held_back(images: pd.DataFrame, drafts: Sequence[Draft], beyond: Collection[Loss]) -> list[Draft]:
    """Return the drafts with the exclusions behind these losses held back: kept, with that as the reason."""
    chosen = _by_choice(drafts)
    held: set[str] = set()
    parts = {"class": images["label"], "split": images["split"], "class in split": _cell(images)}
    if "subject" in images:
        parts["subject"] = images["subject"]
    for kind, part in parts.items():
        names = [loss.name for loss in beyond if loss.kind == kind]
        held |= set(images.loc[part.isin(names), "path"]) & set(chosen)
    for axis in _OWN_CHECKS:
        names = [loss.name for loss in beyond if loss.kind == axis]
        if names:
            cell = set(images.loc[_named(images, axis).isin(names), "path"])
            held |= cell & set(chosen) - set(_meant(axis, chosen))
    if any(loss.kind == "label conflicts" for loss in beyond):
        held |= {path for path, draft in chosen.items() if draft.issue.partition("#")[0] in _COPIES}
    groups = {group_of(chosen[path].issue) for path in held} - {""}
    held |= {path for path, draft in chosen.items() if group_of(draft.issue) in groups}
    return [
        replace(draft, action="keep", value=HELD, reason=f"held back; would be left out: {draft.reason}")
        if draft.action == "exclude" and draft.path in held
        else draft
        for draft in drafts
    ]
