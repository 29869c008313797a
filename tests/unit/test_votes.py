"""Votes: what people said of images, and what follows for their labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.labels import people, votes
from curation.labels.votes import Votes, VotesError

CLASSES = ("happy", "neutral", "sad")


def of(*rows: tuple[list[int], int]) -> Votes:
    """Votes of images called 0, 1, ...: counts a class, and votes for anything else."""
    counts, other = (np.array(column) for column in zip(*rows, strict=True))
    return Votes(np.array([str(n) for n in range(len(rows))], dtype=object), CLASSES, counts, other[:, None])


def written(folder: Path, text: str) -> Path:
    file = folder / "votes.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_nouns_and_adjectives_name_the_same_class_and_the_rest_is_other(tmp_path: Path) -> None:
    file = written(tmp_path, "path,neutral,happiness,sadness,anger,not_a_face\na.jpg,1,2,3,4,5\n")
    found = votes.read_votes(file, CLASSES)
    assert found.counts.tolist() == [[2, 1, 3]]
    assert found.others.tolist() == [[4, 5]]


@pytest.mark.parametrize(
    "text",
    [
        "path,happy,joy,sad,unsure\na.jpg,2,1,1,1\n",
        "path,label\na.jpg,happy\na.jpg,joy\na.jpg,happy\na.jpg,sad\na.jpg,unsure\n",
    ],
)
def test_columns_of_one_meaning_are_votes_for_one_class(tmp_path: Path, text: str) -> None:
    found = votes.read_votes(written(tmp_path, text), ("happy", "sad"))
    assert found.counts.tolist() == [[3, 1]] and found.others.tolist() == [[1]]


def test_one_row_a_vote_is_counted_and_images_without_votes_are_left_out(tmp_path: Path) -> None:
    file = written(tmp_path, "path,label,person\na.jpg,happy,x\na.jpg,happy,y\na.jpg,unsure,z\nb.jpg,,x\n")
    found = votes.read_votes(file, CLASSES)
    assert found.paths.tolist() == ["a.jpg"]
    assert found.counts.tolist() == [[2, 0, 0]]
    assert found.others.tolist() == [[1]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,happy\na.jpg,1\n", "no column 'path'"),
        ("path,angry\na.jpg,1\n", "no column for any of the classes"),
        ("path,happy\na.jpg,-1\n", "whole numbers"),
        ("path,happy\na.jpg,0.5\n", "whole numbers"),
        ("path,happy\na.jpg,1\na.jpg,2\n", "two rows for 'a.jpg'"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(VotesError, match=said):
        votes.read_votes(written(tmp_path, text), CLASSES)


def test_an_absent_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(VotesError, match="cannot be read"):
        votes.read_votes(tmp_path / "none.csv", CLASSES)


def test_wrong_agreed_and_majority_are_shares_of_all_votes() -> None:
    found = of(([9, 1, 0], 0), ([1, 5, 0], 4), ([1, 6, 0], 3), ([0, 0, 0], 10))
    labels = [0, 0, 0, 0]
    assert votes.is_wrong(found, labels).tolist() == [False, True, True, True]
    assert votes.is_agreed(found, labels).tolist() == [True, False, False, False]
    assert votes.majority(found).tolist() == [0, -1, 1, -1]


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 10), min_size=3, max_size=3), st.integers(0, 10)).filter(
            lambda row: sum(row[0]) + row[1] > 0
        ),
        min_size=1,
        max_size=20,
    )
)
def test_disagreement_is_none_where_all_say_the_same(rows: list[tuple[list[int], int]]) -> None:
    found = of(*rows)
    spread = votes.entropy(found)
    assert ((spread >= -1e-12) & (spread <= 1 + 1e-12)).all()
    unanimous = (np.column_stack([found.counts, found.others]) > 0).sum(axis=1) == 1
    assert np.allclose(spread[unanimous], 0)
    assert (spread[~unanimous] > 0).all()


def test_agreement_of_the_real_votes_is_what_the_data_sheet_says(datasets: Path) -> None:
    classes = ("happy", "neutral", "sad", "surprise")
    found = votes.read_votes(datasets / "crowd_votes.csv", classes)
    labels = pd.Series(found.paths).str.split("/").str[1].map({name: n for n, name in enumerate(classes)})
    table = votes.agreement(found, labels).set_index("class")
    assert table.loc["happy", "most_frequent"] == pytest.approx(0.91, abs=0.01)
    assert table.loc["sad", "most_frequent"] == pytest.approx(0.40, abs=0.015)
    assert table.loc["all", "wrong"] == pytest.approx(0.117, abs=0.001)
    assert table.loc["all", "majority"] == pytest.approx(0.813, abs=0.001)


FERPLUS = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\n"
    "Training,,0,0,0,0,0,0,0,0,0,10\n"
    "PublicTest,fer0000002.png,0,10,0,0,0,0,0,0,0,0\n"
)


def test_ferplus_own_list_is_a_table_of_votes_with_unnamed_rows_in_their_place(tmp_path: Path) -> None:
    (tmp_path / "fer2013new.csv").write_text(FERPLUS)
    found = votes.read_votes(tmp_path / "fer2013new.csv", ["happy", "neutral", "sad"])
    assert found.paths.tolist() == ["fer0000000.png", "fer0000001.png", "fer0000002.png"]
    assert found.counts.tolist() == [[0, 4, 1], [0, 0, 0], [10, 0, 0]]
    assert found.total.tolist() == [10, 10, 10]
    shuffled = FERPLUS.replace("fer0000002", "fer0000007")
    (tmp_path / "other.csv").write_text(shuffled)
    assert votes.read_votes(tmp_path / "other.csv", ["happy"]).paths.tolist() == ["fer0000000.png", "fer0000007.png"]


def test_votes_find_images_by_the_names_of_their_files_where_these_are_unique() -> None:
    known = pd.Series(["train/a.png", "test/b.png", "train/c.png", "test/c.png", "d.png", "x/d.png"])
    paths = np.array(["a.png", "deep/b.png", "c.png", "d.png", "gone.png"], dtype=object)
    table = votes.Votes(paths, ("happy",), np.ones((5, 1), np.int64), np.zeros((5, 0), np.int64))
    found, by_name = people.paths_in(table, known)
    assert found.tolist() == ["train/a.png", "test/b.png", "", "d.png", ""] and by_name == 2
