"""Bytes of an image file -> upright 8-bit pixels, decoded once, with every odd kind of file handled on purpose.

Plain JPEGs go through simplejpeg (libjpeg-turbo), all other formats and damaged or CMYK JPEGs through Pillow. The
content decides what a file is, never its name. Formats that run programs or fetch files (EPS, WMF, ...) are not opened.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from curation.base.settings import MeasureSettings

Pixels = NDArray[np.uint8]

DecodeErrorKind = Literal["empty", "not_an_image", "truncated", "damaged", "too_large", "unsupported"]
"""Why a file has no pixels.

empty         -- it has no bytes
not_an_image  -- no known image format (a text file named .jpg, a file of zero bytes)
truncated     -- the pixel data ends early
damaged       -- a known format whose content cannot be decoded
too_large     -- more pixels than ``max_pixels`` by its header (decompression bombs), or more memory than there is
unsupported   -- decodable, but its numbers have no agreed meaning as brightness (floating point)
"""

_JPEG_MAGIC = b"\xff\xd8\xff"

_EXIF_MARK = b"Exif\x00\x00"

_EXIF_ORIENTATION = 0x0112
"""Tag of the orientation (EXIF 2.32, 4.6.4)."""

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA", "ICO")
"""What Pillow may open: raster formats whose decoders start no other program."""

_LARGEST_JPEG_FACTOR = 8
"""libjpeg scales by 1/2, 1/4 and 1/8 while decoding."""

_WHITE = (255, 255, 255, 255)
"""Transparent parts are shown on white, as browsers and viewers show them."""

_BYTES_A_PIXEL = 4
"""RGBA."""

_SPARSE = 16
"""Step of the first, cheap look for colour."""


class DecodeError(Exception):
    """An image could not be decoded; ``kind`` says why, the text is one sentence for a person."""

    def __init__(self, kind: DecodeErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: DecodeErrorKind = kind


@dataclass(frozen=True)
class Decoded:
    """An upright image.

    pixels -- uint8, (height, width) if grey, else (height, width, 3) RGB; smaller than the original by a factor where
              that is large. An RGB image whose channels are equal is grey.
    width, height -- of the upright original, px
    mode   -- Pillow's name for the stored pixels: L, RGB, RGBA, P, CMYK, I;16, ...
    format -- Pillow's name for the file's format, by content: JPEG, PNG, ...
    frames -- how many images the file holds; the first is decoded
    """

    pixels: Pixels
    width: int
    height: int
    mode: str
    format: str
    frames: int


def decode(data: bytes, settings: MeasureSettings) -> Decoded:
    """Decode one image file.

    An image whose longer side is at least twice ``settings.analysis_side`` is decoded to between one and two times
    that side: JPEGs by a power of two while decoding, others by averaging whole blocks of pixels. 16-bit pixels keep
    their upper byte, transparency is laid on white, an EXIF orientation is applied.

    Raises:
        DecodeError: the file has no usable pixels.
        MemoryError: the machine has not the memory for the largest image that is allowed.

    """
    if not data:
        raise DecodeError("empty", "the file is empty")
    if data.startswith(_JPEG_MAGIC):
        decoded = _decode_plain_jpeg(data, settings)
        if decoded is not None:
            return decoded
    try:
        return _decode_with_pillow(data, settings)
    except DecodeError:
        raise
    except MemoryError as error:
        if memory_is_short(settings):
            raise
        raise DecodeError("too_large", "decoding needs more memory than there is") from error
    except Exception as error:  # Pillow's plugins raise almost anything on hostile bytes
        raise _as_decode_error(error) from error


def memory_is_short(settings: MeasureSettings) -> bool:
    """Tell whether a failed allocation is the machine's fault: not even the largest allowed image has room."""
    try:
        np.empty(settings.max_pixels * _BYTES_A_PIXEL, dtype=np.uint8)
    except MemoryError:
        return True
    return False


def _decode_plain_jpeg(data: bytes, settings: MeasureSettings) -> Decoded | None:
    """Return the image, or None where Pillow must look at it: CMYK, or anything the strict decoder objects to."""
    try:
        height, width, workspace, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if workspace not in {"Gray", "YCbCr", "RGB"}:
        return None
    _refuse_bomb(width, height, settings)
    factor = min(_power_of_two_below(_reduction(width, height, settings)), _LARGEST_JPEG_FACTOR)
    try:
        pixels = simplejpeg.decode_jpeg(
            data,
            "GRAY" if workspace == "Gray" else "RGB",
            min_height=-(-height // factor) if factor > 1 else 0,
            min_width=-(-width // factor) if factor > 1 else 0,
        )
    except ValueError:
        return None
    orientation = _jpeg_orientation(data)
    if orientation > 4:
        width, height = height, width
    upright = _turned_upright(_grey_if_colourless(pixels), orientation)
    return Decoded(upright, width, height, "L" if workspace == "Gray" else "RGB", "JPEG", 1)


def _refuse_bomb(width: int, height: int, settings: MeasureSettings) -> None:
    if width * height > settings.max_pixels:
        raise DecodeError(
            "too_large", f"the header announces {width} x {height} pixels, more than max_pixels ({settings.max_pixels})"
        )


def _reduction(width: int, height: int, settings: MeasureSettings) -> int:
    """How many times smaller an image may be decoded with its longer side still at least ``analysis_side``."""
    return max(1, max(width, height) // settings.analysis_side)


def _power_of_two_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def _jpeg_orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1..8; 1 where there is none or it cannot be read."""
    if _EXIF_MARK not in data:
        return 1
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return _orientation_of(image)
    return 1


def _orientation_of(image: Image.Image) -> int:
    """Return the orientation that is still to be applied; a broken EXIF block is no reason to refuse good pixels."""
    with contextlib.suppress(Exception):
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        return orientation if orientation in range(1, 9) else 1
    return 1


def _turned_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: 5 to 8 mirror along the main diagonal, then all flip the axes they name."""
    if orientation == 1:
        return pixels
    turned = pixels.swapaxes(0, 1) if orientation > 4 else pixels
    if orientation in {3, 4, 7, 8}:
        turned = turned[::-1]
    if orientation in {2, 3, 6, 7}:
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _grey_if_colourless(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 1:
        return pixels[:, :, 0]
    if _channels_equal(pixels[::_SPARSE, ::_SPARSE]) and _channels_equal(pixels):
        return np.ascontiguousarray(pixels[:, :, 0])
    return pixels


def _channels_equal(pixels: Pixels) -> bool:
    first = pixels[:, :, 0]
    return bool((first == pixels[:, :, 1]).all() and (first == pixels[:, :, 2]).all())


def _decode_with_pillow(data: bytes, settings: MeasureSettings) -> Decoded:
    Image.MAX_IMAGE_PIXELS = settings.max_pixels  # Pillow's own guard, for headers that differ from frames
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _refuse_bomb(*image.size, settings)
        mode, kind, frames = image.mode, image.format or "", int(getattr(image, "n_frames", 1))
        width, height = image.size
        factor = _reduction(width, height, settings)
        if factor > 1:
            image.draft(None, (-(-width // factor), -(-height // factor)))
        image.load()
        plain = _eight_bit(image)
        orientation = _orientation_of(image)  # after loading: Pillow turns a TIFF itself, and removes its tag
    factor = _reduction(*plain.size, settings)
    pixels = np.asarray(plain.reduce(factor) if factor > 1 else plain)
    if orientation > 4:
        width, height = height, width
    if kind == "MPO":  # a JPEG with a second view attached
        kind, frames = "JPEG", 1
    upright = _turned_upright(_grey_if_colourless(pixels), orientation)
    return Decoded(upright, width, height, mode, kind, frames)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the image as L or RGB."""
    mode = image.mode
    if mode.startswith("I"):
        # 16 bits a pixel; "I" is how Pillow opens some of them
        levels = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return Image.fromarray((levels >> 8).astype(np.uint8))
    if mode == "F":
        raise DecodeError("unsupported", "the pixels are floating-point numbers; convert the file to 8 or 16 bits")
    if image.has_transparency_data:
        visible = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", visible.size, _WHITE), visible).convert("RGB")
    if mode in {"L", "RGB"}:
        return image
    return image.convert("L" if mode == "1" else "RGB")


def _as_decode_error(error: Exception) -> DecodeError:
    """Name the kind; the sentence is ours, so that it is the same with every version of the decoders."""
    if isinstance(error, UnidentifiedImageError):
        return DecodeError("not_an_image", "the content is no known image format, whatever its name says")
    if isinstance(error, Image.DecompressionBombError):
        return DecodeError("too_large", "the header announces far more pixels than max_pixels")
    text = str(error).lower()
    if any(sign in text for sign in ("truncated", "end of file", "unexpected end", "eof")):
        return DecodeError("truncated", "the pixel data ends early; the file is truncated")
    return DecodeError("damaged", "the content is damaged and cannot be decoded")


def as_grey_image(pixels: Pixels) -> Image.Image:
    """Return the Pillow image of the grey levels: L = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), Pillow's rounding."""
    image = Image.fromarray(pixels)
    return image if pixels.ndim == 2 else image.convert("L")
