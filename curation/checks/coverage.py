"""Coverage of each class along known axes: cells with intervals, gaps, and shortcuts.

An axis gives each image one value, such as its pose. A gap is a cell of class and value with far fewer images than
expected from the other classes; a shortcut is an axis that predicts a class, so that a model may learn the light or the
person instead of the expression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.arrays import Flags, Floats
from curation.base.classes import in_order
from curation.base.frames import records
from curation.base.settings import CheckSettings
from curation.base.statistics import share

VALUES: Mapping[str, tuple[str, ...]] = {
    "pose": ("frontal", "half-turned", "turned"),
    "illumination": ("dark", "evenly lit", "bright"),
    "sharpness": ("soft", "fairly sharp", "sharp"),
    "face size": ("small", "middle-sized", "large"),
    "occlusion": ("uncovered", "covered"),
}
"""Measured axis -> its values in order; those of illumination, sharpness and face size are thirds of the data."""

MEASURES = (
    *("brightness_mean", "contrast", "sharpness"),
    *("face_score", "face_yaw", "face_roll", "face_width", "face_height"),
)
"""Measurements that the axes are made of."""

PERSON = "person"
"""The axis of people has too many values for cells: only its association with the classes is reported."""

_PERMUTATIONS = 200
"""Random permutations of the labels, for the association by chance."""

_SHORTCUT = 0.1
"""Least association of an axis with a class to be called a shortcut."""

_SURE = 1e-3
"""Chance, over all cells of a split together, below which a cell's lack of images is not an accident."""

_THIN = 0.5
"""Share of the expected images below which a cell is thin."""

_SEEN = 10
"""Images that another split, or the data before cleaning, must have in a cell for its emptiness to be reported."""


def axis_values(
    measurements: pd.DataFrame, settings: CheckSettings
) -> tuple[pd.DataFrame, dict[str, tuple[float, ...]]]:
    """Return the measured axes, "" for unknown values, and the limits between values.

    Args:
        measurements: as ``curation.measure.load_measurements`` gives them: error and ``MEASURES``.
        settings: the angles of a turned face, and the score of a found one.

    Returns:
        (N rows, one column per axis except occlusion), and axis -> limits: of pose relative to the angle of a turned
        face, of illumination mean brightness (0..1), of sharpness log10 of the Laplacian's variance over the contrast
        squared, of face size the square root of its share of the image.

    """
    usable = (measurements["error"] == "").to_numpy(dtype=bool)
    face = usable & (measurements["face_score"].to_numpy(dtype=np.float64) >= settings.face_score)
    known = {name: measurements[name].to_numpy(dtype=np.float64) for name in ("face_yaw", "face_roll", "contrast")}
    turn = np.maximum(
        np.abs(known["face_yaw"]) / settings.turned_yaw_degrees,
        np.abs(known["face_roll"]) / settings.turned_roll_degrees,
    )
    size = np.sqrt((measurements["face_width"] * measurements["face_height"]).clip(lower=0).to_numpy(dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        detail = np.log10(measurements["sharpness"].to_numpy(dtype=np.float64) / (255 * known["contrast"]) ** 2)
    light = measurements["brightness_mean"].to_numpy(dtype=np.float64)
    limits: dict[str, tuple[float, ...]] = {"pose": (0.5, 1.0)}
    columns = {"pose": _binned("pose", np.where(face, turn, np.nan), limits["pose"])}
    for axis, values in (
        ("illumination", np.where(usable, light, np.nan)),
        ("sharpness", np.where(usable & np.isfinite(detail), detail, np.nan)),
        ("face size", np.where(face, size, np.nan)),
    ):
        known_values = values[np.isfinite(values)]
        limits[axis] = tuple(np.quantile(known_values, [1 / 3, 2 / 3]).tolist()) if len(known_values) else (0.0, 1.0)
        columns[axis] = _binned(axis, values, limits[axis])
    return pd.DataFrame(columns), limits


def _binned(axis: str, values: Floats, limits: Sequence[float]) -> npt.NDArray[np.object_]:
    names = np.array([*VALUES[axis], ""], dtype=object)
    place = np.searchsorted(limits, np.nan_to_num(values), side="right")
    found: npt.NDArray[np.object_] = names[np.where(np.isfinite(values), place, len(names) - 1)]
    return found


def cells(frame: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Return the images by split, class and value of each axis.

    Args:
        frame: split, label and the axes; one row per picture.
        axes: columns of it, each with few values.

    Returns:
        axis, split, label, value, images, share (of the class in the split with known value), low, high (Wilson, 95 %),
        expected (images, if the class had the other classes' shares in that split).

    """
    rows: list[dict[str, Any]] = []
    for axis in axes:
        known = frame[frame[axis] != ""]
        values = [*(VALUES.get(axis) or in_order(known[axis].unique()))]
        for split, mine in known.groupby("split", sort=True):
            classes = in_order(mine["label"].unique())
            counted = pd.crosstab(mine["label"], mine[axis]).reindex(index=classes, columns=values, fill_value=0)
            table = counted.to_numpy(np.float64)
            rest = table.sum(axis=0) - table
            ordinary = rest / np.maximum(rest.sum(axis=1, keepdims=True), 1)
            for row, label in enumerate(classes):
                total = int(table[row].sum())
                for place, value in enumerate(values):
                    found = share(int(table[row, place]), total)
                    rows.append(
                        {
                            "axis": axis,
                            "split": split,
                            "label": label,
                            "value": value,
                            "images": int(table[row, place]),
                            "share": found.value,
                            "low": found.low,
                            "high": found.high,
                            "expected": float(total * ordinary[row, place]),
                        }
                    )
    names = ["axis", "split", "label", "value", "images", "share", "low", "high", "expected"]
    return pd.DataFrame(rows, columns=names)


def associations(frame: pd.DataFrame, axes: Sequence[str], seed: int) -> pd.DataFrame:
    """Return how much each axis tells about the class, and about each class against the others.

    Mutual information is biased upwards, more with more values; that of random permutations of the labels is subtracted
    (Vinh, Epps & Bailey, 2010, JMLR 11:2837, with the smaller entropy as the bound).

    Returns:
        axis, label ("" for all classes), images, information (nats, without bias), association (0 none .. 1 the axis
        determines the class), chance (share of permutations with as much, at least 1/201), value (of the axis, most in
        excess in the class), inside and outside (its share in the class, and in the others).

    """
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(seed)
    for axis in axes:
        known = frame[frame[axis] != ""]
        classes = in_order(known["label"].unique())
        if len(classes) < 2 or known[axis].nunique() < 2:
            continue
        label = pd.Categorical(known["label"], classes).codes.astype(np.int64)
        value, names = pd.factorize(known[axis], sort=True)
        table = _table(label, value, len(classes), len(names))
        own = _informations(table)
        chance = np.stack(
            [_informations(_table(rng.permutation(label), value, *table.shape)) for _ in range(_PERMUTATIONS)]
        )
        by_chance = chance.mean(axis=0)
        bound = np.minimum(_entropies(table), _entropy(table.sum(axis=0))) - by_chance
        extra = own - by_chance
        at_least = (1 + (chance >= own).sum(axis=0)) / (1 + _PERMUTATIONS)
        for place, name in enumerate(("", *classes)):
            rows.append(
                {
                    "axis": axis,
                    "label": name,
                    "images": len(known),
                    "information": max(0.0, float(extra[place])),
                    "association": float(np.clip(extra[place] / bound[place], 0, 1)) if bound[place] > 1e-9 else 0.0,
                    "chance": float(at_least[place]),
                    **(
                        _excess(table, place - 1, list(names))
                        if name
                        else {"value": "", "inside": np.nan, "outside": np.nan}
                    ),
                }
            )
    names_of = ["axis", "label", "images", "information", "association", "chance", "value", "inside", "outside"]
    return pd.DataFrame(rows, columns=names_of)


def _table(label: npt.NDArray[Any], value: npt.NDArray[Any], classes: int, values: int) -> Floats:
    return np.bincount(label * values + value, minlength=classes * values).reshape(classes, values).astype(np.float64)


def _entropy(counts: Floats) -> Any:
    """Return entropies (...) in nats of counts (..., k)."""
    part = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return -np.sum(part * np.log(np.where(part > 0, part, 1)), axis=-1)


def _entropies(table: Floats) -> Floats:
    """Return the entropy of all classes, then of each against the others, (1 + classes,)."""
    each = table.sum(axis=1)
    return np.array([_entropy(each), *_entropy(np.stack([each, each.sum() - each], axis=1))])


def _informations(table: Floats) -> Floats:
    """Return the mutual information of values with all classes, then with each against the others, (1 + classes,)."""
    whole = table.sum(axis=0)
    inside = _entropy(table)
    outside = _entropy(whole - table)
    part = table.sum(axis=1) / table.sum()
    return np.array(
        [_entropy(whole) - (part * inside).sum(), *(_entropy(whole) - part * inside - (1 - part) * outside)]
    )


def _excess(table: Floats, row: int, names: Sequence[str]) -> dict[str, Any]:
    rest = table.sum(axis=0) - table[row]
    inside, outside = table[row] / table[row].sum(), rest / rest.sum()
    most = int(np.argmax(inside - outside))
    return {"value": str(names[most]), "inside": float(inside[most]), "outside": float(outside[most])}


@dataclass(frozen=True)
class Finding:
    """One finding about the coverage.

    kind is emptied, empty, shortcut, thin or absent; a value of "" is the whole axis; weight ranks findings of a kind.
    """

    kind: str
    axis: str
    label: str
    split: str
    value: str
    sentence: str
    weight: float


def findings(before: pd.DataFrame, after: pd.DataFrame, association: pd.DataFrame) -> list[Finding]:
    """Return gaps and shortcuts, the most serious first.

    Args:
        before: cells of the original data.
        after: cells of the version.
        association: of the version.

    """
    given_away = association[
        (association["label"] != "")
        & (association["association"] >= _SHORTCUT)
        & (association["chance"] <= 1 / _PERMUTATIONS)
    ]
    found = [_shortcut(row) for row in records(given_away)]
    shortcuts = set(zip(given_away["axis"], given_away["label"], strict=True))
    named = [(axis, label) not in shortcuts for axis, label in zip(after["axis"], after["label"], strict=True)]
    found += _gaps(after, np.asarray(named, dtype=bool)) + _emptied(before, after)
    serious = {"shortcut": 0, "empty": 0, "emptied": 0, "thin": 1, "absent": 2}
    return sorted(found, key=lambda one: (serious[one.kind], -one.weight, one.axis, one.label, one.split))


def _shortcut(row: Mapping[str, Any]) -> Finding:
    share_of = f"{row['inside']:.0%} of the {row['label']} faces are"
    what = f"of the person {row['value']}" if row["axis"] == PERSON else f"{row['value']}"
    sentence = (
        f"Shortcut: {share_of} {what}, of the others {row['outside']:.0%}; a model may learn the {row['axis']} instead "
        f"of the expression (association {row['association']:.2f})."
    )
    weight = row["images"] * row["information"]
    return Finding("shortcut", row["axis"], row["label"], "", row["value"], sentence, float(weight))


def _gaps(after: pd.DataFrame, named: Flags) -> list[Finding]:
    from scipy.special import bdtr

    totals = after.groupby(["axis", "split", "label"])["images"].transform("sum").to_numpy(dtype=np.float64)
    images, expected = after["images"].to_numpy(), after["expected"].to_numpy()
    chance = bdtr(images, totals.astype(np.int64), np.clip(expected / np.maximum(totals, 1), 0, 1))
    cells_of = after.groupby("split")["images"].transform("size").to_numpy()
    wanting = (chance * cells_of < _SURE) & (images < _THIN * expected) & (totals > 0)
    elsewhere = after.groupby(["axis", "label", "value"])["images"].transform("max").to_numpy()
    absent = (images == 0) & ~wanting & (elsewhere >= _SEEN) & (after["split"] != "").to_numpy() & (totals > 0)
    found = []
    for place in np.flatnonzero((wanting | absent) & named):
        row = after.iloc[place]
        where = f" in {row['split']}" if row["split"] else ""
        faces = f"{row['value']} {row['label']} faces"
        others = _others(after, row)
        if absent[place]:
            kind, sentence = "absent", f"No {faces}{where}, {others}."
        elif row["images"] == 0:
            tail = f"; there are {others}" if others else ""
            kind = "empty"
            sentence = f"No {faces}{where}; {row['expected']:.0f} are expected from the other classes{tail}."
        else:
            kind = "thin"
            sentence = (
                f"Only {row['images']:,} {faces}{where}; {row['expected']:.0f} are expected from the other classes."
            )
        found.append(Finding(kind, row["axis"], row["label"], row["split"], row["value"], sentence, row["expected"]))
    return found


def _others(after: pd.DataFrame, row: pd.Series) -> str:
    """Return in words where else there are images of a cell, "" if there are none."""
    same = after[(after["axis"] == row["axis"]) & (after["label"] == row["label"]) & (after["value"] == row["value"])]
    same = same[(same["split"] != row["split"]) & (same["images"] > 0)].sort_values("images", ascending=False)
    parts = [
        f"{number:,} in {split or 'no split'}" for number, split in zip(same["images"], same["split"], strict=True)
    ]
    return " and ".join(parts)


def _emptied(before: pd.DataFrame, after: pd.DataFrame) -> list[Finding]:
    """Return the cells that had images before cleaning and have none after."""
    keys = ["axis", "split", "label", "value"]
    both = before[[*keys, "images"]].merge(after[[*keys, "images"]], on=keys, how="left", suffixes=("", "_left"))
    lost = both[(both["images"] >= _SEEN) & (both["images_left"].fillna(0) == 0)]
    return [
        Finding(
            "emptied",
            row["axis"],
            row["label"],
            row["split"],
            row["value"],
            f"Cleaning removed all {row['images']:,} {row['value']} {row['label']} faces"
            f"{' in ' + row['split'] if row['split'] else ''}.",
            float(row["images"]),
        )
        for row in records(lost)
    ]
