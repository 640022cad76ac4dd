"""Whether synthetic images are copies of training images: how near the nearest one is, beside what new patients have.

Two things are measured of each image. ``nearest`` is the distance to the nearest training image. It is small for
copies, but also for bland images, which lack noise and detail. ``ratio`` divides it by the distance to the nearest
image of *another* training patient: a copy has one image that stands out (0), a bland one has none (about 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.maths.fairness.generator_quality.fidelity import proportion_limits

Features = NDArray[np.floating]
Floats = NDArray[np.float64]
Limits = tuple[float, float]

SHARE = 0.01  # of new patients' images that are called close
_ROWS = 256


@dataclass(frozen=True)
class Neighbours:
    """(N,) row of the nearest training image, distance to it, and that distance over the next patient's."""

    row: NDArray[np.int64]
    nearest: Floats
    ratio: Floats


def neighbours(images: Features, training: Features, patient: NDArray[np.generic]) -> Neighbours:
    """Nearest of the (T, d) ``training`` rows to each of the (N, d) ``images``; ``patient`` (T,) is whose each row is.

    Euclidean distances, float64. Raises ValueError for fewer than two training patients or rows of other widths.
    """
    codes = np.unique(patient, return_inverse=True)[1]
    if len(training) != len(codes) or codes.max(initial=0) < 1:
        raise ValueError("training images need a patient each, and two patients or more")
    if images.shape[1:] != training.shape[1:]:
        raise ValueError(f"images have {images.shape[1:]} features, training images {training.shape[1:]}")
    squares = np.square(training, dtype=np.float64).sum(axis=1)
    row, nearest, ratio = np.zeros(len(images), np.int64), np.zeros(len(images)), np.zeros(len(images))
    for at in range(0, len(images), _ROWS):
        block = images[at : at + _ROWS].astype(np.float64)
        apart = np.square(block).sum(axis=1)[:, None] + squares[None, :] - 2.0 * (block @ training.T)
        best = apart.argmin(axis=1)
        # The closed form loses its digits where two images agree, which is where they matter.
        first = np.linalg.norm(block - training[best], axis=1)
        apart[codes[None, :] == codes[best][:, None]] = np.inf
        second = np.sqrt(np.maximum(apart.min(axis=1), 0.0))
        place = slice(at, at + len(block))
        row[place], nearest[place] = best, first
        ratio[place] = np.divide(first, second, out=np.ones(len(block)), where=second > 0)
    return Neighbours(row, nearest, np.minimum(ratio, 1.0))


@dataclass(frozen=True)
class Closeness:
    """How many of ``n`` images are closer than the closest ``expected`` share of the ``held_out`` ones.

    ``limits`` are Wilson's 95 % of ``share``, for this threshold. ``p_value`` is one-sided and exact: it knows that the
    threshold is itself an order statistic of few images.
    """

    n: int
    held_out: int
    expected: float
    threshold: float
    closer: int
    share: float
    limits: Limits
    median: float
    held_out_median: float
    p_value: float


def closeness(images: Floats, held_out: Floats, *, share: float = SHARE) -> Closeness | None:
    """Closeness of (N,) distances or ratios beside the (M,) of new patients, one image each. None if either is empty.

    With the threshold at the k-th smallest of M, the number of N exchangeable ones below it is beta-binomial with
    parameters k and M + 1 - k.
    """
    n, held = len(images), len(held_out)
    if not n or not held:
        return None
    rank = max(1, round(share * held))
    threshold = float(np.sort(held_out)[rank - 1])
    closer = int((images < threshold).sum())
    return Closeness(
        n=n,
        held_out=held,
        expected=rank / (held + 1),
        threshold=threshold,
        closer=closer,
        share=closer / n,
        limits=proportion_limits(closer, n),
        median=float(np.median(images)),
        held_out_median=float(np.median(held_out)),
        p_value=float(stats.betabinom.sf(closer - 1, n, rank, held + 1 - rank)),
    )
