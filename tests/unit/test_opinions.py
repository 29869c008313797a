"""Second opinions: how a peer is asked, what its answer must become, and how it is laid beside our pairs."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.audit.peers import Opinion, Peer, PeerError, compare, interpreter
from curation.audit.peers.fastdup import fastdup, lay_images
from curation.audit.peers.peer import read_answer, require
from curation.checks.duplicates.candidates import Features
from curation.checks.duplicates.features import pictures
from curation.measure.batch import ChangedError

ROWS = st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1))

NO_FEATURES = Features(np.empty((0, 48, 48), dtype=np.uint8), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


@given(st.lists(ROWS))
def test_an_answer_becomes_ordered_distinct_pairs_with_their_highest_similarity(
    rows: list[tuple[int, int, float]],
) -> None:
    opinion = read_answer({"version": 1, "pairs": rows})
    highest: dict[tuple[int, int], float] = {}
    for i, j, similarity in rows:
        if i != j:
            pair = (min(i, j), max(i, j))
            highest[pair] = max(similarity, highest.get(pair, 0.0))
    assert [tuple(pair) for pair in opinion.pairs.tolist()] == sorted(highest)
    assert opinion.similarity.tolist() == [highest[pair] for pair in sorted(highest)]


def test_each_named_pair_is_a_candidate_plain_and_mirrored() -> None:
    found = Opinion("1", np.array([[0, 2], [1, 3]]), np.array([0.9, 0.9])).candidates()
    assert found.pairs.tolist() == [[0, 2], [0, 2], [1, 3], [1, 3]]
    assert found.mirrored.tolist() == [False, True, False, True]


def peer(program: Path, prepare: object = lambda features, folder: None, **environment: str) -> Peer:
    return Peer("fake", "json", program, prepare, sys.executable, environment)  # type: ignore[arg-type]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_peer_is_asked_in_a_process_of_its_own_with_its_own_variables(tmp_path: Path) -> None:
    program = written(
        tmp_path / "program.py",
        "import json, os, pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "assert os.environ['QUIET'] == str(folder / 'x') and 'HIDDEN' not in os.environ\n"
        "pair = json.loads((folder / 'given.json').read_text())\n"
        "(folder / 'found.json').write_text(json.dumps({'version': '7', 'pairs': [pair]}))\n",
    )

    def prepare(_features: Features, folder: Path) -> None:
        (folder / "given.json").write_text(json.dumps([4, 1, 0.5]))

    opinion = peer(program, prepare, QUIET="{folder}/x", HIDDEN="").ask(NO_FEATURES)
    assert (opinion.version, opinion.pairs.tolist(), opinion.similarity.tolist()) == ("7", [[1, 4]], [0.5])


@pytest.mark.parametrize("program", ["raise SystemExit('the licence has run out')", "pass"])
def test_a_peer_that_fails_or_says_nothing_is_one_sentence(tmp_path: Path, program: str) -> None:
    with pytest.raises(PeerError, match="leave out --also fake") as told:
        peer(written(tmp_path / "program.py", program)).ask(NO_FEATURES)
    assert ("licence" in str(told.value)) == ("licence" in program)
    assert "\n" not in str(told.value)


def test_an_absent_peer_or_interpreter_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"not installed for .*make fastdup"):
        require("fastdup", "no_such_module_at_all", sys.executable)
    with pytest.raises(PeerError, match="CURATE_PEER_PYTHON"):
        require("fastdup", "json", str(tmp_path / "python"))


def test_the_interpreter_is_the_one_named_else_that_of_make_peers_else_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert interpreter() == sys.executable
    (tmp_path / ".venv-peers" / "bin").mkdir(parents=True)
    written(tmp_path / ".venv-peers" / "bin" / "python", "")
    assert interpreter() == ".venv-peers/bin/python"
    assert interpreter("/another/python") == "/another/python"


def test_fastdup_is_shown_local_files_as_links_and_remote_ones_as_copies(tmp_path: Path) -> None:
    local = written(tmp_path / "a face.PNG", "local")
    remote = written(tmp_path / "b.jpg", "remote")
    folder = tmp_path / "folder"
    folder.mkdir()
    digests = [hashlib.sha256(text).hexdigest() for text in (b"local", b"remote")]
    fastdup([str(local), remote.as_uri()], digests, sys.executable).prepare(NO_FEATURES, folder)
    shown = sorted((folder / "images").iterdir())
    assert [path.name for path in shown] == ["000000000.png", "000000001.jpg"]
    assert [path.is_symlink() for path in shown] == [True, False]
    assert [path.read_text() for path in shown] == ["local", "remote"]
    with pytest.raises(ChangedError, match="not the file that was measured; run: curate run DATA"):
        lay_images([str(local)], digests[1:], folder / "others")


def drawn(count: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Return (count, 48, 48) unlike textures."""
    generator = np.random.default_rng(3)
    noise = generator.normal(size=(count, 48, 48))
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in noise])
    return np.clip(128 + 250 * smooth, 0, 255).astype(np.uint8)


def test_pairs_are_told_apart_by_who_found_them_and_what_we_make_of_them() -> None:
    images = drawn(8)
    images[5] = np.roll(images[4], 1, axis=1)
    images[7] = images[6, :, ::-1]
    ours = pd.DataFrame(
        {
            "i": [0, 1, 0, 1],
            "j": [1, 2, 3, 3],
            "probability": [0.99, 0.98, 0.4, 0.4],
            "relation": ["near_duplicate", "near_duplicate", "same_session", "same_session"],
            "transform": ["recompressed", "mirrored", "", ""],
        }
    )
    named = np.array([[0, 1], [0, 3], [2, 3], [4, 5], [6, 7]])
    opinion = Opinion("1", named, np.linspace(0.9, 1.0, len(named)))
    found = compare(ours, opinion, pictures(images), 0.9)
    told = {(row.i, row.j): (row.found_by, row.verdict) for row in found.itertuples()}
    assert told == {
        (0, 1): ("both", "near_duplicate"),
        (0, 3): ("peer", "same_session"),
        (1, 2): ("ours", "near_duplicate"),
        (2, 3): ("peer", "refused"),
        (4, 5): ("peer", "near_duplicate"),
        (6, 7): ("peer", "near_duplicate"),
    }
    transform = found.set_index(["i", "j"])["transform"]
    assert "mirrored" in transform[6, 7]
    assert transform[2, 3] == ""
    assert found["similarity"].isna().tolist() == [False, False, True, False, False, False]


def test_a_peer_that_names_nothing_leaves_our_pairs_as_ours_alone() -> None:
    ours = pd.DataFrame(
        {"i": [0], "j": [1], "probability": [0.99], "relation": ["near_duplicate"], "transform": ["recompressed"]}
    )
    nothing = Opinion("1", np.empty((0, 2), dtype=np.int64), np.empty(0))
    found = compare(ours, nothing, pictures(drawn(2)), 0.9)
    assert found["found_by"].tolist() == ["ours"]
    assert compare(ours.iloc[:0], nothing, pictures(drawn(2)), 0.9).empty
