"""Compiled comparisons of two images, for quality.py; apart from it, because numba takes a while to import.

Each works on one pair of images (C, H, W), float32 or float64, computes in float64, and adds along rows of pixels side
by side, so that the compiler may use wide registers without changing the order of any sum: the same pair gives the same
bits, alone or in a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Doubles = npt.NDArray[np.float64]
Image = npt.NDArray[np.floating]

TAPS = 11  # written out one by one below, which is what lets the compiler keep the sums in registers
# Columns that are filtered at a time: 11 rows of 64 columns and 4 maps fit the nearest cache (22 KiB).
_STRIP = 64
_LINE = 8  # numbers in a cache line


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def mean_square(image: Image, reference: Image) -> float:
    """Mean squared difference of all pixels; 0 for identical images."""
    channels, height, width = image.shape
    columns = np.zeros(width)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                difference = np.float64(image[channel, row, column]) - np.float64(reference[channel, row, column])
                columns[column] += difference * difference
    return float(columns.sum() / (channels * height * width))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def mean_similarity(image: Image, reference: Image, taps: Doubles, c1: float, c2: float) -> float:
    """Mean SSIM over channels and over the places where the whole window of 11 symmetric ``taps`` lies inside.

    ``taps`` is (6,), from the window's end to its middle. In strips of columns, rows come in one by one. Each is
    filtered along itself for x, y, x² + y² and xy, side by side for each pixel, and kept in a ring of 11 rows; once the
    ring is full, a filter across it gives a row of local means, and these a row of SSIM. The four maps never exist as
    images.
    """
    channels, height, width = image.shape
    inside = width - TAPS + 1
    columns = np.zeros(inside)
    for start in range(0, inside, _STRIP):
        count = min(_STRIP, inside - start)
        products, local = _lines(1, 4 * (count + TAPS - 1))[0], _lines(1, 4 * count)[0]
        ring = _lines(TAPS, 4 * count)
        for channel in range(channels):
            for row in range(height):
                end = start + count + TAPS - 1
                _multiply(image[channel, row, start:end], reference[channel, row, start:end], products)
                _filter_along(products, taps, ring[row % TAPS])
                if row >= TAPS - 1:
                    _filter_across(ring, row + 1, taps, local)
                    _add_similarity(local, c1, c2, columns[start : start + count])
    return float(columns.sum() / (channels * (height - TAPS + 1) * inside))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _lines(rows: int, width: int) -> Doubles:
    """Room for (rows, width) numbers that begins a cache line, so that fewer reads touch two of them."""
    memory = np.empty(rows * width + _LINE)
    start = (-memory.ctypes.data % (8 * _LINE)) // 8
    return memory[start : start + rows * width].reshape((rows, width))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _multiply(image: Image, reference: Image, products: Doubles) -> None:
    for at in range(len(image)):
        x, y = np.float64(image[at]), np.float64(reference[at])
        products[4 * at] = x
        products[4 * at + 1] = y
        products[4 * at + 2] = x * x + y * y
        products[4 * at + 3] = x * y


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _filter_along(row: Doubles, taps: Doubles, filtered: Doubles) -> None:
    """Neighbours are four places apart, since the four maps of a pixel lie side by side."""
    a, b, c, d, e, f = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for at in range(len(filtered)):
        filtered[at] = (
            f * row[at + 20]
            + e * (row[at + 16] + row[at + 24])
            + d * (row[at + 12] + row[at + 28])
            + c * (row[at + 8] + row[at + 32])
            + b * (row[at + 4] + row[at + 36])
            + a * (row[at] + row[at + 40])
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


# error_model: a check for zero at every division would keep the loop out of the wide registers; c1 and c2 are positive.
@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _add_similarity(local: Doubles, c1: float, c2: float, columns: Doubles) -> None:
    for at in range(len(columns)):
        x, y = local[4 * at], local[4 * at + 1]
        squares, product = x * x + y * y, x * y
        variances, covariance = local[4 * at + 2] - squares, local[4 * at + 3] - product
        columns[at] += ((2 * product + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))
