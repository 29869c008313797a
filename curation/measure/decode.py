"""Bytes of an image file -> upright 8-bit pixels, decoded once, with every odd kind of file handled on purpose.

Plain JPEGs go through simplejpeg (libjpeg-turbo), all other formats and damaged or CMYK JPEGs through Pillow. The
content decides what a file is, never its name. Formats that run programs or fetch files (EPS, WMF, ...) are not opened;
formats that are known and cannot be decoded are named. HEIC and JPEG XL need their Pillow plug-ins (the extra formats).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from curation.base.arrays import Pixels as Pixels

if TYPE_CHECKING:
    from curation.base.settings import MeasureSettings

DecodeErrorKind = Literal["empty", "not_an_image", "truncated", "damaged", "too_large", "unsupported"]
"""Why a file has no pixels.

empty         -- it has no bytes
not_an_image  -- no known image format (a text file named .jpg, a file of zero bytes)
truncated     -- the pixel data ends early
damaged       -- a known format whose content cannot be decoded
too_large     -- more pixels than ``max_pixels`` by its header (decompression bombs), or more memory than there is
unsupported   -- a known format for which there is no decoder here; the sentence names it and what to do
"""

_JPEG_MAGIC = b"\xff\xd8\xff"

_EXIF_MARK = b"Exif\x00\x00"

_EXIF_ORIENTATION = 0x0112
"""Tag of the orientation (EXIF 2.32, 4.6.4)."""

_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM"),
    *("ICO", "CUR", "ICNS", "PCX", "DDS", "TGA"),
)
"""What Pillow may open: raster formats whose decoders start no other program. TGA has no mark, so it is tried last."""

_JXL = "JXL"
_PLUGINS = {"HEIC": ("pillow_heif", "HEIF"), "JPEG XL": ("pillow_jxl", _JXL)}
"""Formats that a package beside Pillow decodes: the package, and Pillow's name of the format."""

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})
"""Major brands of ISO/IEC 23008-12 for pictures coded as HEVC; files of the last two may be AVIF as well."""

_UNDECODED = (
    (b"8BPS", "a Photoshop document"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?R", "a Radiance HDR image"),
    (b"II\xbc", "a JPEG XR image"),
    (b"BPG\xfb", "a BPG image"),
    (b"FLIF", "a FLIF image"),
    (b"IIRO", "a camera's raw file"),
    (b"IIRS", "a camera's raw file"),
    (b"IIU\0", "a camera's raw file"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file"),
)
"""First bytes of formats that are not decoded, and what they are."""

_DNG_VERSION, _SUBFILE, _SUB_IFDS, _BITS_PER_SAMPLE = 50706, 254, 330, 258
"""Tags of TIFF 6.0 and DNG 1.7."""

_PNG_DEPTH_AT = 24
"""Byte of a PNG that holds its bits per sample (PNG 3rd edition, 11.2.1)."""

_DEPTHS = (8, 10, 12, 14, 16)
"""Bits per sample of cameras and scanners, which many programs store in 16 without scaling."""

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

    @functools.cached_property
    def grey(self) -> Pixels:
        """The grey levels, (H, W): L = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded as Pillow does."""
        return self.pixels if self.pixels.ndim == 2 else np.asarray(Image.fromarray(self.pixels).convert("L"))

    @functools.cached_property
    def small_grey(self) -> Pixels:
        """The grey levels with a longer side below 384 px: what is measured at a smaller size starts from here."""
        return halved(self.grey, _SMALL_SIDE)


_SMALL_SIDE = 192


def halved(pixels: Pixels, side: int) -> Pixels:
    """Return pixels with whole squares averaged, as often as leaves the longer side at ``side`` or more."""
    import cv2

    while max(pixels.shape[:2]) >= 2 * side:
        size = tuple(max(1, length // 2) for length in pixels.shape[1::-1])
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return pixels


def decode(data: bytes, settings: MeasureSettings) -> Decoded:
    """Decode one image file.

    An image whose longer side is at least twice ``settings.analysis_side`` is decoded to between one and two times
    that side: JPEGs by a power of two while decoding, others by averaging whole blocks of pixels. Pixels of more than 8
    bits are scaled from their real range (see ``stretched``), transparency is laid on white, an EXIF orientation is
    applied.

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
        formats = _formats_for(data)
        if formats == (_JXL,):
            _refuse_bomb(*jxl_size(data), settings)  # its plug-in decodes while it opens
        return _decode_with_pillow(data, settings, formats)
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
    factor = min(1 << (_reduction(width, height, settings).bit_length() - 1), _LARGEST_JPEG_FACTOR)
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


def _jpeg_orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1..8; 1 where there is none or it cannot be read."""
    if _EXIF_MARK not in data[: _scan_begins(data)]:
        return 1
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return _orientation_of(image)
    return 1


def _scan_begins(data: bytes) -> int:
    """Return where the segments of a JPEG end and its pixels begin (ITU-T T.81, B.1.1)."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] not in (b"\xda", b"\xff", b""):
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place


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


def _decode_with_pillow(data: bytes, settings: MeasureSettings, formats: tuple[str, ...]) -> Decoded:
    Image.MAX_IMAGE_PIXELS = settings.max_pixels  # Pillow's own guard, for headers that differ from frames
    with Image.open(io.BytesIO(data), formats=formats) as image:
        _refuse_bomb(*image.size, settings)
        mode, kind, frames = image.mode, image.format or "", int(getattr(image, "n_frames", 1))
        width, height = image.size
        factor = _reduction(width, height, settings)
        if factor > 1:
            image.draft(None, (-(-width // factor), -(-height // factor)))
        _refuse_raw(image)
        image.load()
        plain = _eight_bit(image, data)
        orientation = _orientation_of(image)  # after loading: Pillow turns a TIFF itself, and removes its tag
    factor = _reduction(*plain.size, settings)
    pixels = np.asarray(plain.reduce(factor) if factor > 1 else plain)
    if orientation > 4:
        width, height = height, width
    if kind == "MPO":  # a JPEG with a second view attached
        kind, frames = "JPEG", 1
    upright = _turned_upright(_grey_if_colourless(pixels), orientation)
    return Decoded(upright, width, height, mode, kind, frames)


def _formats_for(data: bytes) -> tuple[str, ...]:
    """Return what Pillow may open the data as; where it needs a plug-in, that is loaded.

    Raises:
        DecodeError: it is not installed, or nothing decodes this format.

    """
    known = next((what for start, what in _UNDECODED if data.startswith(start)), "")
    if data[4:12] == b"ftypcrx " or (data[:4] in (b"II*\0", b"MM\0*") and data[8:10] == b"CR"):
        known = "a camera's raw file"
    if known:
        raise DecodeError("unsupported", f"{known}, which is not decoded here; save it as JPEG or PNG")
    format_name = _plugin_format(data)
    if not format_name:
        return _FORMATS
    package, opened_as = _PLUGINS[format_name]
    try:
        plugin = importlib.import_module(package)
        if format_name == "HEIC":
            plugin.register_heif_opener()
    except ImportError as error:
        raise DecodeError(
            "unsupported",
            f"a {format_name} image, for which no decoder is installed; run: pip install 'face-curation[formats]'",
        ) from error
    return (opened_as,)


def _plugin_format(data: bytes) -> str:
    if data[:12] == b"\0\0\0\x0cJXL \r\n\x87\n" or data[:2] == b"\xff\x0a":
        return "JPEG XL"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and b"avif" not in data[8:32]:
        return "HEIC"
    return ""


_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def jxl_size(data: bytes) -> tuple[int, int]:
    """Return width and height in the header of a JPEG XL file, (0, 0) where they cannot be read (ISO/IEC 18181-1)."""
    bits = int.from_bytes(_jxl_codestream(data)[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    height = side()
    ratio = take(3)
    if ratio:
        across, down = _JXL_RATIOS[ratio - 1]
        return height * across // down, height
    return side(), height


def _jxl_codestream(data: bytes) -> bytes:
    """Return where the coded image begins: at once, or in a box of its own."""
    place = 12
    while data[:2] != b"\xff\x0a" and place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        start = place + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        if kind in (b"jxlc", b"jxlp"):
            return data[start + 4 * (kind == b"jxlp") :][:32]
        if size < 8:
            break
        place += size
    return data[:32] if data[:2] == b"\xff\x0a" else b""


def _refuse_raw(image: Image.Image) -> None:
    """Refuse a camera's raw file, of which Pillow would show the small preview.

    Raises:
        DecodeError: it is one.

    """
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or (tags.get(_SUBFILE) == 1 and _SUB_IFDS in tags):
        raise DecodeError("unsupported", "a camera's raw file, which is not decoded here; save it as JPEG or PNG")


def _eight_bit(image: Image.Image, data: bytes) -> Image.Image:
    """Return the image as L or RGB."""
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        return Image.fromarray(stretched(np.asarray(image)))
    if _is_deep(image, data):
        deep = _deep_colours(data)
        if deep is not None and deep.shape[:2] == (image.height, image.width):
            image = _deep_image(deep)
    if image.has_transparency_data:
        visible = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", visible.size, _WHITE), visible).convert("RGB")
    if mode in {"L", "RGB"}:
        return image
    return image.convert("L" if mode == "1" else "RGB")


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Return whether an image in colour has more than 8 bits per sample, of which Pillow keeps the upper ones only."""
    if image.format == "PNG":
        return data[_PNG_DEPTH_AT : _PNG_DEPTH_AT + 1] == b"\x10"
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    return any(depth > 8 for depth in (bits if isinstance(bits, tuple) else (bits,)))


def _deep_colours(data: bytes) -> NDArray[Any] | None:
    """Return the samples of a deep image in colour, (height, width, 3 or 4) RGB(A), or None where OpenCV refuses."""
    import cv2

    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3 or found.shape[2] not in (3, 4) or found.dtype == np.uint8:
        return None
    order = [2, 1, 0, 3][: found.shape[2]]
    return np.ascontiguousarray(found[:, :, order])


def _deep_image(samples: NDArray[Any]) -> Image.Image:
    """Return deep samples, (height, width, 3 or 4) RGB(A), as an RGB(A) image; all colours share one range."""
    colours = stretched(samples[:, :, :3])
    if samples.shape[2] == 3:
        return Image.fromarray(colours)
    return Image.fromarray(np.dstack([colours, stretched(samples[:, :, 3])]))


def stretched(samples: NDArray[Any]) -> Pixels:
    """Return samples of any depth as 8 bits, scaled from the range that they really have.

    Whole numbers are taken for the smallest usual depth that holds them (10, 12, 14, 16 bits), as programs store 12
    bits in 16 without scaling. Fractions are taken from 0 to 1, or to 255 where they exceed 1. What is negative or
    larger, or fills less than an eighth of its range (a thermal picture), is stretched from its least value to its
    largest.
    """
    if samples.dtype.kind == "f":
        finite = samples[np.isfinite(samples)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        samples = np.nan_to_num(samples.astype(np.float64), nan=low, posinf=high, neginf=low)
        limit = 1.0 if high <= 1 else 255.0
        if low >= 0 and high <= 255:
            return np.clip(samples * (255.0 / limit) + 0.5, 0, 255).astype(np.uint8)
    else:
        low, high = float(samples.min()), float(samples.max())
        bits = next((bits for bits in _DEPTHS if high < 2**bits), 0)
        if low >= 0 and bits and (low == high or 8 * (high - low) >= 2**bits or not (samples % 257).any()):
            # 8 bits spread over 16 (v * 257) stay what they were
            depth = 16 if not (samples % 257).any() else bits
            return (samples.astype(np.int64) >> (depth - 8)).astype(np.uint8)
    span = high - low or 1.0
    return np.clip((samples.astype(np.float64) - low) * (255.0 / span) + 0.5, 0, 255).astype(np.uint8)


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
