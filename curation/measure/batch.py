"""Measuring a batch of files: the pure function that every engine calls.

``measure_batch`` raises for no file: an engine that loses a whole batch to one odd file is of no use. Whatever goes
wrong is a row with an error.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curation.base.errors import CurationError
from curation.base.reading import open_regular
from curation.measure.tables import NO_PIXELS, Batch, Known, Row

if TYPE_CHECKING:
    from curation.base.settings import MeasureSettings
    from curation.measure.decode import Decoded, Pixels
    from curation.measure.faces.base import FaceDetector


def measure_batch(
    paths: Sequence[str], urls: Sequence[str], known: Known, settings: MeasureSettings, detector: FaceDetector
) -> Batch:
    """Read, hash, decode and probe files; each content once; the result depends on nothing else.

    Never raises for anything that a file may hold.

    Args:
        paths: keys of the images
        urls: local path or fsspec URL of each
        known: contents whose measurements exist; not changed
        settings: limits of decoding
        detector: finds the faces

    Raises:
        MemoryError: the machine has too little; nothing is said of the files then.

    """
    files: list[Row] = []
    pixels: dict[bytes, Row] = {}
    faces: dict[bytes, Row] = {}
    for path, url in zip(paths, urls, strict=True):
        row, data = _read(path, url, settings)
        files.append(row)
        if data is None:
            continue
        digest = bytes.fromhex(row["sha256"])
        want_pixels = digest not in known.pixels and digest not in pixels
        want_faces = digest not in known.faces and digest not in faces
        if not (want_pixels or want_faces):
            continue
        pixel_row, face_row = _probe(row["sha256"], data, settings, detector if want_faces else None)
        if want_pixels:
            pixels[digest] = pixel_row
        if want_faces:
            faces[digest] = face_row
    return Batch(files, list(pixels.values()), list(faces.values()))


def crashed_batch(path: str, url: str, known: Known, settings: MeasureSettings) -> Batch:
    """Return the record of a file whose probing ended its process; only reads and hashes it."""
    row, data = _read(path, url, settings)
    if data is None:
        return Batch([row], [], [])
    digest = bytes.fromhex(row["sha256"])
    message = "a decoder or probe ended its process on this file; delete the measurements to try again"
    pixels = [] if digest in known.pixels else [_unusable(row["sha256"], "crashed", message)]
    faces = [] if digest in known.faces else [_faces_row(row["sha256"], [])]
    return Batch([row], pixels, faces)


def _read(path: str, url: str, settings: MeasureSettings) -> tuple[Row, bytes | None]:
    """Return the files row and the bytes, None where they cannot be read."""
    row: Row = {"path": path, "url": url, "sha256": "", "error_kind": "", "error": "", "inode": 0, "ctime_ns": 0}
    try:
        data, (row["inode"], row["ctime_ns"]) = _read_marked(url, settings.max_bytes + 1)
    except MemoryError:
        raise
    except Exception as error:  # every file system that fsspec reaches has errors of its own
        reason = getattr(error, "strerror", None) or type(error).__name__
        return row | {"error_kind": "unreadable", "error": f"the file cannot be read: {reason}"}, None
    if len(data) > settings.max_bytes:
        message = f"the file has more than max_bytes ({settings.max_bytes}) bytes"
        return row | {"error_kind": "too_large", "error": message}, None
    digest = hashlib.sha256(data).hexdigest()
    if not is_as_named(url, digest):
        message = "the copy in the workspace is damaged; run curate run DATA, which takes it out of the data again"
        return row | {"error_kind": "unreadable", "error": message}, None
    return row | {"sha256": digest}, data


def is_as_named(url: str, sha256: str) -> bool:
    """Return whether a file has the content that its name states; most names state none."""
    stated = _BY_CONTENT.search(url)
    return stated is None or stated[1] == sha256


_BY_CONTENT = re.compile(r"/sources/contents/[0-9a-f]{2}/([0-9a-f]{64})$")
"""Where images that came inside another file lie in a workspace, under the hash of their bytes."""

Mark = tuple[int, int]
"""Inode, and time of the last change of any kind in nanoseconds: what no tool sets back; (0, 0) where unknown."""


def mark_of(status: os.stat_result) -> Mark:
    """Return by what a file is told from another of its name, size and time of writing."""
    return status.st_ino & _INT64, status.st_ctime_ns


_INT64 = 2**63 - 1

_TICK_NS = 20_000_000
"""Nanoseconds that the times of files are apart at most, whatever their last digits say: two ticks of a slow kernel."""

_UNSETTLED = -1


def read_bytes(url: str, limit: int) -> bytes:
    """Return at most ``limit`` bytes of a local path or an fsspec URL; what is no regular file is refused.

    Raises:
        Exception: whatever the file system raises.

    """
    return _read_marked(url, limit)[0]


def _read_marked(url: str, limit: int) -> tuple[bytes, Mark]:
    if "://" not in url:
        with open_regular(url) as file:
            inode, changed = mark_of(os.fstat(file.fileno()))
            # what was changed in the very moment may change once more without another time: it is looked at again
            is_settled = time.time_ns() - changed > _TICK_NS
            return file.read(limit), (inode, changed if is_settled else _UNSETTLED)
    from curation.base.waiting import remote_bytes

    return remote_bytes(url, limit), (0, 0)


def read_pixels(url: str, settings: MeasureSettings) -> Pixels:
    """Return the pixels that every probe sees of one image: (H, W) or (H, W, 3) uint8, upright.

    Raises:
        DecodeError: the file has no usable pixels.

    """
    from curation.measure.decode import decode

    return decode(read_bytes(url, settings.max_bytes), settings).pixels


class ChangedError(CurationError):
    """An image is gone, or is another one than was measured."""


def measured_pixels(url: str, sha256: str, settings: MeasureSettings) -> Pixels:
    """Return what :func:`read_pixels` does, of an image that is proved to be the one that was measured.

    Raises:
        ChangedError: it cannot be read, or its bytes are others than those measured. DecodeError: see there.

    """
    from curation.measure.decode import decode

    return decode(measured_bytes(url, sha256, settings.max_bytes), settings).pixels


def measured_bytes(url: str, sha256: str, limit: int, name: str = "") -> bytes:
    """Return the bytes of an image that was measured; ``name`` is what it is called in messages, "" for its URL.

    Raises:
        ChangedError: it cannot be read, or its bytes are others by now.

    """
    try:
        data = read_bytes(url, limit)
    except MemoryError:
        raise
    except Exception as error:  # every file system that fsspec reaches has errors of its own
        reason = getattr(error, "strerror", None) or type(error).__name__
        mend = "mend its permissions" if isinstance(error, PermissionError) else "mount the source again"
        raise ChangedError(f"{name or url} cannot be read ({reason}); {mend}, or run: curate run DATA") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ChangedError(f"{name or url} is not the file that was measured; run: curate run DATA")
    return data


def _probe(sha256: str, data: bytes, settings: MeasureSettings, detector: FaceDetector | None) -> tuple[Row, Row]:
    """Decode once and measure; ``detector`` None leaves the faces out."""
    from curation.measure.decode import DecodeError, decode, memory_is_short
    from curation.measure.pixels import measure_pixels

    no_faces = _faces_row(sha256, [])
    try:
        decoded = decode(data, settings)
        measures = measure_pixels(decoded)._asdict()
        faces = no_faces if detector is None else _searched(sha256, decoded, detector)
    except DecodeError as error:
        return _unusable(sha256, error.kind, str(error)), no_faces
    except Exception as error:  # a probe's own fault must not cost the batch
        # OpenCV says so with an error of its own
        if isinstance(error, MemoryError) or ("memory" in str(error) and memory_is_short(settings)):
            raise MemoryError from error
        return _unusable(sha256, "crashed", f"measuring failed with {type(error).__name__}"), no_faces
    row = {
        "sha256": sha256,
        "error_kind": "",
        "error": "",
        "width": decoded.width,
        "height": decoded.height,
        "mode": decoded.mode,
        "format": decoded.format,
        "frames": decoded.frames,
        **measures,
    }
    return row, faces


def _unusable(sha256: str, kind: str, message: str) -> Row:
    return {"sha256": sha256, "error_kind": kind, "error": message, **NO_PIXELS}


def _faces_row(sha256: str, faces: list[Row], degrees: int = 0, score: float = math.nan) -> Row:
    return {"sha256": sha256, "faces": faces, "turned_degrees": degrees, "turned_score": score}


def _searched(sha256: str, decoded: Decoded, detector: FaceDetector) -> Row:
    """Return the faces row of one image, its faces measured."""
    import numpy as np

    from curation.measure.decode import as_grey_image
    from curation.measure.faces.measures import measure_face
    from curation.measure.faces.pose import pose_of
    from curation.measure.faces.turned import best_when_turned
    from curation.measure.parts import content_box

    found = detector.detect(decoded.pixels)
    degrees, score = best_when_turned(decoded.pixels, found, detector)
    grey = decoded.pixels if decoded.pixels.ndim == 2 else np.asarray(as_grey_image(decoded.pixels))
    inner = content_box(grey) if found else (0, 0, 0, 0)
    rows = [
        {
            **{name: getattr(face, name) for name in ("x", "y", "width", "height", "score", "landmarks")},
            **pose_of(face.landmarks, decoded.width / decoded.height)._asdict(),
            **measure_face(face, grey, inner)._asdict(),
        }
        for face in found
    ]
    return _faces_row(sha256, rows, degrees, score)
