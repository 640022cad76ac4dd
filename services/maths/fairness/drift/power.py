"""What a monitor can find: the smallest lasting change of a gap that its sequence calls with the power asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from services.maths.fairness.cells import WIDE_FACTOR, Minimums
from services.maths.fairness.drift.alarms import WEIGHTS
from services.maths.fairness.drift.sequences import LEAST_RARER, PERSISTENT_PRIOR, critical_value

_ROUNDS = 50


@dataclass(frozen=True)
class Detectable:
    """``gap`` is the smallest change found with the power asked for by the last window, infinite if none is.

    ``reachable`` is False for a cell that stays too small for a test over all planned windows, or whose rate cannot
    change by that much.
    """

    gap: float
    reachable: bool


def minimum_detectable_gap(
    positives: float,
    rest_positives: float,
    windows: int,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    design_effect: float = 1.0,
    rate: float = 0.8,
    series: int = 1,
    reference_variance: float = 0.0,
) -> Detectable:
    """Smallest lasting change from the first window on.

    positives, rest_positives: expected cases of a window in the group and in the rest (negatives for FPR). ``series``
    watched together: a lone drifting one must reach that many times the e-value (e-BH). ``rate`` is everyone's value,
    and the change goes where there is more room. The e-process at the last window decides, so the power is at least
    the one asked for: earlier windows and the other arms only add.

    Raises ValueError for counts that are not positive and shares outside (0, 1).
    """
    if not (positives > 0 and rest_positives > 0 and windows >= 1 and design_effect >= 1 and series >= 1):
        raise ValueError("cases and windows must be positive, design_effect and series at least 1")
    if not (0 < alpha < 1 and 0 < power < 1 and 0 < rate < 1):
        raise ValueError(f"alpha, power and rate must lie in (0, 1), got {alpha}, {power}, {rate}")
    fewest = min(positives, rest_positives)
    if fewest * windows < WIDE_FACTOR * Minimums().cases:
        return Detectable(np.inf, False)
    if min(rate, 1 - rate) * fewest * windows / design_effect < LEAST_RARER:
        return Detectable(np.inf, False)
    room, direction = max((rate, -1.0), (1 - rate, 1.0))
    pooled = design_effect * rate * (1 - rate) * (1 / positives + 1 / rest_positives)
    null = pooled / windows + reference_variance
    critical = float(critical_value(np.asarray(PERSISTENT_PRIOR * pooled / null), alpha * WEIGHTS[0] / series))
    gap = critical * np.sqrt(null)
    for _ in range(_ROUNDS):
        changed = np.clip(rate + direction * min(gap, room), 0.0, 1.0)
        share = positives / (positives + rest_positives)
        between = rate + share * (changed - rate)  # the null value that a changed group is pooled into
        null = design_effect * between * (1 - between) * (1 / positives + 1 / rest_positives) / windows
        spread = design_effect * (changed * (1 - changed) / positives + rate * (1 - rate) / rest_positives) / windows
        gap = critical * np.sqrt(null + reference_variance) + special.ndtri(power) * np.sqrt(
            spread + reference_variance
        )
    return Detectable(float(gap), True) if gap <= room else Detectable(np.inf, False)
