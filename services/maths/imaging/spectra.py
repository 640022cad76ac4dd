"""Compiled passes over spectra, for kspace.py; apart from it, because numba takes a while to import.

The two Fourier transforms of an undersampled image are so quick that half of its time would go into reading and writing
arrays between them. Each pass here is one reading and one writing; every number is rounded as numpy would round it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Doubles = npt.NDArray[np.float64]
Reals = npt.NDArray[np.floating]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sample(half: Doubles, kept: Doubles, whole: Doubles) -> None:
    """Fill ``whole`` (N, H, 2 W), spectra of real images, from their halves (N, H, 2 (W // 2 + 1)) times ``kept``.

    ``kept`` is (H, W). Real and imaginary parts take turns. Of a real image (-i, -j) has the conjugate of (i, j).
    """
    count, height, _ = half.shape
    width = kept.shape[1]
    for image in range(count):
        for row in range(height):
            mirrored = (height - row) % height
            for column in range(width // 2 + 1):
                weight = kept[row, column]
                whole[image, row, 2 * column] = half[image, row, 2 * column] * weight
                whole[image, row, 2 * column + 1] = half[image, row, 2 * column + 1] * weight
            for column in range(width // 2 + 1, width):
                weight, other = kept[row, column], width - column
                whole[image, row, 2 * column] = half[image, mirrored, 2 * other] * weight
                whole[image, row, 2 * column + 1] = -half[image, mirrored, 2 * other + 1] * weight


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def magnitude(parts: Doubles, seen: Reals) -> None:
    """Fill ``seen`` (N,) with the magnitudes of complex numbers, given as (2 N,) real and imaginary parts in turn."""
    for place in range(seen.size):
        real, imaginary = parts[2 * place], parts[2 * place + 1]
        seen[place] = np.sqrt(real * real + imaginary * imaginary)
