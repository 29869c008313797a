"""What two data sets share, as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.page import Column, Table, render
from reports.thumbnails import data_uris

_COUNTS = (
    Column("side", "whose images"),
    Column("split", "split"),
    Column("label", "class"),
    Column("images", "images", "count"),
    Column("exact", "the same", "count", "with equal pixels on the other side"),
    Column("near", "near copies", "count"),
    Column("share", "share", "share", "of the class in the split"),
)


def overlap_page(other: str, lines: Sequence[str], counts: pd.DataFrame, pairs: pd.DataFrame, total: int) -> str:
    """Return the page.

    Args:
        other: the name of the other data set.
        lines: plain sentences.
        counts: side, split, label, images, exact, near, share (0..1).
        pairs: path, split, label, sha256, kind, probability, transform, other_path, other_splits, other_labels,
            other_sha256, and the pictures of both as bytes (sha256_picture, other_sha256_picture).
        total: pairs that there are, of which not all need be shown.

    """
    uris = {
        side: data_uris(pairs[side], pairs[f"{side}_picture"]) if len(pairs) else {}
        for side in ("sha256", "other_sha256")
    }
    shown = [
        {
            **row,
            "pictures": [
                {"uri": uris["sha256"].get(row["sha256"], ""), "path": row["path"], "label": row["label"]},
                {
                    "uri": uris["other_sha256"].get(row["other_sha256"], ""),
                    "path": row["other_path"],
                    "label": row["other_labels"],
                },
            ],
        }
        for row in pairs.drop(columns=["sha256_picture", "other_sha256_picture"]).to_dict("records")
    ]
    context = {
        "other": other,
        "lines": list(lines),
        "counts": Table("shared-counts", "Shared images by split and class", counts, _COUNTS) if len(counts) else None,
        "pairs": shown,
        "total": total,
    }
    return render("overlap.html.j2", context)
