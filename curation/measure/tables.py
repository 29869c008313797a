"""Shapes of what is measured: the tables that pass between probes, cache and engine. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Row = dict[str, Any]

FACES_REVISION = 1
PIXELS_REVISION = 5
"""Raised whenever a number of that probe may change for the same file; makes cached values stale."""

THUMBNAIL_SIDE = 48
"""Side of the stored thumbnails, px: face-expression sets are often 48x48."""

ERROR_KINDS: Mapping[str, str] = {
    "empty": "the file has no bytes",
    "not_an_image": "its content is no known image format",
    "truncated": "its pixel data ends early",
    "damaged": "its content cannot be decoded",
    "too_large": "more bytes than max_bytes or more pixels than max_pixels",
    "unsupported": "a known format for which there is no decoder here",
    "unreadable": "the file cannot be opened or read",
    "crashed": "a decoder or probe failed or ended its process",
}
"""Every error kind and what it means."""

_DECODER_PACKAGES = ("pillow_heif", "pillow_jxl")
"""Packages that decode formats beyond Pillow's own, HEIC and JPEG XL."""


def decoders() -> list[str]:
    """Return which of the optional decoders are installed: what was measured without one is measured again with it."""
    return [name for name in _DECODER_PACKAGES if importlib.util.find_spec(name) is not None]


_NAN = math.nan

FILES_SCHEMA = pa.schema(
    [
        ("path", pa.large_string()),
        ("url", pa.large_string()),
        ("sha256", pa.large_string()),
        ("error_kind", pa.large_string()),
        ("error", pa.large_string()),
        ("inode", pa.int64()),
        ("ctime_ns", pa.int64()),
    ]
)
"""One row per file: its content's hash, "" where it could not be read, which the error tells. Its inode and the time of
its last change of any kind, in nanoseconds, as it was read; both 0 where it is no file of this machine."""

PIXEL_FLOATS = (
    "brightness_mean",
    "brightness_p01",
    "brightness_p05",
    "brightness_p95",
    "brightness_p99",
    "contrast",
    "entropy",
    "sharpness",
    "edge_sharpness",
    "texture_entropy",
)

_PART = pa.struct([("kind", pa.int64()), ("box", pa.list_(pa.float64())), ("thumbnail", pa.binary())])

PIXELS_SCHEMA = pa.schema(
    [
        ("sha256", pa.large_string()),
        ("error_kind", pa.large_string()),
        ("error", pa.large_string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("mode", pa.large_string()),
        ("format", pa.large_string()),
        ("frames", pa.int64()),
        ("pixel_sha256", pa.large_string()),
        *((name, pa.float64()) for name in PIXEL_FLOATS),
        ("dhash", pa.int64()),
        ("phash", pa.int64()),
        ("thumbnail", pa.binary()),
        ("parts", pa.list_(_PART)),
    ]
)
"""One row per content: what the decoder and the pixel probe found; see ``PixelMeasures``."""

FACE_FLOATS = (
    "x",
    "y",
    "width",
    "height",
    "score",
    "yaw",
    "pitch",
    "roll",
    "brightness_p05",
    "brightness_p95",
    "edge_distance",
)

_FACE = pa.struct([*((name, pa.float64()) for name in FACE_FLOATS), ("landmarks", pa.list_(pa.float64()))])

FACES_SCHEMA = pa.schema(
    [
        ("sha256", pa.large_string()),
        ("faces", pa.list_(_FACE)),
        ("turned_degrees", pa.int64()),
        ("turned_score", pa.float64()),
    ]
)
"""One row per content: its faces, best first; see ``Face``, ``Pose`` and ``FaceMeasures``. If the picture was turned to
look for a better one: by how many degrees anti-clockwise the best was found, and its score; 0 and NaN where it was
not."""

IDENTITY_SCHEMA = pa.schema([("sha256", pa.large_string()), ("rank", pa.int64()), ("embedding", pa.binary())])
"""One row per face: float32 numbers as they lie in memory, no bytes where the picture could not be read."""

NO_PIXELS: Mapping[str, object] = {
    "width": 0,
    "height": 0,
    "mode": "",
    "format": "",
    "frames": 0,
    "pixel_sha256": "",
    **dict.fromkeys(PIXEL_FLOATS, _NAN),
    "dhash": 0,
    "phash": 0,
}
"""What a content without pixels has in the place of its measures."""


@dataclass(frozen=True)
class Known:
    """Contents (SHA-256, raw bytes) that a probe need not see again."""

    pixels: set[bytes]
    faces: set[bytes]


@dataclass(frozen=True)
class Batch:
    """What one call measured, as plain rows: a process that measures needs no pandas.

    Contents that were known have no row in ``pixels`` or ``faces``.
    """

    files: list[Row]
    pixels: list[Row]
    faces: list[Row]

    def tables(self) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Return files, pixels and faces as Arrow tables of the schemas above."""
        files, pixels, faces = (
            pa.Table.from_pylist(rows, schema)
            for rows, schema in (
                (self.files, FILES_SCHEMA),
                (self.pixels, PIXELS_SCHEMA),
                (self.faces, FACES_SCHEMA),
            )
        )
        return files, pixels, faces
