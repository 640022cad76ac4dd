"""From the sums of all windows so far to the points of the last one and the alarms that they raise. Arrays only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.maths.fairness.cells import STATES
from services.maths.fairness.drift.alarms import ARMS, Reference, Verdicts, reference_of, verdicts
from services.maths.fairness.drift.moved import Moved, merge_windows, what_moved
from services.maths.fairness.drift.series import GapSeries, Series, gap_series
from services.maths.fairness.drift.windows import WindowCells
from services.monitoring.watched import Watched

NO_ARM_SPOKE = 2.0
"""A change of a gap lies between -2 and 2: what is known of it where only bets were possible."""


@dataclass(frozen=True)
class Raised:
    """An alarm. ``at`` and ``since`` are indices of windows; ``moved`` are dicts of the Movement message's fields.

    ``change`` with its interval is that of the gap over all windows, or of the window ``at`` where that one was far off
    by itself (arm "abrupt"); ``recent`` is that since the change began, without an interval since its beginning was
    chosen to be large.
    """

    series: Series
    at: int
    since: int
    arm: str
    change: float
    low: float
    high: float
    recent: float
    e_value: float
    patients: int
    moved: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Findings:
    """``points`` are the ledger's, one per series, of the last window."""

    points: list[dict[str, Any]]
    raised: list[Raised]


def findings(
    watched: Watched, windows: Sequence[WindowCells], audit: WindowCells | None, standing: Collection[Series]
) -> Findings:
    """What windows 0 to the last say. ``standing`` are the series that have an alarm already.

    Windows that are the reference themselves have points without evidence. What lies beyond the planned windows is
    judged as before, but raises nothing: what was to be spent on false alarms is spent.
    """
    first = watched.first_windows
    last = gap_series(windows[-1:], watched.metrics)
    if len(windows) <= first:
        return Findings([_point(last, place, windows[-1], None, False) for place in range(len(last.keys))], [])
    gaps = gap_series(windows[first:], watched.metrics)
    horizon = watched.planned_windows - first
    history = _History(windows, first, audit)
    found = verdicts(gaps, history.reference(watched.metrics), alpha=watched.alpha, horizon=horizon)
    new = [
        place for place, key in enumerate(gaps.keys) if 0 <= found.alarmed_at[place] < horizon and key not in standing
    ]
    raised = [_raised(history, found, gaps, place) for place in new]
    alarmed = set(standing) | {alarm.series for alarm in raised}
    points = [_point(last, place, windows[-1], found, key in alarmed) for place, key in enumerate(last.keys)]
    return Findings(points, raised)


def _point(last: GapSeries, place: int, window: WindowCells, found: Verdicts | None, alarmed: bool) -> dict[str, Any]:
    key = last.keys[place]
    row = window.cells.index((key.attribute, key.group))
    return {
        "label": key.label,
        "metric": key.metric,
        "attribute": key.attribute,
        "group": key.group,
        "state": STATES[last.state[place, 0]],
        "value": _number(last.value[place, 0]),
        "gap": _number(last.gap[place, 0]),
        "standard_error": _number(np.sqrt(last.variance[place, 0])),
        "change": None if found is None else _number(found.estimate[place, -1]),
        "low": None if found is None else _number(found.lower[place, -1]),
        "high": None if found is None else _number(found.upper[place, -1]),
        "e_value": 1.0 if found is None else float(found.e_values[place, -1]),
        "cases": int(last.positives[place, 0]),
        "patients": int(last.patients[place, 0]),
        "records": int(window.records[row]),
        "alarmed": alarmed,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _raised(history: _History, found: Verdicts, gaps: GapSeries, place: int) -> Raised:
    since = int(found.since[place])
    change, low, high = found.size(place)
    known = bool(np.isfinite([change, low, high]).all())
    return Raised(
        series=gaps.keys[place],
        at=history.first + int(found.alarmed_at[place]),
        since=history.first + since,
        arm=ARMS[int(found.arm[place])],
        change=change if known else float(found.recent[place]),
        low=low if known else -NO_ARM_SPOKE,
        high=high if known else NO_ARM_SPOKE,
        recent=float(found.recent[place]),
        e_value=float(found.e_values[place, -1]),
        patients=int(gaps.patients[place, since:].sum()),
        moved=history.moved(gaps.keys[place], history.first + since),
    )


@dataclass(frozen=True)
class _History:
    """All windows so far, and what they are compared with: an audit's sums, the ``first`` of them, or a gap of 0."""

    windows: Sequence[WindowCells]
    first: int
    audit: WindowCells | None

    def reference(self, metrics: Sequence[str]) -> Reference | None:
        if self.audit is not None:
            return reference_of([self.audit], metrics)
        return reference_of(self.windows[: self.first], metrics) if self.first else None

    def moved(self, key: Series, since: int) -> tuple[dict[str, Any], ...]:
        """What moved since then against the reference, else against the windows before; nothing where none are."""
        before = [self.audit] if self.audit is not None else self.windows[: self.first or since]
        if not before:
            return ()
        return tuple(movements(what_moved(merge_windows(before), merge_windows(self.windows[since:]), key)))


def movements(moved: Moved) -> list[dict[str, Any]]:
    """Fields of the Movement message for each cause. First what moved, of that the errors that the series is of, then
    the most certain."""
    components = {part.name: part for part in moved.components}
    own = moved.series.metric
    parts = {
        "error_rate": ("gap", [components[own]] if own in ("tpr", "fpr") else [components["tpr"], components["fpr"]]),
        "prevalence": ("prevalence", [components["prevalence"]]),
        "score_distribution": ("scores", [part for name, part in components.items() if name.startswith("mean_score_")]),
        "threshold": ("threshold", [components["threshold"]]),
    }
    found = []
    for what, (cause, candidates) in parts.items():
        part = min(candidates, key=lambda one: one.p)
        if np.isfinite([part.size, part.lower, part.upper]).all():
            told = {"what": what, "change": part.size, "low": part.lower, "high": part.upper}
            place = (cause not in moved.causes, what != "error_rate" or own not in ("tpr", "fpr"), part.p)
            found.append((place, told | {"moved": cause in moved.causes}))
    return [told for _, told in sorted(found, key=lambda one: one[0])]
