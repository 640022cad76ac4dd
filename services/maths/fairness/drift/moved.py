"""What moved in a cell between a reference and now: base rate, scores, threshold, or the errors themselves.

A gap of TPR or FPR drifts when the errors of the group move and those of everyone else do not. A flag rate moves with
any of four causes, which are told apart here:

    prevalence   more or fewer of the group have the finding; scores within each class stay (prevalence drift)
    scores       the scores within a class, or with an unmoved prevalence all scores, are others (covariate drift)
    threshold    the operating point was changed; its effect is the flag rate at the average score distribution
                 (Kitagawa 1955), which is 0 where the threshold is the same
    tpr, fpr     change of the group's errors less that of everyone else (gap drift)

Each has a size, 95 % limits and a p-value (t, patient-clustered); a cause counts where Holm's test over the cell's
components says so. These are descriptions of a cell that a valid sequence has called, or that somebody looks at once.
They raise no alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
from scipy import special

from services.maths.fairness.drift.moments import BINS, QUANTITIES, SCORE_UNIT
from services.maths.fairness.drift.series import DD, PATIENTS, D, N, Series, own_variance, rate
from services.maths.fairness.drift.windows import WindowCells, merge
from services.maths.fairness.sums import Floats

Cause = Literal["gap", "prevalence", "scores", "threshold"]
ALPHA = 0.05
_CONFIDENCE_TAIL = 0.025
_CLASS_SCORES = ("mean_score_of_positives", "mean_score_of_negatives")


@dataclass(frozen=True)
class Component:
    """One quantity of a cell. ``size`` is now less before, NaN where either is unknown (then p is 1).

    ``relative`` components are the group's change less that of everyone else.
    """

    name: str
    relative: bool
    before: float
    now: float
    size: float
    lower: float
    upper: float
    p: float
    moved: bool


@dataclass(frozen=True)
class Moved:
    """All components of a cell and the causes among them, the most certain first; ``distance`` is the largest
    difference of the group's two score distribution functions (at the edges of 20 bins)."""

    series: Series
    components: tuple[Component, ...]
    causes: tuple[Cause, ...]
    distance: float

    def component(self, name: str) -> Component:
        """Raises ValueError for a name that is not there."""
        for component in self.components:
            if component.name == name:
                return component
        raise ValueError(f"there is no component {name!r}; there are {', '.join(c.name for c in self.components)}")


def merge_windows(windows: Sequence[WindowCells]) -> WindowCells:
    """Several windows of one threshold as one. Raises ValueError for none."""
    if not windows:
        raise ValueError("there is no window to merge")
    return reduce(merge, windows)


def what_moved(reference: WindowCells, current: WindowCells, key: Series) -> Moved:
    """Compare one cell with its reference. The metric of ``key`` does not matter: all of them are looked at.

    Raises ValueError where both differ in labels or groups, or have no such cell.
    """
    if (reference.label_names, reference.attributes) != (current.label_names, current.attributes):
        raise ValueError("reference and windows differ in labels, attributes or groups")
    if key.label not in reference.label_names or (key.attribute, key.group) not in reference.cells:
        raise ValueError(f"there is no cell of {key.label}, {key.attribute}, {key.group} in these windows")
    label = reference.label_names.index(key.label)
    cell = reference.cells.index((key.attribute, key.group))
    sides = [_scaled(part[label, cell]) for w in (reference, current) for part in (w.group_sums, w.rest_sums)]
    group_before, rest_before, group_now, rest_now = sides
    drawn = [
        *(_change(name, [(group_now, 1), (group_before, -1)]) for name in ("prevalence", "mean_score", *_CLASS_SCORES)),
        *(
            _change(name, [(group_now, 1), (rest_now, -1), (group_before, -1), (rest_before, 1)])
            for name in ("tpr", "fpr")
        ),
        _threshold(reference, current, label, cell),
    ]
    components = _holm(drawn)
    shares = [w.histogram[label, cell] / max(w.histogram[label, cell].sum(), 1) for w in (reference, current)]
    return Moved(key, components, _causes(components), float(np.abs(np.cumsum(shares[1] - shares[0])).max()))


def _scaled(sums: np.ndarray) -> Floats:  # type: ignore[type-arg]
    """(Q, 7) sums with scores in probability."""
    scaled = sums.astype(np.float64)
    means = [place for place, name in enumerate(QUANTITIES) if name.startswith("mean")]
    scaled[means, N] *= SCORE_UNIT
    scaled[means, 2] *= SCORE_UNIT**2
    scaled[means, 3] *= SCORE_UNIT
    return scaled


def _change(name: str, parts: list[tuple[Floats, int]]) -> Component:
    place = QUANTITIES.index(name)
    values = [float(rate(side[place])) for side, _ in parts]
    size = sum(sign * value for value, (_, sign) in zip(values, parts, strict=True))
    variance = sum(
        float(_variance(side[place], np.asarray(value), name)) for value, (side, _) in zip(values, parts, strict=True)
    )
    degrees = min(side[place, PATIENTS] for side, _ in parts) - 1
    half = len(parts) // 2
    now, before = (
        sum(abs(s) * v if half == 1 else s * v for v, (_, s) in pairs)
        for pairs in (
            list(zip(values, parts, strict=True))[:half],
            [(v, (side, -s)) for v, (side, s) in list(zip(values, parts, strict=True))[half:]],
        )
    )
    return _component(name, half == 2, (before, now, size), variance, degrees)


def _variance(sums: Floats, value: Floats, name: str) -> Floats:
    """Clustered variance; that of a rate of 0 or 1 is of one more case of either kind (Agresti and Coull 1998)."""
    variance = own_variance(sums, value)
    if name.startswith("mean") or not sums[D]:
        return variance
    smoothed = (sums[N] + 1) / (sums[D] + 2)
    effective = sums[D] ** 2 / sums[DD]
    floor: Floats = np.where((value <= 0) | (value >= 1), smoothed * (1 - smoothed) / effective, variance)
    return floor


def _component(
    name: str, relative: bool, values: tuple[float, float, float], variance: float, degrees: float
) -> Component:
    before, now, size = values
    if not (np.isfinite(size) and np.isfinite(variance) and degrees >= 1):
        return Component(name, relative, before, now, size, np.nan, np.nan, 1.0, False)
    reach = float(-special.stdtrit(degrees, _CONFIDENCE_TAIL)) * np.sqrt(variance)
    p = 1.0 if size == 0 else float(2 * special.stdtr(degrees, -abs(size) / np.sqrt(variance))) if variance else 0.0
    return Component(name, relative, before, now, size, size - reach, size + reach, p, False)


def _threshold(reference: WindowCells, current: WindowCells, label: int, cell: int) -> Component:
    """Change of the flag rate by the threshold alone, at the average of both score distributions."""
    place = QUANTITIES.index("flag_rate")
    thresholds = [float(w.thresholds[label]) for w in (reference, current)]
    before, now = (float(rate(w.group_sums[label, cell, place].astype(np.float64))) for w in (reference, current))
    if thresholds[0] == thresholds[1] or not np.isfinite([*thresholds, before, now]).all():
        return Component("threshold", False, before, now, 0.0, 0.0, 0.0, 1.0, False)
    shares, flagged, noise, patients = [], [], 0.0, []
    for window, threshold in zip((reference, current), thresholds, strict=True):
        histogram = window.histogram[label, cell].astype(np.float64)
        sums = window.group_sums[label, cell, place].astype(np.float64)
        edge = int(np.clip(threshold * BINS, 0, BINS - 1))
        by_bin = (np.arange(BINS) > edge).astype(np.float64)
        inside = (sums[N] - histogram[edge + 1 :].sum()) / max(histogram[edge], 1.0)
        by_bin[edge] = inside
        shares.append(histogram / histogram.sum())
        flagged.append(by_bin)
        patients.append(sums[PATIENTS])
        # Only the bin that the threshold cuts is uncertain, at most by the design effect of fully alike records.
        noise += shares[-1][edge] ** 2 * inside * (1 - inside) / max(histogram[edge], 1.0) * sums[DD] / sums[D]
    size = float(((shares[0] + shares[1]) / 2 * (flagged[1] - flagged[0])).sum())
    return _component("threshold", False, (before, now, size), noise, min(patients) - 1)


def _holm(components: list[Component]) -> tuple[Component, ...]:
    """Mark what Holm's step-down test calls."""
    order = sorted(range(len(components)), key=lambda place: components[place].p)
    called = list(components)
    for step, place in enumerate(order):
        if components[place].p > ALPHA / (len(components) - step):
            break
        called[place] = Component(**{**vars(components[place]), "moved": True})
    return tuple(called)


def _causes(components: tuple[Component, ...]) -> tuple[Cause, ...]:
    moved = {component.name: component.p for component in components if component.moved}
    found: list[tuple[float, Cause]] = []
    if {"tpr", "fpr"} & set(moved):
        found.append((min(moved.get("tpr", 1.0), moved.get("fpr", 1.0)), "gap"))
    if "prevalence" in moved:
        found.append((moved["prevalence"], "prevalence"))
    # A class that grew moves the mean of all scores without moving anybody's.
    own = [*_CLASS_SCORES] if "prevalence" in moved else [*_CLASS_SCORES, "mean_score"]
    scores = [moved[name] for name in own if name in moved]
    if scores:
        found.append((min(scores), "scores"))
    if "threshold" in moved:
        found.append((moved["threshold"], "threshold"))
    return tuple(cause for _, cause in sorted(found, key=lambda pair: pair[0]))
