"""Blind labelling: a stratified sample whose names and labels never reach the App.

The answers are votes, never decisions. They say how accurate people are at labelling these images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.base import files, reading
from curation.base.classes import in_order
from curation.base.issues import read_issues
from curation.base.workspace import Workspace
from curation.decisions import manifest
from curation.review import push
from curation.review.journal import ReviewError
from curation.review.read_model import local_files, sample_id


def draw(workspace: Workspace, images: int, seed: int) -> pd.DataFrame:
    """Return a random sample of the raw version, with equally many images of each class, in random order.

    The same seed draws the same images for every person, so that their answers can be compared. Unreadable images are
    left out, and all but one of exact copies: nobody should label one picture twice.

    Returns:
        columns path, label, sha256, name (what the App calls the image).

    """
    rows = manifest.rows(workspace, manifest.find(workspace, "raw"))
    unreadable = read_issues(workspace).of("unreadable").query("is_issue")["path"]
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
    return chosen[["path", "label", "sha256"]].assign(name=names)


def neutral_files(workspace: Workspace, sample: pd.DataFrame) -> dict[str, str]:
    """Return name -> a copy of the image under a path that does not reveal its class.

    Raises:
        ReviewError: an image cannot be read, or is not the one that was curated.

    """
    found: dict[str, str] = {}
    kept = sample.assign(file=local_files(workspace, sample["path"]))
    for name, sha256, file in kept[["name", "sha256", "file"]].itertuples(index=False, name=None):
        with reading.refusing(file, "run: curate run DATA", ReviewError):
            data = reading.contents(file)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise ValueError("it is not the image that was curated")
        target = workspace.review / "blind" / (sha256 + Path(file).suffix.lower())
        if not files.holds(target, data):
            files.write_bytes(target, data)
        found[name] = str(target.resolve())
    return found


def dataset(fo: Any, name: str, files: Mapping[str, str], answers: Mapping[str, str]) -> Any:
    """Return a FiftyOne dataset of pictures alone: a neutral name, and this person's own answer so far."""
    made = fo.Dataset(name, persistent=True, overwrite=True)
    made.add_sample_field("decided", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    made.add_sample_field("reviewers", fo.ListField, subfield=fo.StringField)
    made.add_sample_field("disagree", fo.BooleanField)
    for field in ("path", "copy_group", "digest"):
        made.add_sample_field(field, fo.StringField)
    samples: list[dict[str, Any]] = [
        {
            "_id": {"$oid": sample_id(key)},
            "filepath": file,
            "tags": [],
            "path": key,
            "_rand": place / len(files),
            "_media_type": "image",
            "decided": push.classification(answers.get(key, "")),
            "reviewers": [],
            "disagree": False,
        }
        for place, (key, file) in enumerate(files.items())
    ]
    made.media_type = "image"
    push.import_documents(fo, made, samples, lambda *_: None)
    made.app_config.active_fields = fo.ActiveFields(paths=["decided"], exclude=False)
    made.save()
    return made
