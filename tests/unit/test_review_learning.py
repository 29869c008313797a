"""A session by gain learns: after every 25 answers what is open stands in another order, and nothing is asked twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.base import files
from curation.base.issues import Issues
from curation.base.workspace import Workspace
from curation.labels import jury
from curation.labels.judge import judgement
from curation.pipeline import label_judgement, label_queue, label_store
from curation.review.queues import by_gain
from curation.review.review_session import Image, ReviewSession, Session

CLASSES = ["happy", "neutral", "sad"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace whose judge takes many sad faces for neutral ones."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 400)
    labels = np.where(rng.random(400) < 0.2, rng.integers(0, 3, 400), true)
    logits = rng.normal(0, 1, (2, 400, 3)) + 1.5 * np.eye(3)[true]
    logits[:, :, 1] += 1.5 * (true == 2)
    said = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    groups = np.array(["twins" if row < 2 else "" for row in range(400)], dtype=object)
    even = np.full((400, 3), 1 / 3)
    consensus = jury.deliberate(["models", "other"], said, labels, even, groups)
    found = Workspace(tmp_path / "space")
    found.root.mkdir()
    table = pd.DataFrame({"path": [f"{n:03}.png" for n in range(400)], "label": np.array(CLASSES)[labels]})
    table = table.assign(group=groups.astype(str), answers=0.0, self_confidence=0.5, says="")
    made = judgement(labels, consensus.posterior, consensus.sharpness)
    files.write_table(found.labels, label_judgement.with_judgement(table, CLASSES, made))
    label_store.write_memory(found, "k", labels, consensus, even, np.zeros((400, 2)))
    record = {"key": "k", "data": "", "revision": label_store.REVISION, "classes": CLASSES, "jury": []}
    record |= {"rates": dict.fromkeys(CLASSES, 0.1), "rate_draws": [[0.1] * len(CLASSES)]}
    files.write_json(found.labels.with_suffix(".json"), {**record, "sharpness": consensus.sharpness})
    return found


def session(workspace: Workspace, *, learns: bool = True) -> ReviewSession:
    ranker = label_queue.queue_ranker(workspace)
    assert ranker is not None
    items = tuple(ranker.rank_queue()[["path", "group"]].itertuples(index=False, name=None))
    return ReviewSession(Session(str(workspace.root), "ann", "data", "labels", tuple(CLASSES), items, learns=learns))


def answer_first(review: ReviewSession, number: int) -> None:
    """Ann finds that every one of the next images is sad."""
    for path, _ in review.open_items()[:number]:
        review.answer("relabel", [Image(path)], "sad")


def test_answers_change_the_order_of_what_comes_next_after_every_25(workspace: Workspace) -> None:
    review = session(workspace)
    before = review.open_items()
    answer_first(review, 24)
    assert review.open_items() == before[24:] and review.ranking == 0
    answer_first(review, 26)
    assert review.ranking == 2
    later = review.open_items()
    assert set(later) == set(before[50:]) and later != before[50:]
    assert later[:50] != before[50:100]
    assert "ranked again after every 25 answers" in review.learning.words()


def test_a_session_of_another_order_stays_as_it_is(workspace: Workspace) -> None:
    review = session(workspace, learns=False)
    before = review.open_items()
    answer_first(review, 50)
    assert review.open_items() == before[50:] and review.ranking == 0


def test_answers_that_say_nothing_of_a_label_teach_nothing(workspace: Workspace) -> None:
    review = session(workspace)
    before = review.open_items()
    for path, _ in before[:50]:
        review.answer("exclude", [Image(path)])
    assert review.open_items() == before[50:]


def test_a_kept_label_and_one_between_two_teach_too(workspace: Workspace) -> None:
    review = session(workspace)
    before = review.open_items()
    for path, _ in before[:25]:
        review.answer("keep", [Image(path)])
    assert review.open_items() != before[25:]
    half = session(workspace)
    for path, _ in half.open_items()[:25]:
        half.answer("soften", [Image(path)], '{"sad": 1, "neutral": 1}')
    assert len(half.open_items()) == 350


def test_the_queue_of_a_check_holds_what_it_flags_and_what_was_not_judged_comes_last(workspace: Workspace) -> None:
    ranker = label_queue.queue_ranker(workspace)
    rows = pd.DataFrame({"path": ["000.png", "001.png", "new.png", "005.png"], "label": "sad"})
    flagged = rows[["path"]].assign(check="label_conflict", score=0.0, is_issue=True, group="", evidence="{}")
    queue = by_gain(ranker, Issues(flagged[flagged["path"] != "005.png"]), rows, "label_conflict")
    assert queue is not None
    assert sorted(queue["path"][:2]) == ["000.png", "001.png"] and queue["path"].tolist()[2:] == ["new.png"]
    assert by_gain(None, Issues(flagged), rows, "label_conflict") is None


def test_a_memory_of_another_judgement_or_one_that_is_damaged_is_not_used(workspace: Workspace) -> None:
    record = files.read_json(workspace.labels.with_suffix(".json"))
    assert record is not None
    files.write_json(workspace.labels.with_suffix(".json"), {**record, "key": "another"})
    assert label_queue.queue_ranker(workspace) is None
    files.write_json(workspace.labels.with_suffix(".json"), record)
    workspace.labels.with_suffix(".npz").write_bytes(b"no numbers")
    with pytest.raises(label_store.LabellingError, match="is damaged"):
        label_queue.queue_ranker(workspace)
