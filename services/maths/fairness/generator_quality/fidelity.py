"""Whether the images show what was asked for: shares read back from the pixels, beside the same share of real images.

A reader errs too. Its share on the real images of the same conditions is the ceiling, and the test is of the
difference: of the pairs in which one of the two images was read correctly and the other was not, a faultless generator
would have as many on either side (the exact sign test on discordant pairs; McNemar 1947).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.maths.fairness.limits import normal_critical

Levels = Sequence[str | None]
Limits = tuple[float, float]

UNREADABLE = "(not readable)"


@dataclass(frozen=True)
class ReadBack:
    """``correct`` of ``n`` images showed the level asked for: share with Wilson's 95 % limits, then of real images.

    ``p_value`` is one-sided: synthetic images are read back less often than real ones.
    """

    n: int
    correct: int
    share: float
    limits: Limits
    real_correct: int
    real_share: float
    real_limits: Limits
    p_value: float


def read_back(asked: Levels, read: Levels, read_real: Levels) -> ReadBack | None:
    """Shares over the images for which a level was asked for (not None); an unreadable image (None) is not correct.

    ``read`` is of synthetic image i, ``read_real`` of the real image with the same condition. None if none was
    asked for.
    """
    if not len(asked) == len(read) == len(read_real):
        raise ValueError(f"levels differ in number: {len(asked)} asked, {len(read)} and {len(read_real)} read")
    rows = [row for row, level in enumerate(asked) if level is not None]
    if not rows:
        return None
    made = np.array([read[row] == asked[row] for row in rows])
    true = np.array([read_real[row] == asked[row] for row in rows])
    worse, better = int((~made & true).sum()), int((made & ~true).sum())
    p_value = float(stats.binom.sf(worse - 1, worse + better, 0.5)) if worse + better else 1.0
    n, correct, real_correct = len(rows), int(made.sum()), int(true.sum())
    return ReadBack(
        n=n,
        correct=correct,
        share=correct / n,
        limits=proportion_limits(correct, n),
        real_correct=real_correct,
        real_share=real_correct / n,
        real_limits=proportion_limits(real_correct, n),
        p_value=p_value,
    )


def confusion(levels: Sequence[str], asked: Levels, read: Levels) -> NDArray[np.int64]:
    """(K, K + 1) counts of asked (rows) by read level; the last column holds what could not be read."""
    place: dict[str | None, int] = {level: number for number, level in enumerate(levels)}
    counts = np.zeros((len(levels), len(levels) + 1), dtype=np.int64)
    for wanted, seen in zip(asked, read, strict=True):
        if wanted in place:
            counts[place[wanted], place.get(seen, len(levels))] += 1
    return counts


def proportion_limits(successes: float, n: int) -> Limits:
    """Wilson's 95 % score limits of a share of independent records; NaN of none."""
    if n < 1:
        return float("nan"), float("nan")
    z, share = normal_critical(), successes / n
    centre = share + z**2 / (2 * n)
    reach = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    low = 0.0 if successes == 0 else float((centre - reach) / scale)
    high = 1.0 if successes == n else float((centre + reach) / scale)
    return low, high
