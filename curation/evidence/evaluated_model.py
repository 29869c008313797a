"""The evaluated model and its images: none that it was trained on, nor a copy of one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curation.base.arrays import Pixels
from curation.base.progress import Display
from curation.base.workspace import Workspace, read_images, read_listing
from curation.decisions import manifest
from curation.evidence.alignment import Reference, aligned, reference_of
from curation.evidence.store import file_digest
from curation.models.runs import ModelError, find_run, training_frame, translate_errors

if TYPE_CHECKING:
    from curation.base.settings import Settings
    from training.model import Model

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]

HELD_OUT = ("validation", "test")

CHALLENGES = (
    "dark",
    "bright",
    "low_contrast",
    "blurry",
    "small_face",
    "off_centre",
    "cropped_face",
    "turned_face",
    "occluded_face",
    "non_human_face",
    "watermark",
    "outlier",
)
"""Checks for what may make an image hard for a model."""


@dataclass(frozen=True)
class EvaluatedModel:
    """A model and the held-out images that it is judged on.

    Attributes:
        workspace: the workspace.
        settings: of the workspace.
        run_dir: of the model.
        model: loaded.
        version: whose labels and images are used.
        frame: key (path in the data set), path (file), label, split; the judged images.
        trained: the same for its training images.
        seed: of draws.

    """

    workspace: Workspace
    settings: Settings
    run_dir: Path
    model: Model
    version: manifest.Version
    frame: pd.DataFrame
    trained: pd.DataFrame
    seed: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the model's outputs."""
        return self.model.classes

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its training configuration."""
        from training.model import read_config

        return translate_errors(lambda: read_config(self.run_dir))

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What identifies the model, the images and the draws."""
        return (
            file_digest(self.run_dir / "model.safetensors"),
            self.version.hash,
            str(len(self.frame)),
            str(self.seed),
        )

    @cached_property
    def images(self) -> Pixels:
        """(n, side, side) grey, the model's input."""
        from training.data import digests_of, load_images

        return translate_errors(
            lambda: load_images(
                [Path(file) for file in self.frame["path"]], self.model.recipe.image_size, digests_of(self.frame)
            )
        )

    @cached_property
    def labels(self) -> Labels:
        """(n,) places among the classes."""
        return places(self.frame["label"], self.classes)

    @cached_property
    def probabilities(self) -> Probabilities:
        """(n, classes)."""
        return self.model.probabilities(self.images)

    @property
    def predicted(self) -> Labels:
        """(n,) places among the classes."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @cached_property
    def faces(self) -> pd.DataFrame:
        """The best face of every image of the data set by path.

        Columns rank, x, y, width, height (shares), face_px, yaw, pitch, roll, face_score, landmarks.
        """
        from curation.measure import load_faces

        listing = read_listing(self.workspace)
        found = load_faces(listing, self.workspace.measurements, self.settings.measure)
        images = read_images(self.workspace)[["path", "sha256", "width"]]
        best = images.merge(found[found["rank"] == 0], on="sha256", how="left", suffixes=("_image", "_face"))
        facts = best[["path", "rank", "x", "y", "height", "yaw", "pitch", "roll", "landmarks"]]
        facts = facts.assign(
            width=best["width_face"], face_px=best["width_face"] * best["width_image"], face_score=best["score"]
        )
        return facts.drop_duplicates("path").set_index("path")

    @cached_property
    def reference(self) -> Reference:
        """Where landmarks usually are in its training images."""
        mine = self.faces.loc[self.faces.index.isin(self.trained["key"])]
        return reference_of(mine, self.images.shape[1])

    def aligned_images(self) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """Return the judged images with their landmarks at the usual places, and which have landmarks."""
        landmarks = self.frame["key"].map(self.faces["landmarks"])
        there = landmarks.notna().to_numpy()
        moved = self.images.copy()
        for place in np.flatnonzero(there):
            moved[place] = aligned(self.images[place], landmarks.iloc[place], self.reference)
        return moved, there

    @cached_property
    def challenges(self) -> pd.DataFrame:
        """Which of the judged images each check of ``CHALLENGES`` flags: one bool column per check, by title."""
        from curation.base.issues import read_issues
        from curation.pipeline.summary import check_words

        flagged = read_issues(self.workspace).flagged
        keys = self.frame["key"]
        columns = {
            check_words(check)[0]: keys.isin(flagged.loc[flagged["check"] == check, "path"]).to_numpy()
            for check in CHALLENGES
        }
        return pd.DataFrame({name: flags for name, flags in columns.items() if flags.any()}, index=keys.index)

    def covariates(self) -> pd.DataFrame:
        """Return illumination, contrast, sharpness, face size, pose and detector confidence of the judged images."""
        from training.robustness import covariates

        facts = self.faces.reindex(self.frame["key"]).reset_index(drop=True)
        return joined_covariates(covariates(self.images), facts)


def joined_covariates(pixels: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return the covariates under the names that reports show."""
    return pixels.assign(
        **{
            "face size (px)": facts["face_px"].to_numpy(np.float64),
            "turned sideways (degrees)": facts["yaw"].abs().to_numpy(np.float64),
            "turned up or down (degrees)": facts["pitch"].abs().to_numpy(np.float64),
            "tilted (degrees)": facts["roll"].abs().to_numpy(np.float64),
            "detector's confidence": facts["face_score"].to_numpy(np.float64),
        }
    )


def places(labels: pd.Series, classes: tuple[str, ...]) -> Labels:
    """Return the labels' places among the classes.

    Raises:
        ModelError: a label is not among them.

    """
    numbers = labels.map({name: place for place, name in enumerate(classes)})
    if numbers.isna().any():
        raise ModelError(f"the model knows {', '.join(classes)}, not {labels[numbers.isna()].iloc[0]}")
    return np.asarray(numbers.to_numpy(), np.int64)


def newest_run(workspace: Workspace) -> str:
    """Return the name of the run that was finished last.

    Raises:
        ModelError: there is none.

    """
    weights = sorted(workspace.models.glob("*/model.safetensors"), key=lambda path: (path.stat().st_mtime, str(path)))
    if not weights:
        raise ModelError(f"{workspace.models} holds no trained model; run: curate train fast")
    return weights[-1].parent.name


def open_evaluated_model(
    workspace: Workspace, settings: Settings, name: str, on: str, images: int, seed: int, display: Display
) -> EvaluatedModel:
    """Return a model and about ``images`` (0: all) images that are held out from it.

    Args:
        workspace: with a curated data set.
        settings: of it.
        name: of the run; "" for the newest.
        on: the version whose images and labels are used.
        images: by class, drawn.
        seed: of the draw.
        display: progress.

    Raises:
        ModelError: no such model, or no validation or test image that it has not seen.

    """
    from training.ladder import budgeted
    from training.model import load_model, read_config

    run_dir = find_run(workspace, name or newest_run(workspace))
    model = translate_errors(lambda: load_model(run_dir))
    version = manifest.find(workspace, on)
    with display.step("Choosing held-out images"):
        everything = training_frame(workspace, version)
        provenance = translate_errors(lambda: read_config(run_dir))["provenance"]
        base = manifest.find(workspace, provenance["manifest_hash"]) if "manifest_hash" in provenance else version
        fitted = training_frame(workspace, base)
        fitted = fitted[fitted["split"] == "train"]
        copies = set(fitted["group"]) - {""}
        held_out = everything[everything["split"].isin(HELD_OUT) & ~everything["group"].isin(copies)]
        held_out = held_out[~held_out["key"].isin(fitted["key"])]
    if held_out.empty:
        raise ModelError(f"{version.name} has no validation or test image that {run_dir.name} has not seen")
    chosen = budgeted(held_out, images or None, seed).reset_index(drop=True)
    return EvaluatedModel(workspace, settings, run_dir, model, version, chosen, fitted.reset_index(drop=True), seed)
