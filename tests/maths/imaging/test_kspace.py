"""k-space masks with the published fractions, and the transform they act on."""

import hashlib

import numpy as np
import pytest
import torch

from services.maths.imaging.kspace import (
    SPOKES,
    from_kspace,
    radial_mask,
    sampled_fraction,
    spokes_for,
    to_kspace,
    undersample,
)


@pytest.mark.parametrize(("spokes", "percent"), [(22, 4.04), (32, 5.74), (60, 10.73), (120, 20.4), (140, 23.7)])
def test_sampled_fraction_at_256_is_the_published_one(spokes, percent):
    decimals = len(str(percent).partition(".")[2])
    assert round(100 * sampled_fraction(radial_mask(256, spokes)), decimals) == percent


@pytest.mark.parametrize(("size", "tolerance"), [(64, 0.12), (128, 0.03), (512, 0.03)])
@pytest.mark.parametrize("acceleration", SPOKES)
def test_other_sizes_keep_the_true_acceleration_of_the_preset(size, tolerance, acceleration):
    published = sampled_fraction(radial_mask(256, SPOKES[acceleration]))
    ours = sampled_fraction(radial_mask(size, spokes_for(size, acceleration)))
    assert published / ours == pytest.approx(1.0, abs=tolerance)


def test_presets_at_256_use_the_published_spokes():
    assert [spokes_for(256, acceleration) for acceleration in (24, 16, 8, 4)] == [22, 32, 60, 140]


def test_mask_holds_the_centre_and_few_conjugate_pairs():
    mask = radial_mask(256, 60)
    assert mask[128, 128] and mask.sum(axis=0).argmax() == 128
    mirrored = np.roll(mask[::-1, ::-1], (1, 1), axis=(0, 1))
    assert 0.2 < (mask & mirrored).sum() / mask.sum() < 0.5  # truncation is not symmetric: about a third have partners


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


def test_magnitude_image_has_a_gradient():
    images = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    assert torch.autograd.gradcheck(lambda x: undersample(x, radial_mask(8, 5)), images.requires_grad_())


@pytest.mark.parametrize(("size", "spokes"), [(1, 4), (64, 0)])
def test_impossible_mask_is_refused(size, spokes):
    with pytest.raises(ValueError, match="size >= 2 and spokes >= 1"):
        radial_mask(size, spokes)


def test_unknown_acceleration_and_foreign_mask_are_refused():
    with pytest.raises(ValueError, match=r"one of \[4, 8, 16, 24\], got 7"):
        spokes_for(256, 7)
    with pytest.raises(ValueError, match=r"\(16, 16\)"):
        undersample(np.zeros((1, 1, 8, 8), np.float32), radial_mask(16, 4))
