"""Charts from tables. Colours are the page's CSS variables, so that a chart follows light and dark.

Text that comes from data is escaped: plotly reads a small subset of HTML in its labels.
"""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
from plotly import graph_objects as go

SERIES = 8
"""Colours that the style sheet defines for series, ``--series-1`` to ``--series-8``; more series repeat them."""

_OUTCOME_COLOURS = {
    "kept": "var(--kept)",
    "left out": "var(--out)",
    "relabelled": "var(--changed)",
    "softened": "var(--changed)",
}
_WAITING_COLOUR = "var(--waits)"


_HEADROOM = 1.15
"""How far the axis of shares reaches beyond the highest bar, so that its label fits."""

_LEAST_SHARE_AXIS = 0.01
"""The axis of shares shows at least this share, so that next to nothing does not look like much."""


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


def left_out_chart(frame: pd.DataFrame) -> go.Figure:
    """Return bars of the share that was left out, a group for each class, a bar for each split.

    Args:
        frame: columns split, label, before, left_out, share (0..1).

    """
    figure = go.Figure(layout=_layout(barmode="group", bargap=0.25, bargroupgap=0.08))
    for place, (split, rows) in enumerate(frame.groupby("split", sort=False)):
        figure.add_bar(
            name=escape(str(split)) or "all images",
            x=[escape(label) for label in rows["label"]],
            y=[float(share) for share in rows["share"]],
            customdata=[[f"{out:,}", f"{n:,}"] for out, n in zip(rows["left_out"], rows["before"], strict=True)],
            text=[f"{share:.0%}" for share in rows["share"]],
            textposition="outside",
            textfont={"size": 12},
            constraintext="none",
            cliponaxis=False,
            hovertemplate="%{x}, %{fullData.name}: %{customdata[0]} of %{customdata[1]} (%{y:.1%})<extra></extra>",
            marker={"color": series_colour(place)},
        )
    top = max(float(frame["share"].max()) * _HEADROOM, _LEAST_SHARE_AXIS)
    figure.update_layout(
        legend={"orientation": "h", "y": 1.12, "x": 0, "itemclick": False, "itemdoubleclick": False},
        xaxis=_axis(showgrid=False, type="category"),
        yaxis=_axis(tickformat=".0%", range=[0, top], nticks=5),
        showlegend=frame["split"].nunique() > 1,
    )
    return figure


def flow_chart(frame: pd.DataFrame) -> go.Figure:
    """Return the flow from what was found to what was decided.

    Args:
        frame: columns found, outcome (text), images (number); one row a pair.

    """
    sources = list(dict.fromkeys(frame["found"]))
    targets = list(dict.fromkeys(frame["outcome"]))
    totals_in, totals_out = (frame.groupby(name)["images"].sum() for name in ("found", "outcome"))
    names = [f"{escape(name)}  {totals_in[name]:,}" for name in sources]
    names += [f"{escape(name).capitalize()}  {totals_out[name]:,}" for name in targets]
    colours = [outcome_colour(outcome) for outcome in frame["outcome"]]
    return go.Figure(
        go.Sankey(
            arrangement="fixed",
            node={
                "label": names,
                "pad": 20,
                "thickness": 12,
                "line": {"width": 0},
                "color": ["var(--node)"] * len(sources) + [outcome_colour(target) for target in targets],
                "hovertemplate": "%{label}<extra></extra>",
            },
            link={
                "source": [sources.index(name) for name in frame["found"]],
                "target": [len(sources) + targets.index(name) for name in frame["outcome"]],
                "value": [int(n) for n in frame["images"]],
                "color": [colour.replace(")", "-soft)") for colour in colours],
                "hovertemplate": "%{source.label} → %{target.label}: %{value:,}<extra></extra>",
            },
        ),
        layout=_layout(),
    )


def outcome_colour(outcome: str) -> str:
    """Return the CSS variable of an outcome such as "left out" or "kept, to look at"."""
    if "," in outcome:
        return _WAITING_COLOUR
    return _OUTCOME_COLOURS[outcome]


def distribution_chart(frame: pd.DataFrame) -> go.Figure:
    """Return one measure's histogram with its threshold; the count axis is logarithmic, so that rare values show.

    Args:
        frame: one row a bin: left, right, threshold, measure, passed, flagged (numbers of images).

    """
    centres = [float(value) for value in (frame["left"] + frame["right"]) / 2]
    widths = [float(value) for value in frame["right"] - frame["left"]]
    ranges = [f"{a:.3g} to {b:.3g}" for a, b in zip(frame["left"], frame["right"], strict=True)]
    figure = go.Figure(layout=_layout(barmode="stack", bargap=0, showlegend=False))
    for name, title, colour in (("passed", "passed", "var(--bar)"), ("flagged", "flagged", "var(--out)")):
        figure.add_bar(
            x=centres,
            y=[int(n) for n in frame[name]],
            width=widths,
            customdata=ranges,
            hovertemplate=f"%{{customdata}}: %{{y:,}} {title}<extra></extra>",
            marker={"color": colour, "line": {"width": 0}},
        )
    figure.add_vline(x=float(frame["threshold"].iloc[0]), line={"color": "var(--ink)", "width": 1.5, "dash": "dot"})
    figure.update_layout(
        xaxis=_axis(title={"text": escape(frame["measure"].iloc[0]), "font": {"size": 12}}, showgrid=False, nticks=6),
        yaxis=_axis(type="log", dtick=1, tickformat=",d", rangemode="nonnegative"),
    )
    return figure
