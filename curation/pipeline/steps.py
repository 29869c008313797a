"""The steps up to the issues: list, measure, find copies, check; each is run again only if its inputs have changed.

A step writes its table atomically and records the fingerprint of its inputs in ``state.json``. The same command resumes
a killed run.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.base import files, mapped, memory, reading, scratch, tables, trust
from curation.base import settings as settings_of
from curation.base.errors import WorkspaceError
from curation.base.frames import first_rows, is_in, rows_of
from curation.base.issues import Issues, are_together, read_issues, write_issues
from curation.base.pools import cluster
from curation.base.progress import Display
from curation.base.settings import Settings
from curation.base.workspace import FORMAT, Workspace, read_listing, source_of
from curation.decisions.follow import separated_copies, separated_people
from curation.decisions.log import Log
from curation.decisions.replay import COLUMN_SET, people_rows
from curation.pipeline import challenges, label_store, subjects

_SAME_DATA_SHARE = 0.5
"""A source with less than this share of a workspace's images is refused as another data set."""

CHECKS_REVISION = 12
"""Increased whenever a check's result may differ for the same measurements; makes stored issues stale."""


LABELS = ("mislabelled", "ambiguous")
"""Checks that the judgement of labels alone makes."""


class Scanned:
    """A data set and its measurements: one row per image in both, same order; ``notes`` say how it was read."""

    def __init__(self, workspace: Workspace, listing: pd.DataFrame, settings: Settings, measured_now: int) -> None:
        self._again = (workspace, settings)
        self._frames: tuple[pd.DataFrame, pd.DataFrame] | None = _frames(workspace, listing, settings)
        self.measured_now = measured_now
        self.notes: tuple[str, ...] = ()

    @property
    def images(self) -> pd.DataFrame:
        """The images table."""
        return self._read()[0]

    @property
    def measurements(self) -> pd.DataFrame:
        """See ``curation.measure.load_measurements``."""
        return self._read()[1]

    def set_aside(self) -> None:
        """Give the memory of both back; when they are asked for next they are read again."""
        self._frames = None
        memory.give_back()

    def _read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        if self._frames is None:
            workspace, settings = self._again
            self._frames = _frames(workspace, read_listing(workspace), settings)
        return self._frames


def _frames(workspace: Workspace, listing: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return images and measurements of a measured listing."""
    from curation.measure import load_measurements

    measurements = load_measurements(listing, workspace.measurements, settings.measure)
    stated = {name: listing[name] for name in ("split", "label", "subject", "soft_label")}
    return tables.checked("images", measurements.assign(**stated)), measurements


def scan(workspace: Workspace, source: str, settings: Settings, display: Display, limit: int = 0) -> Scanned:
    """List the images of ``source``, measure those not yet measured, and write the images table."""
    from curation.formats.listing import why_nothing
    from curation.formats.source import read_source

    memory.require(memory.Needed.curating)
    with display.step("Listing the images"):
        listing = read_source(source, workspace.sources, settings.source, cluster(settings.engine))
        frame = _limited(listing.frame, limit)
    if frame.empty:
        raise WorkspaceError(f"no images in {listing.root}{why_nothing(listing.problems)}")
    gone = _require_same_data(workspace, listing.root, listing.frame, listing.problems)
    notes = (*listing.warnings, *([f"{gone:,} images of the last scan are gone"] if gone else []))
    problems = {"left_out": listing.problems.to_dict("records"), "warnings": list(notes)}
    files.write_json(workspace.ingest, problems)
    files.write_table(workspace.listing, frame)
    folders = trust.image_folders(listing.root, frame["url"], workspace.sources)
    record = {"format": FORMAT, "source": listing.root, "limit": limit, "folders": folders}
    files.write_json(workspace.marker, {**record, "folder": str(workspace.root.absolute())})
    del listing
    frame = mapped.frame(frame, workspace.root)
    memory.give_back()
    scanned = _measured(workspace, frame, settings, display)
    scanned.notes = notes
    return scanned


def scanned_before(workspace: Workspace, settings: Settings, display: Display) -> Scanned:
    """Return what the last scan found, with the measurements that the settings now ask for."""
    memory.require(memory.Needed.curating)
    return _measured(workspace, read_listing(workspace), settings, display, look_again=False)


def _measured(
    workspace: Workspace, listing: pd.DataFrame, settings: Settings, display: Display, *, look_again: bool = True
) -> Scanned:
    from curation.measure import measure

    with display.step("Measuring") as report:
        counts = measure(
            listing, workspace.measurements, settings.measure, settings.engine, report, look_again=look_again
        )
    scanned = Scanned(workspace, listing, settings, counts.measured)
    files.write_table(workspace.images, scanned.images)
    return scanned


def note_lines(scanned: Scanned) -> list[str]:
    """Return the notes on how the source was read, one per line."""
    return [f"Note: {note}." for note in scanned.notes]


def _require_same_data(workspace: Workspace, source: str, listing: pd.DataFrame, problems: pd.DataFrame) -> int:
    """Refuse to mix two data sets in one workspace; a data set may grow, shrink a little or move.

    Returns:
        the number of known images that are gone.

    Raises:
        WorkspaceError: most known images are not in ``source``, or are in a folder of it that cannot be listed now.

    """
    if not workspace.listing.exists():
        return 0
    listed = files.read_table(workspace.listing)  # only its paths count: the images have been listed again
    known = listed["path"].astype("str") if "path" in listed else pd.Series(dtype="str")
    same = known.equals(listing["path"])  # as most often, and without a table of all
    gone = known[:0] if same else known[~is_in(known, listing["path"])]
    for path, reason in problems.loc[problems["reason"].str.startswith("folder cannot"), ["path", "reason"]].values:
        lost = int(gone.str.startswith(f"{path}/").sum())
        if lost:
            raise WorkspaceError(
                f"{path}: {reason}, though {lost:,} of its images are known; correct its permissions, or move it out "
                "of the data to drop them"
            )
    if 1 - len(gone) / max(len(known), 1) < _SAME_DATA_SHARE:
        was = source_of(workspace) or "another source"
        given = files.bare_url(source)
        raise WorkspaceError(
            f"{workspace.root} was made from {was}, and {given} lacks most of its images; "
            "use another workspace (-w DIR)"
        )
    return len(gone)


def _limited(frame: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Return about ``limit`` rows (0: all), spread evenly over the listing and so over all folders."""
    if not 0 < limit < len(frame):
        return frame
    places = [n * len(frame) // limit for n in range(limit)]
    return frame.iloc[places].reset_index(drop=True)


def read_problems(workspace: Workspace) -> tuple[list[dict[str, str]], list[str]]:
    """Return what ingest left out (path, reason) and its warnings; both empty without a record.

    Raises:
        WorkspaceError: the record is damaged.

    """
    with reading.refusing(workspace.ingest, "delete it and run: curate run DATA"):
        record = files.read_json(workspace.ingest) or {}
        left_out = [{name: row[name] for name in ("path", "reason")} for row in record.get("left_out", [])]
        warnings = list(record.get("warnings", []))
        if not all(isinstance(text, str) for text in (*warnings, *(text for row in left_out for text in row.values()))):
            raise ValueError("something is no text")
    return left_out, warnings


def find_pairs(workspace: Workspace, scanned: Scanned, settings: Settings, display: Display) -> pd.DataFrame:
    """Return the verified near-duplicate pairs among distinct contents, computed again only if inputs changed.

    Returns:
        columns pixel_sha256_a < pixel_sha256_b, probability, score, transform, relation, half_a, half_b; sorted. Texts
        are categories, as there may be many more pairs than images.

    """
    from curation.checks.duplicates import REVISION
    from curation.measure import detector_fingerprint, store

    readable = np.flatnonzero((scanned.measurements["error"] == "").to_numpy())
    rows = readable[first_rows(scanned.measurements["pixel_sha256"].iloc[readable])]
    needed = scanned.measurements[["sha256", "pixel_sha256", "dhash", "phash"]]
    distinct = mapped.frame(needed.iloc[rows].reset_index(drop=True), workspace.root)
    seen = store.folders(workspace.measurements, settings.measure, detector_fingerprint(settings.measure))
    measured = (seen.pixels.name, seen.faces.name, settings.checks.face_score)  # thumbnails, parts, landmarks
    del needed
    fingerprint = digest(distinct["pixel_sha256"], *measured, settings.duplicates.model_dump_json(), REVISION)
    if is_current(workspace, "pairs", fingerprint, workspace.pairs):
        return read_pairs(workspace)
    scanned.set_aside()  # the search needs the memory
    with memory.searching():
        pairs = _near_pairs(workspace, distinct, settings, display)
        files.write_table(workspace.pairs, pairs)
        note(workspace, "pairs", fingerprint, workspace.pairs)
    return pairs


def read_pairs(workspace: Workspace) -> pd.DataFrame:
    """Return the stored pairs; see :func:`find_pairs`.

    Raises:
        WorkspaceError: the table is absent or damaged.

    """
    texts = ("pixel_sha256_a", "pixel_sha256_b", "transform", "relation")
    return files.read_table(workspace.pairs, texts=texts, numbers=("probability", "score"))


def _near_pairs(workspace: Workspace, distinct: pd.DataFrame, settings: Settings, display: Display) -> pd.DataFrame:
    from curation.checks.duplicates import find_near_duplicates, local_engine
    from curation.checks.duplicates.looks import Parts
    from curation.measure import THUMBNAIL_SIDE, load_landmarks, load_parts, load_thumbnails

    room = scratch.mapped_zeros(workspace.root, (len(distinct), THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)
    contents = distinct["sha256"]
    thumbnails = load_thumbnails(contents, workspace.measurements, settings.measure, room)
    parts = load_parts(contents, workspace.measurements, settings.measure)
    landmarks = load_landmarks(contents, workspace.measurements, settings.measure, settings.checks.face_score)
    del contents
    dhash, phash = (distinct.pop(name).to_numpy(dtype=np.int64) for name in ("dhash", "phash"))
    distinct.pop("sha256")
    engine = local_engine(settings.engine.workers)
    if settings.engine.kind == "ray":
        from curation.checks.duplicates.on_ray import ray_engine

        engine = ray_engine(settings.engine)
    found = find_near_duplicates(
        thumbnails,
        dhash,
        phash,
        settings.duplicates,
        display,
        engine=engine,
        folder=workspace.root,
        parts=Parts(*parts),
        landmarks=landmarks,
    )
    # distinct contents are sorted, and found is sorted by i, j; few contents are in any pair
    paired, codes = np.unique(found[["i", "j"]].to_numpy(), return_inverse=True)
    names = pd.CategoricalDtype(distinct["pixel_sha256"].iloc[paired])
    a, b = (pd.Categorical.from_codes(side, dtype=names) for side in codes.reshape(-1, 2).T)
    kept = found[["probability", "score", "transform", "relation", "half_i", "half_j"]]
    kept = kept.rename(columns={"half_i": "half_a", "half_j": "half_b"})
    return kept.assign(pixel_sha256_a=a, pixel_sha256_b=b)


def check(workspace: Workspace, scanned: Scanned, settings: Settings, display: Display) -> Issues:
    """Run all checks, unless none of their inputs has changed, and return the issues.

    A stored judgement of exactly these labels is used. People's decisions on copies, persons and splits apply: images
    declared not to be copies are not, and a moved image is checked in its new split.
    """
    from curation.checks import blocks, registry
    from curation.checks.apart import without_separated
    from curation.checks.base import CheckInputs

    pairs = find_pairs(workspace, scanned, settings, display)
    table = Log(workspace.decisions).table
    apart = separated_copies(table)
    pairs = without_separated(pairs, scanned.measurements, apart)
    labels = label_store.stored(workspace, scanned.images)
    shared = _shared(workspace)
    images = scanned.images.assign(split=subjects.given_or_decided(workspace, scanned.images, "move").array)
    inputs = CheckInputs(images, scanned.measurements, pairs, settings, labels, shared)
    known = subjects.find(workspace, inputs, display)
    prepared = challenges.prepare(workspace, scanned.measurements, pairs, settings, display)
    fingerprint = digest(
        *(images[column] for column in images),
        *(scanned.measurements[column] for column in scanned.measurements),
        *(pairs[column] for column in pairs),
        settings.checks.model_dump_json(),
        settings.duplicates.model_dump_json(),
        CHECKS_REVISION,
        "" if labels is None else label_store.state_of(workspace),
        *prepared.identity,
        *apart,
        *([] if shared is None else (shared[column] for column in shared)),
        "" if known is None else subjects.record_of(workspace)["key"],
        *(plugin.state for plugin in registry.added().values()),
    )
    current = is_current(workspace, "issues", fingerprint, workspace.issues) and are_together(workspace)
    changed = settings_of.differences(settings, settings_of.made_with(workspace))
    if changed and not current:
        display.note(f"The issues are computed again with other settings: {'; '.join(changed)}.")
    made = _made_with(workspace, settings)
    if current:
        note(workspace, "issues", fingerprint, workspace.issues, made_with=made, parted=_decided(table))
        return read_issues(workspace)
    with display.step("Checking"):
        seen = prepared.load() if prepared.identity else None
        asked = replace(inputs, subjects=known, challenges=seen)
        write_issues(workspace, blocks.run(asked, cluster(settings.engine, blocks.ROWS)))
    note(workspace, "issues", fingerprint, workspace.issues, made_with=made, parted=_decided(table))
    memory.give_back()
    return read_issues(workspace)


def _shared(workspace: Workspace) -> pd.DataFrame | None:
    """Return what is shared with other data sets (``curation.pipeline.overlap``), None if none was compared.

    Columns sha256, kind, probability, transform, other (its name), other_path.
    """
    columns = ["sha256", "kind", "probability", "transform", "other_path"]
    tables = [
        files.read_table(path)[columns].assign(other=path.parent.name.rpartition("-")[0])
        for path in sorted(workspace.overlaps.glob("*/shared.parquet"))
    ]
    return pd.concat(tables, ignore_index=True) if tables else None


def refresh_label_issues(workspace: Workspace) -> None:
    """Replace the issues of labels by the judge's current ones; those of other checks stay."""
    from curation.checks import labels as label_checks
    from curation.checks import registry

    judged, issues = label_store.read_labels(workspace), read_issues(workspace)
    paths = issues.paths if len(issues.paths) else issues.rows["path"].drop_duplicates()
    found = ((name, label_checks.judged(name, judged, paths)) for name in LABELS if name in issues.scored)
    write_issues(workspace, issues.replaced(registry.gathered(paths, found)))


def copy_graph(workspace: Workspace, scanned: Scanned, settings: Settings, display: Display) -> pd.DataFrame:
    """Return the readable images with their groups of copies, from the pairs.

    Returns:
        path, group ("" for none), shot (path of another image of the session that is not a copy, "" for none), and
        more.

    """
    from curation.checks.apart import without_separated
    from curation.checks.base import CheckInputs

    pairs = find_pairs(workspace, scanned, settings, display)
    linked = without_separated(pairs, scanned.measurements, separated_copies(Log(workspace.decisions).table))
    graph = CheckInputs(scanned.images, scanned.measurements, linked, settings).copies
    contents = graph.members["content"]
    shots = graph.members["path"].iloc[rows_of(graph.sessions["partner"], contents)].to_numpy(dtype=object)
    return graph.members.assign(shot=np.append(shots, "")[rows_of(contents, graph.sessions.index)])


def _made_with(workspace: Workspace, settings: Settings) -> dict[str, Any]:
    """Return the settings that issues are computed with, for ``curation.base.settings.made_with``."""
    from curation.measure import detector_fingerprint

    return {
        "settings": settings_of.own_settings(settings),
        "configured": settings_of.configured(workspace),
        "detector": detector_fingerprint(settings.measure),
    }


def forget_identity(workspace: Workspace, settings: Settings, display: Display) -> int:
    """Delete the embeddings of faces and the people recognised by them; return their size in bytes.

    The caller holds the lock. Names that the source gives, and people's decisions, stay.
    """
    size = subjects.forget(workspace)
    if workspace.issues.exists():
        unasked = settings.model_copy(update={"identity": settings.identity.model_copy(update={"network": ""})})
        check(workspace, scanned_before(workspace, unasked, display), unasked, display)
    return size


def decided_since(workspace: Workspace, table: pd.DataFrame) -> bool:
    """Return whether people decided on copies, persons or splits since the issues were computed."""
    before = (files.read_json(workspace.state) or {}).get("parted", digest())
    return bool(before != _decided(table))


def _decided(table: pd.DataFrame) -> str:
    people = people_rows(table)
    rows = people.loc[people["action"].isin(list(COLUMN_SET)), ["path", "content", "action", "value"]]
    return digest(*separated_copies(table), *separated_people(table), *rows.itertuples(index=False, name=None))


def note_policy(workspace: Workspace, source: str) -> None:
    """Record the name or file of the applied policy as the workspace's own, and the issues that it decided on."""
    state = files.read_json(workspace.state) or {}
    made = state.get("made_with")
    if isinstance(made, dict) and isinstance(made.get("settings"), dict):
        made = {**made, "settings": made["settings"] | {"policy": source}}
        note(workspace, "judged", reading.sha256(workspace.issues), workspace.issues, made_with=made)


def are_judged(workspace: Workspace, issues: Issues) -> bool:
    """Return whether the last policy that was applied decided on these issues."""
    return is_current(workspace, "judged", issues.identity, workspace.issues)


_DIGESTED = 65_536
"""Rows of a column whose texts are hashed at a time."""


def digest(*parts: Any) -> str:
    """Return a fingerprint of columns and plain values, to notice changed inputs."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pd.Series):
            for start in range(0, len(part), _DIGESTED):  # texts become Python objects
                some = part.iloc[start : start + _DIGESTED]
                digest.update(pd.util.hash_pandas_object(some, index=False).to_numpy().tobytes())
        else:
            digest.update(str(part).encode("utf-8"))
        digest.update(b"\0")
    return digest.hexdigest()


def is_current(workspace: Workspace, step: str, fingerprint: str, result: Path) -> bool:
    """Return whether a step's result is the one that was made from inputs of this fingerprint."""
    state, made = files.read_json(workspace.state) or {}, _file_digest(result)
    return made != "" and state.get(step) == fingerprint and state.get(f"{step} made") == made


def note(workspace: Workspace, step: str, fingerprint: str, result: Path, **more: Any) -> None:
    """Record the fingerprint of a step's inputs, and the bytes of its result.

    A result that a killed run left, or that comes from elsewhere, is thus not taken for one of older inputs.
    """
    before = files.read_json(workspace.state) or {}
    state = {**before, step: fingerprint, f"{step} made": _file_digest(result), **more}
    if state != before:
        files.write_json(workspace.state, state)


def _file_digest(path: Path) -> str:
    try:
        return reading.sha256(path)
    except OSError:
        return ""
