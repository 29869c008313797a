"""The registry: every check that exists, once, in the order in which it is run and reported."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from curation.base import tables
from curation.base.errors import CurationError
from curation.checks import copies, faces, labels, overlap, pixels, subjects
from curation.checks.base import Check, CheckInputs

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("unreadable", "Unreadable files", "The file could not be decoded.", pixels.unreadable),
        Check("dark", "Too dark", "Even the brightest parts are dark.", pixels.dark),
        Check("bright", "Too bright", "Even the darkest parts are bright.", pixels.bright),
        Check("low_contrast", "Low contrast", "Grey values hardly differ.", pixels.low_contrast),
        Check("blurry", "Blurry", "Fine detail is missing.", pixels.blurry),
        Check("blank", "Blank", "One flat tone, or a few: nothing to see.", pixels.blank),
        Check("odd_size", "Odd size or shape", "Much smaller, larger or longer than the rest.", pixels.odd_size),
        Check("no_face", "No face found", "The detector is not sure of any face.", faces.no_face),
        Check("many_faces", "Several faces", "A second face is in the picture.", faces.many_faces),
        Check("small_face", "Small face", "The face fills little of the picture.", faces.small_face),
        Check("off_centre", "Off-centre face", "The face is far from the middle.", faces.off_centre),
        Check("cropped_face", "Cropped face", "Part of the face lies outside the picture.", faces.cropped_face),
        Check("turned_face", "Turned face", "The face looks aside or is tilted.", faces.turned_face),
        Check("exact_duplicate", "Exact copies", "The same pixels as another image.", copies.exact_duplicate),
        Check(
            "near_duplicate",
            "Near copies",
            "The same picture as another image: cropped, mirrored, toned, marked or compressed anew.",
            copies.near_duplicate,
        ),
        Check("label_conflict", "Label conflicts", "Copies of it carry another label.", copies.label_conflict),
        Check("split_leak", "Split leaks", "Copies of it are in another split.", copies.split_leak),
        Check("overlap", "Also in another data set", "Another data set holds it too: curate overlap.", overlap.overlap),
        Check(
            "subject_leak",
            "One person in several splits",
            "The person is also in another split.",
            subjects.subject_leak,
        ),
        Check(
            "subject_shift",
            "One class a person",
            "All pictures of the person are of one class.",
            subjects.subject_shift,
        ),
        Check(
            "mislabelled",
            "Wrong labels",
            "Models that have not seen it say that another class, or none, is right.",
            labels.mislabelled,
        ),
        Check(
            "ambiguous",
            "Ambiguous labels",
            "Its label is one of several plausible ones: ten people would not agree.",
            labels.ambiguous,
        ),
    )
}


class UnknownCheckError(CurationError):
    """A check of that name does not exist."""


def select(names: Iterable[str]) -> list[Check]:
    """Return the checks called ``names``; all of them where ``names`` is empty.

    Raises:
        UnknownCheckError: a name is not known; the known ones are listed.

    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in CHECKS]
    if unknown:
        raise UnknownCheckError(f"no check {unknown[0]!r}; there are: {', '.join(CHECKS)}")
    return [check for check in CHECKS.values() if not wanted or check.name in wanted]


def run(inputs: CheckInputs, names: Iterable[str] = ()) -> pd.DataFrame:
    """Run checks and return the issues table, sorted by check (registry order) and path."""
    found = [check.run(inputs).sort_values("path") for check in select(names)]
    table = tables.checked("issues", pd.concat(found, ignore_index=True))
    del found
    tables.join_pieces(table)
    return table
