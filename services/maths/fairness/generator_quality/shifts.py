"""Numbers measured on each image (a feature, a mask's overlap): how far synthetic ones are from real on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.floating]
Limits = tuple[float, float]

MINIMUM = 5  # as for cells


@dataclass(frozen=True)
class Shift:
    """Means over the ``n`` pairs in which both images could be measured; ``unread`` synthetic ones could not.

    ``difference`` is synthetic less real with 95 % limits (paired t), ``in_sd`` the same over the real images' SD, NaN
    where they do not vary. ``p_value`` is two-sided.
    """

    n: int
    unread: int
    synthetic: float
    real: float
    difference: float
    limits: Limits
    in_sd: float
    p_value: float


def shift(synthetic: Floats, real: Floats) -> Shift | None:
    """Shift of (N,) values of synthetic image i from those of the real image with its condition; NaN is unread.

    None below 5 pairs.
    """
    if synthetic.shape != real.shape:
        raise ValueError(f"values do not go together: {synthetic.shape} and {real.shape}")
    both = np.isfinite(synthetic) & np.isfinite(real)
    n = int(both.sum())
    if n < MINIMUM:
        return None
    made, true = synthetic[both].astype(np.float64), real[both].astype(np.float64)
    apart = made - true
    difference, error = float(apart.mean()), float(apart.std(ddof=1) / np.sqrt(n))
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    spread = float(true.std(ddof=1))
    statistic = abs(difference) / error if error > 0 else (np.inf if difference else 0.0)
    return Shift(
        n=n,
        unread=int((~np.isfinite(synthetic)).sum()),
        synthetic=float(made.mean()),
        real=float(true.mean()),
        difference=difference,
        limits=(difference - reach, difference + reach),
        in_sd=difference / spread if spread > 0 else float("nan"),
        p_value=float(2 * stats.t.sf(statistic, n - 1)),
    )


def overlap(first: NDArray[np.integer], second: NDArray[np.integer], labels: int) -> NDArray[np.float64]:
    """(N,) mean Dice over labels 1..labels of masks (N, ..., H, W); a label that neither has is left out."""
    scores = np.full((labels, len(first)), np.nan)
    axes = tuple(range(1, first.ndim))
    for label in range(1, labels + 1):
        one, other = first == label, second == label
        size = one.sum(axis=axes) + other.sum(axis=axes)
        np.divide(2.0 * (one & other).sum(axis=axes), size, out=scores[label - 1], where=size > 0)
    known = np.isfinite(scores)
    total = np.where(known, scores, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, known.sum(axis=0), out=np.full(len(first), np.nan), where=known.any(axis=0)))
