"""What the App shows together: an image, the copies of one picture, or the pictures of one person."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from curation.review import review_session as sessions
from curation.review.environment import SESSION_VARIABLE
from curation.review.read_model import sample_id
from curation.review.review_session import Image, ReviewSession

_MOST_COPIES = 24
"""Copies of a group that the opened view shows and answers for at once: a person cannot compare more."""


@cache
def the_session() -> ReviewSession:
    """Return the session of the command that started this server."""
    return ReviewSession(sessions.load_session(Path(os.environ[SESSION_VARIABLE])))


def is_ours(ctx: Any) -> bool:
    """Return whether the App shows the dataset of this session."""
    return SESSION_VARIABLE in os.environ and ctx.dataset_name == the_session().session.dataset


@dataclass(frozen=True)
class Sample:
    """An image in the database; in a blind session only id, name, file and decided."""

    id: str
    path: str
    filepath: str
    label: str = ""
    original_label: str = ""
    suggestion: str = ""
    status: str = "kept"
    reason: str = ""
    split: str = ""
    evidence: str = ""
    worst_issue: str = ""
    decided: str = ""
    copy_group: str = ""
    person: str = ""
    person_group: str = ""
    person_images: str = ""

    @property
    def image(self) -> Image:
        """What an answer is about."""
        return Image(self.path, self.label, self.original_label, self.status, self.suggestion.removesuffix("?"))


_LABELS = ("label", "original_label", "suggestion", "decided")


def samples_of(view: Any) -> list[Sample]:
    """Return the samples of a view, in its order."""
    known = view.get_field_schema()
    names = [name for name in Sample.__dataclass_fields__ if name in known]
    columns = view.values([f"{name}.label" if name in _LABELS else name for name in names])
    return [
        Sample(**{name: str(value) for name, value in zip(names, row, strict=True) if value})
        for row in zip(*columns, strict=True)
    ]


def named(ctx: Any, names: Iterable[str]) -> list[Sample]:
    """Return the samples of these names, in this order."""
    return samples_of(ctx.dataset.select([sample_id(name) for name in names], ordered=True))


_PEOPLE_WORDS = ("person_group", "subject_leak", "subject_shift")
"""Words in the stages of views that show people."""


def people_here(ctx: Any) -> bool | None:
    """Return whether the grid's view is of people (True), of copies (False) or of neither (None)."""
    stages = json.dumps(ctx.request_params.get("view") or [], default=str)
    if any(word in stages for word in _PEOPLE_WORDS):
        return True
    return False if "copy_group" in stages else None


def of_people_in(people: bool | None) -> Callable[[Sample], bool]:
    """Return a function that tells whether an image is shown beside the others of its person, not beside its copies.

    All images are in a view of ``people``; with None, those that are queued because of their person.
    """
    if people is not None:
        return lambda sample: people and bool(sample.person_group)
    queued = {the_session().name(path): group for path, group in the_session().session.items}
    return lambda sample: bool(sample.person_group) and queued.get(sample.path) == sample.person_group


def together(ctx: Any, samples: Sequence[Sample], of_people: Callable[[Sample], bool]) -> list[list[Sample]]:
    """Return each image with its copies or its person's images, at most ``_MOST_COPIES``; each group once."""
    found: dict[str, list[Sample]] = {}
    members = {by: _members(ctx, samples, by) for by in ("copy_group", "person_group")}
    for sample in samples:
        by = "person_group" if of_people(sample) else "copy_group"
        group = getattr(sample, by)
        mine = members[by].get(group, [sample])
        if len(mine) > _MOST_COPIES:
            mine = [sample, *(copy for copy in mine if copy.path != sample.path)][:_MOST_COPIES]
        found.setdefault(group or sample.path, mine)
    return list(found.values())


def _members(ctx: Any, samples: Sequence[Sample], by: str) -> dict[str, list[Sample]]:
    """Return group -> its images by path; of people, those still open first, and alternating between the people."""
    from fiftyone import ViewField

    groups = {getattr(sample, by) for sample in samples} - {""}
    if not groups:
        return {}
    members: dict[str, list[Sample]] = {}
    for copy in samples_of(ctx.dataset.match(ViewField(by).is_in(sorted(groups))).sort_by("path")):
        members.setdefault(getattr(copy, by), []).append(copy)
    if by == "copy_group":
        return members
    for group, mine in members.items():
        seen: Counter[tuple[str, str]] = Counter()
        turn = {}
        for one in mine:
            turn[one.path] = seen[one.person, one.split]
            seen[one.person, one.split] += 1
        members[group] = sorted(mine, key=lambda one: (bool(one.decided), turn[one.path], one.person, one.path))
    return members


def _people_title(samples: Sequence[Sample]) -> str:
    """Return a title for the pictures of one person, or of people who are perhaps the same."""
    total, splits = int(samples[0].person_images or 1), sorted({one.split for one in samples} - {""})
    number = f"{len(samples)} of {total:,}" if total > len(samples) else f"{total:,}"
    who = "perhaps of one person" if len({one.person for one in samples}) > 1 else "of one person"
    return f"{number} pictures {who}" + (f", in several splits ({', '.join(splits)})" if len(splits) > 1 else "")


def unit(samples: Sequence[Sample], of_people: Callable[[Sample], bool]) -> dict[str, Any]:
    """Return the opened view's content for an image, a group of copies or a person."""
    session, people = the_session().session, len(samples) > 1 and of_people(samples[0])
    persons = sorted({one.person for one in samples})
    labels, splits = sorted({one.label for one in samples}), sorted({one.split for one in samples} - {""})
    title = f"{len(samples)} copies of one picture" if len(samples) > 1 else ""
    title += f", under different labels ({', '.join(labels)})" if len(labels) > 1 else ""
    title += f", in several splits ({', '.join(splits)})" if len(splits) > 1 else ""
    title = _people_title(samples) if people else title
    came = sorted({one.original_label for one in samples} - {""})
    keep = f"keep as imported: {came[0]}" if len(came) == 1 else "keep as imported"
    if len(samples) > 1:
        keep = f"keep all {len(samples)} as imported: {', '.join(came)}"
    return {
        "key": samples[0].path,
        "title": title,
        "people": people,
        "keep": "" if session.blind else keep,
        "suggestion": ", ".join(sorted({one.image.suggestion for one in samples} - {""})),
        "images": [
            {
                "name": one.path,
                "file": one.filepath,
                "label": one.label,
                "state": standing(one),
                "whose": _whose(one, persons) if people else "",
                "evidence": one.evidence.split("\n") if one.evidence else [],
                "decided": one.decided,
            }
            for one in samples
        ],
    }


def _whose(sample: Sample, persons: Sequence[str]) -> str:
    """Return the split of a person's image and, of people who are perhaps the same, which one it shows."""
    found = f", found as person {persons.index(sample.person) + 1}" if len(persons) > 1 else ""
    return f"in {sample.split or 'no split'}{found}"


def standing(sample: Sample) -> str:
    """Return what the version did to an image that is not kept as imported."""
    if sample.status == "excluded":
        return f"excluded: {sample.reason}"
    return f"imported as {sample.original_label}" if sample.original_label != sample.label else ""
