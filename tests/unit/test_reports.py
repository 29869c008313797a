"""The cleaning report is one file that holds what the tables say, escaped, the same each time."""

from __future__ import annotations

import html as html_escaping
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from reports import cleaning_page, figures, page, thumbnails
from tests.unit.report_frames import SIDE, example, origin

ATTACK = "<script>alert('x')</script>\"&{{7*7}}"


class Elements(HTMLParser):
    """Collects elements, ids, and what the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(attributes)
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        self.links += [str(attributes[name]) for name in ("src", "href") if attributes.get(name)]


@pytest.fixture(scope="module")
def html() -> str:
    return cleaning_page(example().tables(origin()))


def test_the_page_loads_nothing_from_anywhere(html: str) -> None:
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in Elements(html).links)
    assert "default-src 'none'" in html


def test_every_picture_has_an_alternative_text_that_names_its_file(html: str) -> None:
    images = Elements(html).images
    assert images
    assert all(re.search(r"/\d+\.jpg", image["alt"] or "") for image in images)


def test_an_image_that_cannot_be_decoded_is_shown_as_such(html: str) -> None:
    assert "could not be decoded" in html
    assert "cannot be decoded: the file ends early" in html


def test_identifiers_are_unique_and_every_link_on_the_page_has_a_target(html: str) -> None:
    elements = Elements(html)
    assert len(elements.ids) == len(set(elements.ids))
    targets = {link[1:] for link in elements.links if link.startswith("#")}
    assert targets <= set(elements.ids)


def test_figures_sentences_and_provenance_are_on_the_page(html: str) -> None:
    for text in ("120 images in 3 splits", "Images before cleaning", "0123456789abcdef", "numpy", "checks.face_score"):
        assert text in html
    assert "curate run data/faces --policy balanced" in html
    assert "notes.txt" in html and "labels differ by case only" in html


def test_equal_tables_give_equal_pages(html: str) -> None:
    assert cleaning_page(example().tables(origin())) == html


def test_names_from_the_data_are_escaped_wherever_they_stand() -> None:
    found = example(labels=("happy", ATTACK), stem=ATTACK.replace("/", "_"))
    text = cleaning_page(found.tables(origin(source=ATTACK, policy_description=ATTACK, commands=(ATTACK,))))
    own = cleaning_page(example().tables(origin()))
    assert Elements(text).tags.count("script") == Elements(own).tags.count("script")
    assert "alert('x')" not in text
    assert "&lt;script&gt;" in text
    assert "49" not in re.findall(r"&lt;script.{0,80}", text)[0]


def test_a_data_set_without_issues_splits_or_decisions_makes_a_page() -> None:
    found = example()
    issues = found.issues.assign(is_issue=False, group="")
    raw = found.raw.assign(split="")
    plain = replace(found, issues=issues, entries=[], raw=raw, cleaned=raw)
    text = cleaning_page(plain.tables(origin(left_out=(), warnings=())))
    assert "120 passed every check" in text
    assert 'id="flow-section"' not in text and 'id="gallery"' not in text


def test_equal_pictures_in_a_group_are_embedded_once(html: str) -> None:
    sources = [image["src"] for image in Elements(html).images]
    # images 1 and 2 as well as 5 and 6 are the same bytes; 7, 8 and twice 9 stand in the gallery
    assert len(sources) == 1 + 1 + 2 + 4


def test_charts_take_their_colours_from_the_style_sheet() -> None:
    tables = example().tables(origin())
    charts = [
        figures.left_out_chart(tables.left_out),
        figures.flow_chart(tables.flow),
        figures.distribution_chart(tables.distributions[tables.distributions["check"] == "dark"]),
    ]
    sheet = str(page._asset("page.css"))
    for chart in charts:
        text = chart.to_json()
        assert not re.search(r"#[0-9a-f]{6}\b", text, re.IGNORECASE)
        for name in re.findall(r"var\((--[\w-]+)\)", text):
            assert f"{name}:" in sheet


def test_a_label_cannot_become_a_link_in_a_chart() -> None:
    frame = pd.DataFrame({"split": ["train"], "label": ['<a href="x">y</a>'], "before": [2], "left_out": [1]})
    assert "<a " not in figures.left_out_chart(frame.assign(share=0.5)).to_json()


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (20214, "count", "20,214"),
        (0.7474, "share", "74.7%"),
        (0.0002, "share", "<0.1%"),
        (0, "share", "0.0%"),
        (0.34567, "number", "0.346"),
        ("<b>", "text", "<b>"),
    ],
)
def test_cells_are_shown_by_their_kind(value: object, kind: page.CellKind, text: str) -> None:
    assert page.shown(value, kind) == text


@given(st.text(max_size=30))
def test_a_breakable_path_reads_as_the_path(path: str) -> None:
    shown = page.breakable(path)
    assert html_escaping.unescape(str(shown).replace("<wbr>", "")) == html_escaping.unescape(str(escape(path)))


def test_a_thumbnail_decodes_to_nearly_the_same_picture() -> None:
    import base64
    import io

    from PIL import Image

    ramp = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8)
    decoded = base64.b64decode(thumbnails.data_uri(ramp.tobytes()).partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(decoded)), dtype=int)
    assert np.abs(shown - ramp.astype(int)).max() <= 8


@pytest.mark.parametrize("pixels", [b"", b"12", b"12345"])
def test_a_thumbnail_that_is_not_square_is_refused(pixels: bytes) -> None:
    with pytest.raises(ValueError, match="square"):
        thumbnails.data_uri(pixels)


def test_what_is_no_picture_gets_no_thumbnail() -> None:
    found = thumbnails.data_uris(["a", "b", "c", "a"], [None, bytes(4), float("nan"), bytes(9)])
    assert set(found) == {"a", "b"}
