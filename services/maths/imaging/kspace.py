"""Undersampled magnetic resonance imaging: k-space, radial masks, magnitude images.

The uniform masks are those of Wohlrapp et al., "Bias in medical image reconstruction" (MIDL 2026), spoke for spoke and
pixel for pixel, so that a published acceleration means the same here; golden-angle masks follow Winkelmann et al., IEEE
TMI 26 (2007). Transforms run in complex128 and are rounded to the type of the input at the end: on a CPU a row's result
does not depend on how many rows came with it. Tensors stay on their device and carry gradients.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

Images = TypeVar("Images", npt.NDArray[np.float32], torch.Tensor)
Mask = npt.NDArray[np.bool_]

# Published half-spokes of each acceleration, for images of 256 x 256. The names are nominal; the true acceleration is
# 1 / sampled_fraction: 24.7, 17.4, 9.3 and 4.2.
SPOKES = {24: 22, 16: 32, 8: 60, 4: 140}
_PUBLISHED_SIZE = 256

ANGLES = ("uniform", "golden-angle")

# Half a turn divided by the golden ratio, 111.246 degrees: the step between successive spokes through the centre.
GOLDEN_ANGLE = math.pi * (math.sqrt(5.0) - 1.0) / 2.0

# complex128 pixels that are transformed at once, a megabyte: with their temporaries they stay in a core's cache.
_PIXELS_AT_ONCE = 2**16


def radial_mask(size: int, spokes: int) -> Mask:
    """Return the (size, size) mask of `spokes` half-spokes from the centre at uniform angles over the full turn.

    The zero frequency is at (size // 2, size // 2). As published, a spoke is size // 2 points one pixel apart, each put
    into the pixel that truncation gives. This makes the mask slightly unsymmetric, so the image it gives is complex.
    Raises ValueError for an odd size, whose k-space has no such layout, and for no spokes.
    """
    centre = _centre(size, spokes)
    angles = np.linspace(0.0, 2.0 * np.pi, spokes, endpoint=False)[:, None]
    radius = np.arange(centre)
    return _hit((centre + radius * np.cos(angles)).astype(int), (centre + radius * np.sin(angles)).astype(int), size)


def golden_mask(size: int, spokes: int) -> Mask:
    """Return the (size, size) mask of `spokes` full spokes, each through the centre, turned by 111.246 degrees a spoke.

    A spoke is `size` points one pixel apart from -size / 2 on, each put into the nearest pixel, so nearly every sampled
    frequency has its conjugate partner. Any run of successive spokes covers the angles nearly evenly.
    Raises ValueError as `radial_mask`.
    """
    centre = _centre(size, spokes)
    angles = GOLDEN_ANGLE * np.arange(spokes)[:, None]
    radius = np.arange(-centre, centre)
    rows, columns = np.rint(radius * np.cos(angles)).astype(int), np.rint(radius * np.sin(angles)).astype(int)
    return _hit((centre + rows) % size, (centre + columns) % size, size)  # size / 2 and -size / 2 are one frequency


def spokes_for(size: int, acceleration: int) -> int:
    """Return how many half-spokes give images of `size` the preset's acceleration.

    Spokes grow in proportion to the size, because the area grows with its square and a spoke with its first power. The
    true acceleration then stays within 3 % of the preset's own at 256 for sizes 128 and 512, within 12 % for 64.
    Raises ValueError for an acceleration without a preset.
    """
    if acceleration not in SPOKES:
        raise ValueError(f"acceleration must be one of {sorted(SPOKES)}, got {acceleration!r}")
    return max(1, math.floor(SPOKES[acceleration] * size / _PUBLISHED_SIZE + 0.5))


def mask_for(size: int, acceleration: int, angles: str = "uniform") -> Mask:
    """Return the (size, size) mask of a preset's acceleration: `spokes_for` half-spokes, or half as many full spokes.

    Raises ValueError for an odd size and for an acceleration or `angles` without a mask.
    """
    if angles not in ANGLES:
        raise ValueError(f"angles must be one of {ANGLES}, got {angles!r}")
    spokes = spokes_for(size, acceleration)
    return radial_mask(size, spokes) if angles == "uniform" else golden_mask(size, -(-spokes // 2))


def sampled_fraction(mask: Mask) -> float:
    """Return the share of k-space that `mask` keeps, exactly; its inverse is the true acceleration."""
    return int(np.count_nonzero(mask)) / mask.size


def to_kspace(images: torch.Tensor) -> torch.Tensor:
    """Return the centred orthonormal 2-D Fourier transform, complex128, of images (..., H, W), real or complex."""
    shifted = torch.fft.ifftshift(images.to(torch.complex128), dim=(-2, -1))
    kspace: torch.Tensor = torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=(-2, -1))
    return kspace


def from_kspace(kspace: torch.Tensor) -> torch.Tensor:
    """Return the complex128 images (..., H, W) of a k-space; inverse, and therefore adjoint, of `to_kspace`."""
    shifted = torch.fft.ifftshift(kspace.to(torch.complex128), dim=(-2, -1))
    images: torch.Tensor = torch.fft.fftshift(torch.fft.ifft2(shifted, norm="ortho"), dim=(-2, -1))
    return images


def acquire(images: torch.Tensor, mask: Mask) -> torch.Tensor:
    """Return the sampled k-space (N, C, H, W), complex128, zero where `mask` is False."""
    return to_kspace(images) * _matching(mask, images)


def zero_filled(kspace: torch.Tensor, mask: Mask) -> torch.Tensor:
    """Return the complex128 image of the sampled points alone, (N, C, H, W): the adjoint of `acquire`."""
    return from_kspace(kspace * _matching(mask, kspace))


def undersample(images: Images, mask: Mask) -> Images:
    """Return the zero-filled magnitude image of real images (N, C, H, W) seen through `mask` (H, W).

    Array in, array out; tensor in, tensor out, with gradients. The magnitude is not clipped: ringing may pass 1. It is
    `zero_filled(acquire(images)).abs()` without the shifts, which only move the image's origin and cancel.
    """
    if not isinstance(images, torch.Tensor):
        return undersample(torch.from_numpy(images), mask).numpy()
    kept = torch.fft.ifftshift(_matching(mask, images).to(torch.float64))
    if images.device.type == "cpu" and not images.requires_grad:
        return _undersampled(images, kept.numpy())
    if len(images) == 0:  # the Fourier transform refuses an empty batch
        return images.clone()
    image = torch.fft.ifft2(torch.fft.fft2(images.to(torch.complex128)) * kept)
    # The root of zero has no slope; a power far below any other gives it the slope 0 and changes no value.
    power: torch.Tensor = image.real.square() + image.imag.square() + 1e-300
    return power.sqrt().to(images.dtype)


def _undersampled(images: torch.Tensor, kept: npt.NDArray[np.float64]) -> torch.Tensor:
    """The same without gradients, by compiled passes between the transforms and some images at a time: quicker."""
    from services.maths.imaging.spectra import magnitude, sample

    height, width = kept.shape
    flat, seen = images.reshape(-1, height, width), torch.empty_like(images, memory_format=torch.contiguous_format)
    places = seen.numpy().reshape(-1, height * width)
    at_once = max(1, _PIXELS_AT_ONCE // kept.size)
    whole = torch.empty((min(at_once, len(flat)), height, width), dtype=torch.complex128)
    for start in range(0, len(flat), at_once):
        half = torch.fft.rfft2(flat[start : start + at_once].to(torch.float64))
        spectra = whole[: len(half)]
        sample(_parts(half), kept, _parts(spectra))
        magnitude(_parts(torch.fft.ifft2(spectra)).reshape(-1), places[start : start + at_once].reshape(-1))
    return seen


def _parts(numbers: torch.Tensor) -> npt.NDArray[np.float64]:
    """Complex (N, H, W) as real and imaginary parts in turn, (N, H, 2 W), without copying."""
    parts = torch.view_as_real(numbers).numpy()
    return parts.reshape(*parts.shape[:2], -1)


def _centre(size: int, spokes: int) -> int:
    if size < 2 or size % 2 or spokes < 1:
        raise ValueError(f"a radial mask needs an even size and at least one spoke, got size={size}, spokes={spokes}")
    return size // 2


def _hit(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], size: int) -> Mask:
    mask = np.zeros((size, size), np.bool_)
    mask[rows, columns] = True
    return mask


def _matching(mask: Mask, images: torch.Tensor) -> torch.Tensor:
    if images.ndim != 4 or mask.shape != images.shape[2:]:
        raise ValueError(
            f"images must be (N, C, H, W) with the mask's {mask.shape} as (H, W), got {tuple(images.shape)}"
        )
    return torch.from_numpy(mask).to(images.device)
