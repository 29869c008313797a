"""Reading measurements back as frames, one row per image or a face."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.base import scratch
from curation.base.errors import CurationError
from curation.measure import store as cache
from curation.measure.faces.choice import detector_fingerprint
from curation.measure.tables import FACE_FLOATS, FACES_SCHEMA, NO_PIXELS, PIXELS_SCHEMA, THUMBNAIL_SIDE

if TYPE_CHECKING:
    import pandas as pd

    from curation.base.settings import MeasureSettings

_MEASURES = tuple(name for name in PIXELS_SCHEMA.names if name not in {"thumbnail", "parts"})

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

    Of what is stored, a column at a time is in memory twice.

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
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    files = _files_rows(listing, folders, ("sha256", "error", "error_kind"))
    hashes = files["sha256"]
    columns: dict[str, Any] = {name: listing[name].array for name in ("path", "bytes")}
    columns = {"path": columns["path"], "sha256": _pandas(hashes), **columns, "error": None}
    wanted = [name for name in _MEASURES if not only or name in ("sha256", "error", *only)]
    for name, values in _stored(cache.each_part(folders.pixels, PIXELS_SCHEMA, wanted), hashes):
        absent = files[name] if name in files else pa.scalar(NO_PIXELS[name], values.type)
        columns[name] = _pandas(pc.coalesce(values, absent))
        files.pop(name, None)
    best = (_best_faces(part, only) for part in cache.each_part(folders.faces, FACES_SCHEMA))
    of_faces = not only or any(name not in _MEASURES for name in only)
    for name, values in _stored(best, hashes) if of_faces else ():
        absent = np.nan if pa.types.is_floating(values.type) and name not in _SCORES else 0
        columns[name] = _pandas(pc.fill_null(values, pa.scalar(absent, values.type)))
    import pandas as pd

    return pd.DataFrame(columns, copy=False)


_SCORES = ("face_score", "second_face_score")
"""0 where there is no face."""


def _pandas(values: Any) -> Any:
    """Return a column of Arrow's as one of pandas."""
    import pandas as pd

    if pa.types.is_large_string(values.type):
        return pd.array(values, dtype="str")
    return np.array(values)


def _stored(parts: Iterable[pa.Table], hashes: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Yield the name and values of each stored column but sha256, of the contents ``hashes`` in their order.

    They are null where a hash is "", which stands for what could not be read.
    """
    stored = pa.concat_tables(parts)
    rows = _rows_of(hashes, stored["sha256"], np.asarray(pc.not_equal(hashes, "")))
    stored = stored.drop_columns(["sha256"])
    for name in stored.column_names:
        yield name, stored[name].combine_chunks().take(rows)
        stored = stored.drop_columns([name])


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
        names, places = np.unique(np.asarray(contents, dtype=object), return_inverse=True)
        distinct = np.empty((len(names), THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=np.uint8)
        _fill(distinct, names, store, settings)
        return distinct[places]
    _fill(room, np.asarray(contents, dtype=object), store, settings)
    return room


def _fill(room: Pixels, names: NDArray[np.object_], store: Path, settings: MeasureSettings) -> None:
    import pandas as pd

    index = pd.Index(names)
    missing = np.ones(len(names), dtype=np.bool_)
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    for part in cache.each_part(folders.pixels, PIXELS_SCHEMA, ["sha256", "thumbnail"]):
        found = index.get_indexer(part["sha256"].to_pandas())
        with_pixels = np.asarray(pc.greater(pc.fill_null(pc.binary_length(part["thumbnail"]), 0), 0))
        wanted = np.flatnonzero((found >= 0) & with_pixels)
        pixels = b"".join(part["thumbnail"].take(pa.array(wanted)).to_pylist())
        room[found[wanted]] = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        missing[found[wanted]] = False
        scratch.release(room)
    scratch.filled(room)
    _require_all(~missing)


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
    import pandas as pd

    index = pd.Index(np.asarray(contents, dtype=object))
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    owners, records = [], []
    # what several processes meet at once is measured, and stored, by each of them
    waited_for = np.ones(len(index), dtype=np.bool_)
    for part in cache.each_part(folders.pixels, PIXELS_SCHEMA, ["sha256", "parts"]):
        some = part.filter(pc.greater(pc.fill_null(pc.list_value_length(part["parts"]), 0), 0))
        for owner, found in zip(index.get_indexer(some["sha256"].to_pandas()), some["parts"].to_pylist(), strict=True):
            if owner >= 0 and waited_for[owner]:
                waited_for[owner] = False
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


def load_landmarks(
    contents: Sequence[str] | pd.Series, store: Path, settings: MeasureSettings, min_score: float
) -> Floats:
    """Return the landmarks (N, 10; see ``Face``) of the best face of contents.

    These are named by their SHA-256, each at most once. NaN where there is no face of at least ``min_score`` (0..1), or
    the detector gives none.
    """
    import pandas as pd

    index = pd.Index(np.asarray(contents, dtype=object))
    folders = cache.folders(store, settings, detector_fingerprint(settings))
    result = np.full((len(index), 10), np.nan)
    for part in cache.each_part(folders.faces, FACES_SCHEMA, ["sha256", "faces"]):
        with_faces = part.filter(pc.greater(pc.list_value_length(part["faces"]), 0))
        best = pc.list_element(with_faces["faces"], 0).combine_chunks()
        sure = best.field("score").to_numpy(zero_copy_only=False) >= min_score
        lists = best.field("landmarks")
        sure &= np.asarray(pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 10))
        places = index.get_indexer(with_faces["sha256"].to_pandas())
        wanted = np.flatnonzero(sure & (places >= 0))
        points = pc.list_flatten(lists.take(pa.array(wanted))).to_numpy(zero_copy_only=False)
        result[places[wanted]] = points.reshape(-1, 10)
    return result


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
    hashes = pc.unique(_files_rows(listing, folders, ("sha256",))["sha256"])
    readable = np.asarray(pc.not_equal(hashes, ""))
    stored = cache.read_parts(folders.faces, FACES_SCHEMA)
    searched = stored.take(pa.array(_rows_of(hashes, stored["sha256"], readable)).drop_null())
    lists = searched["faces"].combine_chunks()
    image = pc.list_parent_indices(lists)
    firsts = np.concatenate([[0], np.cumsum(np.asarray(pc.list_value_length(lists)))])
    flat = pc.list_flatten(lists)
    places = np.asarray(image)
    columns = {"sha256": searched["sha256"].take(image), "rank": np.arange(len(places)) - firsts[places]}
    columns |= {name: flat.field(name) for name in (*FACE_FLOATS, "landmarks")}
    frame: pd.DataFrame = pa.table(columns).to_pandas(use_threads=False)
    return frame


def _files_rows(listing: pd.DataFrame, folders: cache.Folders, columns: Sequence[str]) -> dict[str, pa.Array]:
    """Return columns of the files rows of a listing, in its order."""
    files = cache.read_files(folders, columns)
    rows = cache.matching_rows(cache.listing_table(listing), files)
    _require_all(rows >= 0)
    return {name: files[name].take(pa.array(rows)).combine_chunks() for name in columns}


def _rows_of(hashes: Any, stored: pa.ChunkedArray, readable: NDArray[np.bool_]) -> pa.Array:
    """Return where each content is stored, null for those that could not be read."""
    rows = pc.index_in(hashes, value_set=stored.combine_chunks())
    _require_all(np.asarray(pc.is_valid(rows)) | ~readable)
    return rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows


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
