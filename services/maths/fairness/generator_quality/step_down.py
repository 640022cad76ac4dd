"""Holm's step-down adjustment (Holm 1979): any dependence between the tests, no permutation of all at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p_values: Sequence[float] | NDArray[np.floating], *, families: int = 1) -> NDArray[np.float64]:
    """(M,) adjusted p-values; NaN is no test, stays NaN and is not counted.

    With ``families`` F the whole report's chance of any false finding is kept, not each of its F families' own: every
    family has a Fth of it.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1) * families
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
