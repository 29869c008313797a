"""Tables and thumbnails as HTML for notebooks, every name escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    import pandas as pd

_PICTURE_PX = 72
"""Side of a thumbnail on the page: 48 px faces enlarged by half."""


def table(frame: pd.DataFrame, caption: str = "") -> Markup:
    """Return a small table; numbers are right-aligned and have separators."""
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in frame.columns)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(_cell(value) for value in row))
        for row in frame.itertuples(index=False, name=None)
    )
    title = Markup("<caption style='text-align:left'>{}</caption>").format(caption) if caption else Markup("")
    return Markup("<table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(title, head, body)


def _cell(value: Any) -> Markup:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Markup("<td style='text-align:left'>{}</td>").format(value)
    text = f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    return Markup("<td style='text-align:right'>{}</td>").format(text)


def sentences(lines: Iterable[str]) -> Markup:
    """Return sentences as one paragraph, each on its own line."""
    return Markup("<p>{}</p>").format(Markup("<br>").join(escape(line) for line in lines))


def gallery(pictures: Sequence[tuple[str, str, str]]) -> Markup:
    """Return thumbnails in rows: data URI ("" for no picture), name, and words below."""
    figures = Markup("").join(_figure(*picture) for picture in pictures)
    return Markup("<div style='display:flex;flex-wrap:wrap;gap:8px'>{}</div>").format(figures)


def _figure(uri: str, name: str, words: str) -> Markup:
    picture = (
        Markup("<img src='{}' alt='{}' width='{}' height='{}'>").format(uri, name, _PICTURE_PX, _PICTURE_PX)
        if uri
        else Markup("<em>no picture</em>")
    )
    caption = Markup("<figcaption style='font-size:11px;max-width:110px;overflow-wrap:anywhere'>{}<br>{}</figcaption>")
    whole = Markup("<figure style='margin:0' title='{}'>{}{}</figure>")
    return whole.format(name, picture, caption.format(name, words))
