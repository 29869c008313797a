"""Plant known defects among the user's own images, run the checks blind, and count what they find.

The checks see an ordinary folder: the chosen images under meaningless names, and the planted ones among them. The list
of planted defects is only used afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import pandas as pd

from curation.audit import challenges
from curation.audit.synthetic.plant import KINDS, Kind, Pixels, jpeg, make_copy
from curation.base import files
from curation.base.classes import in_order
from curation.base.errors import WorkspaceError
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.settings import EmbedSettings, Settings
from curation.base.statistics import Estimate, share
from curation.base.workspace import Workspace, create_workspace, read_images, read_listing
from curation.measure.batch import measured_pixels
from curation.pipeline import steps

FEWEST_IMAGES = 100
"""An audit on fewer images says too little to be worth its time."""

CLEAN_OF = (
    "unreadable",
    "blank",
    "no_face",
    "dark",
    "bright",
    "low_contrast",
    "blurry",
    "exact_duplicate",
    "near_duplicate",
    "occluded_face",
    "non_human_face",
    "watermark",
    "outlier",
)
"""Images flagged by one of these are not used: a natural copy or defect would count as a false alarm."""


def _scrambled(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Shuffle the image's tiles, each rotated by 180 degrees: the same light and grain, but no face."""
    tile = min(image.shape[:2]) // 6
    height, width = (length // tile * tile for length in image.shape[:2])
    tiles = [
        image[y : y + tile, x : x + tile][::-1, ::-1] for y in range(0, height, tile) for x in range(0, width, tile)
    ]
    order = rng.permutation(len(tiles))
    across = width // tile
    lines = [np.hstack([tiles[n] for n in order[row : row + across]]) for row in range(0, len(tiles), across)]
    return np.ascontiguousarray(np.vstack(lines))


FLIPPED = "flipped label"
"""A recompressed copy that is filed under another class."""

Defects = Mapping[str, tuple[Kind, tuple[str, ...]]]

DEFECTS: Defects = MappingProxyType(
    {
        "too dark": (lambda image, _: np.asarray(image * 0.08, np.uint8), ("dark",)),
        "too bright": (lambda image, _: np.asarray(245 + image * 0.04, np.uint8), ("bright",)),
        "low contrast": (
            lambda image, _: np.asarray(image.mean() + (image - image.mean()) * 0.06, np.uint8),
            ("low_contrast", "blank"),
        ),
        "blurred": (
            lambda image, _: np.asarray(cv2.GaussianBlur(image, (0, 0), min(image.shape[:2]) / 12), np.uint8),
            ("blurry",),
        ),
        "one tone": (lambda image, rng: np.full_like(image, rng.integers(0, 256)), ("blank",)),
        "no face": (_scrambled, ("no_face",)),
        FLIPPED: (jpeg, ("label_conflict",)),
    }
)
"""Defects of single images: how each is made, and the checks, one of which must flag it."""


@dataclass(frozen=True)
class PlantedAudit:
    """Result of an audit.

    kinds: one row per kind: kind, check, planted, found (int64), recall, low, high (0..1). recall is of all planted
    copies, precision of all reported pairs. pairs: probability of every verified pair and whether it is true.
    """

    kinds: pd.DataFrame
    recall: Estimate
    precision: Estimate
    pairs: pd.DataFrame
    images: int
    seed: int

    def record(self) -> dict[str, Any]:
        """Return the audit for machines."""
        return {
            "images": self.images,
            "seed": self.seed,
            "recall_of_copies": self.recall.record(),
            "precision_of_pairs": self.precision.record(),
            "kinds": self.kinds.to_dict("records"),
        }

    def lines(self) -> list[str]:
        """Return the audit in sentences."""
        recall, precision = self.recall, self.precision
        return [
            f"Of all planted copies {recall.value:.1%} were found ({recall.low:.1%} to {recall.high:.1%}); "
            f"of all reported pairs {precision.value:.1%} are true ({precision.low:.1%} to {precision.high:.1%}).",
            "The intervals hold 95 % of the time for images like these; a natural copy that no check has found counts "
            "as a false pair.",
        ]


def audit_planted(
    workspace: Workspace, settings: Settings, display: Display, *, images: int, per_kind: int, seed: int
) -> PlantedAudit:
    """Plant ``per_kind`` defects of every kind among ``images`` of the workspace's images and count what is found.

    Raises:
        WorkspaceError: too few images are free of issues to plant on.

    """
    chosen = _chosen(workspace, images, seed)
    embedded = workspace.challenges.exists()
    defects = {**DEFECTS, **(challenges.PLANTED if embedded else {})}
    # the workspace's own model is audited, not one trained on the planted images
    settings = settings.model_copy(update={"embed": EmbedSettings(when="on" if embedded else "off")})
    with tempfile.TemporaryDirectory(prefix="curate-audit-") as scratch:
        folder = Path(scratch) / "data"
        with display.step("Planting", "images") as report:
            truth = plant_defects(chosen, folder, settings, per_kind, seed, report, defects)
        blind = create_workspace(Path(scratch) / "workspace")
        if embedded:
            files.write_bytes(blind.challenges, workspace.challenges.read_bytes())
        scanned = steps.scan(blind, str(folder), settings, display)
        issues = steps.check(blind, scanned, settings, display).flagged
        pairs = steps.find_pairs(blind, scanned, settings, display)
    judged = _judged_pairs(pairs, scanned.measurements, truth)
    minimum = settings.duplicates.min_probability
    reported = judged[judged["probability"] >= minimum]
    kinds = pd.DataFrame([*_copy_rows(truth, reported), *_defect_rows(truth, issues, defects)])
    copies = kinds[kinds["check"] == "near_duplicate"]
    return PlantedAudit(
        kinds=kinds,
        recall=share(int(copies["found"].sum()), int(copies["planted"].sum())),
        precision=share(int(reported["true"].sum()), len(reported)),
        pairs=judged,
        images=len(truth),
        seed=seed,
    )


def _chosen(workspace: Workspace, images: int, seed: int) -> pd.DataFrame:
    """Return listing rows of a random sample of the images that no check of interest flags."""
    listing = read_listing(workspace).merge(read_images(workspace)[["path", "sha256"]], on="path")
    issues = read_issues(workspace).flagged
    flagged = issues.loc[issues["check"].isin(CLEAN_OF), "path"]
    clean = listing[~listing["path"].isin(flagged)]
    if len(clean) < FEWEST_IMAGES:
        raise WorkspaceError(
            f"only {len(clean)} images of {workspace.root} are free of issues; an audit needs at least {FEWEST_IMAGES}"
        )
    return clean.sample(min(images, len(clean)), random_state=seed).reset_index(drop=True)


def plant_defects(
    chosen: pd.DataFrame,
    folder: Path,
    settings: Settings,
    per_kind: int,
    seed: int,
    report: Callable[[int, int], None],
    defects: Defects,
) -> pd.DataFrame:
    """Write the chosen images and the planted ones; return path, base (place in ``chosen``) and kind ("" if plain).

    Challenges are drawn on images that are not also used without them: a copy would reveal what was drawn.
    """
    rng = np.random.default_rng(seed)
    labels = in_order(chosen["label"])
    planted = [kind for kind in (*KINDS, *defects) if kind != FLIPPED or len(labels) > 1]
    alone = [kind for kind in planted if kind in challenges.PLANTED]
    each = min(per_kind, len(chosen) // (2 * max(1, len(alone))))
    taken, plain = np.split(rng.permutation(len(chosen)), [each * len(alone)])
    per_kind = min(per_kind, len(plain))
    rows = [(int(place), "") for place in plain]
    rows += [(int(place), alone[number // each]) for number, place in enumerate(taken)]
    rows += [(int(place), kind) for kind in planted if kind not in alone for place in rng.permutation(plain)[:per_kind]]
    names = rng.permutation(10_000_000)[: len(rows)]
    records = []
    for number, (place, kind) in enumerate(rows):
        source = chosen.iloc[place]
        pixels = measured_pixels(source["url"], source["sha256"], settings.measure)
        changed = _made(pixels, kind, seed + number, defects) if kind else pixels
        label = labels[labels.index(source["label"]) - 1] if kind == FLIPPED else source["label"]
        path = f"{label or 'unlabelled'}/{names[number]:07d}.png"
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(target), changed if changed.ndim == 2 else changed[:, :, ::-1]):
            raise WorkspaceError(f"cannot write {target}; is the disk full?")
        records.append({"path": path, "base": place, "kind": kind})
        report(number + 1, len(rows))
    return pd.DataFrame(records)


def _made(pixels: Pixels, kind: str, seed: int, defects: Defects) -> Pixels:
    if kind in defects:
        return defects[kind][0](pixels, np.random.default_rng(seed))
    return make_copy(pixels, kind, seed)


def _judged_pairs(pairs: pd.DataFrame, measurements: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return all verified pairs with the rows of ``truth`` that they join and whether they are one picture."""
    place = truth.reset_index(names="place").set_index("path")["place"]
    by_content = measurements.drop_duplicates("pixel_sha256").set_index("pixel_sha256")["path"].map(place)
    a, b = (pairs[f"pixel_sha256_{side}"].map(by_content).to_numpy(dtype=np.int64) for side in "ab")
    base = truth["base"].to_numpy()
    return pd.DataFrame(
        {
            "a": a,
            "b": b,
            "probability": pairs["probability"].to_numpy(),
            "true": base[a] == base[b],
        }
    )


def _copy_rows(truth: pd.DataFrame, reported: pd.DataFrame) -> list[dict[str, Any]]:
    """Return recall by kind: a copy is found if the pair with its original is reported."""
    original = truth[truth["kind"] == ""].reset_index().set_index("base")["index"]
    found = {frozenset(pair) for pair in zip(reported["a"], reported["b"], strict=True)}
    rows = []
    for kind in KINDS:
        copies = truth[truth["kind"] == kind]
        hits = sum(frozenset((place, int(original[base]))) in found for place, base in copies["base"].items())
        rows.append(_row(kind, "near_duplicate", hits, len(copies)))
    return rows


def _defect_rows(truth: pd.DataFrame, flagged: pd.DataFrame, defects: Defects) -> list[dict[str, Any]]:
    rows = []
    for kind, (_, checks) in defects.items():
        planted = truth.loc[truth["kind"] == kind, "path"]
        if planted.empty:
            continue
        caught = flagged.loc[flagged["check"].isin(checks), "path"]
        rows.append(_row(kind, " or ".join(checks), int(planted.isin(caught).sum()), len(planted)))
    return rows


def _row(kind: str, check: str, found: int, planted: int) -> dict[str, Any]:
    recall = share(found, planted)
    return {
        "kind": kind,
        "check": check,
        "planted": planted,
        "found": found,
        "recall": recall.value,
        "low": recall.low,
        "high": recall.high,
    }


def store_calibration(workspace: Workspace, audit: PlantedAudit, min_precision: float) -> list[str]:
    """Refit the duplicate threshold to the audit, keep it for all later runs, and say so; see :func:`calibrate`."""
    threshold = calibrate(audit, min_precision)
    record = {"settings": {"duplicates": {"min_probability": threshold}}, "evidence": audit.record()}
    files.write_json(workspace.calibration, record)
    return [
        f"Pairs count as copies from probability {threshold:.4f} on, the lowest at which {min_precision:.1%} were "
        f"true; kept in {workspace.calibration}. Next: curate check, curate apply."
    ]


def calibrate(audit: PlantedAudit, min_precision: float) -> float:
    """Return the smallest probability at which the audit's reported pairs are precise enough, 0..1.

    Among the thresholds that are precise enough, the smallest has the largest recall.

    Raises:
        WorkspaceError: no threshold is precise enough on these images.

    """
    pairs = audit.pairs.sort_values("probability", ascending=False)
    precision = pairs["true"].cumsum() / np.arange(1, len(pairs) + 1)
    last_of_value = pairs["probability"].ne(pairs["probability"].shift(-1))
    enough = pairs.loc[(precision >= min_precision) & last_of_value, "probability"]
    if enough.empty:
        raise WorkspaceError(f"no threshold reaches a precision of {min_precision} on these images; audit more of them")
    return float(enough.min())
