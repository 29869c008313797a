"""The page of six questions: filled from tables or saying what is missing, escaped, the same for the same tables."""

from __future__ import annotations

import re

import pandas as pd
import pytest

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("mapie", reason="the extra train is not installed")

from curation.evidence import words
from curation.evidence.report import MISSING, QUESTIONS
from curation.evidence.store import Tables
from reports import figures
from reports.findings import findings_page
from tests.unit.findings_frames import EVIL, page_of, section_tables


@pytest.fixture(scope="module")
def sections() -> dict[str, Tables]:
    return section_tables()


@pytest.fixture(scope="module")
def html(sections: dict[str, Tables]) -> str:
    return findings_page(page_of(sections))


def body(html: str) -> str:
    """Return what the page's own scripts and style do not hold."""
    return re.sub(r"<(script|style)(?! type=.application/json).*?</\1>", "", html, flags=re.DOTALL)


def test_every_question_is_answered_with_a_chart_or_table_and_says_what_it_cannot_say(html: str) -> None:
    for name, (_, question) in QUESTIONS.items():
        section = html.split(f'id="{name}"')[1].split('<details class="section"')[0]
        assert question in section
        assert "data-chart=" in section and "data-csv=" in section
        assert "What this cannot say" in section
    assert "not yet" not in body(html)


def test_a_question_without_input_says_how_to_provide_it(sections: dict[str, Tables]) -> None:
    html = findings_page(page_of({name: sections[name] for name in ("elsewhere", "learned", "exclusive")}))
    for name, missing in MISSING.items():
        section = html.split(f'id="{name}"')[1].split('<details class="section"')[0]
        assert missing.replace("'", "&#39;") in section
        assert "data-chart=" not in section and "curate " in missing


def test_names_from_the_data_are_escaped_wherever_they_stand(html: str) -> None:
    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(1)") >= 5


def test_the_page_loads_nothing_and_identifiers_are_unique(html: str) -> None:
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", body(html))
    found = re.findall(r'\sid="([^"]+)"', body(html))
    assert len(found) == len(set(found))
    assert set(re.findall(r'href="#([^"]+)"', body(html))) <= set(found)


def test_equal_tables_give_equal_pages(sections: dict[str, Tables], html: str) -> None:
    assert findings_page(page_of(sections)) == html


def test_the_section_on_other_pictures_is_filled_without_other_pictures(sections: dict[str, Tables]) -> None:
    alone = {name: table for name, table in sections["elsewhere"].items() if name in ("curves", "covariates")}
    html = findings_page(page_of({"elsewhere": alone}))
    assert 'id="chart-curves"' in html and 'id="chart-gap"' not in html


def test_sentences_carry_the_tables_figures(sections: dict[str, Tables]) -> None:
    gap = sections["elsewhere"]["gap"].set_index("covariate")
    said = " ".join(words.external_data(sections["elsewhere"]).sentences)
    assert f"a gap of {100 * gap.loc['all together', 'gap']:.1f} points" in said
    assert f"{sections['people']['accuracy']['crowd'].iloc[0]:.0%}" == words.people(sections["people"]).figure


def test_removing_one_group_more_often_is_said(sections: dict[str, Tables]) -> None:
    said = words.groups(sections["groups"])
    assert any("In the cleaning" in sentence and "removed" in sentence for sentence in said.sentences)
    assert "estimates" in said.limits[0]


def test_a_suspected_shortcut_is_said(sections: dict[str, Tables]) -> None:
    tables = dict(sections["learned"])
    row = {"class": "sad", "border": 0.5, "face": 0.1, "region": "mouth"}
    tables["suspects"] = pd.DataFrame([row])
    assert any("Suspected shortcut: for sad" in sentence for sentence in words.explanations(tables).sentences)
    tables["suspects"] = tables["suspects"].iloc[:0]
    assert any(sentence.startswith("For no class") for sentence in words.explanations(tables).sentences)


@pytest.mark.parametrize(("share", "verdict"), [(0.3, "No"), (0.02, "yes")])
def test_the_recommendation_follows_from_people_where_there_are_votes(
    sections: dict[str, Tables], share: float, verdict: str
) -> None:
    tables = sections["exclusive"] | {"votes": sections["exclusive"]["votes"].assign(any_second=share)}
    assert verdict in words.class_overlap(tables).sentences[0]


@pytest.mark.parametrize(
    ("gap", "low", "said"), [(0.1, 0.01, "lose 4.0 (1.0 to 6.0)"), (0.1, -0.01, "from chance"), (-0.02, 0.0, "no gap")]
)
def test_a_gap_is_explained_only_where_the_interval_says_so(
    sections: dict[str, Tables], gap: float, low: float, said: str
) -> None:
    rows = [("sharpness", gap, 0.03, 0.0, 0.05, 0.3), ("all together", gap, 0.04, low, 0.06, 0.4)]
    table = pd.DataFrame(rows, columns=["covariate", "gap", "explained", "low", "high", "share"])
    assert said in words.external_data(sections["elsewhere"] | {"gap": table}).sentences[1]


@pytest.mark.parametrize(
    ("edges", "texts"),
    [
        ([0.3781, 0.4402, 0.52], ["0.38", "0.44", "0.52"]),
        ([0.4591, 0.4602, 0.52], ["0.459", "0.46", "0.52"]),
        ([28.0, 31.4, 48.0], ["28", "31", "48"]),
    ],
)
def test_ticks_have_as_few_digits_as_tell_them_apart(edges: list[float], texts: list[str]) -> None:
    assert figures.short_numbers(edges) == texts
