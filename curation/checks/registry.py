"""The registry of all checks, in the order in which they are run and reported.

Checks of other packages (entry points of the group ``face_curation.checks``) come after the toolkit's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial

import pandas as pd

from curation.base import plugins, scratch, tables
from curation.base.errors import CurationError
from curation.base.issues import Issues
from curation.base.plugins import Plugin
from curation.checks import copies, faces, labels, overlap, pixels, subjects
from curation.checks.base import Check, CheckInputs, Found
from curation.checks.challenges import found

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
        Check("no_face", "No face found", "The detector is not certain of any face.", faces.no_face),
        Check("many_faces", "Several faces", "A second face is in the picture.", faces.many_faces),
        Check("small_face", "Small face", "The face fills little of the picture.", faces.small_face),
        Check("off_centre", "Off-centre face", "The face is far from the middle.", faces.off_centre),
        Check("cropped_face", "Cropped face", "Part of the face lies outside the picture.", faces.cropped_face),
        Check("turned_face", "Turned face", "The face looks aside or is tilted.", faces.turned_face),
        Check("rolled_face", "Rolled face", "The face lies sideways or upside down.", faces.rolled_face),
        Check(
            "occluded_face",
            "Occluded face",
            "A hand, glasses, a mask or another thing covers part of the face.",
            found.occluded_face,
        ),
        Check(
            "non_human_face",
            "Not a person's face",
            "A drawing, statue, doll, mask or animal, or no face at all.",
            found.non_human_face,
        ),
        Check("watermark", "Watermark", "Text, a logo or a pattern is laid over the picture.", found.watermark),
        Check("exact_duplicate", "Exact copies", "The same pixels as another image.", copies.exact_duplicate),
        Check(
            "near_duplicate",
            "Near copies",
            "The same picture as another image: cropped, mirrored, toned, marked or recompressed.",
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
            "One class per person",
            "All pictures of the person are of one class.",
            subjects.subject_shift,
        ),
        Check(
            "same_session",
            "Shots of one session",
            "The same person and scene as in another image, but not a copy: the expression or the moment differs.",
            copies.same_session,
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
        Check("outlier", "Outlier", "Like nothing else in the data.", found.outlier),
        Check(
            "rare",
            "Rare",
            "Few images are similar to it: rare is not wrong, and the evidence states what it looks like.",
            found.rare,
        ),
    )
}
"""The toolkit's own checks, by name."""


class UnknownCheckError(CurationError):
    """There is no check of that name."""


def added() -> dict[str, Plugin]:
    """Return the checks that other packages add, by name, not loaded."""
    return plugins.installed("checks", CHECKS)


def names(also: Iterable[str] = ()) -> list[str]:
    """Return the names of all checks in the order of reports, then unknown ones among ``also``."""
    known = [*CHECKS, *added()]
    return [*known, *sorted(set(also) - set(known))]


def every() -> dict[str, Check]:
    """Return all checks, by name, in the order in which they are run.

    Raises:
        PluginError: another package's check cannot be loaded, or is not a ``Check``.

    """
    return CHECKS | {name: _loaded(plugin) for name, plugin in added().items()}


@cache
def _loaded(plugin: Plugin) -> Check:
    check = plugin.load()
    if not isinstance(check, Check) or check.name != plugin.name or not re.fullmatch(tables.CHECK_NAME, check.name):
        raise plugin.error(f"must be a curation.checks.base.Check of that name, like {tables.CHECK_NAME}")
    return replace(check, run=partial(_run_added, plugin, check))


def _run_added(plugin: Plugin, check: Check, inputs: CheckInputs) -> pd.DataFrame:
    """Return the validated rows of another package's check."""
    found = plugin.guarded(check.run)(inputs)
    if not isinstance(found, pd.DataFrame):
        raise plugin.error("must return a table of issues")
    try:
        found = tables.checked("issues", found)
    except tables.TableError as error:
        raise plugin.error(f"returned a table of issues of another shape ({error})") from error
    if not (found["check"] == check.name).all() or not found["path"].isin(inputs.images["path"]).all():
        raise plugin.error("returned rows of another check, or of images that are not in the data")
    return found


def select(names: Iterable[str]) -> list[Check]:
    """Return the checks called ``names``, or all if ``names`` is empty.

    Raises:
        UnknownCheckError: a name is unknown; the message lists the known ones.

    """
    wanted, known = list(names), every()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UnknownCheckError(f"no check {unknown[0]!r}; there are: {', '.join(known)}")
    return [check for check in known.values() if not wanted or check.name in wanted]


def run(inputs: CheckInputs, names: Iterable[str] = ()) -> Issues:
    """Run checks and return what they found; its rows are sorted by check (registry order) and path."""
    return gathered(inputs.images["path"], ((check.name, check.run(inputs)) for check in select(names)))


def gathered(paths: pd.Series, found: Iterable[tuple[str, Found | pd.DataFrame]]) -> Issues:
    """Return the issues of a data set from what each check found; ``paths`` (N,) are its images."""
    columns, parts = {}, [tables.empty_issues()]
    for name, result in found:
        rows = result if isinstance(result, pd.DataFrame) else result.rows(name, paths)
        parts.append(rows.sort_values("path"))
        if not isinstance(result, pd.DataFrame) and len(result.scored.known):
            columns[name] = result.columns()
        scratch.release_all()  # the columns that the check has read
    table = pd.concat(parts, ignore_index=True)
    del parts
    table = tables.checked("issues", table)
    tables.join_pieces(table)
    return Issues(table, paths, columns)
