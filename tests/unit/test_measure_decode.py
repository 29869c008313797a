"""Decoding: every odd kind of file is handled on purpose."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.base.settings import MeasureSettings
from curation.measure.decode import DecodeError, decode
from curation.measure.tables import ERROR_KINDS

SETTINGS = MeasureSettings()
ORIENTATION = 0x0112
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA")


def picture(height: int = 90, width: int = 120) -> Image.Image:
    """A smooth colour picture without symmetry."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    channels = (200 * x + 40 * y, 30 + 160 * y * x, 220 - 150 * y)
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def kind_of(data: bytes, limits: MeasureSettings = SETTINGS) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, limits)
    assert str(caught.value) and "\n" not in str(caught.value)
    return caught.value.kind


def png_with_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_decoded_by_content_to_rgb_of_its_size(kind):
    image = picture(64, 48)
    decoded = decode(encoded(image, kind), SETTINGS)
    assert (decoded.pixels.shape, decoded.width, decoded.height) == ((64, 48, 3), 48, 64)
    assert (decoded.format, decoded.frames, decoded.pixels.dtype) == (kind, 1, np.uint8)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(image)).mean() < 12


def test_a_grey_jpeg_and_a_colour_jpeg_of_the_same_grey_picture_have_equal_pixels():
    grey = picture().convert("L")
    alone = decode(encoded(grey, "PNG"), SETTINGS)
    tripled = decode(encoded(grey.convert("RGB"), "PNG"), SETTINGS)
    assert alone.pixels.ndim == 2
    assert np.array_equal(alone.pixels, tripled.pixels)
    assert decode(encoded(grey.convert("RGB"), "JPEG"), SETTINGS).pixels.ndim == 2


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (bytes(4096), "not_an_image"),
        (b"<html>not found</html>" * 20, "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
        (encoded(picture(), "JPEG")[:600], "truncated"),
        (encoded(picture(), "PNG")[:-200], "truncated"),
        (encoded(picture(), "BMP")[:5000], "truncated"),
        (png_with_header(60_000, 60_000), "too_large"),
        (png_with_header(12_000, 12_000), "too_large"),
        (b"8BPS\0\1" + bytes(200), "unsupported"),
        (b"\x76\x2f\x31\x01" + bytes(200), "unsupported"),
        (b"\0\0\0\x18ftypcrx " + bytes(200), "unsupported"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(200), "unsupported"),
    ],
)
def test_an_unusable_file_has_a_documented_kind_and_a_sentence(data, kind):
    assert kind_of(data) == kind
    assert kind in ERROR_KINDS


def test_a_jpeg_that_announces_too_many_pixels_is_refused_before_decoding():
    data = bytearray(encoded(picture(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)
    assert kind_of(bytes(data)) == "too_large"
    assert kind_of(encoded(picture(), "JPEG"), MeasureSettings(max_pixels=10_000)) == "too_large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_in_every_format(kind, orientation):
    turned_by = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    image = picture()
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    options = {"quality": 100} if kind in {"JPEG", "WEBP"} else {}
    decoded = decode(encoded(image, kind, exif=exif, **options), SETTINGS)
    upright = image.transpose(turned_by[orientation]) if orientation > 1 else image
    assert (decoded.width, decoded.height) == upright.size == decoded.pixels.shape[1::-1]
    assert np.abs(decoded.pixels.astype(int) - np.asarray(upright)).mean() < 8


def test_a_huge_or_broken_exif_block_costs_no_pixels():
    image = picture()
    exif = image.getexif()
    exif[ORIENTATION] = 6
    exif[0x9286] = b"x" * 60_000
    data = encoded(image, "JPEG", exif=exif)
    assert decode(data, SETTINGS).width == 90
    place = data.index(b"Exif\x00\x00") + 6
    broken = data[:place] + b"\xff" * 40 + data[place + 40 :]
    assert decode(broken, SETTINGS).width == 120


def test_sixteen_bits_keep_their_upper_byte():
    levels = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
    for kind in ("PNG", "TIFF"):
        decoded = decode(encoded(Image.fromarray(levels), kind), SETTINGS)
        assert np.array_equal(decoded.pixels, (levels >> 8).astype(np.uint8))
        assert decoded.mode.startswith("I")


def test_transparent_parts_are_white():
    clear = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    clear.paste((10, 20, 30, 255), (0, 0, 16, 32))
    decoded = decode(encoded(clear, "PNG"), SETTINGS)
    assert decoded.pixels[0, 0].tolist() == [10, 20, 30]
    assert decoded.pixels[0, 31].tolist() == [255, 255, 255]
    palette = encoded(Image.new("P", (8, 8), 0), "PNG", transparency=0)
    assert np.all(decode(palette, SETTINGS).pixels == 255)


@pytest.mark.parametrize("mode", ["CMYK", "P", "1", "LA", "YCbCr"])
def test_other_colour_modes_are_converted(mode):
    image = picture().convert(mode)
    kind = "PNG" if mode in {"P", "1", "LA"} else "JPEG"
    decoded = decode(encoded(image, kind), SETTINGS)
    wanted = np.asarray(image.convert("L" if mode in {"1", "LA"} else "RGB")).astype(int)
    assert np.abs(decoded.pixels.astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_several_is_decoded_and_frames_are_counted(kind):
    first, *others = (Image.new("RGB", (40, 30), (60 * n, 10, 10)) for n in range(3))
    data = encoded(first, kind, save_all=True, append_images=others)
    decoded = decode(data, SETTINGS)
    assert decoded.frames == 3
    assert np.abs(decoded.pixels[15, 20].astype(int) - [0, 10, 10]).max() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(3000, 2000), (1024, 700), (1023, 1023), (9000, 1)])
def test_large_images_are_decoded_small_but_keep_their_true_size(kind, size):
    width, height = size
    decoded = decode(encoded(picture(height, width), kind), MeasureSettings(analysis_side=512))
    assert (decoded.width, decoded.height) == size
    longer = max(decoded.pixels.shape[:2])
    assert 512 <= longer <= 1024 or size == (9000, 1)
    assert (longer == max(size)) == (max(size) < 1024)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_a_corrupted_file_is_decoded_or_refused_never_anything_else(kind, data):
    original = bytearray(encoded(picture(24, 20), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(original)))
    for candidate in (bytes(original), bytes(original[:cut])):
        try:
            decoded = decode(candidate, MeasureSettings(max_pixels=1_000_000))
        except DecodeError as error:
            assert error.kind in ERROR_KINDS
        else:
            assert decoded.pixels.dtype == np.uint8 and decoded.pixels.size > 0


def tiff16(levels: np.ndarray) -> bytes:
    return encoded(Image.fromarray(levels.astype(np.uint16)), "TIFF")


def png16_rgb(levels: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", levels[:, :, ::-1].astype(np.uint16))[1].tobytes()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_samples_of_any_depth_in_16_bits_are_scaled_from_the_range_they_have(bits, colour):
    rgb = np.asarray(picture()).astype(np.uint32)
    deep = rgb * 257 >> (16 - bits)
    data, plain = (png16_rgb(deep), rgb) if colour else (tiff16(deep[:, :, 0]), rgb[:, :, 0])
    assert np.array_equal(decode(data, SETTINGS).pixels, plain)


def test_a_dark_picture_of_8_bits_spread_over_16_stays_dark():
    dark = np.asarray(picture().convert("L")) // 8
    assert np.array_equal(decode(tiff16(dark.astype(np.uint32) * 257), SETTINGS).pixels, dark)


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [(0.0, 1.0, 0, 255), (0.0, 255.0, 0, 255), (-3.0, 9.0, 0, 255), (0.25, 0.75, 64, 191), (300.0, 2000.0, 0, 255)],
)
def test_fractions_are_scaled_from_one_from_255_or_from_their_own_range(low, high, first, last):
    ramp = np.tile(np.linspace(low, high, 64, dtype=np.float32), (16, 1))
    pixels = decode(encoded(Image.fromarray(ramp), "TIFF"), SETTINGS).pixels
    assert (pixels[0, 0], pixels[0, -1]) == (first, last)
    ramp[3, 3] = np.nan
    assert np.array_equal(decode(encoded(Image.fromarray(ramp), "TIFF"), SETTINGS).pixels[0], pixels[0])


def test_a_narrow_range_such_as_a_thermal_camera_gives_is_stretched():
    levels = np.tile(np.linspace(7000, 8900, 64), (16, 1))
    assert (decode(tiff16(levels), SETTINGS).pixels[0, [0, -1]] == [0, 255]).all()


@pytest.mark.parametrize(("kind", "package"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_a_format_with_a_plug_in_is_decoded_where_it_is_installed_and_named_where_it_is_not(kind, package, monkeypatch):
    plugin = pytest.importorskip(package)
    if kind == "HEIF":
        plugin.register_heif_opener()
    data = encoded(picture(64, 48), kind, quality=90)
    decoded = decode(data, SETTINGS)
    assert (decoded.width, decoded.height, decoded.format) == (48, 64, kind)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(picture(64, 48))).mean() < 12
    assert kind_of(data, MeasureSettings(max_pixels=1000)) == "too_large"
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DecodeError, match=r"(HEIC|JPEG XL) image.*pip install 'face-curation\[formats\]'") as caught:
        decode(data, SETTINGS)
    assert caught.value.kind == "unsupported"


def test_the_preview_in_a_cameras_raw_file_is_not_taken_for_the_picture():
    raw = encoded(picture(), "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(DecodeError, match="camera's raw file"):
        decode(raw, SETTINGS)
