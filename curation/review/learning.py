"""The queue by gain learns during review: after every 25 answers, the open images are ranked again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import pandas as pd

from curation.base.workspace import Workspace
from curation.pipeline.answers import COLUMNS
from curation.pipeline.label_queue import BATCH, QueueRanker, newest_plan, queue_ranker
from curation.review.journal import ReviewAnswer

Item = tuple[str, str]
"""Path and group of an image in a queue."""


class Learning:
    """Orders one session's queue; reads the judge's knowledge once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._ranked = -1
        self._place: dict[str, int] = {}
        self._right = 0.0

    @cached_property
    def _ranker(self) -> QueueRanker | None:
        return queue_ranker(self._workspace)

    def ordered(self, items: Sequence[Item], answers: Mapping[tuple[str, str], ReviewAnswer]) -> Sequence[Item]:
        """Return the items, those first whose answers would change most, given all answers up to the last full batch.

        Args:
            items: of the queue, groups together.
            answers: (path, reviewer) -> answer, of everybody.

        """
        if self._ranker is None:
            return items
        if ranking_of(answers) != self._ranked:
            self._ranked = ranking_of(answers)
            given = {
                path: label for path, label in self._ranker.memory.table[["path", "label"]].itertuples(index=False)
            }
            more = pd.DataFrame(list(_taught(answers, given)), columns=list(COLUMNS))
            queue = self._ranker.rank_queue(more, [path for path, _ in items])
            self._place = {path: place for place, path in enumerate(queue["path"])}
            self._right = queue.attrs["right"]
        last = len(self._place)
        return sorted(items, key=lambda item: self._place.get(item[0], last))

    def words(self) -> str:
        """Return what the answers have achieved, for the panel; "" before the first ranking."""
        if self._ranker is None or self._ranked < 0:
            return ""
        before = self._ranker.right_untaught
        said = (
            f"Labels expected to be right: {self._right:.1%}, {before:.1%} before any answer; what comes next is "
            f"ranked again after every {BATCH} answers."
        )
        plan = newest_plan(self._workspace)
        if plan is None:
            return f"{said} What more answers would achieve: `curate plan-review`."
        mine = plan[0][(plan[0]["order"] == "gain") & (plan[0]["answers"] > 0)]
        steps = [f"{row['expected']:.1%} after {row['answers']:,}" for row in mine.to_dict("records")]
        return f"{said} As planned: {', '.join(steps)}."


def ranking_of(answers: Mapping[tuple[str, str], ReviewAnswer]) -> int:
    """Return the number of the ranking that these answers require: one more after every full batch."""
    return len(answers) // BATCH


def _taught(
    answers: Mapping[tuple[str, str], ReviewAnswer], given: Mapping[str, str]
) -> Iterator[tuple[str, str, str, float]]:
    """Yield the answers about labels: path, class, person, weight."""
    for answer in answers.values():
        shares = {"relabel": {answer.value: 1.0}, "keep": {given.get(answer.path, ""): 1.0}}.get(answer.action, {})
        if answer.action == "soften":
            shares = json.loads(answer.value)
        for name, share in shares.items():
            if name and answer.path in given:
                yield answer.path, name, answer.reviewer, float(share)
