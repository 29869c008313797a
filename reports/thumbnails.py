"""Small pictures as data URIs, each encoded once."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

JPEG_QUALITY = 85
"""Pillow's scale; at 48x48 about 1.2 KB a face, without a visible difference at twice the size."""

CAPTION_HEIGHT = 22
"""Pixels above each sheet of :func:`captioned_png`."""


def data_uri(pixels: bytes) -> str:
    """Return a square grey picture as the data URI of a JPEG file.

    Args:
        pixels: side * side bytes, uint8 grey, row by row.

    Raises:
        ValueError: the number of bytes is not a square number above 0.

    """
    side = math.isqrt(len(pixels))
    if side == 0 or side * side != len(pixels):
        raise ValueError(f"a thumbnail must be square, not {len(pixels)} bytes")
    return _encoded(Image.frombytes("L", (side, side), pixels))


def colour_uri(pixels: bytes) -> str:
    """Return a square RGB picture, 3 * side * side bytes row by row, as the data URI of a JPEG file.

    Raises:
        ValueError: the number of bytes is not three times a square number above 0.

    """
    side = math.isqrt(len(pixels) // 3)
    if side == 0 or 3 * side * side != len(pixels):
        raise ValueError(f"a colour picture must be square, not {len(pixels)} bytes")
    return _encoded(Image.frombytes("RGB", (side, side), pixels))


def _encoded(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def data_uris(keys: Iterable[str], pictures: Iterable[object]) -> dict[str, str]:
    """Return key -> data URI; of pictures with one key the first counts; what is not a picture is skipped.

    Args:
        keys: what identifies each picture's content.
        pictures: bytes as :func:`data_uri` takes them; anything else (None, an empty value) is not a picture.

    """
    found: dict[str, str] = {}
    for key, pixels in zip(keys, pictures, strict=True):
        if key not in found and isinstance(pixels, bytes) and pixels:
            found[key] = data_uri(pixels)
    return found


def captioned_png(sheets: Mapping[str, npt.NDArray[np.uint8]]) -> bytes:
    """Return grey pictures, (height, width) uint8 each, one below the other under their captions, as a PNG file."""
    width = max(sheet.shape[1] for sheet in sheets.values())
    height = sum(sheet.shape[0] + CAPTION_HEIGHT for sheet in sheets.values())
    picture = Image.new("L", (width, height), 255)
    draw, top = ImageDraw.Draw(picture), 0
    for caption, sheet in sheets.items():
        draw.text((2, top + 4), caption, fill=0, font_size=14)
        picture.paste(Image.fromarray(sheet), (0, top + CAPTION_HEIGHT))
        top += CAPTION_HEIGHT + sheet.shape[0]
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
