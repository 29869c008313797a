"""What each level may and may not do to an image."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from training.augment import (  # noqa: E402
    LEVELS,
    SHEET_BORDER,
    AffineEach,
    EraseEach,
    GammaEach,
    RescaleExposure,
    augmenter,
    contact_sheet,
)

SIDE = 48


def batch(count=64, seed=0):
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("level", LEVELS)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 5), side=st.integers(2, 60))
def test_every_level_keeps_shape_and_range(level, seed, count, side):
    torch.manual_seed(seed)
    images = torch.rand(count, 1, side, side)
    out = augmenter(level)(images)
    assert out.shape == images.shape
    assert out.isfinite().all() and out.min() >= -1e-6 and out.max() <= 1 + 1e-6


def test_none_changes_nothing():
    assert torch.equal(augmenter("none")(batch()), batch())


@pytest.mark.parametrize("level", ["low", "mid", "high", "strong"])
def test_each_image_of_a_batch_has_its_own_draw_and_a_seed_repeats_it(level):
    same = batch(1).expand(16, 1, SIDE, SIDE)
    torch.manual_seed(3)
    first = augmenter(level)(same)
    torch.manual_seed(3)
    assert torch.equal(first, augmenter(level)(same))
    assert len({image.numpy().tobytes() for image in first}) == 16


@pytest.mark.parametrize(("level", "degrees"), [("low", 0), ("mid", 15), ("high", 15)])
def test_the_deck_levels_shift_and_zoom_by_five_percent_and_rotate_as_stated(level, degrees):
    torch.manual_seed(0)
    stated = LEVELS[level]
    maps = AffineEach(stated.shift, stated.zoom, stated.degrees).make_params([batch(4000)])["maps"]
    size = maps[:, :, 1].norm(dim=1)
    angle = torch.rad2deg(torch.atan2(-maps[:, 0, 1], maps[:, 1, 1])).abs()
    assert 0.95 <= size.min() < 0.951 and 1.049 < size.max() <= 1.05 + 1e-6
    assert (maps[:, :, 2] / 2).abs().max() == pytest.approx(0.05, abs=1e-3)
    assert angle.max() == pytest.approx(degrees, abs=0.1)
    mirrored = torch.linalg.det(maps[:, :, :2]) < 0
    assert 0.45 < mirrored.float().mean() < 0.55


def test_only_high_changes_the_exposure():
    grey = torch.full((8, 1, SIDE, SIDE), 0.5)
    torch.manual_seed(0)
    assert torch.allclose(augmenter("mid")(grey), grey, atol=1e-5)
    assert not torch.allclose(augmenter("high")(grey), grey, atol=0.05)


def test_rescaling_spreads_a_narrow_image_and_leaves_a_flat_one():
    narrow = batch() * 0.2 + 0.4
    out = RescaleExposure()(narrow)
    assert out.amin() == 0 and out.amax() == 1
    flat = torch.full((1, 1, 8, 8), 0.3)
    assert torch.equal(RescaleExposure()(flat), flat)


def test_gamma_runs_from_a_half_to_two():
    gamma = GammaEach().make_params([batch(4000)])["gamma"]
    assert 0.5 <= gamma.min() < 0.51 and 1.99 < gamma.max() <= 2


def test_erasing_paints_the_stated_share_of_images_and_no_more_than_the_stated_area():
    torch.manual_seed(0)
    mask = EraseEach(0.5, 0.1, 0.4).make_params([batch(2000)])["mask"]
    area = mask.float().mean((1, 2, 3))
    assert 0.45 < (area > 0).float().mean() < 0.55
    assert area.max() <= (0.4 + 1 / SIDE) ** 2


def test_a_contact_sheet_has_a_row_an_image_starting_with_the_original():
    images = (batch(3)[:, 0].numpy() * 255).astype(np.uint8)
    sheet = contact_sheet(images, "high", draws=4, seed=1)
    tile = SIDE + SHEET_BORDER
    assert sheet.shape == (3 * tile, 5 * tile)
    assert np.array_equal(sheet[tile : tile + SIDE, :SIDE], images[1])
    assert np.array_equal(sheet, contact_sheet(images, "high", draws=4, seed=1))
    assert not np.array_equal(sheet, contact_sheet(images, "high", draws=4, seed=2))
