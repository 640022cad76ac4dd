"""Inverse-frequency sampling on the exact attribute tuple: every combination of levels that occurs is drawn as often.

With G combinations, a row of one that has n rows is drawn with p = 1 / (G n): p_i ∝ 1 / n(group). It makes rare groups
count, and nothing else: where groups are equally large it changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.groups import Grouping
from services.maths.mitigation.attributes import Missing, trainable


def inverse_frequency(
    groupings: Sequence[Grouping], *, missing: Missing = "refuse", exponent: float = 1.0
) -> NDArray[np.float64]:
    """(N,) float64 probabilities that sum to 1, from the attributes of N rows; never NaN and never 0.

    ``exponent`` in [0, 1] interpolates: p_i ∝ n(group) ** -exponent, so that 0 is the rows' own distribution and 1 the
    exact inverse frequency. Raises ValueError for another exponent, and what :func:`trainable` raises.
    """
    if not 0 <= exponent <= 1:
        raise ValueError(f"exponent must be between 0 and 1, got {exponent}")
    tuples = np.stack([grouping.codes for grouping in trainable(groupings, missing=missing)], axis=1)
    _, group, sizes = np.unique(tuples, axis=0, return_inverse=True, return_counts=True)
    weight = sizes.astype(np.float64)[group.ravel()] ** -exponent
    shares: NDArray[np.float64] = weight / weight.sum()
    return shares
