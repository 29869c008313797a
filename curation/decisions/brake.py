"""The brake: a policy that would leave out most of a class, a split or a person, or all of a cell, stops short of it.

Such a loss is seldom what was meant: it comes from checks that are wrong about this data, or from data that are wrong.
The images stay kept and wait for a person, with all members of their groups of copies, until somebody accepts the loss.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from curation.base.settings import BrakeSettings
from curation.decisions.log import Draft
from curation.decisions.replay import HELD, group_of

_FEWEST_OF_A_PERSON = 4
"""Losses of fewer images of a person are no reason to stop."""

_COPIES = frozenset({"exact_duplicate", "near_duplicate", "label_conflict"})
"""Checks that a decision about copies rests on."""

_OWN_CHECKS = {
    "pose": {"turned_face", "rolled_face"},
    "illumination": {"dark", "bright"},
    "sharpness": {"blurry"},
    "face size": {"small_face"},
    "occlusion": {"occluded_face"},
}
"""Axes of coverage, and the checks that look for one end of each: who leaves out by these means to empty it."""

_NO_CHOICE = "unreadable"
"""What cannot be decoded is left out whatever is lost: nobody could use it."""


@dataclass(frozen=True)
class Loss:
    """What a policy would leave out of one part of the data: ``left_out`` of ``of`` images, or groups of copies.

    kind is class, split, class in split (name: split/class), subject, label conflicts, or an axis of coverage (name:
    the cell's, as in "turned sad faces in test"; images are pictures, copies counted once).
    """

    kind: str
    name: str
    left_out: int
    of: int

    @property
    def key(self) -> str:
        """What identifies it among the losses that somebody accepted."""
        return f"{self.kind}:{self.name}"

    def sentence(self) -> str:
        """Return it in words."""
        share = f"{self.left_out:,} of {self.of:,} ({self.left_out / self.of:.0%})"
        if self.kind in _OWN_CHECKS:
            return f"all {self.of:,} {self.name}"
        if self.kind == "label conflicts":
            return f"{share} groups of copies, for their different labels"
        if not self.name:
            return f"{share} of {'all' if self.kind == 'split' else 'the unlabelled'} images"
        return f"{share} of the {self.kind} {self.name!r}"

    def record(self) -> dict[str, Any]:
        """Return it for a version's record."""
        return asdict(self)


def losses(images: pd.DataFrame, drafts: Iterable[Draft], limits: BrakeSettings) -> list[Loss]:
    """Return where a policy would leave out more than ``limits`` allow, the largest first.

    Args:
        images: those that the policy judges: path, split, label; subject where people are known ("" if not); and where
            coverage is known a column an axis ("" if not) and picture, one name for all copies of one.
        drafts: what the policy decides.
        limits: the settings.

    """
    chosen = _by_choice(drafts)
    unusable = {draft.path for draft in drafts if draft.action == "exclude"} - set(chosen)
    left = images[~images["path"].isin(unusable)]
    left = left.assign(gone=left["path"].isin(chosen))
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
    """Return path -> exclusion, of those that a person could decide otherwise."""
    return {draft.path: draft for draft in drafts if draft.action == "exclude" and draft.issue != _NO_CHOICE}


def _cell(images: pd.DataFrame) -> pd.Series:
    return images["split"] + "/" + images["label"]


def _emptied(
    images: pd.DataFrame, chosen: dict[str, Draft], found: Sequence[Loss], limits: BrakeSettings
) -> list[Loss]:
    """Return the cells of class, split and value that lose every picture, where the class is not lost anyway."""
    if "picture" not in images:
        return []
    names = {kind: [loss.name for loss in found if loss.kind == kind] for kind in ("class", "split", "class in split")}
    lost = images["label"].isin(names["class"]) | images["split"].isin(names["split"])
    left = images[(images["label"] != "") & ~lost & ~_cell(images).isin(names["class in split"])]
    # a picture of which a copy stays in the class is not lost
    left = left[left.groupby(["split", "label", "picture"])["gone"].transform("all") | ~left["gone"]]
    emptied = []
    for axis in _OWN_CHECKS:
        cells = _named(left, axis).to_frame("cell").join(left[["path", "picture", "gone"]])
        cells = cells[(cells["cell"] != "") & ~cells["path"].isin(_meant(axis, chosen))]
        counts = cells.groupby("cell").agg(gone=("gone", "all"), size=("picture", "nunique"))
        counts = counts[counts["gone"] & (counts["size"] >= limits.min_images)]
        emptied += [Loss(axis, str(name), int(size), int(size)) for name, size in counts["size"].items()]
    return emptied


def _named(images: pd.DataFrame, axis: str) -> pd.Series:
    """Return the names of the cells of an axis in which images are, "" for none."""
    if axis not in images:
        return pd.Series("", index=images.index)
    where = (" in " + images["split"]).where(images["split"] != "", "")
    return (images[axis] + " " + images["label"] + " faces" + where).where(images[axis] != "", "")


def _meant(axis: str, chosen: dict[str, Draft]) -> list[str]:
    """Return the images that go because of where they lie on an axis."""
    return [path for path, draft in chosen.items() if draft.issue.partition("#")[0] in _OWN_CHECKS[axis]]


def _beyond(
    images: pd.DataFrame, kind: str, part: pd.Series, share: float, fewest: int, *, empty: bool = True
) -> list[Loss]:
    """Return the parts that lose more than ``share`` and at least ``fewest`` images; with ``empty``, or everything."""
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
    """Return the drafts with the exclusions behind these losses held back: kept, with a reason that says so."""
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
    return [_held(draft) if draft.action == "exclude" and draft.path in held else draft for draft in drafts]


def _held(draft: Draft) -> Draft:
    return replace(draft, action="keep", value=HELD, reason=f"held back; would be left out: {draft.reason}")
