"""What a version covers of each class, as one self-contained page: sentences, and a shaded table per axis."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
from plotly import graph_objects as go

from reports.figures import matrix_figure
from reports.page import Chart, Column, Table, interval_columns, render, slug

_CELLS = (
    Column("split", "Split"),
    Column("label", "Class"),
    Column("value", "Value"),
    Column("images", "Images", "count", "pictures in the version, copies counted once"),
    Column("images_before", "Before", "count", "in the imported data"),
    Column("share", "Share", "share", "of the class in the split"),
    *interval_columns(),
    Column("expected", "Expected", "number", "images, if the class were like the others of its split"),
)

_ASSOCIATION = (
    Column("axis", "Axis"),
    Column("images", "Images", "count"),
    Column("information", "Nats", "decimal", "mutual information with the class, bias subtracted"),
    Column("association", "Association", "decimal", "0 says nothing about the class, 1 determines it"),
    Column("chance", "Chance", "chance", "share of random orders of the labels with as much"),
)

_ROW, _ROOM = 34, 70
"""Height in px of a class in a chart, and of the titles above."""


def coverage_page(
    version: str, lines: Sequence[str], limits: str, cells: pd.DataFrame, association: pd.DataFrame
) -> str:
    """Return the page.

    Args:
        version: its name.
        lines: plain sentences, the most serious first.
        limits: in words, where the values of the axes begin.
        cells: axis, split, label, value, images, images_before, share, low, high (0..1), expected.
        association: axis, images, information, association, chance.

    """
    charts = [
        (
            axis,
            [
                _chart(str(axis), str(split), mine)
                for split, mine in of_axis.groupby("split", sort=False)
                if mine["images_before"].sum()
            ],
        )
        for axis, of_axis in cells.groupby("axis", sort=False)
    ]
    context = {
        "version": version,
        "lines": list(lines),
        "limits": limits,
        "charts": charts,
        "association": Table("association", "What each axis says about the class", association, _ASSOCIATION),
    }
    return render("coverage.html.j2", context)


def _chart(axis: str, split: str, cells: pd.DataFrame) -> Chart:
    identifier = f"chart-{slug(axis)}-{slug(split) or 'all'}"
    named = f"{axis}, {split}" if split else axis
    table = Table(f"{identifier}-cells", f"Images by {named}", cells, _CELLS)
    alt = f"Images of each class by {named}; the numbers are in the table."
    height = _ROOM + _ROW * int(cells["label"].nunique())
    return Chart(identifier, _figure(cells, named), alt, height, table)


def _figure(cells: pd.DataFrame, title: str) -> go.Figure:
    """Return a cell per class and value, shaded by the class's share, with its images and those before in it."""
    rows, columns = (list(dict.fromkeys(cells[name])) for name in ("label", "value"))
    placed = cells.set_index(["label", "value"])
    share = placed["share"].to_dict()
    texts = {
        place: f"{images:,} of {before:,}"
        for place, images, before in zip(placed.index, placed["images"], placed["images_before"], strict=True)
    }
    shares = [[float(share.get((row, column), 0.0)) for column in columns] for row in rows]
    shown = [[texts.get((row, column), "") for column in columns] for row in rows]
    return matrix_figure([escape(row) for row in rows], [escape(one) for one in columns], shares, shown, ("", title))
