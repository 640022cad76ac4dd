"""Radon and filtered back-projection against scikit-image and closed forms."""

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, resize
from skimage.transform import radon as skimage_radon

from services.maths.imaging.projection import (
    _areas,
    _areas_on,
    backproject,
    default_views,
    detectors,
    filtered_backprojection,
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


def test_the_matrices_of_a_card_are_those_of_the_cpu():
    # tried without a card: the sparse tensors stay on the CPU
    rng = np.random.default_rng(5)
    areas, transpose = _areas_on("cpu", 18, 10)
    images, sinograms = rng.random((18 * 18, 3), np.float32), rng.random((5 * detectors(18), 3), np.float32)
    for tensor, matrix, dense in ((areas, _areas(18, 10), images), (transpose, _areas(18, 10).T, sinograms)):
        np.testing.assert_allclose((tensor @ torch.from_numpy(dense)).numpy(), matrix @ dense, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_card_gives_the_images_of_the_cpu():
    image = torch.from_numpy(shepp_logan(64))
    sinogram = radon(image.cuda())
    shown = filtered_backprojection(sinogram, 64)
    assert sinogram.is_cuda and shown.is_cuda
    torch.testing.assert_close(sinogram.cpu(), radon(image), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(shown.cpu(), filtered_backprojection(radon(image), 64), atol=1e-4, rtol=1e-4)


def test_other_bad_arguments_are_refused():
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="views must be even"):
        radon(images, 7)
    with pytest.raises(ValueError, match="square"):
        radon(torch.zeros(2, 1, 8, 9))
    with pytest.raises(ValueError, match="sinograms must have shape"):
        backproject(torch.zeros(1, 4, 10), 8)
    with pytest.raises(ValueError, match="cpu and cuda"):
        radon(images.to("meta"))
