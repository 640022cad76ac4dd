"""What a test could have found: the gap that it finds with a stated power, and the power at a stated gap.

Both take the critical value of the whole family (``Family.critical``), not 1.96: looking at many cells has its price,
and it is paid in detectable gaps.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from scipy import stats

from services.maths.fairness.sums import Floats

POWER = 0.8


@overload
def minimum_detectable_gap(standard_error: float, critical: float, power: float = ...) -> float: ...
@overload
def minimum_detectable_gap(standard_error: Floats, critical: Floats | float, power: float = ...) -> Floats: ...
def minimum_detectable_gap(
    standard_error: float | Floats, critical: float | Floats, power: float = POWER
) -> float | Floats:
    """Smallest true difference that is found with this power: (critical + z_power) × standard error, in metric units.

    ``standard_error`` is that of the tested difference (group minus everyone). 0 only where the standard error is 0.
    """
    if not 0 < power < 1:
        raise ValueError("power must lie between 0 and 1")
    if np.less(standard_error, 0).any():
        raise ValueError("a standard error cannot be negative")
    return (critical + float(stats.norm.ppf(power))) * standard_error


@overload
def power_of(gap: float, standard_error: float, critical: float) -> float: ...
@overload
def power_of(gap: Floats, standard_error: Floats, critical: Floats | float) -> Floats: ...
def power_of(gap: float | Floats, standard_error: float | Floats, critical: float | Floats) -> float | Floats:
    """Probability of finding a true difference ``gap``, either sign, with a two-sided test at this critical value."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.abs(gap) / np.asarray(standard_error, dtype=np.float64)
    found = stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift)
    return float(found) if np.ndim(found) == 0 else np.asarray(found)
