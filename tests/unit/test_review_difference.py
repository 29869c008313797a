"""What the opened view marks between two copies: what was drawn in, not crop, tone or compression."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from curation.measure.decode import DecodeError
from curation.review.difference import difference

SIDE = 96


def face(seed: int = 3) -> Image.Image:
    """Soft blobs with an oval: enough structure to be laid over itself, as a face has."""
    random = np.random.default_rng(seed)
    noise = Image.fromarray(random.integers(0, 256, (12, 12), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(noise)
    draw.ellipse((24, 14, 72, 82), fill=190)
    draw.ellipse((34, 36, 42, 42), fill=20)
    draw.ellipse((54, 36, 62, 42), fill=20)
    draw.arc((36, 50, 60, 70), 20, 160, fill=30, width=3)
    return noise.filter(ImageFilter.GaussianBlur(1))


def stored(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def marked(overlay: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(overlay)))[..., 3] > 0


def test_equal_pixels_are_called_equal_whatever_the_file() -> None:
    found = difference(stored(face()), stored(face(), "BMP"))
    assert found.same and found.share == 0


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: ImageOps.autocontrast(image.point(lambda value: 40 + value // 2)),
        lambda image: image.crop((5, 5, 91, 91)).resize((SIDE, SIDE), Image.Resampling.BICUBIC),
        ImageOps.mirror,
    ],
    ids=["toned", "cropped", "mirrored"],
)
def test_crop_tone_and_mirroring_are_not_marked_but_a_patch_is(changed: object) -> None:
    copy = changed(face())  # type: ignore[operator]
    plain = difference(stored(face()), stored(copy))
    assert not plain.same and plain.share < 0.01
    assert plain.mirrored == (changed is ImageOps.mirror)
    ImageDraw.Draw(copy).rectangle((60, 60, 80, 72), fill=255)
    found = difference(stored(face()), stored(copy))
    where = marked(found.overlay)
    scale = where.shape[0] / SIDE
    inside = np.zeros_like(where)
    inside[round(58 * scale) : round(75 * scale), round(58 * scale) : round(83 * scale)] = True
    assert where[round(66 * scale), round(70 * scale)]
    assert where[~inside].mean() < 0.02


def test_a_file_without_pixels_is_an_error_of_its_own() -> None:
    with pytest.raises(DecodeError):
        difference(stored(face()), b"no picture")
