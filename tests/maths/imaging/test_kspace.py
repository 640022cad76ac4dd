"""k-space masks with the published fractions, and the transform they act on."""

import hashlib

import numpy as np
import pytest
import torch

from services.maths.imaging.kspace import (
    GOLDEN_ANGLE,
    SPOKES,
    acquire,
    from_kspace,
    golden_mask,
    mask_for,
    radial_mask,
    sampled_fraction,
    spokes_for,
    to_kspace,
    undersample,
    zero_filled,
)


@pytest.mark.parametrize(("spokes", "percent"), [(22, 4.04), (32, 5.74), (60, 10.73), (120, 20.4), (140, 23.7)])
def test_sampled_fraction_at_256_is_the_published_one(spokes, percent):
    decimals = len(str(percent).partition(".")[2])
    assert round(100 * sampled_fraction(radial_mask(256, spokes)), decimals) == percent


@pytest.mark.parametrize(
    ("size", "angles", "tolerance"),
    [(64, "uniform", 0.12), (128, "uniform", 0.03), (512, "uniform", 0.03), (256, "golden-angle", 0.02)],
)
@pytest.mark.parametrize("acceleration", SPOKES)
def test_other_masks_keep_the_true_acceleration_of_the_preset(size, angles, tolerance, acceleration):
    published = sampled_fraction(radial_mask(256, SPOKES[acceleration]))
    ours = sampled_fraction(mask_for(size, acceleration, angles))
    assert published / ours == pytest.approx(1.0, abs=tolerance)


def test_presets_at_256_use_the_published_spokes():
    assert [spokes_for(256, acceleration) for acceleration in (24, 16, 8, 4)] == [22, 32, 60, 140]
    assert np.array_equal(mask_for(256, 8), radial_mask(256, 60))
    assert np.array_equal(mask_for(256, 8, "golden-angle"), golden_mask(256, 30))  # full spokes, so half as many


def paired(mask: np.ndarray) -> float:
    """The share of sampled frequencies whose conjugate partner is sampled too."""
    mirrored = np.roll(mask[::-1, ::-1], (1, 1), axis=(0, 1))
    return float((mask & mirrored).sum() / mask.sum())


def test_published_mask_holds_the_centre_and_few_conjugate_pairs():
    mask = radial_mask(256, 60)
    assert mask[128, 128] and mask.sum(axis=0).argmax() == 128
    assert 0.2 < paired(mask) < 0.5  # truncation is not symmetric: about a third have partners


def test_golden_spokes_run_through_the_centre_so_nearly_all_have_partners():
    mask = golden_mask(256, 30)
    assert mask[128, 128] and paired(mask) > 0.99
    images = torch.from_numpy(np.random.default_rng(3).random((1, 1, 256, 256)))
    golden, published = (zero_filled(acquire(images, each), each).imag.std() for each in (mask, radial_mask(256, 60)))
    assert golden < 0.1 * published


def test_golden_spokes_follow_each_other_at_111_246_degrees():
    assert np.degrees(GOLDEN_ANGLE) == pytest.approx(111.246, abs=5e-4)
    for spokes in range(1, 20):
        earlier, later = golden_mask(128, spokes), golden_mask(128, spokes + 1)
        assert later[earlier].all()  # acquired one after the other: more time only adds
        rows, columns = np.nonzero(later & ~earlier)
        distance = (rows - 64) * np.sin(spokes * GOLDEN_ANGLE) - (columns - 64) * np.cos(spokes * GOLDEN_ANGLE)
        assert len(rows) > 50 and np.abs(distance)[rows * columns > 0].max() < np.sqrt(0.5) + 1e-9


def test_any_run_of_golden_spokes_covers_the_half_turn():
    angles = np.sort(np.arange(1, 35) * GOLDEN_ANGLE % np.pi)
    gaps = np.diff(np.append(angles, angles[0] + np.pi))
    assert gaps.max() < 2 * np.pi / 34


def test_radial_mask_is_pinned_pixel_for_pixel():
    digest = hashlib.sha256(np.packbits(radial_mask(64, 15)).tobytes()).hexdigest()
    assert digest == "4147dab8e59d09d2401f6de70027a8d86606315316baf2aeae03b37102befc39"


def test_constant_image_is_one_point_in_the_middle_of_kspace():
    kspace = to_kspace(torch.ones(1, 1, 8, 6)).abs()
    assert kspace[0, 0, 4, 3] == pytest.approx(np.sqrt(48))
    assert kspace.sum() == pytest.approx(np.sqrt(48))


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (10, 7)])
def test_transform_keeps_energy_and_has_an_inverse(shape):
    images = torch.from_numpy(np.random.default_rng(0).random((2, 1, *shape)))
    kspace = to_kspace(images)
    assert kspace.abs().square().sum() == pytest.approx(float(images.square().sum()))
    torch.testing.assert_close(from_kspace(kspace).real, images)


def test_full_mask_gives_the_image_back():
    images = np.random.default_rng(1).random((2, 1, 16, 16), np.float32)
    seen = undersample(images, np.ones((16, 16), np.bool_))
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, images, atol=1e-6)


def test_arrays_and_tensors_give_the_same_image():
    images = np.random.default_rng(2).random((2, 1, 32, 32), np.float32)
    mask = radial_mask(32, 8)
    assert np.array_equal(undersample(images, mask), undersample(torch.from_numpy(images), mask).numpy())


@pytest.mark.parametrize("shape", [(16, 16), (46, 46), (64, 64), (10, 7), (9, 12), (3, 3)])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_undersampling_is_acquisition_zero_filling_and_magnitude(shape, with_gradient):
    rng = np.random.default_rng(4)
    images, mask = torch.from_numpy(rng.random((3, 2, *shape))), rng.random(shape) < 0.3
    seen = undersample(images.clone().requires_grad_(with_gradient), mask).detach()
    torch.testing.assert_close(seen, zero_filled(acquire(images, mask), mask).abs(), atol=1e-14, rtol=0)
    strided = images.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)
    assert torch.equal(undersample(strided, mask), undersample(images, mask))


def test_magnitude_image_has_a_gradient():
    images = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    for mask in (radial_mask(8, 5), golden_mask(8, 3)):
        assert torch.autograd.gradcheck(lambda x, mask=mask: undersample(x, mask), images.requires_grad_())


def test_gradient_of_a_black_image_is_zero_and_not_nan():
    black = torch.zeros(1, 1, 8, 8, requires_grad=True)
    undersample(black, radial_mask(8, 5)).sum().backward()
    assert torch.equal(black.grad, torch.zeros_like(black))


@pytest.mark.parametrize(("size", "spokes"), [(1, 4), (0, 4), (65, 4), (64, 0)])
def test_impossible_mask_is_refused(size, spokes):
    for mask in (radial_mask, golden_mask):
        with pytest.raises(ValueError, match="an even size and at least one spoke"):
            mask(size, spokes)


def test_unknown_acceleration_and_angles_and_foreign_kspace_are_refused():
    with pytest.raises(ValueError, match=r"one of \[4, 8, 16, 24\], got 7"):
        spokes_for(256, 7)
    with pytest.raises(ValueError, match="angles must be one of"):
        mask_for(256, 8, "spiral")
    for use in (undersample, acquire, zero_filled):
        with pytest.raises(ValueError, match=r"\(16, 16\)"):
            use(torch.zeros(1, 1, 8, 8), radial_mask(16, 4))
