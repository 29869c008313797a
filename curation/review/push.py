"""Push: one persistent FiftyOne dataset per workspace and version; a second push writes only what has changed.

Samples are imported in FiftyOne's own serialised format, ``fo.types.FiftyOneDataset``, at 0.2 ms each; ``add_samples``
takes 2.8 ms of CPU per sample and ``set_values`` 3 ms: a minute each for 20,000 images. A test checks that these
documents are those that FiftyOne itself writes and reads.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curation.base.progress import Report
from curation.base.workspace import Workspace, app_dataset
from curation.decisions import manifest
from curation.pipeline import summary
from curation.review import journal
from curation.review.read_model import Shown, sample_id

INFO = "curation"
"""Key of the dataset's ``info`` that names its workspace and version."""

_KEPT_DATASETS = 2
"""Newest versions whose datasets stay in the database; older ones can be pushed again at any time."""

_REVISION = 4
"""Raised whenever the documents of the same records may change."""


_TEXTS = ("path", "split", "status", "reason", "soft_label", "copy_group", "person", "person_group")
"""Columns of the records that are fields of the samples as they are."""


@dataclass(frozen=True)
class Pushed:
    """A dataset's name, and how many of its samples this push added, changed, removed and left alone."""

    name: str
    added: int
    changed: int
    removed: int
    unchanged: int


def dataset_name(workspace: Workspace, version: str) -> str:
    """Return the dataset's name: the workspace's folder, a mark of where it lies, and the version."""
    return app_dataset(workspace.root, version)


def push(fo: Any, workspace: Workspace, shown: Shown, report: Report) -> tuple[Any, Pushed]:
    """Write what is shown to FiftyOne's database and return the dataset; tags that people gave in the App are kept."""
    name = dataset_name(workspace, shown.version.name)
    dataset = _opened(fo, name, _siblings(fo, workspace))
    _declare(fo, dataset, shown)
    identities, digests, tags = dataset.values(["id", "digest", "tags"])
    known, tags_of = dict(zip(identities, digests, strict=True)), dict(zip(identities, tags, strict=True))
    added, wanted = [], set()
    for document in documents(shown, answered(workspace)):
        key = document["_id"]["$oid"]
        wanted.add(key)
        if known.get(key, "") != document["digest"]:
            # the split is the first tag; people add later ones
            split = [document["split"]] if document["split"] else []
            added.append({**document, "tags": tags_of.get(key, split)})
    gone = known.keys() - wanted
    changed = {document["_id"]["$oid"] for document in added} & known.keys()
    if gone or changed:
        dataset.delete_samples([*gone, *changed])
    if added:
        import_documents(fo, dataset, added, report)
    dataset.info[INFO] = {"workspace": str(workspace.root.resolve()), "version": shown.version.name}
    dataset.save()
    _forget_old(fo, workspace, name)
    new = len(added) - len(changed)
    return dataset, Pushed(name, new, len(changed), len(gone), len(known) - len(changed) - len(gone))


def current(fo: Any, workspace: Workspace, version: manifest.Version, state: str) -> tuple[Any, Pushed] | None:
    """Return a version's dataset with empty counts, or None if it is absent or of another state."""
    name = dataset_name(workspace, version.name)
    if not fo.dataset_exists(name):
        return None
    dataset = fo.load_dataset(name)
    known: dict[str, Any] = dataset.info.get(INFO, {})
    if known.get("state") != [_REVISION, state] or known.get("samples") != dataset.count():
        return None
    if len(dataset.exists("digest", False).limit(1)):  # answered in the App since
        return None
    return dataset, Pushed(name, 0, 0, 0, dataset.count())


def note(dataset: Any, state: str) -> None:
    """Record the state of the workspace that was pushed."""
    dataset.info[INFO] = {**dataset.info.get(INFO, {}), "state": [_REVISION, state], "samples": dataset.count()}
    dataset.save()


def _siblings(fo: Any, workspace: Workspace) -> list[str]:
    """Return the datasets of this workspace's versions, oldest version first."""
    prefix = dataset_name(workspace, "v")
    names = [name for name in fo.list_datasets() if name.startswith(prefix) and name[len(prefix) :].isdigit()]
    return sorted(names, key=lambda name: int(name[len(prefix) :]))


def _opened(fo: Any, name: str, siblings: Sequence[str]) -> Any:
    """Return the dataset of a version; a new one starts as a copy of the newest, made inside the database."""
    if name in siblings:
        return fo.load_dataset(name)
    if siblings:
        return fo.load_dataset(siblings[-1]).clone(name, persistent=True)
    return fo.Dataset(name, persistent=True)


def _forget_old(fo: Any, workspace: Workspace, current: str) -> None:
    for name in _siblings(fo, workspace)[:-_KEPT_DATASETS]:
        if name != current:
            fo.delete_dataset(name)


def _declare(fo: Any, dataset: Any, shown: Shown) -> None:
    """Declare the fields, so that the App knows them before any document has them.

    One sample with all fields is added and deleted: declaring each field separately takes a hundred times as long.
    """
    known = dataset.get_field_schema(flat=True)
    labels = ["label", "original_label", "suggestion", "decided", *map(prediction_field, shown.predictions)]
    texts = [*_TEXTS, "evidence", "worst_issue", "digest"]
    fields: dict[str, Any] = {
        **{name: fo.Classification(label="") for name in labels},
        **dict.fromkeys(texts, ""),
        "faces": fo.Detections(detections=[]),
        "landmarks": fo.Keypoints(keypoints=[]),
        "issues": [""],
        "reviewers": [""],
        "disagree": False,
        "weight": 1.0,
        "copies": 1,
        "person_images": 1,
    }
    scores = dict.fromkeys(shown.scores, 1.0)
    if known.keys() >= {*fields, *(f"scores.{check}" for check in scores)}:
        return
    every = fo.Sample(filepath="every-field.png", scores=fo.DynamicEmbeddedDocument(**scores), **fields)
    dataset.delete_samples(dataset.add_sample(every, dynamic=True))


def prediction_field(model: str) -> str:
    """Return the field of a model's predictions: a name that MongoDB and the App accept."""
    return "".join(letter if letter.isalnum() else "_" for letter in model).strip("_")


@dataclass(frozen=True)
class Answered:
    """People's answers so far: path -> words of the last answer, path -> reviewers, and the paths where they differ."""

    decided: dict[str, str]
    reviewers: dict[str, list[str]]
    disagree: frozenset[str]


def answered(workspace: Workspace) -> Answered:
    """Read the journals, so that a new database shows the answers again."""
    return answered_of(journal.last_answers(journal.read(workspace.review / "journal")).values())


def answered_of(answers: Any) -> Answered:
    """Return what the App shows of the latest answers."""
    by_path: dict[str, list[journal.ReviewAnswer]] = {}
    for answer in answers:
        by_path.setdefault(answer.path, []).append(answer)
    decided, reviewers, differing = {}, {}, set()
    for path, mine in by_path.items():
        mine.sort(key=lambda answer: answer.time)
        decided[path] = words(mine[-1].action, mine[-1].value)
        reviewers[path] = sorted(answer.reviewer for answer in mine)
        said = [answer for answer in mine if answer.action != "unsure"]
        if any(len({a.says for a in said if (a.action in journal.IDENTITY) == kind}) > 1 for kind in (True, False)):
            differing.add(path)
    return Answered(decided, reviewers, frozenset(differing))


def words(action: str, value: str) -> str:
    """Return an answer as the App's tiles show it."""
    if action == "relabel":
        return f"→ {value}"
    if action == "soften":
        return "→ " + " / ".join(f"{share:.0%} {name}" for name, share in json.loads(value).items())
    if action in journal.IDENTITY:
        return {"same": "same person", "not_same": "not the same"}[action]
    return {"keep": "keep", "exclude": "exclude", "unsure": "unsure"}.get(action, value or action)


def documents(shown: Shown, said: Answered) -> Iterator[dict[str, Any]]:
    """Yield each image's document, as FiftyOne serialises it, without what the dataset itself adds."""
    members, people = (shown.records[name].value_counts() for name in ("copy_group", "person_group"))
    predictions = {prediction_field(name): frame.to_dict("index") for name, frame in shown.predictions.items()}
    for row in shown.records.to_dict("records"):
        path = row["path"]
        plain: dict[str, Any] = {
            "filepath": row["filepath"],
            **{name: row[name] or None for name in _TEXTS},
            "weight": row["weight"],
            "copies": int(members[row["copy_group"]]) if row["copy_group"] else 1,
            "person_images": int(people[row["person_group"]]) if row["person_group"] else 1,
            "issues": sorted(shown.flagged.get(path, [])),
            "worst_issue": summary.check_words(shown.flagged[path][0])[0] if path in shown.flagged else "none",
            "evidence": "\n".join(shown.evidence.get(path, ())) or None,
            "reviewers": said.reviewers.get(path, []),
            "disagree": path in said.disagree,
            "scores": {check: found[path] for check, found in shown.scores.items() if path in found},
        }
        labels: dict[str, tuple[str, float | None]] = {name: (row[name], None) for name in ("label", "original_label")}
        suggested = shown.suggestions.get(path, "")
        labels["suggestion"] = (f"{suggested}?" if suggested else "", None)
        labels["decided"] = (said.decided.get(path, ""), None)
        for name, frame in predictions.items():
            labels[name] = (frame[path]["label"], frame[path]["confidence"]) if path in frame else ("", None)
        faces = shown.faces.get(row["sha256"], [])
        state = json.dumps([_REVISION, plain, labels, faces], sort_keys=True)
        yield _document(path, plain, labels, faces, hashlib.sha256(state.encode("utf-8")).hexdigest()[:16])


def _document(
    path: str,
    plain: dict[str, Any],
    labels: dict[str, tuple[str, float | None]],
    faces: list[dict[str, Any]],
    digest: str,
) -> dict[str, Any]:
    scores = {"_cls": "DynamicEmbeddedDocument", **plain.pop("scores")}
    identity = sample_id(path)
    return {
        "_id": {"$oid": identity},
        **plain,
        "scores": scores,
        "digest": digest,
        # FiftyOne shuffles and samples by this number; from the path, it is the same after every push
        "_rand": int(identity[:12], 16) / 16**12,
        "_media_type": "image",
        **{name: classification(label, confidence) for name, (label, confidence) in labels.items()},
        **_faces(faces),
    }


def _new_id() -> Mapping[str, str]:
    return {"$oid": uuid.uuid4().hex[:24]}


def classification(label: str, confidence: float | None = None) -> dict[str, Any] | None:
    """Return a label as FiftyOne serialises it, or None for an empty one."""
    if not label:
        return None
    found = {"_id": _new_id(), "_cls": "Classification", "tags": [], "label": label}
    return found if confidence is None else {**found, "confidence": float(confidence)}


def _faces(faces: list[dict[str, Any]]) -> dict[str, Any]:
    if not faces:
        return {"faces": None, "landmarks": None}
    common = {"attributes": {}, "tags": [], "label": "face"}
    boxes = [
        {"_id": _new_id(), "_cls": "Detection", **common, "bounding_box": face["box"], "confidence": face["score"]}
        for face in faces
    ]
    points = [
        {"_id": _new_id(), "_cls": "Keypoint", **common, "points": face["points"], "confidence": None}
        for face in faces
        if face["points"]
    ]
    return {
        "faces": {"_cls": "Detections", "detections": boxes},
        "landmarks": {"_cls": "Keypoints", "keypoints": points} if points else None,
    }


def import_documents(fo: Any, dataset: Any, documents: list[dict[str, Any]], report: Report) -> None:
    """Add documents with FiftyOne's own importer, which takes them unchanged."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "samples"
        # what the importer needs beside the samples: the dataset without any
        kind: dict[str, Any] = {"dataset_type": fo.types.FiftyOneDataset, "progress": False}
        dataset.match({"_id": None}).export(export_dir=str(folder), export_media=False, **kind)
        with (folder / "samples.json").open("w", encoding="utf-8") as file:
            file.write('{"samples": [')
            file.writelines(("," if n else "") + json.dumps(document) + "\n" for n, document in enumerate(documents))
            file.write("]}")
        report(0, len(documents))
        samples_only = dict.fromkeys(("import_saved_views", "import_runs", "import_workspaces"), False)
        dataset.add_dir(dataset_dir=str(folder), **kind, **samples_only)
        report(len(documents), len(documents))
    dataset.reload()


def answers_frame(answers: Any) -> pd.DataFrame:
    """Return latest answers as a table: path, reviewer, action, value, time, queue, reason, issue, says."""
    columns = [*journal.ReviewAnswer.__dataclass_fields__, "says"]
    rows = [{**vars(answer), "says": " ".join(answer.says).strip()} for answer in answers]
    return pd.DataFrame(rows, columns=columns)
