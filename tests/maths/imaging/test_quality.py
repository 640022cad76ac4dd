"""PSNR, SSIM and Dice against closed forms and scikit-image."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from services.maths.imaging.quality import dice, psnr, ssim


def noisy_pair(shape: tuple[int, ...], seed: int = 0, spread: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.random(shape, np.float32)
    return np.clip(images + spread * rng.normal(size=shape), 0, 1).astype(np.float32), images


@pytest.mark.parametrize("spread", [0.5, 0.1, 0.01])
def test_psnr_of_known_noise_is_minus_twenty_log_of_its_spread(spread):
    rng = np.random.default_rng(3)
    images = rng.random((2, 1, 256, 256))
    measured = psnr(images + spread * rng.normal(size=images.shape), images)
    np.testing.assert_allclose(measured, -20 * np.log10(spread), atol=0.05)


def test_psnr_is_scikit_images_and_infinite_for_identical_images():
    noisy, images = noisy_pair((3, 1, 20, 24))
    expected = [peak_signal_noise_ratio(y, x, data_range=1) for x, y in zip(noisy, images, strict=True)]
    np.testing.assert_allclose(psnr(noisy, images), expected, rtol=1e-6)
    assert np.isposinf(psnr(images, images)).all()


def test_ssim_is_scikit_images_gaussian_variant():
    for shape in ((3, 1, 64, 64), (2, 1, 11, 30), (2, 3, 40, 33)):
        noisy, images = noisy_pair(shape)
        noisy[0], images[0] = 0.7, 0.7  # flat areas are where float32 or a wrong constant shows
        expected = [
            structural_similarity(
                x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=0
            )
            for x, y in zip(noisy, images, strict=True)
        ]
        np.testing.assert_allclose(ssim(noisy, images), expected, atol=1e-5)


def ssim_from_whole_maps(x: np.ndarray, y: np.ndarray) -> float:
    """The formula of Wang et al. 2004 map by map, filtered by scipy, for one (C, H, W) pair."""
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)

    def windowed(image: np.ndarray) -> np.ndarray:
        kernel = taps / taps.sum()
        return correlate1d(correlate1d(image, kernel, axis=-1), kernel, axis=-2)[..., 5:-5, 5:-5]

    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = windowed(x), windowed(y)
    variances = windowed(x * x + y * y) - mean_x**2 - mean_y**2
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    structure = (2 * (windowed(x * y) - mean_x * mean_y) + 9e-4) / (variances + 9e-4)
    return float((luminance * structure).mean())


@pytest.mark.parametrize("shape", [(2, 1, 11, 11), (2, 1, 12, 40), (2, 3, 33, 17), (2, 2, 256, 256)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_ssim_is_the_formula_to_twelve_digits(shape, kind):
    noisy, images = (part.astype(kind) for part in noisy_pair(shape, seed=5))
    noisy[0], images[0] = 0.7, 0.7
    expected = [ssim_from_whole_maps(x, y) for x, y in zip(noisy, images, strict=True)]
    np.testing.assert_allclose(ssim(noisy, images), expected, rtol=0, atol=1e-12)
    squares = np.square(noisy[1:].astype(np.float64) - images[1:]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(psnr(noisy, images)[1:], -10 * np.log10(squares), rtol=1e-13)


def test_ssim_is_torchmetrics_away_from_the_borders():
    """torchmetrics pads and crops, so that only its map of local values can be compared, pixel by pixel in the mean."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    noisy, images = noisy_pair((2, 1, 40, 48))
    _, local = structural_similarity_index_measure(
        torch.from_numpy(noisy).double(),
        torch.from_numpy(images).double(),
        data_range=1.0,
        gaussian_kernel=True,
        sigma=1.5,
        reduction="none",
        return_full_image=True,
    )
    inside = local[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(ssim(noisy, images), inside, rtol=0, atol=1e-9)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_layout_and_rights_of_the_arrays_do_not_matter(metric):
    noisy, images = noisy_pair((2, 1, 20, 30))
    expected = metric(noisy, images)
    frozen, turned = np.frombuffer(noisy.tobytes(), np.float32).reshape(noisy.shape), np.asfortranarray(images)
    assert np.array_equal(metric(frozen, turned), expected)
    assert np.array_equal(metric(noisy[:, :, ::1], images[:, :, ::-1][:, :, ::-1]), expected)


def test_ssim_is_one_for_identical_images_and_symmetric():
    noisy, images = noisy_pair((2, 1, 16, 16))
    np.testing.assert_allclose(ssim(images, images), 1.0, atol=1e-12)
    np.testing.assert_allclose(ssim(noisy, images), ssim(images, noisy), atol=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_row_does_not_depend_on_its_neighbours(metric):
    noisy, images = noisy_pair((7, 1, 32, 32))
    whole = metric(noisy, images)
    assert whole.shape == (7,)
    for start in (0, 3, 6):
        assert np.array_equal(metric(noisy[start:], images[start:]), whole[start:])
    assert metric(noisy[:0], images[:0]).shape == (0,)


def test_dice_of_half_overlapping_squares():
    predicted, mask = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.bool_)
    predicted[0, 0:4, 0:4], mask[0, 0:4, 2:6] = 255, True
    assert dice(predicted, mask).tolist() == [0.5]


def test_dice_is_undefined_for_two_empty_masks_and_zero_for_one():
    masks = np.zeros((3, 4, 4), np.uint8)
    predicted = masks.copy()
    masks[1, 0, 0] = predicted[2, 0, 0] = 1
    values = dice(predicted, masks)
    assert np.isnan(values[0]) and values[1:].tolist() == [0.0, 0.0]


def test_other_shapes_and_probabilities_are_refused():
    noisy, images = noisy_pair((2, 1, 12, 12))
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match="same shape"):
            metric(noisy, images[:1])
        with pytest.raises(ValueError, match="N, C, H, W"):
            metric(noisy[0], images[0])
    with pytest.raises(ValueError, match="at least 11"):
        ssim(noisy[..., :10], images[..., :10])
    with pytest.raises(ValueError, match="threshold first"):
        dice(noisy[:, 0], images[:, 0] > 0.5)
    with pytest.raises(ValueError, match="same shape"):
        dice(images > 0.5, images[:1] > 0.5)
