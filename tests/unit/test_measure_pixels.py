"""The pixel probe: its numbers mean what they say, its hashes equal imagehash's."""

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from curation.base.settings import MeasureSettings
from curation.measure.decode import decode
from curation.measure.pixels import dhash, exposure, measure_pixels, phash, pixel_digest, sharpness, thumbnail

FACES = Path(__file__).parents[2].parent / "shared" / "datasets" / "Facial_emotion_images"
EVERY = 20
"""Step through the real data; all of it was compared once, with no difference, in two minutes."""


def signed(peer: imagehash.ImageHash) -> int:
    value = int(str(peer), 16)
    return value - 2**64 if value >= 2**63 else value


def decoded_png(image: Image.Image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return decode(buffer.getvalue(), MeasureSettings())


grey_pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70)))


@settings(max_examples=50, deadline=None)
@given(grey_pictures)
def test_hashes_of_any_grey_picture_equal_imagehash(levels):
    image = Image.fromarray(levels)
    assert dhash(levels[None]) == [signed(imagehash.dhash(image))]
    assert phash(levels[None]) == [signed(imagehash.phash(image))]


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(2, 70), st.integers(2, 70), st.just(3))))
def test_hashes_of_any_colour_picture_equal_imagehash(levels):
    image = Image.fromarray(levels)
    (measures,) = measure_pixels([decoded_png(image)])
    assert (measures.dhash, measures.phash) == (signed(imagehash.dhash(image)), signed(imagehash.phash(image)))


@pytest.mark.data
def test_hashes_of_real_faces_equal_imagehash():
    if not FACES.is_dir():
        pytest.skip("../shared/datasets is not there")
    paths = sorted(FACES.rglob("*.jpg"))[::EVERY]
    measured = measure_pixels([decode(path.read_bytes(), MeasureSettings()) for path in paths])
    for path, measures in zip(paths, measured, strict=True):
        with Image.open(path) as image:
            assert measures.dhash == signed(imagehash.dhash(image)), path
            assert measures.phash == signed(imagehash.phash(image)), path


@settings(deadline=None)
@given(grey_pictures)
def test_exposure_agrees_with_numpy_and_stays_in_range(levels):
    ((mean, *quantiles, contrast, entropy),) = exposure([levels])
    assert mean == pytest.approx(levels.mean() / 255, abs=1e-6)
    assert contrast == pytest.approx(levels.std() / 255, abs=1e-6)
    wanted = np.quantile(levels, [0.01, 0.05, 0.95, 0.99], method="inverted_cdf") / 255
    assert quantiles == pytest.approx(wanted, abs=1e-6)
    assert 0 <= entropy <= min(8, np.log2(levels.size) + 1e-6)


def test_entropy_counts_the_bits_of_the_histogram():
    pictures = np.stack([np.full((16, 16), 77, np.uint8), np.arange(256, dtype=np.uint8).reshape(16, 16)])
    assert [found[-1] for found in exposure(list(pictures))] == [0, 8]


def test_blur_lowers_sharpness_and_size_alone_hardly_moves_it():
    y, x = np.mgrid[0:400, 0:400] / 400
    waves = (127 + 100 * np.sin(40 * x) * np.cos(35 * y)).astype(np.uint8)
    image = Image.fromarray(waves)
    assert sharpness(np.full((1, 48, 48), 9, np.uint8)) == [0]
    blurred = image.resize((40, 40)).resize((400, 400))
    half = image.resize((200, 200), Image.Resampling.BOX)
    sharp, soft, small = (found.sharpness for found in measure_pixels([decoded_png(i) for i in (image, blurred, half)]))
    assert soft < sharp
    assert small == pytest.approx(sharp, rel=0.1)


def test_pixel_digest_ignores_the_format_and_sees_one_level_of_one_pixel():
    levels = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48).astype(np.uint8)
    image = Image.fromarray(levels)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "BMP")
    as_bmp = decode(buffer.getvalue(), MeasureSettings())
    assert pixel_digest(decoded_png(image)) == pixel_digest(as_bmp)
    changed = levels.copy()
    changed[7, 7] ^= 1
    turned = Image.fromarray(levels.reshape(36, 64))
    digests = {pixel_digest(decoded_png(i)) for i in (image, Image.fromarray(changed), turned)}
    assert len(digests) == 3


@settings(deadline=None)
@given(grey_pictures)
def test_thumbnails_are_48_by_48_and_keep_the_mean(levels):
    small = thumbnail(levels)
    assert (small.shape, small.dtype) == ((48, 48), np.uint8)
    assert levels.min() <= small.min() and small.max() <= levels.max()
    if levels.shape == (48, 48):
        assert np.array_equal(small, levels)
