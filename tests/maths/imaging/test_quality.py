"""PSNR, SSIM and Dice against closed forms and scikit-image."""

import numpy as np
import pytest
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
