"""Blind labelling: a stratified sample whose names and labels the App never learns.

The answers are votes, never decisions. They say how accurate people are at labelling these images.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from curation.base.classes import in_order
from curation.base.workspace import Workspace, read_issues
from curation.decisions import manifest
from curation.review.journal import ReviewError
from curation.review.read_model import local_files, sample_id


def draw(workspace: Workspace, images: int, seed: int) -> pd.DataFrame:
    """Return a random sample of the raw version, as many of each class as of any other, in random order.

    The same seed draws the same images for every person, so that their answers can be compared. Unreadable images are
    left out, and all but one of exact copies: nobody should label one picture twice.

    Returns:
        columns path, label, name (what the App calls the image).

    """
    rows = manifest.rows(workspace, manifest.find(workspace, "raw"))
    issues = read_issues(workspace)
    unreadable = issues.loc[(issues["check"] == "unreadable") & issues["is_issue"], "path"]
    rows = rows[~rows["path"].isin(unreadable)].drop_duplicates("sha256").sort_values("path", ignore_index=True)
    classes = in_order(set(rows["label"]) - {""})
    if not classes:
        raise ReviewError(f"the images of {workspace.root} have no labels to compare with")
    rng = np.random.default_rng(seed)
    each = -(-images // len(classes))
    parts = []
    for name in classes:
        mine = rows[rows["label"] == name]
        parts.append(mine.iloc[rng.permutation(len(mine))[:each]])
    chosen = pd.concat(parts)
    chosen = chosen.iloc[rng.permutation(len(chosen))].reset_index(drop=True)
    names = [f"image {number:04d}" for number in range(1, len(chosen) + 1)]
    return chosen[["path", "label"]].assign(name=names)


def neutral_files(workspace: Workspace, sample: pd.DataFrame) -> dict[str, str]:
    """Return name -> a copy of the image under a path that does not tell its class."""
    folder = workspace.review / "blind"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for name, path, file in zip(sample["name"], sample["path"], local_files(workspace, sample["path"]), strict=True):
        target = folder / (sample_id(path) + Path(file).suffix.lower())
        if not target.exists():
            partial = target.with_suffix(f".{os.getpid()}.tmp")
            shutil.copyfile(file, partial)
            partial.replace(target)
        found[name] = str(target.resolve())
    return found


def documents(files: Mapping[str, str], answers: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the samples' documents: a picture, a neutral name, and this person's own answer so far."""
    from bson import ObjectId

    from curation.review.push import classification

    return [
        {
            "_id": ObjectId(sample_id(name)),
            "filepath": file,
            "tags": [],
            "path": name,
            "_rand": number / len(files),
            "_media_type": "image",
            "decided": classification(answers.get(name, "")),
            "reviewers": [],
            "disagree": False,
            "copy_group": None,
            "digest": None,
        }
        for number, (name, file) in enumerate(files.items())
    ]
