"""Gender, race and age: do the model and the cleaning treat groups alike? Figures by group."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from curation.base import reading
from curation.base.classes import in_order
from curation.base.issues import read_issues
from curation.base.progress import Display
from curation.base.workspace import Workspace, create_workspace, locked
from curation.decisions import manifest
from curation.evidence.alignment import aligned_files
from curation.evidence.estimated import PREFIX, estimated_attributes
from curation.evidence.evaluated_model import EvaluatedModel, places
from curation.evidence.store import Tables
from curation.formats import names
from curation.formats.gate import Gate
from curation.formats.source import read_source
from curation.labels.votes import match_classes
from curation.models.runs import ModelError, translate_errors

ATTRIBUTES = ("gender", "race", "age")

AGE_GROUPS = ((0, 9), (10, 19), (20, 39), (40, 59), (60, 200))
"""Years, first and last: child, teenager, and three adult groups with enough images in most data."""

_YEARS = re.compile(r"[0-9]{1,3}(\.[0-9]{0,9})?")

_UTKFACE = re.compile(r"^(\d+)_([01])_([0-4])_\d+.*$")
"""AGE_GENDER_RACE_DATE of UTKFace (Zhang, Song & Qi, 2017)."""

_GENDERS = ("male", "female")
_RACES = ("White", "Black", "Asian", "Indian", "other")


class AttributesError(ModelError):
    """A table or folder has no attributes of the people in the images."""


def read_attributes(source: str, workspace: Workspace) -> pd.DataFrame:
    """Return the known attributes of the people in images.

    Args:
        source: a CSV or Parquet table with the columns path and gender, race, age (any of them; age in years or as a
            group) and perhaps label; paths are of the data set, or relative to the table's folder. Or a folder whose
            files are named as UTKFace's.
        workspace: where archives are unpacked.

    Returns:
        Columns path, url ("" for an image of the data set), label ("" where there is none), and the attributes as
        names of groups, "" where unknown.

    Raises:
        AttributesError: there is no attribute in it.

    """
    file = Path(source)
    if file.suffix.lower() in {".csv", ".parquet"}:
        with reading.refusing(file, "give a table with a header in CSV or Parquet", AttributesError):
            table = reading.table(file).fillna("").astype("str")
        known = [name for name in ATTRIBUTES if name in table]
        if "path" not in table or not known:
            raise AttributesError(f"{source} must have a column path and one of {', '.join(ATTRIBUTES)}")
        gate = Gate(os.path.realpath(file.parent), workspace.sources)
        beside = [gate.find(path) if names.inside(path) else "" for path in table["path"]]
        urls = ["" if isinstance(place, str) else place.url for place in beside]
        labels = table.get("label", "")
        frame = pd.DataFrame({"path": table["path"], "url": urls, "label": labels})
        return frame.assign(**{name: _groups(name, table[name]) for name in known})
    listing = read_source(source, workspace.sources).frame
    parts = listing["path"].str.rpartition("/")[2].str.extract(_UTKFACE)
    known_rows = parts[0].notna()
    if not known_rows.any():
        raise AttributesError(
            f"no file of {source} is named AGE_GENDER_RACE_...; give a table with a column path instead"
        )
    listing, parts = listing[known_rows].reset_index(drop=True), parts[known_rows].reset_index(drop=True)
    return pd.DataFrame(
        {
            "path": listing["path"],
            "url": listing["url"],
            "label": "",
            "gender": [_GENDERS[int(code)] for code in parts[1]],
            "race": [_RACES[int(code)] for code in parts[2]],
            "age": _groups("age", parts[0]),
        }
    )


def _groups(name: str, values: pd.Series) -> list[str]:
    """Return names of groups; ages in years become age groups."""
    return [_age_group(str(value)) if name == "age" else str(value) for value in values]


def as_groups(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return estimated attributes as ``read_attributes`` gives known ones."""
    named = {name: _groups(name, estimates[name]) for name in ATTRIBUTES if name in estimates}
    return estimates[["path"]].assign(url="", label="", **named)


def _age_group(text: str) -> str:
    if not _YEARS.fullmatch(text) or float(text) > AGE_GROUPS[-1][1]:
        return text
    years = float(text)
    first, last = next(group for group in AGE_GROUPS if years < group[1] + 1)
    return f"{first} to {last}" if last < AGE_GROUPS[-1][1] else f"{first} and older"


def groups(evaluated: EvaluatedModel, source: str, images: int, display: Display) -> Tables:
    """Return the model's figures and the cleaning's by group.

    Images of the data set are used unchanged, others cropped and aligned like them. Where the table has labels,
    accuracy and error rates are compared; else only the model's answers and confidence.

    Args:
        evaluated: the model.
        source: of attributes, see ``read_attributes``; or insightface:PACK_OR_FOLDER, which estimates them.
        images: at most so many are judged, drawn; 0 for all.
        display: progress.

    """
    from training.fairness import by_group

    estimated = source.startswith(PREFIX)
    table = (
        as_groups(estimated_attributes(evaluated, source, display))
        if estimated
        else read_attributes(source, evaluated.workspace)
    )
    own = _of_data_set(evaluated, table)
    chosen = own if own is not None else table[table["url"] != ""]
    if chosen.empty:
        raise AttributesError(f"{source} names neither images of the data set nor files beside it")
    if images and len(chosen) > images:
        chosen = chosen.sample(images, random_state=evaluated.seed).sort_index()
    chosen = chosen.reset_index(drop=True)
    known = [name for name in ATTRIBUTES if name in chosen]
    probabilities, found = _judged(evaluated, chosen, own is not None, display)
    labels = _labels(evaluated, chosen)
    people = chosen[known].reset_index(drop=True)
    return {
        "model": translate_errors(
            lambda: by_group(people, probabilities, evaluated.classes, labels, seed=evaluated.seed)
        ),
        "facts": pd.DataFrame(
            {
                "source": [source.rstrip("/").rpartition("/")[2]],
                "images": [len(chosen)],
                "found": [int(found.sum())],
                "labelled": [labels is not None],
                "own": [own is not None],
                "estimated": [estimated],
            }
        ),
        "cleaning": _cleaning(
            evaluated, table, evaluated.workspace if own is not None else _curated_apart(evaluated, source, display)
        ),
    }


def _of_data_set(evaluated: EvaluatedModel, table: pd.DataFrame) -> pd.DataFrame | None:
    """Return the rows that are held-out images of the data set, with its labels; None where there is none."""
    frame = evaluated.frame[["key", "path", "label"]].rename(columns={"path": "url"})
    joined = table.drop(columns=["url", "label"]).merge(frame, left_on="path", right_on="key").drop(columns="key")
    return joined if len(joined) else None


def _judged(
    evaluated: EvaluatedModel, chosen: pd.DataFrame, own: bool, display: Display
) -> tuple[np.ndarray, np.ndarray]:
    if own:
        place = {key: number for number, key in enumerate(evaluated.frame["key"])}
        rows = [place[path] for path in chosen["path"]]
        return evaluated.probabilities[rows], np.ones(len(rows), bool)
    with display.step("Aligning faces with attributes") as report:
        faces = aligned_files(chosen["url"].tolist(), evaluated.reference, evaluated.settings, report)
    with display.step("Predicting faces with attributes"):
        return evaluated.model.probabilities(faces.images), faces.facts["found"].to_numpy(bool)


def _labels(evaluated: EvaluatedModel, chosen: pd.DataFrame) -> np.ndarray | None:
    """Return the places of the labels if every image has one that the model knows."""
    mine = match_classes(in_order(chosen["label"]), evaluated.classes)
    names = {theirs: ours for ours, theirs in mine.items()}
    if not chosen["label"].isin(names).all():
        return None
    return places(chosen["label"].map(names), evaluated.classes)


def _cleaning(evaluated: EvaluatedModel, table: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """Return how often each group is flagged, removed and relabelled, in one workspace."""
    from training.fairness import rates_by_group

    rows = manifest.rows(workspace, manifest.find(workspace, "cleaned")).set_index("path")
    issues = read_issues(workspace).flagged
    mine = table[table["path"].isin(rows.index)].reset_index(drop=True)
    state = rows.loc[mine["path"]]
    flags = pd.DataFrame(
        {
            "removed": (state["status"] == "excluded").to_numpy(),
            "relabelled": (state["label"] != state["original_label"]).to_numpy(),
        }
    )
    for check, of_check in issues.groupby("check"):
        flagged = mine["path"].isin(of_check["path"]).to_numpy()
        if flagged.any():
            flags[f"flagged: {check}"] = flagged
    return rates_by_group(mine[[name for name in ATTRIBUTES if name in mine]], flags, seed=evaluated.seed)


def _curated_apart(evaluated: EvaluatedModel, source: str, display: Display) -> Workspace:
    """Run the same checks and policy on the folder of images with attributes, in a workspace of its own; return it."""
    from curation.pipeline import curating

    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    workspace = create_workspace(evaluated.workspace.findings / "attribute-images")
    with locked(workspace):
        curating.run(workspace, str(folder), evaluated.settings, display)
    return workspace
