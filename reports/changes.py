"""The page of changes between two versions: images that they treat differently, by reason and actor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import page, thumbnails
from reports.page import Column, Table


@dataclass(frozen=True)
class Origin:
    """Which versions are compared; option and app as in ``reports.cleaning.Provenance``."""

    name: str
    before: str
    after: str
    created: str
    option: str = ""
    app: str = ""


def changes_page(frame: pd.DataFrame, origin: Origin) -> str:
    """Return the page as one HTML document that needs no network.

    Args:
        frame: kind (in words, "left out"), why (in words), who, path, before, after (its state in each version),
            reason, label, split, sha256, thumbnail (bytes of a square grey picture, or None), total (images of the
            same kind, why and who, of which not all need have a row); in the order in which they are shown.
        origin: which versions.

    """
    uris = thumbnails.data_uris(frame["sha256"], frame["thumbnail"])
    counted = frame.drop_duplicates(["kind", "why", "who"])[["kind", "why", "who", "total"]].reset_index(drop=True)
    columns = [
        Column("kind", "what"),
        Column("why", "why"),
        Column("who", "who"),
        Column("total", "images", "count"),
    ]
    kinds = [
        {"kind": kind, "total": int(parts["total"].sum()), "parts": _parts(frame[frame["kind"] == kind], uris)}
        for kind, parts in counted.groupby("kind", sort=False)
    ]
    context = {
        "title": "What changed",
        "origin": origin,
        "total": int(counted["total"].sum()),
        "counts": Table("changes", "What changed, why and by whom", counted, columns),
        "kinds": kinds,
        "choices": {name: sorted(set(frame[name]) - {""}) for name in ("label", "split")},
    }
    return page.render("changes.html.j2", context)


def _parts(of_kind: pd.DataFrame, uris: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the pictures of one kind of change, by why and who."""
    result = []
    for (why, who), rows in of_kind.groupby(["why", "who"], sort=False):
        records = rows.drop(columns="thumbnail").to_dict("records")
        pictures = [
            {**record, "uri": uris.get(record["sha256"], ""), "evidence": record["reason"]} for record in records
        ]
        result.append({"why": why, "who": who, "total": int(rows["total"].iloc[0]), "pictures": pictures})
    return result
