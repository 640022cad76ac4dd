"""Compiled comparisons of two images, for quality.py; apart from it, because numba takes a while to import.

Each works on one pair of float64 images (C, H, W) and adds along rows of pixels side by side, so that the compiler may
use wide registers without changing the order of any sum: the same pair gives the same bits, alone or in a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Doubles = npt.NDArray[np.float64]

TAPS = 11  # written out one by one below, which is what lets the compiler keep the sums in registers


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def mean_square(image: Doubles, reference: Doubles) -> float:
    """Mean squared difference of all pixels; 0 for identical images."""
    channels, height, width = image.shape
    columns = np.zeros(width)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                difference = image[channel, row, column] - reference[channel, row, column]
                columns[column] += difference * difference
    return float(columns.sum() / (channels * height * width))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def mean_similarity(image: Doubles, reference: Doubles, taps: Doubles, c1: float, c2: float) -> float:
    """Mean SSIM over channels and over the places where the whole window of 11 symmetric ``taps`` lies inside.

    ``taps`` is (6,), from the window's end to its middle. Rows come in one by one. Each is filtered along itself for x,
    y, x² + y² and xy and kept in a ring of 11 rows; once the ring is full, a filter across it gives a row of local
    means, and these a row of SSIM. The four maps never exist as images, so all of the work stays in the nearest cache.
    """
    channels, height, width = image.shape
    inside = width - TAPS + 1
    products, ring, local = np.empty((4, width)), np.empty((4, TAPS, inside)), np.empty((4, inside))
    columns = np.zeros(inside)
    for channel in range(channels):
        for row in range(height):
            _multiply(image[channel, row], reference[channel, row], products)
            for part in range(4):
                _filter_along(products[part], taps, ring[part, row % TAPS])
            if row >= TAPS - 1:
                for part in range(4):
                    _filter_across(ring[part], row + 1, taps, local[part])
                _add_similarity(local, c1, c2, columns)
    return float(columns.sum() / (channels * (height - TAPS + 1) * inside))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _multiply(x: Doubles, y: Doubles, products: Doubles) -> None:
    for column in range(len(x)):
        products[0, column] = x[column]
        products[1, column] = y[column]
        products[2, column] = x[column] * x[column] + y[column] * y[column]
        products[3, column] = x[column] * y[column]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _filter_along(row: Doubles, taps: Doubles, filtered: Doubles) -> None:
    a, b, c, d, e, f = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for at in range(len(filtered)):
        filtered[at] = (
            f * row[at + 5]
            + e * (row[at + 4] + row[at + 6])
            + d * (row[at + 3] + row[at + 7])
            + c * (row[at + 2] + row[at + 8])
            + b * (row[at + 1] + row[at + 9])
            + a * (row[at] + row[at + 10])
        )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _filter_across(ring: Doubles, oldest: int, taps: Doubles, filtered: Doubles) -> None:
    a, b, c, d, e, f = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    r0, r1, r2, r3 = (
        ring[oldest % TAPS],
        ring[(oldest + 1) % TAPS],
        ring[(oldest + 2) % TAPS],
        ring[(oldest + 3) % TAPS],
    )
    r4, r5, r6, r7 = (
        ring[(oldest + 4) % TAPS],
        ring[(oldest + 5) % TAPS],
        ring[(oldest + 6) % TAPS],
        ring[(oldest + 7) % TAPS],
    )
    r8, r9, r10 = ring[(oldest + 8) % TAPS], ring[(oldest + 9) % TAPS], ring[(oldest + 10) % TAPS]
    for at in range(len(filtered)):
        filtered[at] = (
            f * r5[at]
            + e * (r4[at] + r6[at])
            + d * (r3[at] + r7[at])
            + c * (r2[at] + r8[at])
            + b * (r1[at] + r9[at])
            + a * (r0[at] + r10[at])
        )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_similarity(local: Doubles, c1: float, c2: float, columns: Doubles) -> None:
    for column in range(len(columns)):
        x, y = local[0, column], local[1, column]
        squares, product = x * x + y * y, x * y
        luminance = (2 * product + c1) / (squares + c1)
        structure = (2 * (local[3, column] - product) + c2) / (local[2, column] - squares + c2)
        columns[column] += luminance * structure
