"""Radon, filtered back-projection and photon noise against scikit-image, closed forms and planted truth."""

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, resize
from skimage.transform import radon as skimage_radon

from services.maths.imaging.projection import (
    ATTENUATION,
    NOISE_MODELS,
    backproject,
    default_views,
    detectors,
    filtered_backprojection,
    low_dose,
    published_bowtie_weights,
    radon,
)
from services.maths.imaging.quality import psnr


def shepp_logan(size: int) -> np.ndarray:
    return resize(shepp_logan_phantom(), (size, size), anti_aliasing=True).astype(np.float32)[None, None]


def disc(size: int, radius: float) -> np.ndarray:
    axis = np.arange(size) - (size - 1) / 2
    return (np.hypot(axis[:, None], axis[None, :]) <= radius).astype(np.float32)[None, None]


def decibels(images: torch.Tensor, references: np.ndarray) -> float:
    return float(psnr(images.numpy(), references)[0])


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.Philox(key=seed * 1000 + row)) for row in range(count)]


@pytest.mark.parametrize("size", [33, 65])
def test_radon_agrees_with_scikit_image(size):
    # scikit-image turns about pixel size // 2, which is the middle of odd sizes only
    image = shepp_logan(size)
    views = default_views(size)
    oracle = skimage_radon(image[0, 0], np.arange(views) * 180 / views, circle=False).T
    ours = radon(torch.from_numpy(image)).numpy()[0]
    middle, centre = oracle.shape[1] // 2, ours.shape[1] // 2
    reach = min(middle, oracle.shape[1] - 1 - middle, centre)
    difference = ours[:, centre - reach : centre + reach + 1] - oracle[:, middle - reach : middle + reach + 1]
    assert np.sqrt(np.mean(difference**2)) < 0.005 * np.sqrt(np.mean(oracle**2))
    assert np.abs(difference).max() < 0.03 * oracle.max()


def test_line_integrals_of_a_disc_are_its_chords():
    sinogram = radon(torch.from_numpy(disc(128, 40.0)))[0].numpy()
    t = np.arange(sinogram.shape[1]) - sinogram.shape[1] // 2
    chord = 2 * np.sqrt(np.maximum(40.0**2 - t**2, 0.0))
    assert np.abs(sinogram - chord)[:, np.abs(t) < 36].max() < 2.5  # a pixelated edge is ragged by about a pixel a side
    np.testing.assert_allclose(sinogram.mean(axis=0)[np.abs(t) < 36], chord[np.abs(t) < 36], atol=0.5)


@pytest.mark.parametrize("size", [5, 16, 31])
def test_each_view_sees_the_whole_mass(size):
    images = np.random.default_rng(size).random((2, 1, size, size), np.float32)
    mass = radon(torch.from_numpy(images), 12).sum(dim=2).numpy()
    np.testing.assert_allclose(mass, np.repeat(images.sum(axis=(1, 2, 3))[:, None], 12, axis=1), rtol=1e-5)


def test_quarter_turn_of_the_image_shifts_the_views_by_half():
    image = torch.from_numpy(np.random.default_rng(3).random((1, 1, 20, 20), np.float32))
    sinogram, turned = radon(image, 16), radon(torch.rot90(image, 1, (2, 3)), 16)
    torch.testing.assert_close(turned[:, 8:], sinogram[:, :8])


@pytest.mark.parametrize(("size", "least"), [(64, 23.0), (128, 24.4)])
def test_noise_free_reconstruction_is_as_good_as_scikit_image(size, least):
    image = shepp_logan(size)
    ours = decibels(filtered_backprojection(radon(torch.from_numpy(image)), size), image)
    sinogram = skimage_radon(image[0, 0], np.arange(size) * 180 / size, circle=False)
    oracle = iradon(sinogram, filter_name="hann", circle=False, output_size=size)
    assert ours > least
    assert ours > psnr(oracle[None, None], image)[0] - 0.2


def test_reconstruction_keeps_the_scale_of_a_disc():
    image = disc(128, 40.0)
    shown = filtered_backprojection(radon(torch.from_numpy(image)), 128).numpy()
    assert shown[disc(128, 30.0) > 0].mean() == pytest.approx(1.0, abs=0.005)
    assert np.abs(shown[image == 0]).mean() < 0.03


def test_backprojection_is_the_adjoint_and_so_is_its_gradient():
    rng = np.random.default_rng(4)
    image = torch.from_numpy(rng.random((2, 1, 18, 18), np.float32)).requires_grad_()
    sinogram = torch.from_numpy(rng.random((2, 10, detectors(18)), np.float32))
    inner = (radon(image, 10) * sinogram).sum()
    inner.backward()
    back = backproject(sinogram, 18)
    assert float(inner.detach()) == pytest.approx(float((image.detach() * back).sum()), rel=1e-5)
    torch.testing.assert_close(image.grad, back)


def test_published_bowtie_costs_decibels_and_undoing_it_gives_plain_reconstruction():
    image = shepp_logan(128)
    clean = radon(torch.from_numpy(image))
    weights = torch.from_numpy(published_bowtie_weights(clean.shape[1]))[:, None]
    plain = decibels(filtered_backprojection(clean, 128), image)
    weighted = decibels(filtered_backprojection(clean * weights, 128), image)
    undone = decibels(filtered_backprojection(clean * weights / weights, 128), image)
    assert plain - weighted == pytest.approx(6.7, abs=0.3)  # as measured on the authors' own code
    assert undone == pytest.approx(plain, abs=0.1)


def test_published_bowtie_lies_along_the_views_and_is_an_option():
    weights = published_bowtie_weights(64)
    assert (weights[0], weights[31], weights[32], weights[63]) == pytest.approx((1.0, 0.05, 0.05, 1.0))
    image = shepp_logan(64)
    plain, with_bowtie = (
        decibels(low_dose(torch.from_numpy(image), 1e10, generators(1), published_bowtie=flag), image)
        for flag in (False, True)
    )
    assert plain > with_bowtie + 3


@pytest.mark.parametrize("noise_model", NOISE_MODELS)
def test_more_photons_give_a_better_image(noise_model):
    image = 0.6 * disc(64, 26.0)
    quality = [
        decibels(low_dose(torch.from_numpy(image), photons, generators(1), noise_model=noise_model), image)
        for photons in (100, 1_000, 10_000, 1_000_000)
    ]
    assert all(np.diff(quality) > 0.05) and quality[-1] - quality[0] > 4


@pytest.mark.parametrize("noise_model", NOISE_MODELS)
def test_noise_vanishes_with_the_dose(noise_model):
    image = torch.from_numpy(shepp_logan(64))
    shown = low_dose(image, 1e12, generators(1), noise_model=noise_model)
    torch.testing.assert_close(shown, filtered_backprojection(radon(image), 64), atol=2e-4, rtol=0)


def test_transmitted_counts_leave_the_noise_that_the_formula_says():
    # var(line integral) = exp(p) / photons; filtered back-projection of white noise of that variance is the oracle.
    image, photons = torch.from_numpy(0.5 * disc(64, 28.0)), 20_000.0
    repeats = 64
    shown = low_dose(image.repeat(repeats, 1, 1, 1), photons, generators(repeats)).numpy()
    scale = ATTENUATION / 64
    spread = torch.exp(scale * radon(image) / 2) / np.sqrt(photons) / scale
    rng = np.random.default_rng(9)
    white = torch.from_numpy(rng.normal(size=(repeats, *spread.shape[1:])).astype(np.float32))
    oracle = filtered_backprojection(white * spread, 64).numpy()
    inside = disc(64, 20.0)[0, 0] > 0
    assert shown.std(axis=0)[0][inside].mean() == pytest.approx(oracle.std(axis=0)[0][inside].mean(), rel=0.03)


def test_published_noise_scales_each_image_to_its_own_largest_line_integral():
    faint, strong = 0.25 * shepp_logan(32), shepp_logan(32)
    one, two = (
        low_dose(torch.from_numpy(image), 500, generators(1), noise_model="line-integrals") for image in (faint, strong)
    )
    torch.testing.assert_close(4 * one, two, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("noise_model", NOISE_MODELS)
def test_extreme_doses_and_empty_images_stay_finite(noise_model):
    images = torch.cat([torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)])
    for photons in (0.01, 1e12):
        assert low_dose(images, photons, generators(2), noise_model=noise_model).isfinite().all()
    assert low_dose(images[:0], 10, [], noise_model=noise_model).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("photons", [0, -1, float("nan"), float("inf")])
def test_impossible_photon_counts_are_refused(photons):
    with pytest.raises(ValueError, match="photons must be above 0"):
        low_dose(torch.zeros(1, 1, 8, 8), photons, generators(1))


def test_other_bad_arguments_are_refused():
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="one generator per image"):
        low_dose(images, 10, generators(1))
    with pytest.raises(ValueError, match="noise_model must be one of"):
        low_dose(images, 10, generators(2), noise_model="gaussian")
    with pytest.raises(ValueError, match="views must be even"):
        radon(images, 7)
    with pytest.raises(ValueError, match="square"):
        radon(torch.zeros(2, 1, 8, 9))
    with pytest.raises(ValueError, match="sinograms must have shape"):
        backproject(torch.zeros(1, 4, 10), 8)
