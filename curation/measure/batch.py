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
from typing import TYPE_CHECKING, NamedTuple

from curation.base.errors import CurationError
from curation.base.reading import open_regular
from curation.measure.tables import NO_PIXELS, Batch, Known, Row

if TYPE_CHECKING:
    from curation.base.settings import MeasureSettings
    from curation.measure.decode import Decoded, Pixels
    from curation.measure.faces.base import Face, FaceDetector
    from curation.measure.parts import Box
    from curation.measure.pixels import PixelMeasures


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
    probe = _Probe(settings, detector)
    for path, url in zip(paths, urls, strict=True):
        row, data = _read(path, url, settings)
        files.append(row)
        if data is None:
            continue
        digest = bytes.fromhex(row["sha256"])
        wants = _Wants(
            digest not in known.pixels and digest not in probe.pixels,
            digest not in known.faces and digest not in probe.faces,
        )
        if wants.pixels or wants.faces:
            probe.add(digest, data, wants)
    probe.measure()
    return Batch(files, list(probe.pixels.values()), list(probe.faces.values()))


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


class _Wants(NamedTuple):
    """What is to be measured of a content."""

    pixels: bool
    faces: bool


_TOGETHER, _BYTES_TOGETHER = 256, 2**24
"""Pictures, and bytes of pixels, that are measured at a time."""


class _Probe:
    """Decodes contents, each once, and measures them some at a time; their rows keep the order."""

    def __init__(self, settings: MeasureSettings, detector: FaceDetector) -> None:
        self._settings = settings
        self._detector = detector
        self._waiting: list[tuple[bytes, Decoded, _Wants]] = []
        self._bytes = 0
        self.pixels: dict[bytes, Row] = {}
        self.faces: dict[bytes, Row] = {}

    def add(self, digest: bytes, data: bytes, wants: _Wants) -> None:
        """Decode a content; it is measured when some are waiting, and has its place in the order."""
        from curation.measure.decode import DecodeError, decode

        self._keep(digest, wants, {}, {})
        try:
            decoded = decode(data, self._settings)
        except DecodeError as error:
            self._keep(digest, wants, _unusable(digest.hex(), error.kind, str(error)), _faces_row(digest.hex(), []))
        except Exception as error:  # a decoder's own fault must not cost the batch
            self._give_up(digest, wants, error)
        else:
            self._waiting.append((digest, decoded, wants))
            self._bytes += decoded.pixels.nbytes
            if len(self._waiting) >= _TOGETHER or self._bytes >= _BYTES_TOGETHER:
                self.measure()

    def measure(self) -> None:
        """Measure what is waiting."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        try:
            self._measure(waiting)
        except Exception:  # one of them costs no other its measures
            for one in waiting:
                try:
                    self._measure([one])
                except Exception as error:
                    self._give_up(one[0], one[2], error)

    def _measure(self, waiting: list[tuple[bytes, Decoded, _Wants]]) -> None:
        from curation.measure.pixels import measure_pixels

        asked = [(digest, decoded) for digest, decoded, wants in waiting if wants.pixels]
        measured = zip(asked, measure_pixels([decoded for _, decoded in asked]), strict=True)
        pixels = {digest: _pixels_row(digest.hex(), decoded, measures) for (digest, decoded), measures in measured}
        asked = [(digest, decoded) for digest, decoded, wants in waiting if wants.faces]
        faces = zip(asked, _searched([decoded for _, decoded in asked], self._detector), strict=True)
        self.faces |= {digest: _faces_row(digest.hex(), *found) for (digest, _), found in faces}
        self.pixels |= pixels

    def _give_up(self, digest: bytes, wants: _Wants, error: Exception) -> None:
        """Put a fault on record, of a decoder or a probe.

        Raises:
            MemoryError: the machine has too little.

        """
        from curation.measure.decode import memory_is_short

        # OpenCV says so with an error of its own
        if isinstance(error, MemoryError) or ("memory" in str(error) and memory_is_short(self._settings)):
            raise MemoryError from error
        message = f"measuring failed with {type(error).__name__}"
        self._keep(digest, wants, _unusable(digest.hex(), "crashed", message), _faces_row(digest.hex(), []))

    def _keep(self, digest: bytes, wants: _Wants, pixels: Row, faces: Row) -> None:
        if wants.pixels:
            self.pixels[digest] = pixels
        if wants.faces:
            self.faces[digest] = faces


def _pixels_row(sha256: str, decoded: Decoded, measures: PixelMeasures) -> Row:
    return {
        "sha256": sha256,
        "error_kind": "",
        "error": "",
        "width": decoded.width,
        "height": decoded.height,
        "mode": decoded.mode,
        "format": decoded.format,
        "frames": decoded.frames,
        **measures._asdict(),
    }


def _unusable(sha256: str, kind: str, message: str) -> Row:
    return {"sha256": sha256, "error_kind": kind, "error": message, **NO_PIXELS}


def _faces_row(sha256: str, faces: list[Row], degrees: int = 0, score: float = math.nan) -> Row:
    return {"sha256": sha256, "faces": faces, "turned_degrees": degrees, "turned_score": score}


def _searched(pictures: Sequence[Decoded], detector: FaceDetector) -> list[tuple[list[Row], int, float]]:
    """Return the faces of each picture, measured, and what turning it showed; see ``best_when_turned``."""
    from curation.measure.faces.turned import best_when_turned
    from curation.measure.parts import content_boxes

    pixels = [detector.seen(picture.pixels) for picture in pictures]
    found = detector.detect_all(pixels)
    inners = content_boxes([picture.small_grey for picture in pictures])
    rows = []
    for picture, faces, inner, turned in zip(
        pictures, found, inners, best_when_turned(pixels, found, detector), strict=True
    ):
        rows.append(([_face_row(face, picture, inner) for face in faces], *turned))
    return rows


def _face_row(face: Face, picture: Decoded, inner: Box) -> Row:
    from curation.measure.faces.measures import measure_face
    from curation.measure.faces.pose import pose_of

    return {
        **{name: getattr(face, name) for name in ("x", "y", "width", "height", "score", "landmarks")},
        **pose_of(face.landmarks, picture.width / picture.height)._asdict(),
        **measure_face(face, picture.small_grey, inner)._asdict(),
    }
