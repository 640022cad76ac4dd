"""What a monitor could find, said before it starts: cases that each window will bring, and the change they can show.

Shares of groups, prevalences and rates are those of the reference audit; without one, or without a number of records in
a window, nothing can be said of a series but that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from evenhand.monitoring.v1 import monitor_pb2

from services.maths.fairness.drift.power import minimum_detectable_gap
from services.maths.fairness.drift.series import D, GapSeries, gap_series
from services.maths.fairness.drift.windows import WindowCells
from services.monitoring.watched import Watched

POWER = 0.8
DESIGN_EFFECT = 1.5
"""How much larger a variance is since patients have several images, where the audit cannot say."""
NEVER = 2.0
"""A change of a gap is at most 2: what stands for one that cannot be found."""
SHOWN_WARNINGS = 50


@dataclass(frozen=True)
class Expected:
    """An audit of ``records`` as what each window of ``per_window`` records will be like."""

    sums: WindowCells
    records: int
    per_window: float


def plan_message(watched: Watched, expected: Expected | None) -> monitor_pb2.MonitorPlan:
    """One entry for every series, and warnings of those that can never show anything."""
    if expected is None or not expected.per_window or not expected.records:
        plan = monitor_pb2.MonitorPlan(series=[monitor_pb2.PlannedSeries(key=_key(key)) for key in watched.series()])
        plan.warnings.append(
            "how much a window will show is not known: it takes a reference audit for the shares of groups, and a "
            "number of records in a window (PlanMonitor's records_per_window, or a window of so many records)"
        )
        return plan
    gaps = gap_series([expected.sums], watched.metrics)
    share = expected.per_window / expected.records
    cases, rest = gaps.group[:, 0, D] * share, gaps.rest[:, 0, D] * share
    changes = _detectable(watched, gaps, cases, rest)
    plan = monitor_pb2.MonitorPlan(
        series=[
            monitor_pb2.PlannedSeries(
                key=_key(key), cases_per_window=float(count), minimum_detectable_change=float(change)
            )
            for key, count, change in zip(gaps.keys, cases, changes, strict=True)
        ]
    )
    plan.warnings.extend(_warnings(watched, plan, gaps))
    return plan


def _detectable(watched: Watched, gaps: GapSeries, cases: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(S,) smallest lasting change that is found with power 0.8, ``NEVER`` where none is."""
    windows = watched.planned_windows - watched.first_windows
    effects, rates = _design_effects(gaps), gaps.rest_value[:, 0]
    changes = np.full(len(gaps.keys), NEVER)
    for place in range(len(gaps.keys)):
        if cases[place] > 0 and rest[place] > 0:
            found = minimum_detectable_gap(
                float(cases[place]),
                float(rest[place]),
                windows,
                alpha=watched.alpha,
                power=POWER,
                design_effect=float(effects[place]),
                rate=float(np.clip(rates[place], 0.02, 0.98)),
                series=len(gaps.keys),
                reference_variance=float(np.nan_to_num(gaps.variance[place, 0])),
            )
            changes[place] = found.gap if found.reachable and np.isfinite(found.gap) else NEVER
    return changes


def _design_effects(gaps: GapSeries) -> np.ndarray:
    """(S,) clustered variance of the audit's gaps over that of independent records; at least 1."""
    variance = np.zeros(len(gaps.keys))
    with np.errstate(divide="ignore", invalid="ignore"):
        for sums, value in ((gaps.group, gaps.value), (gaps.rest, gaps.rest_value)):
            variance += (value * (1 - value) / sums[..., D])[:, 0]
        effects = gaps.variance[:, 0] / variance
    known = np.isfinite(effects) & (effects > 0)
    return np.maximum(np.where(known, effects, DESIGN_EFFECT), 1.0)


def _warnings(watched: Watched, plan: monitor_pb2.MonitorPlan, gaps: GapSeries) -> Iterator[str]:
    mute = [series for series in plan.series if series.minimum_detectable_change > 1]
    for series in mute[:SHOWN_WARNINGS]:
        key = series.key
        yield (
            f"{key.label}, {key.metric}, {key.attribute}={key.group}: {series.cases_per_window:.3g} deciding records "
            f"expected in a window, so no change of the gap is found within {watched.planned_windows} windows"
        )
    if len(mute) > SHOWN_WARNINGS:
        yield f"and {len(mute) - SHOWN_WARNINGS} more of {len(gaps.keys)} series can never show anything"
    absent = [f"{attribute}={group}" for (attribute, group) in watched.cells if not _seen(gaps, attribute, group)]
    if absent:
        yield f"the reference audit has nobody of {', '.join(absent[:20])}: there is no gap to compare with"


def _seen(gaps: GapSeries, attribute: str, group: str) -> bool:
    return any(
        gaps.group[place, 0, D] > 0
        for place, key in enumerate(gaps.keys)
        if (key.attribute, key.group) == (attribute, group)
    )


def _key(key: object) -> monitor_pb2.SeriesKey:
    names = ("label", "metric", "attribute", "group")
    return monitor_pb2.SeriesKey(**{name: getattr(key, name) for name in names})
