"""Charts from tables. Colours are the page's CSS variables, so that a chart follows light and dark.

Text that comes from data is escaped: plotly reads a small subset of HTML in its labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

import pandas as pd
from plotly import graph_objects as go

SERIES = 8
"""Colours that the style sheet defines for series, ``--series-1`` to ``--series-8``; more series repeat them."""

_LEAST_SHARE_AXIS = 0.01
"""The axis of shares shows at least this share, so that a tiny share does not look large."""


def series_colour(place: int) -> str:
    """Return the CSS variable of the ``place``-th series (from 0)."""
    return f"var(--series-{place % SERIES + 1})"


def _layout(**settings: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var(--ink-2)", "size": 13, "family": "system-ui, sans-serif"},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverlabel": {"bgcolor": "var(--surface)", "bordercolor": "var(--line)", "font": {"color": "var(--ink)"}},
        "dragmode": False,
    }
    return base | settings


def _axis(**settings: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }
    return base | settings


_LIGHTEST_TEXT_SHARE = 0.55
"""Cells of a confusion matrix darker than this share of the scale carry light text."""


def confusion_chart(frame: pd.DataFrame, classes: Sequence[str]) -> go.Figure:
    """Return a confusion matrix: rows the label, columns the prediction, shade the share of the label's images.

    Args:
        frame: columns given, predicted, images, share (0..1); a row per cell.
        classes: in the order of rows and columns.

    """
    names = [escape(name) for name in classes]
    cells = frame.set_index(["given", "predicted"])
    shares, counts = cells["share"].to_dict(), cells["images"].to_dict()
    share = [[float(shares[row, column]) for column in classes] for row in classes]
    count = [[int(counts[row, column]) for column in classes] for row in classes]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=share,
            customdata=count,
            zmin=0,
            zmax=1,
            colorscale=[[0, "var(--surface)"], [1, "var(--series-1)"]],
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="labelled %{y}, predicted %{x}: %{customdata:,} (%{z:.1%})<extra></extra>",
        ),
        layout=_layout(),
    )
    for place, name in enumerate(names):
        for other, value in enumerate(share[place]):
            light = value > _LIGHTEST_TEXT_SHARE
            figure.add_annotation(
                x=names[other],
                y=name,
                text=f"{count[place][other]:,}",
                showarrow=False,
                font={"color": "var(--page)" if light else "var(--ink)", "size": 14},
            )
    figure.update_layout(
        xaxis=_axis(title={"text": "predicted", "font": {"size": 12}}, showgrid=False, side="top", type="category"),
        yaxis=_axis(
            title={"text": "label", "font": {"size": 12}}, showgrid=False, autorange="reversed", type="category"
        ),
    )
    return figure


def ladder_chart(frame: pd.DataFrame) -> go.Figure:
    """Return accuracy by version: a colour per backbone, solid on validation with its interval, dotted on train.

    Args:
        frame: columns backbone, version, train_accuracy, validation_accuracy, low, high (0..1); a row per recipe.

    """
    figure = go.Figure(layout=_layout())
    for place, (backbone, rows) in enumerate(frame.groupby("backbone", sort=False)):
        versions = [version_name(version) for version in rows["version"]]
        colour = series_colour(place)
        validation = [float(value) for value in rows["validation_accuracy"]]
        figure.add_scatter(
            name=f"{escape(str(backbone))}, validation",
            x=versions,
            y=validation,
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"size": 8},
            error_y={
                "type": "data",
                "array": [float(high) - value for high, value in zip(rows["high"], validation, strict=True)],
                "arrayminus": [value - float(low) for low, value in zip(rows["low"], validation, strict=True)],
                "color": colour,
                "thickness": 1.2,
                "width": 3,
            },
            hovertemplate="%{x}, %{fullData.name}: %{y:.1%}<extra></extra>",
        )
        figure.add_scatter(
            name=f"{escape(str(backbone))}, train",
            x=versions,
            y=[float(value) for value in rows["train_accuracy"]],
            mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": "dot"},
            marker={"size": 6, "symbol": "circle-open"},
            hovertemplate="%{x}, %{fullData.name}: %{y:.1%}<extra></extra>",
        )
    _by_version(figure, frame, "accuracy")
    return figure


def f1_chart(frame: pd.DataFrame) -> go.Figure:
    """Return F1 on validation by version, a line per class.

    Args:
        frame: columns version and f1_CLASS for each class (0..1); a row per recipe of one backbone.

    """
    figure = go.Figure(layout=_layout())
    versions = [version_name(version) for version in frame["version"]]
    for place, name in enumerate(column for column in frame.columns if column.startswith("f1_")):
        figure.add_scatter(
            name=escape(name.removeprefix("f1_")),
            x=versions,
            y=[float(value) for value in frame[name]],
            mode="lines+markers",
            line={"color": series_colour(place), "width": 2},
            marker={"size": 7},
            hovertemplate="%{x}, %{fullData.name}: %{y:.1%}<extra></extra>",
        )
    _by_version(figure, frame, "F1 on validation")
    return figure


def version_name(version: str) -> str:
    """Return the name of a version in a chart: the deck's M0 to M11, other recipes by their name."""
    return f"M{version}" if version.isdigit() else escape(version)


def _by_version(figure: go.Figure, frame: pd.DataFrame, title: str) -> None:
    """Give a figure the axes of versions and shares, and a legend above."""
    order = list(dict.fromkeys(version_name(version) for version in frame["version"]))
    figure.update_layout(
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "itemclick": False},
        xaxis=_axis(showgrid=False, type="category", categoryorder="array", categoryarray=order),
        yaxis=_axis(title={"text": title, "font": {"size": 12}}, tickformat=".0%", range=[0, 1], nticks=6),
    )


_ROW_PX = 26
"""Height of one row of an interval chart."""


def interval_chart(frame: pd.DataFrame, title: str, number_format: str = ".0%", zero: bool = False) -> go.Figure:
    """Return points with their intervals, a row per name, a colour per series.

    Args:
        frame: columns name, series, estimate, low, high; NaN is not drawn.
        title: of the axis.
        number_format: number format of the axis and the labels.
        zero: draw a line at 0, for differences.

    """
    figure = go.Figure(layout=_layout(scattermode="group", scattergap=0.4))
    for place, (series, rows) in enumerate(frame.groupby("series", sort=False)):
        values = [float(value) for value in rows["estimate"]]
        figure.add_scatter(
            name=escape(str(series)),
            x=values,
            y=[escape(str(name)) for name in rows["name"]],
            mode="markers",
            orientation="h",
            marker={"size": 9, "color": series_colour(place)},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, float(high) - value) for high, value in zip(rows["high"], values, strict=True)],
                "arrayminus": [max(0.0, value - float(low)) for low, value in zip(rows["low"], values, strict=True)],
                "color": series_colour(place),
                "thickness": 1.6,
                "width": 4,
            },
            hovertemplate=f"%{{y}}, %{{fullData.name}}: %{{x:{number_format}}}<extra></extra>",
        )
    if zero:
        figure.add_vline(x=0, line={"color": "var(--ink-2)", "width": 1})
    names = [escape(str(name)) for name in dict.fromkeys(frame["name"])]
    figure.update_layout(
        showlegend=frame["series"].nunique() > 1,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "itemclick": False},
        xaxis=_axis(
            title={"text": escape(title), "font": {"size": 12}}, tickformat=number_format, nticks=5, tickangle=0
        ),
        yaxis=_axis(type="category", categoryorder="array", categoryarray=names[::-1], showgrid=True),
    )
    return figure


def interval_height(frame: pd.DataFrame) -> int:
    """Return a height in px at which every row of an interval chart can be read."""
    return 90 + int(frame["name"].nunique()) * (_ROW_PX + 8 * (int(frame["series"].nunique()) - 1))


def grade_chart(frame: pd.DataFrame) -> go.Figure:
    """Return accuracy by severity, a line per corruption.

    Args:
        frame: columns corruption, severity, accuracy (0..1), low, high.

    """
    figure = go.Figure(layout=_layout())
    for place, (name, rows) in enumerate(frame.groupby("corruption", sort=False)):
        figure.add_scatter(
            name=escape(str(name)),
            x=[int(value) for value in rows["severity"]],
            y=[float(value) for value in rows["accuracy"]],
            customdata=[f"{low:.0%} to {high:.0%}" for low, high in zip(rows["low"], rows["high"], strict=True)],
            mode="lines+markers",
            line={"color": series_colour(place), "width": 2},
            marker={"size": 7, "symbol": place},
            hovertemplate="%{fullData.name}, grade %{x}: %{y:.1%} (%{customdata})<extra></extra>",
        )
    figure.update_layout(
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "itemclick": False},
        xaxis=_axis(title={"text": "grade (0: as they are)", "font": {"size": 12}}, dtick=1, showgrid=False),
        yaxis=_axis(title={"text": "accuracy", "font": {"size": 12}}, tickformat=".0%", nticks=6, rangemode="tozero"),
    )
    return figure


def short_numbers(values: Sequence[float]) -> list[str]:
    """Return numbers with the fewest digits, two to four, that distinguish them."""
    texts: list[str] = []
    for digits in (2, 3, 4):
        texts = [f"{float(f'{value:.{digits}g}'):g}" for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts


def bins_chart(frame: pd.DataFrame) -> go.Figure:
    """Return accuracy along one covariate: one point per equal share of the images, with its interval.

    Args:
        frame: columns covariate, left, right, images, accuracy (0..1), low, high; rows of one covariate.

    """
    edges = [*(float(left) for left in frame["left"]), float(frame["right"].iloc[-1])]
    named = [f"{left:.3g} to {right:.3g}" for left, right in pairwise(edges)]
    values = [float(value) for value in frame["accuracy"]]
    # the last tick, at the edge, needs room for its text
    figure = go.Figure(layout=_layout(showlegend=False, margin={"l": 8, "r": 20, "t": 8, "b": 8}))
    figure.add_scatter(
        x=[place + 0.5 for place in range(len(values))],
        y=values,
        customdata=[f"{name}, {images:,} images" for name, images in zip(named, frame["images"], strict=True)],
        mode="lines+markers",
        line={"color": "var(--series-1)", "width": 2},
        marker={"size": 8},
        error_y={
            "type": "data",
            "array": [float(high) - value for high, value in zip(frame["high"], values, strict=True)],
            "arrayminus": [value - float(low) for low, value in zip(frame["low"], values, strict=True)],
            "color": "var(--series-1)",
            "thickness": 1.4,
            "width": 3,
        },
        hovertemplate="%{customdata}: %{y:.1%}<extra></extra>",
    )
    figure.update_layout(
        xaxis=_axis(
            showgrid=False,
            range=[0, len(values)],
            tickvals=list(range(len(edges))),
            ticktext=short_numbers(edges),
            tickangle=0,
            tickfont={"size": 11},
            ticks="outside",
        ),
        yaxis=_axis(tickformat=".0%", nticks=5),
    )
    return figure


def matrix_chart(frame: pd.DataFrame, rows_title: str, columns_title: str) -> go.Figure:
    """Return shares as shaded cells.

    Args:
        frame: columns first (row), second (column), share (0..1).
        rows_title: of the vertical axis.
        columns_title: of the horizontal axis.

    """
    names = list(dict.fromkeys(frame["first"]))
    shares = frame.set_index(["first", "second"])["share"].to_dict()
    labels = [escape(str(name)) for name in names]
    values = [[float(shares[(row, column)]) if (row, column) in shares else None for column in names] for row in names]
    texts = [[f"{value:.0%}" if value is not None else "" for value in line] for line in values]
    return matrix_figure(labels, labels, values, texts, (rows_title, columns_title))


def matrix_figure(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    titles: tuple[str, str],
) -> go.Figure:
    """Return cells shaded by ``values`` (0..1; None: no cell) with ``texts`` in them; titles of rows and columns."""
    top = max((value for line in values for value in line if value is not None), default=1.0)
    figure = go.Figure(
        go.Heatmap(
            x=list(columns),
            y=list(rows),
            z=[list(line) for line in values],
            zmin=0,
            zmax=max(top, _LEAST_SHARE_AXIS),
            colorscale=[[0, "var(--surface)"], [1, "var(--series-1)"]],
            showscale=False,
            xgap=2,
            ygap=2,
            hoverongaps=False,
            hovertemplate="%{y}, %{x}: %{z:.1%}<extra></extra>",
        ),
        layout=_layout(),
    )
    for place, line in enumerate(values):
        for other, value in enumerate(line):
            if value is not None:
                light = value > _LIGHTEST_TEXT_SHARE * max(top, _LEAST_SHARE_AXIS)
                figure.add_annotation(
                    x=columns[other],
                    y=rows[place],
                    text=texts[place][other],
                    showarrow=False,
                    font={"color": "var(--page)" if light else "var(--ink)", "size": 13},
                )
    figure.update_layout(
        xaxis=_axis(title={"text": titles[1], "font": {"size": 12}}, showgrid=False, side="top", type="category"),
        yaxis=_axis(
            title={"text": titles[0], "font": {"size": 12}}, showgrid=False, autorange="reversed", type="category"
        ),
    )
    return figure


def share_chart(frame: pd.DataFrame) -> go.Figure:
    """Return accuracy by share of the images, one line per way of choosing; all lines end at the whole.

    Args:
        frame: columns how, share, accuracy (0..1); the row of share 1 is the whole.

    """
    whole = frame[frame["share"] == 1.0]
    figure = go.Figure(layout=_layout())
    for place, (how, rows) in enumerate(frame[frame["share"] < 1.0].groupby("how", sort=False)):
        line = pd.concat([rows.sort_values("share"), whole])
        figure.add_scatter(
            name=escape(str(how)),
            x=[float(value) for value in line["share"]],
            y=[float(value) for value in line["accuracy"]],
            mode="lines+markers",
            line={"color": series_colour(place), "width": 2.5},
            hovertemplate="%{x:.0%} of the images: %{y:.1%}<extra></extra>",
        )
    figure.update_layout(
        xaxis=_axis(title={"text": "share of the images", "font": {"size": 12}}, tickformat=".0%"),
        yaxis=_axis(title={"text": "accuracy", "font": {"size": 12}}, tickformat=".0%"),
    )
    return figure
