"""A betting e-process of a gap that is valid with any number of patients, from a window's sums alone.

A bet on a record of the group with outcome x in [0, 1] pays (θ_a/a)^x ((1 − θ_a)/(1 − a))^(1 − x), one on the rest the
same with θ_b and b, where θ_a and θ_b are chosen before the window is seen and a − b is the gap under test. The base b
is where log of the mean pay, a concave function of the rest's true value, has its maximum 0 along all pairs of values
with that gap (Turner, Ly and Grünwald 2024; for means: Chugg, Cortes-Gomez, Wilder and Ramdas 2023). So the mean pay is
at most 1 whatever the true values are, and for a θ_a over a also for every smaller gap: the test is one-sided as well.

A patient with d_k records bets with the weight d_k / max d: a concave power of a mean pay is at least the mean of the
power (Jensen), so correlation within patients changes nothing. Patients who come back in later windows make the bets
of a stream depend on each other; they are met by an approximation, every bet over the design effect of their visits.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from services.maths.fairness.drift.series import LARGEST, D, GapSeries, N, recurrence
from services.maths.fairness.sums import Floats

STAKES = (-0.4, -0.2, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Changes that are bet on, in equal parts."""

_EDGE = 0.002
_STEPS = 30
_FLAT = 1e-9


def betting(gaps: GapSeries, reference: Floats, reference_variance: Floats, miss: float) -> Floats:
    """(S, T) log e-process of the gap differing from ``reference`` (S,), known or with a variance.

    An estimated reference makes the null an interval, wide enough to miss the true gap with probability ``miss``, half
    of it on either side. Where it does miss, bets win without a change however long one waits: the e-process is valid
    but for that probability, which the caller has to pay for out of α, for every series whose reference was estimated.
    The rest's value is guessed from the windows before, so the first window is not bet on.
    """
    error = norm.isf(miss / 2) * np.sqrt(reference_variance)
    guess = _earlier_rest(gaps)
    again = recurrence(gaps, np.ones_like(gaps.gap))
    log_pay = []
    for stake in STAKES:
        null = np.clip(reference + np.sign(stake) * error, -0.99, 0.99)[:, None]
        log_pay.append(_log_pay(gaps, guess, null, again, stake).cumsum(axis=1))
    together: Floats = np.logaddexp.reduce(np.stack(log_pay), axis=0) - np.log(len(STAKES))
    return together


def _earlier_rest(gaps: GapSeries) -> Floats:
    """(S, T) value of the rest over the windows before, NaN in the first."""
    n, d = gaps.rest[..., N].cumsum(axis=1), gaps.rest[..., D].cumsum(axis=1)
    guess = np.full_like(n, np.nan)
    guess[:, 1:] = np.where(d > 0, (n + 0.5) / (d + 1), np.nan)[:, :-1]
    return guess


def _log_pay(gaps: GapSeries, guess: Floats, null: Floats, again: Floats, stake: float) -> Floats:
    """(S, T) log pay of each window for one stake; 0 where there is nothing to bet on."""
    largest = np.maximum(np.maximum(gaps.group[..., LARGEST], gaps.rest[..., LARGEST]), 1.0) * again
    group, rest = gaps.group[..., D] / largest, gaps.rest[..., D] / largest
    low, high = np.maximum(0.0, -null) + _EDGE / 2, np.minimum(1.0, 1.0 - null) - _EDGE / 2
    bet = np.isfinite(guess) & (group > 0) & (rest > 0)
    theta_b = np.clip(np.where(bet, guess, 0.5), low, high)
    fair = theta_b + null
    # Never past the edge, and never back over the fair value: the bet stays on its side.
    theta_a = np.maximum(fair, np.minimum(fair + stake, 1 - _EDGE / 4))
    if stake < 0:
        theta_a = np.minimum(fair, np.maximum(fair + stake, _EDGE / 4))
    base, slope = _base(np.where(bet, group, 1.0), np.where(bet, rest, 1.0), theta_a, theta_b, null)
    pay = _log_factor(gaps.group, largest, theta_a, base + null) + _log_factor(gaps.rest, largest, theta_b, base)
    # A concave function is nowhere higher than its tangent, and values are at most 1 apart: what rounding left of the
    # slope is paid for, so the mean pay is at most 1 exactly.
    return np.where(bet, pay - np.abs(slope), 0.0)


def _log_factor(sums: Floats, largest: Floats, theta: Floats, base: Floats) -> Floats:
    hits = sums[..., N] / largest
    misses = sums[..., D] / largest - hits
    factor: Floats = hits * np.log(theta / base) + misses * np.log((1 - theta) / (1 - base))
    return factor


def _base(group: Floats, rest: Floats, theta_a: Floats, theta_b: Floats, null: Floats) -> tuple[Floats, Floats]:
    """Value of the rest at which the mean log pay is largest along the null, and the slope that is left there.

    Newton's steps, or halves of the bracket where one would leave it. Without a gap under test the answer is the
    average of both bets, which is where the steps begin.
    """
    low = np.maximum(np.minimum(theta_b, theta_a - null), np.maximum(0.0, -null))
    high = np.minimum(np.maximum(theta_b, theta_a - null), np.minimum(1.0, 1.0 - null))
    base = (group * (theta_a - null) + rest * theta_b) / (group + rest)
    base = np.where((base > low) & (base < high), base, (low + high) / 2)
    for step in range(_STEPS + 1):
        shifted = base + null
        spread_a, spread_b = shifted * (1 - shifted), base * (1 - base)
        slope = group * (theta_a - shifted) / spread_a + rest * (theta_b - base) / spread_b
        if step == _STEPS or np.max(np.abs(slope), initial=0.0) < _FLAT:
            break
        low, high = np.where(slope > 0, base, low), np.where(slope > 0, high, base)
        bend = (
            group * (spread_a + (theta_a - shifted) * (1 - 2 * shifted)) / spread_a**2
            + rest * (spread_b + (theta_b - base) * (1 - 2 * base)) / spread_b**2
        )
        step_to = base + slope / bend
        base = np.where((step_to > low) & (step_to < high), step_to, (low + high) / 2)
    return base, slope
