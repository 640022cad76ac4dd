"""Photon noise and bow-ties against closed forms and planted truth."""

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

from services.maths.imaging.photons import (
    ATTENUATION,
    NOISE_MODELS,
    bowtie_weights,
    low_dose,
    published_bowtie_weights,
)
from services.maths.imaging.projection import detectors, filtered_backprojection, radon
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


def test_published_bowtie_costs_decibels_and_undoing_it_gives_plain_reconstruction():
    # the negative control: without any noise, what the published code calls a bow-tie is most of its degradation
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


def test_bowtie_lets_most_photons_through_at_the_centre():
    weights = bowtie_weights(64)
    middle = detectors(64) // 2
    assert weights[middle] == 1.0 and weights[[0, -1]] == pytest.approx(0.05)
    assert np.array_equal(weights, weights[::-1]) and (np.diff(weights[: middle + 1]) >= 0).all()
    # as thick as the disc is thin: filter and disc together attenuate every ray alike
    chord = np.sqrt(1 - (np.arange(-31, 32) / 32) ** 2)
    np.testing.assert_allclose(weights[middle - 31 : middle + 32] * 0.05**chord, 0.05, rtol=1e-12)


def test_flat_field_undoes_the_bowtie():
    image = shepp_logan(128)
    plain = decibels(filtered_backprojection(radon(torch.from_numpy(image)), 128), image)
    through = decibels(low_dose(torch.from_numpy(image), 1e12, generators(1), bowtie=True), image)
    published = decibels(low_dose(torch.from_numpy(image), 1e12, generators(1), published_bowtie=True), image)
    assert through == pytest.approx(plain, abs=0.1)
    assert plain - published > 5  # the published one is not undone


def test_bowtie_moves_the_noise_from_the_centre_outwards():
    # in air the variance of a line integral is 1 / (photons * weight)
    air, repeats = torch.zeros(96, 1, 32, 32), 96
    scale = ATTENUATION / 32
    shown = low_dose(air, 5_000.0, generators(repeats), bowtie=True).numpy().std(axis=0)[0]
    rng = np.random.default_rng(3)
    spread = (1 / np.sqrt(5_000.0 * bowtie_weights(32)) / scale).astype(np.float32)
    white = torch.from_numpy(rng.normal(size=(repeats, 32, detectors(32))).astype(np.float32))
    oracle = filtered_backprojection(white * torch.from_numpy(spread), 32).numpy().std(axis=0)[0]
    centre = disc(32, 5.0)[0, 0] > 0
    rim = (disc(32, 16.0) - disc(32, 12.0))[0, 0] > 0
    assert shown[centre].mean() == pytest.approx(oracle[centre].mean(), rel=0.05)
    assert shown[rim].mean() == pytest.approx(oracle[rim].mean(), rel=0.05)
    plain = low_dose(air, 5_000.0, generators(repeats)).numpy().std(axis=0)[0]
    assert shown[rim].mean() / shown[centre].mean() > 1.3 * plain[rim].mean() / plain[centre].mean()


def test_gradient_holds_the_noise():
    image = torch.from_numpy(0.5 * shepp_logan(32)).requires_grad_()
    weights = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    (low_dose(image, 500.0, generators(1)) * weights).sum().backward()
    plain = image.detach().clone().requires_grad_()
    (filtered_backprojection(radon(plain), 32) * weights).sum().backward()
    torch.testing.assert_close(image.grad, plain.grad)


def test_other_bad_arguments_are_refused():
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="one generator per image"):
        low_dose(images, 10, generators(1))
    with pytest.raises(ValueError, match="noise_model must be one of"):
        low_dose(images, 10, generators(2), noise_model="gaussian")
    for more in ({"published_bowtie": True}, {"noise_model": "line-integrals"}):
        with pytest.raises(ValueError, match="bowtie needs"):
            low_dose(images, 10, generators(2), bowtie=True, **more)
    with pytest.raises(ValueError, match="views must be even"):
        published_bowtie_weights(7)
