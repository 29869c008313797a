"""How accurate people are at labelling the images, and how far they agree, as one self-contained page."""

from __future__ import annotations

import pandas as pd

from reports.page import Column, Table, interval_columns, render

_COLUMNS = (
    Column("figure", "Figure"),
    Column("class", "Class"),
    Column("value", "Value", "number"),
    *interval_columns("number"),
    Column("images", "Images", "count"),
)


def people_tables(figures: pd.DataFrame) -> list[tuple[str, Table]]:
    """Return (name, table) for each source of votes."""
    return [
        (str(name), Table(f"votes-{place}", f"Votes: {name}", mine.reset_index(drop=True), _COLUMNS))
        for place, (name, mine) in enumerate(figures.groupby("source", sort=True))
    ]


def people_page(figures: pd.DataFrame, source: str) -> str:
    """Return the page.

    Args:
        figures: source, figure, class, value, low, high (with 95 % intervals), images.
        source: where the images lie.

    """
    return render("people.html.j2", {"tables": people_tables(figures), "source": source})
