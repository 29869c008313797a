"""A quality gate for data: whether a version meets limits, for a CI that trains on it or publishes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from curation.base import reading
from curation.base.errors import CurationError, did_you_mean
from curation.base.issues import Issues, read_issues
from curation.base.settings import Settings
from curation.base.workspace import Workspace
from curation.checks import registry
from curation.decisions import log, manifest, replay
from curation.pipeline import curating, summary

DEFAULT_LIMITS: Mapping[str, float | Mapping[str, float]] = {
    "leaks": 0,
    "conflicts": 0,
    "unreadable": 0,
    "wrong_labels": 0.05,
    "class_loss": 0.20,
}
"""Limits used without a file."""

FILE = "gate.toml"
"""Name of the file of limits in a workspace."""


class GateError(CurationError):
    """The limits cannot be read, or one has an unknown name."""


@dataclass(frozen=True)
class Limit:
    """One limit and whether it holds; one that could not be measured (None) does not hold."""

    name: str
    measured: float | None
    limit: float
    bound: str
    holds: bool
    said: str


@dataclass(frozen=True, repr=False)
class Gate:
    """A version compared with limits."""

    version: str
    hash: str
    limits: tuple[Limit, ...]

    @property
    def holds(self) -> bool:
        """Whether every limit holds."""
        return all(limit.holds for limit in self.limits)

    def lines(self) -> list[str]:
        """Return a sentence per limit and, last, the overall result."""
        found = [f"{'holds' if limit.holds else 'FAILS':<6} {limit.said}" for limit in self.limits]
        failed = sum(not limit.holds for limit in self.limits)
        outcome = f"{failed} of {len(self.limits)} limits do not hold" if failed else "every limit holds"
        return [*found, f"{self.version} ({self.hash[:12]}): {outcome}."]

    def __repr__(self) -> str:
        """Return the sentences."""
        return "\n".join(self.lines())

    def record(self) -> dict[str, Any]:
        """Return the result as a JSON record."""
        return {
            "version": self.version,
            "hash": self.hash,
            "holds": self.holds,
            "limits": [asdict(limit) for limit in self.limits],
        }

    def junit(self) -> bytes:
        """Return JUnit XML, which CI systems show as tests: a test case per limit."""
        failed = str(sum(not limit.holds for limit in self.limits))
        suite = ElementTree.Element(
            "testsuite", name="curate gate", tests=str(len(self.limits)), failures=failed, errors="0", skipped="0"
        )
        for limit in self.limits:
            case = ElementTree.SubElement(suite, "testcase", classname=f"curate.gate.{self.version}", name=limit.name)
            if not limit.holds:
                ElementTree.SubElement(case, "failure", message=limit.said).text = limit.said
        return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"


@dataclass(frozen=True)
class _Data:
    """What limits are measured on: manifests before and after, issues, the summary's record, people's decisions."""

    raw: pd.DataFrame
    kept: pd.DataFrame
    issues: Issues
    record: Mapping[str, Any]
    by_person: frozenset[str]


_Measure = Callable[[_Data], "float | None"]


_COPIES = {"exact_duplicate", "near_duplicate"}


def _leaks(data: _Data) -> float | None:
    ran = _COPIES & set(data.issues.scored)
    return float(data.record["leaks_left"]) if ran else None


def _conflicts(data: _Data) -> float | None:
    """Count the groups of copies whose kept members carry several labels."""
    if not _COPIES & set(data.issues.scored):
        return None
    copies = data.issues.flagged
    kept = copies[copies["check"].isin(_COPIES)].merge(data.kept[["path", "label"]], on="path")
    return float((kept.groupby("group")["label"].nunique() > 1).sum())


def _wrong_labels(data: _Data) -> float | None:
    """Return the expected share of wrong labels: the mean P(wrong), with 0 where a person decided."""
    scores = data.issues.scores("mislabelled")
    scores = scores[scores.index.isin(data.kept["path"])]
    if scores.empty:
        return None
    wrong = np.where(scores.index.isin(list(data.by_person)), 0.0, 1.0 - scores)
    return float(wrong.mean())


def _loss(*by: str) -> _Measure:
    """Return a measure of the largest share that is left out of any part of the data."""

    def measure(data: _Data) -> float | None:
        gone = ~data.raw["path"].isin(data.kept["path"])
        return float(gone.groupby([data.raw[name] for name in by]).mean().max()) if by else float(gone.mean())

    return measure


def _smallest_class(data: _Data) -> float | None:
    """Return the number of kept images of the class and split that has the fewest; 0 where one has none left."""
    parts = data.raw[["split", "label"]].drop_duplicates()
    left = data.kept.groupby(["split", "original_label"]).size()
    return float(min(left.get((split, label), 0) for split, label in parts.itertuples(index=False)))


MEASURES: Mapping[str, tuple[_Measure, str, bool]] = {
    "leaks": (_leaks, "groups of known copies that lie in more than one split", False),
    "conflicts": (_conflicts, "groups of kept copies under different labels", False),
    "wrong_labels": (_wrong_labels, "expected share of wrong labels among the kept images", True),
    "left_out": (_loss(), "share of all images that is left out", True),
    "class_loss": (_loss("label"), "largest share of a class that is left out", True),
    "split_loss": (_loss("split"), "largest share of a split that is left out", True),
    "class_in_split_loss": (_loss("split", "label"), "largest share of a class in one split that is left out", True),
    "waiting": (lambda data: float(data.record["waiting"]), "images that wait for a person", False),
    "images": (lambda data: float(len(data.kept)), "kept images", False),
    "smallest_class": (_smallest_class, "kept images of the smallest class in any split", False),
}
"""Name of a limit -> how it is measured, its description, and whether it is a share (0..1).

The name of a check also is a limit, on the kept images that it flags: an integer on their number, a float on their
share."""


def limits_of(workspace: Workspace, file: Path | None = None) -> dict[str, Any]:
    """Return the limits: of ``file``, else of the workspace's ``gate.toml``, else the defaults.

    Raises:
        GateError: the file is absent, is not TOML, or does not hold limits.

    """
    path = file or workspace.root / FILE
    if file is None and not path.exists():
        return dict(DEFAULT_LIMITS)
    with reading.refusing(path, "mend it, or name another file of limits with --limits", GateError):
        found = reading.toml_table(reading.contents(path))
    limits = found.get("limits")
    if not isinstance(limits, dict) or not limits or set(found) != {"limits"}:
        raise GateError(f"{path} must hold one table [limits], such as: leaks = 0")
    return limits


def check_version(workspace: Workspace, name: str, limits: Mapping[str, Any], settings: Settings) -> Gate:
    """Compare a version with limits.

    Args:
        workspace: with a curated data set.
        name: the version.
        limits: name -> the largest value allowed, or a table with ``min``, ``max`` or both.
        settings: in force.

    Raises:
        GateError: a limit's name is unknown, or its value is not a number.

    """
    known = [*MEASURES, *registry.names()]
    for limit in limits:
        if limit not in known:
            raise GateError(f"no limit {limit!r}; {did_you_mean(limit, known)}")
    version = manifest.find(workspace, name)
    data = _data(workspace, version, settings)
    held = [one for limit, asked in limits.items() for one in _held(limit, asked, data)]
    return Gate(version.name, version.hash, tuple(held))


def _data(workspace: Workspace, version: manifest.Version, settings: Settings) -> _Data:
    raw = manifest.rows(workspace, manifest.find(workspace, version.base))
    rows = manifest.rows(workspace, version)
    issues = read_issues(workspace)
    entries = curating.entries_of(workspace, version) if version.kind == "cleaned" else []
    chosen = curating.policy_of(workspace, version, settings)
    _, record = summary.closing(raw, issues, rows, entries, chosen.review.checks if chosen else ())
    # decisions since the version count too: a confirmed label changes no row
    said = replay.people_rows(manifest.followed(workspace, log.Log(workspace.decisions).table, raw).table)
    decided = frozenset(said["path"])
    return _Data(raw, rows[rows["status"] == "kept"], issues, record, decided)


def _held(name: str, asked: Any, data: _Data) -> list[Limit]:
    """Return one limit, or two for a table with both bounds."""
    bounds = asked if isinstance(asked, Mapping) else {"max": asked}
    numbers = [value for value in bounds.values() if isinstance(value, int | float) and not isinstance(value, bool)]
    if not bounds or set(bounds) - {"min", "max"} or len(numbers) < len(bounds):
        raise GateError(f"the limit {name!r} must be a number, or a table with min, max or both, not {asked!r}")
    found = []
    for bound, limit in bounds.items():
        share = MEASURES[name][2] if name in MEASURES else isinstance(limit, float)
        measured = MEASURES[name][0](data) if name in MEASURES else _flagged(name, data, share=share)
        what = MEASURES[name][1] if name in MEASURES else f"kept images that {name} flags"
        holds = measured is not None and (measured <= limit if bound == "max" else measured >= limit)
        told = (
            "not measured: " + summary.how_to_run(_NEEDS.get(name, name))
            if measured is None
            else _shown(measured, share)
        )
        allowed = f"at {'most' if bound == 'max' else 'least'} {_shown(float(limit), share)}"
        found.append(Limit(name, measured, float(limit), bound, holds, f"{name}: {told}, {allowed} ({what})"))
    return found


_NEEDS = {"wrong_labels": "mislabelled", "leaks": "near_duplicate", "conflicts": "near_duplicate"}
"""Limit -> the check that must have run to measure it."""


def _flagged(check: str, data: _Data, *, share: bool) -> float | None:
    if check not in data.issues.scored:
        return None
    number = data.issues.of(check).query("is_issue")["path"].isin(data.kept["path"]).sum()
    return float(number / max(len(data.kept), 1)) if share else float(number)


def _shown(value: float, share: bool) -> str:
    return f"{value:.1%}" if share else f"{value:,.0f}"
