"""Verdicts of a monitor: one e-process per series, e-BH over its series at every window, alarms that stay.

The e-process of a series is the average of three with fixed weights: a lasting change of the running gap (persistent),
a single window far off (abrupt), and bets that need no large numbers (betting). An average of e-processes is one, so α
is spent once, split as the weights are. e-BH (Wang and Ramdas 2022) calls the k series with the largest values where
the k-th is at least S / (α k); if nothing drifts, the probability of any alarm at any time is at most α, since k values
of S / (α k) average 1/α over the S series.

Bets against an estimated reference are fair only if it is not too far off, and a monitor of many series has many
references: each may be off with an S-th of the α that MISSED_REFERENCE takes from the betting arm, and the bets have
what is left. Then, with m of S references estimated and half of the betting arm's .2 for each, any is missed with
probability at most .1 α m / S, and if none is, the e-values average at most 1 − .1 m / S: α together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from services.maths.fairness.cells import STATES, State
from services.maths.fairness.drift.betting import betting
from services.maths.fairness.drift.sequences import (
    Running,
    abrupt,
    confidence_sequence,
    persistent,
    running_change,
)
from services.maths.fairness.drift.series import (
    GAP_METRICS,
    GapSeries,
    Series,
    correlation_so_far,
    gap_series,
    score_moments,
)
from services.maths.fairness.drift.windows import WindowCells
from services.maths.fairness.sums import Floats

ALPHA = 0.05
HORIZON = 52
ARMS = ("persistent", "abrupt", "betting")
WEIGHTS = (0.35, 0.45, 0.2)
"""Shares of α, tuned by simulation: tests/maths/fairness/drift/test_false_alarms.py and test_detection.py."""
MISSED_REFERENCE = 0.5
"""Share of the betting arm's α that pays for references which were estimated too far off for its bets to be fair."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Reference:
    """Gaps to compare with. ``value`` and ``variance`` are (S,); a variance of 0 is a gap that was decreed."""

    keys: tuple[Series, ...]
    value: Floats
    variance: Floats


@dataclass(frozen=True)
class Alarm:
    """One series that drifts.

    Attributes:
        series: which.
        window: place of the window at which it was raised.
        since: number of windows before the change: the change is estimated to begin with window ``since``.
        size, lower, upper: change of the gap against the reference, as ``Verdicts.size`` says it of the arm.
        recent: change over the windows from ``since`` on, without an interval: its beginning was chosen to be large.
        e_value: at the last window.
        arm: which of ARMS holds most of the e-value at ``window``.
        patients: of the group with a case, over all windows (visits, where patients come back).
    """

    series: Series
    window: int
    since: int
    size: float
    lower: float
    upper: float
    recent: float
    e_value: float
    arm: str
    patients: int


@dataclass(frozen=True)
class Verdict:
    """One series over T windows: (T,) arrays as in ``Verdicts``, and its alarm if there is one."""

    series: Series
    e_values: Floats
    estimate: Floats
    lower: Floats
    upper: Floats
    gap: Floats
    states: tuple[State, ...]
    alarm: Alarm | None


@dataclass(frozen=True)
class Verdicts:
    """S series over T windows.

    Attributes:
        e_values: (S, T).
        estimate, lower, upper: (S, T) running change of the gap and its confidence sequence, NaN while there is too
            little; at the persistent arm's share of α for one series.
        gap, gap_variance: (S, T) of each window.
        reference: the gaps that were compared with.
        state: (S, T) int8 into ``cells.STATES``.
        alarmed_at: (S,) first window with an alarm, -1 for none.
        since, recent, arm: (S,) as in ``Alarm``, of every series, alarmed or not; arm is a place in ARMS.
        patients: (S,).
        critical: normal critical value of a single window at the abrupt arm's share of α, over all planned windows.
    """

    keys: tuple[Series, ...]
    e_values: Floats
    estimate: Floats
    lower: Floats
    upper: Floats
    gap: Floats
    gap_variance: Floats
    reference: Reference
    state: NDArray[np.int8]
    alarmed_at: Places
    since: Places
    recent: Floats
    arm: Places
    patients: Places
    critical: float

    def size(self, place: int) -> tuple[float, float, float]:
        """Change of the gap of one series with its interval, by the arm that speaks of it.

        Abrupt: of the window of the alarm alone, simultaneous over the planned windows. Else of the running gap at the
        last window, with the confidence sequence of the persistent arm; NaN where only the betting arm could speak.
        """
        at = int(self.alarmed_at[place])
        if at < 0 or ARMS[self.arm[place]] != "abrupt":
            return float(self.estimate[place, -1]), float(self.lower[place, -1]), float(self.upper[place, -1])
        change = float(self.gap[place, at] - self.reference.value[place])
        half = self.critical * float(np.sqrt(self.gap_variance[place, at] + self.reference.variance[place]))
        return change, change - half, change + half

    def alarms(self) -> tuple[Alarm, ...]:
        """All alarms, the earliest first, then the largest e-value."""
        places = np.flatnonzero(self.alarmed_at >= 0)
        order = sorted(places, key=lambda s: (self.alarmed_at[s], -self.e_values[s, -1], s))
        return tuple(self._alarm(int(place)) for place in order)

    def verdict(self, key: Series) -> Verdict:
        """One series. Raises ValueError for one that is not watched."""
        if key not in self.keys:
            raise ValueError(f"{key} is not among the {len(self.keys)} series of this monitor")
        place = self.keys.index(key)
        return Verdict(
            key,
            self.e_values[place],
            self.estimate[place],
            self.lower[place],
            self.upper[place],
            self.gap[place],
            tuple(STATES[code] for code in self.state[place]),
            self._alarm(place) if self.alarmed_at[place] >= 0 else None,
        )

    def _alarm(self, place: int) -> Alarm:
        return Alarm(
            self.keys[place],
            int(self.alarmed_at[place]),
            int(self.since[place]),
            *self.size(place),
            float(self.recent[place]),
            float(self.e_values[place, -1]),
            ARMS[self.arm[place]],
            int(self.patients[place]),
        )


def reference_of(windows: Sequence[WindowCells], metrics: Sequence[str] = GAP_METRICS) -> Reference:
    """Gaps of reference windows, averaged as a monitor averages. NaN where they say too little: never an alarm."""
    gaps = gap_series(windows, metrics)
    nothing = np.zeros(len(gaps.keys))
    running = running_change(gaps, nothing, nothing)
    return Reference(gaps.keys, running.estimate[:, -1], running.variance[:, -1])


def watch(
    windows: Sequence[WindowCells],
    reference: Reference | None = None,
    *,
    alpha: float = ALPHA,
    horizon: int = HORIZON,
    metrics: Sequence[str] = GAP_METRICS,
) -> Verdicts:
    """Verdicts of all series after windows in order of time. Without a reference every gap is compared with 0.

    ``horizon`` is the planned number of windows; more may come. What is said of window t depends on windows up to t
    only, so a longer stream repeats every earlier verdict. Raises ValueError for an alpha outside (0, 1), a horizon
    below 1, and a reference of other series.
    """
    return verdicts(gap_series(windows, metrics), reference, alpha=alpha, horizon=horizon)


def verdicts(
    gaps: GapSeries, reference: Reference | None = None, *, alpha: float = ALPHA, horizon: int = HORIZON
) -> Verdicts:
    """``watch`` of gaps that were added up already."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    if horizon < 1:
        raise ValueError(f"a horizon is one window or more, got {horizon}")
    if reference is None:
        reference = Reference(gaps.keys, np.zeros(len(gaps.keys)), np.zeros(len(gaps.keys)))
    if reference.keys != gaps.keys:
        raise ValueError("the reference is of other series than the windows")
    known = np.isfinite(reference.value) & np.isfinite(reference.variance)
    value, variance = np.where(known, reference.value, 0.0), np.where(known, reference.variance, 0.0)
    running = running_change(gaps, value, variance)
    arms = log_arms(gaps, running, value, variance, horizon=horizon, alpha=alpha, series=len(gaps.keys))
    arms = np.where(known[:, None], arms, 0.0) + log_shares(variance)[:, :, None]
    lower, upper = confidence_sequence(running, alpha * WEIGHTS[0])
    together = np.logaddexp.reduce(arms, axis=0)
    e_values = np.exp(np.minimum(together, 700.0))
    called = np.maximum.accumulate(e_bh(e_values, alpha), axis=1)
    alarmed_at = np.where(called.any(axis=1), called.argmax(axis=1), -1)
    since, recent = change_points(gaps, value)
    at = np.where(alarmed_at >= 0, alarmed_at, gaps.gap.shape[1] - 1)
    at_alarm = np.take_along_axis(arms, at[None, :, None], axis=2)[..., 0]
    hide = np.where(known, 1.0, np.nan)[:, None]
    return Verdicts(
        gaps.keys,
        e_values,
        running.estimate * hide,
        lower * hide,
        upper * hide,
        gaps.gap,
        gaps.variance,
        reference,
        gaps.state,
        alarmed_at,
        since,
        recent,
        at_alarm.argmax(axis=0),
        gaps.patients.sum(axis=1).astype(np.int64),
        float(norm.isf(alpha * WEIGHTS[1] / (2 * horizon))),
    )


def log_arms(
    gaps: GapSeries, running: Running, value: Floats, variance: Floats, *, horizon: int, alpha: float, series: int
) -> Floats:
    """(3, S, T) logs of the e-processes of ARMS, for a monitor of ``series`` that may spend ``alpha`` in all."""
    miss = alpha * WEIGHTS[ARMS.index("betting")] * MISSED_REFERENCE / series
    return np.stack([persistent(running), abrupt(gaps, value, variance, horizon), betting(gaps, value, variance, miss)])


def log_shares(variance: Floats) -> Floats:
    """(3, S) logs of the arms' shares of α, less what an estimated reference costs: ``variance`` (S,) is its own."""
    shares = np.repeat(np.array(WEIGHTS)[:, None], len(variance), axis=1)
    shares[ARMS.index("betting"), variance > 0] *= 1 - MISSED_REFERENCE
    logs: Floats = np.log(shares)
    return logs


def e_bh(e_values: Floats, alpha: float) -> NDArray[np.bool_]:
    """(S, T) which of S series are called at each window."""
    count = len(e_values)
    order = np.argsort(-e_values, axis=0, kind="stable")
    ranked = np.take_along_axis(e_values, order, axis=0)
    enough = ranked >= count / (alpha * np.arange(1, count + 1)[:, None])
    last = np.where(enough.any(axis=0), count - enough[::-1].argmax(axis=0), 0)
    called = np.empty(e_values.shape, dtype=bool)
    np.put_along_axis(called, order, np.arange(count)[:, None] < last, axis=0)
    return called


def change_points(gaps: GapSeries, reference: Floats) -> tuple[Places, Floats]:
    """(S,) number of windows before the change, where the likelihood of one shift is largest; (S,) size after it."""
    target = reference[:, None]
    variance = score_moments(gaps, target, correlation_so_far(gaps))[0]
    usable = np.isfinite(gaps.gap) & (variance > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        information = np.where(usable, 1 / variance, 0.0)
        excess = np.where(usable, (gaps.gap - target) / variance, 0.0)
        tail_information = information[:, ::-1].cumsum(axis=1)[:, ::-1]
        tail_excess = excess[:, ::-1].cumsum(axis=1)[:, ::-1]
        gain = np.where(tail_information > 0, tail_excess**2 / tail_information, -1.0)
        since = gain.argmax(axis=1)
        rows = np.arange(len(since))
        return since.astype(np.int64), tail_excess[rows, since] / tail_information[rows, since]
