"""Gaps over windows: a group's value less that of everyone else with a known level, window by window.

The intra-patient correlation r of a rate is estimated over groups and windows so far, so that the variance of a small
cell does not rest on its own few patients: Var(Σ n) = v (1 − v) [Σ d + r (Σ d² − Σ d)] (Rao and Scott 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.cells import STATES, WIDE_FACTOR, Minimums
from services.maths.fairness.drift.moments import FIELDS, METRICS, QUANTITIES, SCORE_UNIT
from services.maths.fairness.drift.windows import WindowCells
from services.maths.fairness.sums import Floats

GAP_METRICS = ("tpr", "fpr")
"""The metrics whose gap is a matter of errors; a gap of prevalence or flag rate moves with who comes."""

_UNSEEN_CORRELATION = 0.5
_UNSEEN_PAIRS = 20.0
"""What is assumed of r before patients with several records were seen, and how many pairs of records that weighs."""

N, D, NN, ND, DD, PATIENTS, LARGEST = range(len(FIELDS))
States = NDArray[np.int8]


@dataclass(frozen=True)
class Series:
    """Key of one series of a monitor."""

    label: str
    metric: str
    attribute: str
    group: str


@dataclass(frozen=True)
class GapSeries:
    """S series over T windows. Values are NaN where a side is empty.

    Attributes:
        keys: S.
        group, rest: (S, T, 7) float64 sums (moments.py), scores in probability and no longer in units.
        returning: (S, T, 2) patients seen in an earlier window, of the group and of the rest, and
        visits: (S, T, 2) their patients in all.
        value, rest_value, gap: (S, T).
        variance: (S, T) of the gap, from each side's own patients.
        positives: (S, T) the group's cases: the denominator of its rate.
        patients: (S, T) of the group, with a case.
        state: (S, T) int8 into ``STATES``, of the weaker side.
    """

    keys: tuple[Series, ...]
    group: Floats
    rest: Floats
    returning: Floats
    visits: Floats
    value: Floats
    rest_value: Floats
    gap: Floats
    variance: Floats
    positives: Floats
    patients: Floats
    state: States

    @property
    def rates(self) -> NDArray[np.bool_]:
        """(S,) whether the series is of a rate; a mean score has no binomial variance."""
        return np.array([key.metric in METRICS for key in self.keys], dtype=bool)

    def state_name(self, series: int, window: int) -> str:
        """ok, wide, insufficient or undefined (STATISTICS 3.10)."""
        return STATES[int(self.state[series, window])]


def gap_series(windows: Sequence[WindowCells], metrics: Sequence[str] = GAP_METRICS) -> GapSeries:
    """Series of all labels, ``metrics`` and groups over windows in order of time.

    Raises ValueError for no window, an unknown metric, and windows of different labels, attributes or groups.
    """
    if not windows:
        raise ValueError("gaps over time need at least one window")
    strange = next((w for w in windows if not isinstance(w, WindowCells)), None)
    if strange is not None:  # a hint without labels, above all
        raise ValueError(f"gaps are taken of windows of records, never of {type(strange).__name__}")
    unknown = sorted(set(metrics) - set(QUANTITIES))
    if unknown:
        raise ValueError(f"there is no metric {', '.join(unknown)}; there are {', '.join(QUANTITIES)}")
    first = windows[0]
    if any((w.label_names, w.attributes) != (first.label_names, first.attributes) for w in windows):
        raise ValueError("windows differ in labels, attributes or groups; give windows of one monitor")
    places = [QUANTITIES.index(metric) for metric in metrics]
    cells, totals = len(first.cells), first.total_rows
    keys = tuple(
        Series(label, metric, attribute, group)
        for label in first.label_names
        for metric in metrics
        for attribute, group in first.cells
    )
    # (L, C, M, 7) of every window becomes (L, M, C, T, 7), and that (S, T, 7).
    sides = [
        np.stack([part[:, :, places].swapaxes(1, 2) for part in parts], axis=3)
        .reshape(len(keys), len(windows), len(FIELDS))
        .astype(np.float64)
        for parts in ([w.group_sums for w in windows], [w.rest_sums for w in windows])
    ]
    copies = len(first.label_names) * len(metrics)
    seen, visits = (
        np.tile(
            np.stack([np.stack([c[:cells], c[totals] - c[:cells]], axis=-1) for c in counts], axis=1), (copies, 1, 1)
        ).astype(np.float64)
        for counts in ([w.returning for w in windows], [w.patients for w in windows])
    )
    scale = np.array([SCORE_UNIT if key.metric not in METRICS else 1.0 for key in keys])[:, None]
    for side in sides:
        side[..., N] *= scale
        side[..., NN] *= scale**2
        side[..., ND] *= scale
    return gaps_of(keys, sides[0], sides[1], returning=seen, visits=visits)


def gaps_of(
    keys: Sequence[Series],
    group: Floats,
    rest: Floats,
    *,
    returning: Floats | None = None,
    visits: Floats | None = None,
    minimums: Minimums | None = None,
) -> GapSeries:
    """Gaps from (S, T, 7) sums of both sides; the rest of the arguments as in ``GapSeries``."""
    minimums = minimums or Minimums()
    value, rest_value = rate(group), rate(rest)
    gap = value - rest_value
    variance = own_variance(group, value) + own_variance(rest, rest_value)
    patients = np.minimum(group[..., PATIENTS], rest[..., PATIENTS])
    cases = np.minimum(group[..., D], rest[..., D])
    state = np.select(
        [
            np.isnan(gap),
            (cases < minimums.cases) | (patients < minimums.patients),
            (cases < WIDE_FACTOR * minimums.cases) | (patients < WIDE_FACTOR * minimums.patients),
        ],
        [STATES.index("undefined"), STATES.index("insufficient"), STATES.index("wide")],
        STATES.index("ok"),
    ).astype(np.int8)
    both = np.stack([group[..., PATIENTS], rest[..., PATIENTS]], axis=-1)
    return GapSeries(
        tuple(keys),
        group,
        rest,
        np.zeros_like(both) if returning is None else returning,
        both if visits is None else visits,
        value,
        rest_value,
        gap,
        variance,
        group[..., D],
        group[..., PATIENTS],
        state,
    )


def rate(sums: Floats) -> Floats:
    """(...) numerators over denominators of (..., 7) sums, NaN where there is nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., D] > 0, sums[..., N] / sums[..., D], np.nan)


def squares(sums: Floats, value: Floats) -> Floats:
    """(...) Σ_k (n_k − value d_k)² of (..., 7) sums; never below 0, whatever a patient in several groups does."""
    return np.maximum(sums[..., NN] - 2 * value * sums[..., ND] + value**2 * sums[..., DD], 0.0)


def own_variance(sums: Floats, value: Floats) -> Floats:
    """(...) clustered variance of a ratio at its value, with K / (K − 1); NaN for fewer than two patients."""
    patients = sums[..., PATIENTS]
    with np.errstate(invalid="ignore", divide="ignore"):
        correction = np.where(patients > 1, patients / (patients - 1), np.nan)
        return correction * squares(sums, value) / sums[..., D] ** 2


def null_values(gaps: GapSeries, reference: Floats) -> tuple[Floats, Floats]:
    """(S, T) values of group and rest that are ``reference`` (S, 1) apart and fit a window's sums best together."""
    group, rest = gaps.group, gaps.rest
    with np.errstate(invalid="ignore", divide="ignore"):
        low = (group[..., N] - reference * group[..., D] + rest[..., N]) / (group[..., D] + rest[..., D])
    low = np.clip(low, np.maximum(0.0, -reference), np.minimum(1.0, 1.0 - reference))
    return low + reference, low


def correlation_so_far(gaps: GapSeries) -> Floats:
    """(S, T) intra-patient correlation from all windows up to each, both sides together, in [0, 1]."""
    excess, pairs = np.zeros_like(gaps.gap), np.zeros_like(gaps.gap)
    for sums, value in ((gaps.group, gaps.value), (gaps.rest, gaps.rest_value)):
        known = np.nan_to_num(value)
        spread = known * (1 - known)
        patients = sums[..., PATIENTS]
        # Residuals around a window's own value are short by the share that fitting it took.
        found = squares(sums, known) * patients / np.maximum(patients - 1, 1)
        excess += np.where(patients > 1, found - spread * sums[..., D], 0.0)
        pairs += np.where(patients > 1, spread * (sums[..., DD] - sums[..., D]), 0.0)
    typical = np.nan_to_num(gaps.rest_value)
    weight = _UNSEEN_PAIRS * np.maximum(typical * (1 - typical), 0.01)
    found_so_far = excess.cumsum(axis=1) + _UNSEEN_CORRELATION * weight
    return np.clip(found_so_far / (pairs.cumsum(axis=1) + weight), 0.0, 1.0)


def score_moments(gaps: GapSeries, reference: Floats, correlation: Floats) -> tuple[Floats, Floats, Floats]:
    """(S, T) variance, third moment and number of expected rarer cases of the gap if it were ``reference`` (S, 1).

    Rates: v (1 − v) with the design effect 1 + r (Σ d² / Σ d − 1), from values pooled over both sides; never below
    what the patients show around them is left to the running sum. Means: squares around the pooled values.
    """
    values = null_values(gaps, reference)
    variance, third = np.zeros_like(gaps.gap), np.zeros_like(gaps.gap)
    expected = np.full_like(gaps.gap, np.inf)
    rates = gaps.rates[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        for sums, value, sign in ((gaps.group, values[0], 1.0), (gaps.rest, values[1], -1.0)):
            count = sums[..., D]
            effect = 1 + correlation * (sums[..., DD] / count - 1)
            spread = value * (1 - value)
            observed = squares(sums, value) / count**2
            variance += np.where(rates, spread * effect / count, observed)
            third += np.where(rates, sign * spread * (1 - 2 * value) * effect**2 / count**2, 0.0)
            rarer = np.minimum(value, 1 - value) * count / effect
            expected = np.minimum(expected, np.where(rates, rarer, count / effect))
    return variance, third, np.nan_to_num(expected)


def observed_variance(gaps: GapSeries, reference: Floats) -> Floats:
    """(S, T) variance of the gap from squares of patients around the values that are ``reference`` (S, 1) apart."""
    values = null_values(gaps, reference)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (
            squares(gaps.group, values[0]) / gaps.group[..., D] ** 2
            + squares(gaps.rest, values[1]) / gaps.rest[..., D] ** 2
        )


def recurrence(gaps: GapSeries, correlation: Floats) -> Floats:
    """(S, T) how much larger the variance of the running gap is because patients came back in later windows.

    With V visits of U patients a patient's visits are taken for geometric: Σ visits² / V = 2 V / U − 1.
    """
    visits, returning = gaps.visits.cumsum(axis=1), gaps.returning.cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        again = np.nan_to_num(2 * returning / np.maximum(visits - returning, 1.0))
        worst = np.ones_like(correlation)
        for place, sums in enumerate((gaps.group, gaps.rest)):
            together = sums.cumsum(axis=1)
            records = np.nan_to_num(together[..., D] / together[..., PATIENTS], nan=1.0)
            within = 1 + correlation * (np.nan_to_num(together[..., DD] / together[..., D], nan=1.0) - 1)
            worst = np.fmax(worst, 1 + correlation * records * again[..., place] / within)
    return worst
