"""The main sentences on an evaluation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

_AS_GIVEN = "as given"

_UNSEEN = {
    "without people in train": "of people that it has not seen",
    "without copies in train": "that it cannot have seen",
}
"""Views without images like those in train -> how their faces are described; the strictest first."""


def accuracy_sentences(table: pd.DataFrame, leaks: pd.DataFrame) -> list[str]:
    """Return a sentence per split: accuracy as given, on unseen faces and cleaned, and the effect of leaks.

    Args:
        table: split, view, images, metric, class, estimate, low, high.
        leaks: split, view, difference, low, high: accuracy as given minus that of a view, on the same draws of images.

    """
    accuracy = table[table["metric"] == "accuracy"].set_index(["split", "view"])
    lines = []
    for split in dict.fromkeys(accuracy.index.get_level_values("split")):
        views = accuracy.loc[split]
        parts = [f"{views.loc[_AS_GIVEN, 'estimate']:.1%} as given"]
        unseen = next((name for name in _UNSEEN if name in views.index), "")
        if unseen and views.loc[unseen, "images"] < views.loc[_AS_GIVEN, "images"]:
            images, estimate = views.loc[unseen, ["images", "estimate"]]
            parts.append(f"{estimate:.1%} on the {int(images):,} faces {_UNSEEN[unseen]}")
        if "cleaned" in views.index:
            parts.append(f"{views.loc['cleaned', 'estimate']:.1%} on the cleaned version")
        leak = leaks[(leaks["split"] == split) & (leaks["view"] == unseen)]
        lines.append(f"{split.capitalize()}: {'; '.join(parts)}.{''.join(map(_leak, leak.to_dict('records')))}")
    return lines


def _leak(row: Mapping[Hashable, Any]) -> str:
    span = points(row)
    if row["low"] <= 0 <= row["high"]:
        return f" No gain from faces that it has seen could be shown ({span})."
    return f" Faces that it has seen add {span}."


def warnings(table: pd.DataFrame, largest: Mapping[str, tuple[str, float]]) -> list[str]:
    """Return a warning about a weak model, by the first split as given.

    Args:
        table: as for ``accuracy_sentences``.
        largest: each split's commonest class as given, and its share.

    """
    accuracy = table[(table["metric"] == "accuracy") & (table["view"] == _AS_GIVEN)]
    for row in accuracy.head(1).to_dict("records"):
        name, share = largest[row["split"]]
        always = f"always answering {name} ({share:.1%} of {row['split']})"
        if row["low"] <= share:
            return [f"Warning: not shown to be better than {always}. Do not rely on its predictions of single images."]
        if row["estimate"] - share < 1 - row["estimate"]:
            return [
                f"Warning: a weak model, closer to {always} than to perfect. Most of the confused images are probably "
                "its errors, not the labels'."
            ]
    return []


def pair_sentences(pairs: pd.DataFrame, model: str, other: str) -> list[str]:
    """Return a sentence per split on which of two models is better as given, or that neither is shown to be.

    Args:
        pairs: split, view, metric, difference (model - other), low, high.
        model: name of the model.
        other: name of the one it is compared with.

    """
    chosen = pairs[(pairs["metric"] == "accuracy") & (pairs["view"] == _AS_GIVEN)]
    lines = []
    for row in chosen.to_dict("records"):
        if row["low"] <= 0 <= row["high"]:
            what = f"no difference between {model} and {other} could be shown"
        else:
            what = f"{model} is {'better' if row['difference'] > 0 else 'worse'} than {other}"
        lines.append(f"{row['split'].capitalize()}: {what} ({points(row)}).")
    return lines


def points(row: Mapping[Hashable, Any]) -> str:
    """Return a row's difference (shares) in percentage points, with its interval."""
    low, high = (f"{100 * row[name]:+.1f}" for name in ("low", "high"))
    return f"{100 * row['difference']:+.1f} points, 95 % interval {low} to {high}"
