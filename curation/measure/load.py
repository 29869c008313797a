"""Reading measurements back as frames, one row per image or a face."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.base import scratch
from curation.base.arrays import Flags
from curation.base.errors import CurationError
from curation.measure import store as cache
from curation.measure.faces.choice import detector_fingerprint
from curation.measure.gather import Contents, Files, Gathered, Hashes, Numbers, Words, room_for
from curation.measure.tables import FACE_FLOATS, FACES_SCHEMA, NO_PIXELS, PIXELS_SCHEMA, THUMBNAIL_SIDE

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.settings import MeasureSettings

_MEASURES = tuple(name for name in PIXELS_SCHEMA.names if name not in {"sha256", "thumbnail", "parts"})

_BEST_FACE = tuple(name for name in FACE_FLOATS if name != "score")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class MeasurementsError(CurationError):
    """Images of a listing have not been measured."""


def load_measurements(
    listing: pd.DataFrame, store: Path, settings: MeasureSettings, only: Collection[str] = ()
) -> pd.DataFrame:
    """Return the measurements of a listing, one row per image, in its order.

    Of what is stored, a part at a time is in memory; the columns of a large listing lie in mapped files.

    Columns: path, sha256 ("" if unreadable), bytes, error (a sentence or ""), error_kind (see ``ERROR_KINDS``, or ""),
    width, height (px, upright original), mode, format, frames, pixel_sha256, brightness_mean, brightness_p01,
    brightness_p05, brightness_p95, brightness_p99, contrast, entropy, sharpness, edge_sharpness, texture_entropy,
    dhash, phash (see ``PixelMeasures``; 0, NaN or "" without pixels), face_count, face_score (of the best face, 0 if
    there is none), second_face_score (0 likewise), face_x, face_y, face_width, face_height (fractions of the image, see
    ``Face``), face_yaw, face_pitch, face_roll (degrees, see ``Pose``), face_brightness_p05, face_brightness_p95,
    face_edge_distance (see ``FaceMeasures``; all NaN where unknown), turned_degrees, turned_score (see
    ``FACES_SCHEMA``). Thumbnails are many times as large as all that together: see ``load_thumbnails``.

    Args:
        listing: of the images
        store: folder of the cache
        settings: with which they were measured
        only: columns to read beside path, sha256, bytes and error, and the counts and scores of faces if it names one
            of a face; none reads all

    Raises:
        MeasurementsError: an image has not been measured with these settings.

    """
    import pandas as pd

    folders = cache.folders(store, settings, detector_fingerprint(settings))
    files = _files(listing, folders)
    count, room = len(listing), room_for(len(listing), store)
    columns: dict[str, Gathered] = {"error": files.words["error"]}
    for name in _MEASURES:
        if not only or name == "error" or name in only:
            columns[name] = files.words.get(name) or _of_pixels(name, count, room)
    contents, readable = Contents.of(files.sha256), files.sha256.known
    _gather(columns, contents, cache.each_part(folders.pixels, PIXELS_SCHEMA, ["sha256", *columns]), readable)
    if not only or any(name not in _MEASURES for name in only):
        best = (_best_faces(part, only) for part in cache.each_part(folders.faces, FACES_SCHEMA))
        kinds = _best_faces(FACES_SCHEMA.empty_table(), only).drop_columns(["sha256"]).schema
        of_faces: dict[str, Gathered] = {
            kind.name: Numbers(count, kind.type, np.nan if _is_unknown(kind) else 0, room) for kind in kinds
        }
        _gather(of_faces, contents, best, readable)
        columns |= of_faces
    given = {name: listing[name].array for name in ("path", "bytes")}
    found = {"path": given["path"], "sha256": files.sha256.column(), "bytes": given["bytes"]}
    return pd.DataFrame(found | {name: column.column() for name, column in columns.items()}, copy=False)


def _of_pixels(name: str, count: int, room: Path | None) -> Gathered:
    """Return an empty column of a pixel measure."""
    kind, absent = PIXELS_SCHEMA.field(name).type, NO_PIXELS[name]
    if isinstance(absent, str):
        return Hashes(count, room) if name == "pixel_sha256" else Words(count, room)
    return Numbers(count, kind, cast("float", absent), room)


_SCORES = ("face_score", "second_face_score")
"""0 where there is no face."""


def _is_unknown(kind: pa.Field) -> bool:
    """Return whether a measure of a face is NaN where there is no face."""
    return pa.types.is_floating(kind.type) and kind.name not in _SCORES


def _gather(columns: dict[str, Gathered], contents: Contents, parts: Iterable[pa.Table], readable: Flags) -> None:
    """Fill columns of a listing with what the cache holds of its contents.

    Raises:
        MeasurementsError: it lacks one of them.

    """
    done = ~readable
    for at, part in contents.each_found(parts, done):
        for name, column in columns.items():
            column.put(at, part[name].combine_chunks())
    _require_all(done)


def load_thumbnails(
    contents: Sequence[str] | pd.Series, store: Path, settings: MeasureSettings, room: Pixels | None = None
) -> Pixels:
    """Return the thumbnails (N, 48, 48) uint8 of contents, named by their SHA-256, in that order.

    They are read a part at a time, so that no more of them than the result is ever in memory.

    Args:
        contents: those with pixels; each at most once if there is ``room``
        store: folder of the cache
        settings: with which they were measured
        room: (N, 48, 48) uint8, to be filled and returned; it may lie in a file

    Raises:
        MeasurementsError: a content has not been measured with these settings, or has no pixels.

    """
    if room is None:
        room = np.zeros((len(contents), THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=np.uint8)
    done = np.zeros(len(contents), dtype=np.bool_)
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    parts = (_with_pixels(part) for part in cache.each_part(folders.pixels, PIXELS_SCHEMA, ["sha256", "thumbnail"]))
    for at, part in _named(contents).each_found(parts, done):
        pixels = b"".join(part["thumbnail"].to_pylist())
        room[at] = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        scratch.release(room)
    scratch.filled(room)
    _require_all(done)
    return room


def _with_pixels(part: pa.Table) -> pa.Table:
    return part.filter(pc.greater(pc.fill_null(pc.binary_length(part["thumbnail"]), 0), 0))


def _named(contents: Sequence[str] | pd.Series) -> Contents:
    """Return contents by their place among ``contents``, SHA-256 hashes.

    Raises:
        MeasurementsError: one is none, as in a table that somebody edited.

    """
    try:
        return Contents.named(contents)
    except ValueError as error:
        raise MeasurementsError(f"{error}; run: curate scan DATA") from error


class StoredParts(NamedTuple):
    """Parts of contents (see ``parts.parts_of``), in order of their contents.

    owner      -- (M,) place of the content
    kind       -- (M,) see ``parts``
    box        -- (M, 4) fractions
    thumbnails -- (M, 48, 48) uint8
    """

    owner: Ints
    kind: Ints
    box: Floats
    thumbnails: Pixels


def load_parts(contents: Sequence[str] | pd.Series, store: Path, settings: MeasureSettings) -> StoredParts:
    """Return the parts of contents, named by their SHA-256, each at most once."""
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    owners: list[int] = []
    records: list[dict[str, Any]] = []
    # what several processes meet at once is measured, and stored, by each of them
    done = np.zeros(len(contents), dtype=np.bool_)
    stored = cache.each_part(folders.pixels, PIXELS_SCHEMA, ["sha256", "parts"])
    for at, part in _named(contents).each_found((_with_parts(part) for part in stored), done):
        for owner, found in zip(at.tolist(), part["parts"].to_pylist(), strict=True):
            owners += [owner] * len(found)
            records += found
    order = np.argsort(owners, kind="stable").astype(np.int64)
    pixels = np.frombuffer(b"".join(records[n]["thumbnail"] for n in order), dtype=np.uint8)
    return StoredParts(
        np.array(owners, dtype=np.int64)[order],
        np.array([records[n]["kind"] for n in order], dtype=np.int64),
        np.array([records[n]["box"] for n in order], dtype=np.float64).reshape(-1, 4),
        pixels.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE),
    )


def _with_parts(part: pa.Table) -> pa.Table:
    return part.filter(pc.greater(pc.fill_null(pc.list_value_length(part["parts"]), 0), 0))


def load_landmarks(
    contents: Sequence[str] | pd.Series, store: Path, settings: MeasureSettings, min_score: float
) -> Floats:
    """Return the landmarks (N, 10; see ``Face``) of the best face of contents.

    These are named by their SHA-256, each at most once. NaN where there is no face of at least ``min_score`` (0..1), or
    the detector gives none.
    """
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    result = scratch.mapped_zeros(room_for(len(contents), store), (len(contents), 10), np.float64)
    result[:] = np.nan
    done = np.zeros(len(contents), dtype=np.bool_)
    parts = cache.each_part(folders.faces, FACES_SCHEMA, ["sha256", "faces"])
    for at, part in _named(contents).each_found((_with_faces(part) for part in parts), done):
        best = pc.list_element(part["faces"], 0).combine_chunks()
        sure = best.field("score").to_numpy(zero_copy_only=False) >= min_score
        lists = best.field("landmarks")
        sure &= np.asarray(pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 10))
        points = pc.list_flatten(lists.filter(pa.array(sure))).to_numpy(zero_copy_only=False)
        result[at[sure]] = points.reshape(-1, 10)
    return result


def _with_faces(part: pa.Table) -> pa.Table:
    return part.filter(pc.greater(pc.list_value_length(part["faces"]), 0))


def thumbnail_bytes(
    paths: Sequence[str], measurements: pd.DataFrame, store: Path, settings: MeasureSettings
) -> dict[str, bytes]:
    """Return path -> pixels of its thumbnail, row by row, of those among ``paths`` that have pixels.

    Args:
        paths: of images
        measurements: of these images at least: path, sha256, error
        store: folder of the cache
        settings: with which they were measured

    Raises:
        MeasurementsError: an image has not been measured with these settings.

    """
    shown = measurements[(measurements["error"] == "") & measurements["path"].isin(list(paths))]
    pixels = load_thumbnails(shown["sha256"].tolist(), store, settings)
    return {path: picture.tobytes() for path, picture in zip(shown["path"], pixels, strict=True)}


def load_faces(listing: pd.DataFrame, store: Path, settings: MeasureSettings) -> pd.DataFrame:
    """Return every recorded face, one row each, by content in the listing's order, best first.

    Columns: sha256, rank (0 is best), x, y, width, height, score, yaw, pitch, roll, landmarks (ten floats or None); see
    ``Face`` and ``Pose``.

    Raises:
        MeasurementsError: an image has not been measured with these settings.

    """
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    sha256 = _files(listing, folders).sha256
    hashes = pc.unique(sha256.texts(np.flatnonzero(sha256.known)))
    stored = cache.read_parts(folders.faces, FACES_SCHEMA)
    rows = pc.index_in(hashes, value_set=stored["sha256"].combine_chunks())
    _require_all(np.asarray(rows.is_valid()))
    searched = stored.take(rows)
    lists = searched["faces"].combine_chunks()
    image = pc.list_parent_indices(lists)
    firsts = np.concatenate([[0], np.cumsum(np.asarray(pc.list_value_length(lists)))])
    flat = pc.list_flatten(lists)
    places = np.asarray(image)
    columns = {"sha256": searched["sha256"].take(image), "rank": np.arange(len(places)) - firsts[places]}
    columns |= {name: flat.field(name) for name in (*FACE_FLOATS, "landmarks")}
    frame: pd.DataFrame = pa.table(columns).to_pandas(use_threads=False)
    return frame


def _files(listing: pd.DataFrame, folders: cache.Folders) -> Files:
    """Return what is on record of the files of a listing.

    Raises:
        MeasurementsError: one of them is not on record.

    """
    parts = cache.file_parts(folders, ("sha256", "error", "error_kind", "inode", "ctime_ns"))
    found = Files(cache.listing_table(listing), parts, folders.files.parent)
    _require_all(found.found)
    return found


def _require_all(measured: NDArray[np.bool_]) -> None:
    absent = int((~measured).sum())
    if absent:
        raise MeasurementsError(f"{absent} images have not been measured with these settings; run: curate scan DATA")


def _best_faces(part: pa.Table, only: Collection[str]) -> pa.Table:
    """Return the face columns of ``load_measurements`` and sha256; null where there is no such face."""
    lists = part["faces"].combine_chunks()
    counts = pc.list_value_length(lists)
    first, second = (pc.list_element(pc.if_else(pc.greater(counts, rank), lists, None), rank) for rank in (0, 1))
    columns = {"sha256": part["sha256"], "face_count": counts.cast(pa.int64())}
    columns |= {"face_score": pc.struct_field(first, "score"), "second_face_score": pc.struct_field(second, "score")}
    wanted = [name for name in _BEST_FACE if not only or f"face_{name}" in only]
    columns |= {f"face_{name}": pc.struct_field(first, name) for name in wanted}
    return pa.table({**columns, **{name: part[name] for name in ("turned_degrees", "turned_score")}})
