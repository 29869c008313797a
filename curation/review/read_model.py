"""What the App shows: one record per image, made from a version and what is known about its images."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from curation.base import files
from curation.base.classes import in_order
from curation.base.issues import read_issues
from curation.base.settings import Settings
from curation.base.tables import facts
from curation.base.workspace import Workspace, read_listing
from curation.decisions import manifest
from curation.measure import load_faces
from curation.models.runs import of_present_contents
from curation.pipeline import summary
from curation.review.journal import ReviewError

_ID_DIGITS = 24
"""Hexadecimal digits of a MongoDB object id."""

_SCORE_DIGITS = 4

_COPIES_NAMED = 6
"""Copies of an image that its evidence names; more are counted."""


@dataclass(frozen=True)
class Shown:
    """What the App shows of one workspace and version.

    records has one row per image: path, filepath, split, status, label, original_label, reason, weight, soft_label,
    copy_group, sha256, person (who is in the image), person_group (who is shown together: a person, or people who are
    perhaps the same). scores maps a check to path -> score; flagged maps path -> names of checks, the worst first;
    evidence path -> lines; faces sha256 -> faces; suggestions path -> the class that the judgement of labels suggests
    instead; predictions maps a model's display name to a frame with index path and columns label, confidence.
    """

    version: manifest.Version
    records: pd.DataFrame
    scores: dict[str, dict[str, float]]
    flagged: dict[str, list[str]]
    evidence: dict[str, list[str]]
    faces: dict[str, list[dict[str, Any]]]
    suggestions: dict[str, str] = field(default_factory=dict)
    predictions: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Every label there is, sorted: the digits of the keys follow this order."""
        return classes_of(self.records)


def classes_of(records: pd.DataFrame) -> list[str]:
    """Return the labels of a manifest's rows, given or original, sorted."""
    return in_order({*records["label"], *records["original_label"]} - {""})


def sample_id(path: str) -> str:
    """Return the object id of an image: the same in every version's dataset and after a wiped database."""
    return hashlib.sha256(path.encode("utf-8")).hexdigest()[:_ID_DIGITS]


def state_of(workspace: Workspace, version: manifest.Version) -> str:
    """Return a fingerprint of all that the App shows of a version: which files there are, of what size and time."""
    files = [
        workspace.issues,
        workspace.listing,
        *workspace.predictions.glob("*.parquet"),
        *workspace.review.glob("journal/*.jsonl"),
    ]
    found = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files) if file.exists()]
    return hashlib.sha256(json.dumps([version.hash, found]).encode("utf-8")).hexdigest()


def shown(workspace: Workspace, version_name: str, settings: Settings) -> Shown:
    """Gather what the App shows of a version.

    Raises:
        ReviewError: the images are not files on this machine.

    """
    version = manifest.find(workspace, version_name)
    rows = manifest.rows(workspace, version)
    found = read_issues(workspace)
    issues = found.rows[found.rows["path"].isin(rows["path"])]
    records = rows.assign(
        filepath=local_files(workspace, rows["path"]),
        copy_group=_copy_groups(rows, issues),
        **_people(rows, issues, found.groups("subject_leak")),
    )
    predictions = _predictions(workspace)
    flagged = issues[issues["is_issue"]].sort_values(["score", "check"]).groupby("path")["check"].agg(list)
    return Shown(
        version=version,
        records=records,
        scores={check: _shown_scores(found.scores(check), rows["path"]) for check in sorted(found.scored)},
        flagged={str(path): names for path, names in flagged.items()},
        evidence=_evidence(records, issues[issues["is_issue"] | _in_doubt(issues)], predictions),
        faces=_faces(workspace, settings),
        suggestions=_suggestions(records, issues, found.texts(("mislabelled", "ambiguous"))),
        predictions=predictions,
    )


def _shown_scores(scores: pd.Series, paths: pd.Series) -> dict[str, float]:
    return {str(path): score for path, score in scores[scores.index.isin(paths)].round(_SCORE_DIGITS).items()}


def local_files(workspace: Workspace, paths: pd.Series) -> pd.Series:
    """Return the files of images.

    Raises:
        ReviewError: an image is not a file on this machine.

    """
    urls = read_listing(workspace).set_index("path")["url"]
    files = paths.map(urls)
    remote = files.isna() | files.fillna("").str.contains("://", regex=False)
    if remote.any():
        raise ReviewError(
            f"{paths[remote].iloc[0]} is not a file on this machine, and the App shows only files; "
            "export the version as a folder and curate that"
        )
    return files.map(os.path.abspath)


def _copy_groups(rows: pd.DataFrame, issues: pd.DataFrame) -> pd.Series:
    """Return each image's group of copies, the widest there is, or ""."""
    groups: dict[str, str] = {}
    flagged = issues[issues["is_issue"] & (issues["group"] != "")]
    # a near group holds all exact copies of its members, so it comes last and wins
    for check in ("exact_duplicate", "near_duplicate"):
        mine = flagged[flagged["check"] == check]
        groups |= dict(zip(mine["path"], mine["group"], strict=True))
    return rows["path"].map(lambda path: groups.get(path, ""))


def _in_doubt(issues: pd.DataFrame) -> pd.Series:
    """Return which rows say that an image perhaps shows a person from another split."""
    return issues["check"].eq("subject_leak") & issues["path"].isin(summary.people_in_doubt(issues)["path"])


def _people(rows: pd.DataFrame, issues: pd.DataFrame, known: pd.DataFrame) -> dict[str, pd.Series]:
    """Return who is in each image and who is shown together; "" where nothing is known."""
    doubt = summary.people_in_doubt(issues).set_index("path")["group"].to_dict()
    of_path, paths = dict(zip(known["path"], known["group"], strict=True)), rows["path"].tolist()
    person = pd.Series([of_path.get(path, "") for path in paths], index=rows.index, dtype="str")
    group = pd.Series([doubt.get(path, of_path.get(path, "")) for path in paths], index=rows.index, dtype="str")
    return {"person": person, "person_group": group.mask(group.map(group.value_counts()) < 2, "")}


def _faces(workspace: Workspace, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    listing = read_listing(workspace)
    found = load_faces(listing, workspace.measurements, settings.measure)
    columns = ["sha256", "x", "y", "width", "height", "score", "landmarks"]
    faces: dict[str, list[dict[str, Any]]] = {}
    for sha256, *box, score, landmarks in found[columns].itertuples(index=False, name=None):
        pairs = None if landmarks is None else np.asarray(landmarks, np.float64).reshape(-1, 2)
        points = None if pairs is None else [[round(float(v), 4) for v in xy] for xy in pairs]
        face = {"box": [round(float(v), 4) for v in box], "score": round(float(score), 4), "points": points}
        faces.setdefault(sha256, []).append(face)
    return faces


def _suggestions(records: pd.DataFrame, issues: pd.DataFrame, judged: pd.DataFrame) -> dict[str, str]:
    """Return path -> the likeliest class of the images whose label is in doubt, where it is not the label.

    All copies of one picture get the same class, the likeliest by their summed posteriors: separately, each might name
    the other's label.
    """
    group_of = dict(zip(records["path"], records["copy_group"], strict=True))
    label_of = dict(zip(records["path"], records["label"], strict=True))
    doubted = set(issues.loc[issues["is_issue"] & issues["check"].isin(["mislabelled", "ambiguous"]), "path"])
    wanted = {group_of[path] or path for path in doubted}
    pooled: dict[str, dict[str, float]] = {}
    judged = judged[judged["path"].isin(label_of)].drop_duplicates("path")
    posteriors = {"posterior?": {str: float}}
    for path, fact in zip(judged["path"], facts(judged["evidence"], **posteriors), strict=True):
        unit = group_of[path] or path
        if unit in wanted:
            sums = pooled.setdefault(unit, {})
            for name, share in fact.get("posterior", {}).items():
                sums[name] = sums.get(name, 0.0) + share
    found = {}
    for path in doubted:
        sums = pooled.get(group_of[path] or path, {})
        likeliest = max(sums, key=lambda name: sums[name], default="")
        if likeliest and likeliest != label_of[path]:
            found[path] = likeliest
    return found


def _called(stem: str) -> str:
    """Return the display name of the model whose predictions a file holds."""
    if stem.startswith("oof_"):
        return "models"
    return "expression network" if stem == "fer_model" else "model " + stem.partition("_")[0]


def _predictions(workspace: Workspace) -> dict[str, pd.DataFrame]:
    """Return each model's likeliest class and its probability; of several tables of one name the newest."""
    found: dict[str, pd.DataFrame] = {}
    for file in sorted(workspace.predictions.glob("*.parquet"), key=lambda file: (file.stat().st_mtime_ns, file.name)):
        table = of_present_contents(workspace, files.read_table(file)).reset_index(drop=True)
        numbers = table.drop(columns=["path", "fold", "model"], errors="ignore").select_dtypes("number")
        if numbers.empty:
            continue
        values = numbers.to_numpy(np.float64)
        likeliest = np.nan_to_num(values, nan=-1.0).argmax(axis=1)
        frame = pd.DataFrame(
            {
                "path": table["path"],
                "label": numbers.columns.to_numpy()[likeliest],
                "confidence": values[np.arange(len(values)), likeliest].round(_SCORE_DIGITS),
            }
        )
        found[_called(file.stem)] = frame.drop_duplicates("path").set_index("path")
    return found


def _evidence(
    records: pd.DataFrame, flagged: pd.DataFrame, predictions: Mapping[str, pd.DataFrame]
) -> dict[str, list[str]]:
    """Return path -> the evidence for and against the image and its label, one line each."""
    lines: dict[str, list[str]] = {}
    ordered = flagged.sort_values(["path", "score", "check"])
    for path, check, fact in zip(ordered["path"], ordered["check"], facts(ordered["evidence"]), strict=True):
        title = summary.check_words(check)[0]
        lines.setdefault(path, []).append(f"{title}: {summary.evidence_words(fact, path)}")
    for name, frame in predictions.items():
        mine = frame[frame.index.isin(lines.keys())]
        for path, label, confidence in mine.reset_index()[["path", "label", "confidence"]].itertuples(index=False):
            lines[path].append(f"{name}: {confidence:.2f} {label}")
    for path, words in _copies(records):
        lines.setdefault(path, []).append(words)
    return lines


def _copies(records: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield (path, its copies with their splits and labels) for the images that have copies."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    columns = ["copy_group", "path", "split", "label"]
    for group, *seen in records.loc[records["copy_group"] != "", columns].itertuples(index=False, name=None):
        groups.setdefault(group, []).append((seen[0], seen[1], seen[2]))
    for members in groups.values():
        for path, _, _ in members:
            others = [
                f"{other} in {split or 'the set'}, labelled {label}" for other, split, label in members if other != path
            ]
            if others:
                more = f" and {len(others) - _COPIES_NAMED} more" if len(others) > _COPIES_NAMED else ""
                yield path, "copies: " + "; ".join(others[:_COPIES_NAMED]) + more
