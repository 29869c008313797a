"""The layout that all pages share: one self-contained HTML file, escaped, light and dark, for screen and print."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import jinja2
import pandas as pd
from markupsafe import Markup

if TYPE_CHECKING:
    from plotly import graph_objects as go

_SMALLEST_SHARE = 0.0005
"""Shares below this would be rounded to 0.0 %, like none."""

_SMALLEST_CHANCE = 0.001
"""p-values below this are shown as less than it."""

Row = Mapping[Hashable, Any]
"""A row of a frame, as ``to_dict("records")`` gives it: column -> value."""

CellKind = Literal["text", "code", "count", "found", "share", "number", "decimal", "chance"]


@dataclass(frozen=True)
class Column:
    """One column of a table: the frame's column, its heading, and how its cells are shown.

    hint explains the heading. note names another column of the frame, shown small below the cell's text; command and
    view two that hold a command to copy and the name of a saved view in the App. A cell of the kind "found" is a count,
    or says that the check was not run.
    """

    name: str
    title: str
    kind: CellKind = "text"
    hint: str = ""
    note: str = ""
    command: str = ""
    view: str = ""


def interval_columns(kind: CellKind = "share", what: str = "95 % interval") -> tuple[Column, Column]:
    """Return the columns of an interval: ``low`` and ``high``."""
    return Column("low", "from", kind, f"lower end of the {what}"), Column(
        "high", "to", kind, f"upper end of the {what}"
    )


DIFFERENCE_COLUMNS = (
    Column("contrast", "Difference"),
    Column("difference", "Points", "number", "of accuracy in per cent, mean over seeds"),
    *interval_columns("number", "paired 95 % interval"),
    Column("images", "Images", "count"),
    Column("seeds", "Seeds", "count"),
)
"""Columns of paired differences of accuracy, after those that say where."""


@dataclass(frozen=True)
class Table:
    """A table of a page: sortable, and downloadable as ``identifier``.csv with unrounded values.

    total_rows are the numbers of rows (from 0) that hold totals; they stay at the bottom when the table is sorted.
    """

    identifier: str
    caption: str
    frame: pd.DataFrame
    columns: Sequence[Column]
    total_rows: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Chart:
    """A chart of a page, with a text alternative."""

    identifier: str
    figure: go.Figure
    alt: str
    height: int
    table: Table | None = None


def shown(value: Any, kind: CellKind) -> str:
    """Return a cell's text: counts with thousands separators, shares (0..1) in per cent, numbers to 3 digits.

    Decimals and chances (p-values) have three places; missing values (NaN) are a dash.
    """
    if isinstance(value, float) and math.isnan(value):
        return "not run" if kind == "found" else "–"  # noqa: RUF001 - a dash is meant
    if kind in ("count", "found"):
        return f"{int(value):,}"
    if kind == "share":
        return "<0.1%" if 0 < value < _SMALLEST_SHARE else f"{float(value):.1%}"
    if kind == "number":
        return f"{float(value):.3g}"
    if kind == "chance" and value < _SMALLEST_CHANCE:
        return "<0.001"
    if kind in ("decimal", "chance"):
        return f"{float(value):.3f}"
    return str(value)


def metric_names(frame: pd.DataFrame) -> pd.Series:
    """Return the names of metric and class on a page: "macro F1", "F1 happy"."""
    joined = (frame["metric"] + " " + frame["class"]).str.strip()
    return joined.str.replace("_", " ").str.replace(r"\bf1\b", "F1", regex=True)


def slug(name: str) -> str:
    """Return a saved view's name as the App has it in addresses."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def breakable(path: str) -> Markup:
    """Return a path, escaped, that may be broken into lines after each slash."""
    return Markup("/<wbr>").join(path.split("/"))


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that is safe inside a script element.

    Colours are written as CSS variables ("var(--name)"); the page's script resolves them for the theme in use.
    """
    text = figure.to_json()
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("'", "\\u0027")):
        text = text.replace(character, escape)
    return Markup(text)  # noqa: S704 - everything that could end the script element is escaped above


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    environment.filters["breakable"] = breakable
    environment.filters["slug"] = slug
    environment.filters["figure_json"] = figure_json
    environment.globals["asset"] = _asset
    environment.globals["plotly_js"] = _plotly_js
    return environment


def _asset(name: str) -> Markup:
    """Return one of the package's own style sheets or scripts, unescaped."""
    loader = _environment().loader
    assert loader is not None  # noqa: S101 - set in _environment
    return Markup(loader.get_source(_environment(), name)[0])  # noqa: S704 - a file of this package


def _plotly_js() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())  # noqa: S704 - plotly's own bundle, which holds no closing script tag


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a page made from one of the package's templates; every value of ``context`` is escaped."""
    return _environment().get_template(template).render(**context)
