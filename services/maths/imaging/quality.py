"""Image quality: PSNR and SSIM of canonical images, Dice of masks, one value per row.

Values are compared as they are, in [0, 1]: no rescaling of either image first, which would hide or invent differences.
All sums are float64 and over one row at a time, so that a row's value does not depend on its neighbours. The loops are
compiled (comparisons.py) at the first call ever on a machine, which takes two seconds, and read from a cache after it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Images = npt.NDArray[np.floating]

# Gaussian window of Wang et al. 2004: sigma 1.5, 11 taps, and their constants for a data range of 1.
_TAPS, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(images: Images, references: Images) -> Doubles:
    """Return the peak signal-to-noise ratio in dB, peak 1, of each row of (N, C, H, W); +inf for identical rows."""
    _same_shape(images, references)
    from services.maths.imaging.comparisons import mean_square

    squares = [mean_square(*_comparable(*pair)) for pair in zip(images, references, strict=True)]
    with np.errstate(divide="ignore"):
        return -10.0 * np.log10(np.array(squares, dtype=np.float64))


def ssim(images: Images, references: Images) -> Doubles:
    """Return the structural similarity of each row of (N, C, H, W), the metric `ssim_gaussian11`.

    Gaussian window (sigma 1.5, 11 taps), population covariance, data range 1, mean over channels and over the pixels
    whose window lies inside the image: scikit-image's structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1).
    """
    _same_shape(images, references)
    if min(images.shape[2:]) < _TAPS:
        raise ValueError(f"images must be at least {_TAPS} pixels high and wide for SSIM, got {images.shape[2:]}")
    from services.maths.imaging.comparisons import mean_similarity

    distance = np.arange(_TAPS) - _TAPS // 2
    window = np.exp(-0.5 * (distance / _SIGMA) ** 2)
    taps = (window / window.sum())[: _TAPS // 2 + 1]
    pairs = zip(images, references, strict=True)
    return np.array([mean_similarity(*_comparable(*pair), taps, _C1, _C2) for pair in pairs], dtype=np.float64)


def dice(predicted: npt.NDArray[np.integer | np.bool_], masks: npt.NDArray[np.integer | np.bool_]) -> Doubles:
    """Return the Dice overlap of each row of binary masks (N, ...), where any nonzero pixel is inside.

    NaN where both masks are empty: there is nothing to overlap, and neither 0 nor 1 would be true. 0 where one is.
    """
    if predicted.dtype.kind not in "biu" or masks.dtype.kind not in "biu":
        raise ValueError(f"masks must be boolean or integer, threshold first; got {predicted.dtype} and {masks.dtype}")
    if predicted.shape != masks.shape or predicted.ndim < 2:
        raise ValueError(f"masks must have the same shape (N, ...), got {predicted.shape} and {masks.shape}")
    inside, truly, pixels = predicted != 0, masks != 0, tuple(range(1, masks.ndim))
    with np.errstate(invalid="ignore"):
        return np.asarray(2.0 * (inside & truly).sum(axis=pixels) / (inside.sum(axis=pixels) + truly.sum(axis=pixels)))


def _comparable(image: Images, reference: Images) -> tuple[Images, Images]:
    """The two kinds of pixels that the loops are compiled for, row by row in memory."""
    both = np.float32 if image.dtype == reference.dtype == np.float32 else np.float64
    return np.ascontiguousarray(image, dtype=both), np.ascontiguousarray(reference, dtype=both)


def _same_shape(images: Images, references: Images) -> None:
    if images.ndim != 4 or images.shape != references.shape:
        raise ValueError(f"images must have the same shape (N, C, H, W), got {images.shape} and {references.shape}")
