"""Soft-edged shapes on a square canvas whose coordinates run from -1 to 1, x to the right and y downwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.special import expit

Array = npt.NDArray[np.float32]
Real = npt.NDArray[np.floating[Any]]


def canvas(size: int, *, tilt: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> tuple[Array, Array]:
    """x and y of each pixel centre, each (size, size) float32, in a frame turned by ``tilt`` radians and moved."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * 2.0 / size - 1.0
    x, y = np.meshgrid(axis - shift[0], axis - shift[1])
    cosine, sine = np.cos(tilt), np.sin(tilt)
    return (cosine * x + sine * y).astype(np.float32), (cosine * y - sine * x).astype(np.float32)


def inside(distance: Real, edge: float) -> Array:
    """1 where ``distance`` is well below 0, 0 where it is well above; logistic with scale ``edge`` between."""
    return np.asarray(expit(-distance / np.float32(edge)), dtype=np.float32)


def ellipse(x: Real, y: Real, centre: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Approximate signed distance to an axis-parallel ellipse, negative inside."""
    scaled = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    return np.asarray((scaled - 1.0) * min(radii), dtype=np.float32)


def blob(x: Real, y: Real, centre: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Gaussian with peak 1 and the standard deviations ``radii``."""
    return np.asarray(
        np.exp(-0.5 * (((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2)), dtype=np.float32
    )


def stroke(x: Real, y: Real, start: tuple[float, float], end: tuple[float, float], width: float) -> Array:
    """Line from ``start`` to ``end`` with a Gaussian profile of standard deviation ``width`` and peak 1."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    squared = (x - start[0] - along * dx) ** 2 + (y - start[1] - along * dy) ** 2
    return np.asarray(np.exp(-0.5 * squared / width**2), dtype=np.float32)


def grain(size: int, pixels_at_128: float, rng: np.random.Generator) -> Array:
    """Smooth noise of mean 0 and variance 1, (size, size), with a grain of so many pixels on a 128-pixel canvas."""
    sigma = pixels_at_128 * size / 128.0
    smooth = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), sigma, mode="wrap")
    return np.asarray(smooth * (2.0 * np.sqrt(np.pi) * sigma), dtype=np.float32)
