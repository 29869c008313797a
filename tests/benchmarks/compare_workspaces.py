"""Compare two workspaces of the same data: hashes of their versions, values of their issues, and their pairs of copies.

Shows that a change of the code kept its behaviour. Curate the same data with the code before and after, then:

    python -m tests.benchmarks.compare_workspaces BEFORE AFTER

Exits 1 where anything differs, and prints what.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from curation.base import files
from curation.base.issues import read_issues
from curation.base.workspace import Workspace, open_workspace
from curation.decisions import manifest

SHOWN = 5
"""Differing rows printed of each table."""


def differences(before: Workspace, after: Workspace, tolerance: float = 0.0) -> Iterator[str]:
    """Yield a sentence per difference.

    Args:
        before: a curated workspace
        after: another one of the same data
        tolerance: by which scores and probabilities (0..1) may differ

    """
    hashes = [{one.name: one.hash for one in manifest.versions(space)} for space in (before, after)]
    for name in sorted(set(hashes[0]) | set(hashes[1])):
        first, second = (known.get(name, "absent") for known in hashes)
        if first != second:
            yield f"version {name}: {first} before, {second} after"
    issues = (read_issues(space).every() for space in (before, after))
    yield from _changed_rows("issues", *issues, ["path", "check"], tolerance)
    pairs = (_pairs(space) for space in (before, after))
    yield from _changed_rows("pairs", *pairs, ["pixel_sha256_a", "pixel_sha256_b"], tolerance)


def _pairs(space: Workspace) -> pd.DataFrame:
    frame = files.read_table(space.pairs) if space.pairs.exists() else pd.DataFrame()
    return frame.astype({name: "str" for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})


def _changed_rows(
    table: str, before: pd.DataFrame, after: pd.DataFrame, key: list[str], tolerance: float
) -> Iterator[str]:
    if list(before.columns) != list(after.columns):
        yield f"{table}: columns {', '.join(before.columns)} before, {', '.join(after.columns)} after"
    if not {*key} <= {*before.columns} & {*after.columns}:
        return
    both = before.merge(after, on=key, how="outer", suffixes=("", "_after"), indicator="where")
    for side, when in (("left_only", "before"), ("right_only", "after")):
        alone = both[both["where"] == side]
        if len(alone):
            yield f"{table}: {len(alone):,} rows only {when}, such as {_some(alone, key)}"
    shared = both[both["where"] == "both"]
    for column in [name for name in before.columns if name not in key and f"{name}_after" in shared]:
        first, second = shared[column], shared[f"{column}_after"]
        if pd.api.types.is_float_dtype(first) and pd.api.types.is_float_dtype(second):
            equal = ((first - second).abs() <= tolerance) | (first.isna() & second.isna())
        else:
            equal = first.eq(second) | (first.isna() & second.isna())
        if not equal.all():
            changed = shared[~equal]
            yield f"{table}: {column} differs in {len(changed):,} rows, such as {_some(changed, key)}"


def _some(rows: pd.DataFrame, key: list[str]) -> str:
    return "; ".join(" ".join(map(str, row)) for row in rows[key].head(SHOWN).itertuples(index=False, name=None))


def main() -> int:
    """Compare the two workspaces of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.0, help="by which scores and probabilities may differ")
    given = parser.parse_args()
    found = list(differences(open_workspace(given.before), open_workspace(given.after), given.tolerance))
    print("\n".join(found) or "no difference: hashes of versions, issues and pairs are the same")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
