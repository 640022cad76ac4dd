"""What a path did to each feature, and what guidance added to that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import spearmanr

from services.errors import InvalidInput, OutOfRange
from services.generator.report.trace import Trace, Values

# An excess below this share of the unguided effect is not divided between the sides: the shares would be noise.
_LEAST_EXCESS = 0.05


@dataclass(frozen=True)
class Effect:
    """One feature from the first frame to the last. None: not measurable there, or no spread is known."""

    feature: str
    unit: str
    first: float | None
    last: float | None
    change: float | None
    spread: float | None
    in_sd: float | None
    order: float | None
    """Spearman's correlation of value and frame: ±1 is monotone."""
    missing: int
    """Frames in which the reader could not measure it."""


@dataclass(frozen=True)
class Unguided:
    """The ends of the same path, with the same noise, at guidance scale 1."""

    first: Mapping[str, float]
    last: Mapping[str, float]
    minority: Literal["first", "last", ""] = ""
    """Which end is the one that the model saw less of in training."""
    minority_share: float | None = None
    """Its share of the training images."""

    def __post_init__(self) -> None:
        if self.minority not in ("first", "last", ""):
            raise InvalidInput("the minority is at the first end or at the last", field="unguided.minority")
        if self.minority_share is not None and not 0 <= self.minority_share <= 1:
            raise OutOfRange("a share lies between 0 and 1", field="unguided.minority_share")


@dataclass(frozen=True)
class Excess:
    """What guidance added to one feature's effect: ``used - unguided``, and how far it moved each end."""

    feature: str
    unguided: float | None
    used: float | None
    ratio: float | None
    """used / unguided."""
    first_moved: float | None
    last_moved: float | None
    minority_part: float | None
    """Share of the excess that arose at the minority's end; None where there is hardly any excess."""


def effects(trace: Trace, spreads: Mapping[str, float] | None = None) -> list[Effect]:
    """One Effect a feature, in the trace's order. ``spreads``: standard deviation of each feature in a cohort."""
    return [_effect(trace, name, (spreads or {}).get(name)) for name in trace.features]


def excesses(trace: Trace, unguided: Unguided) -> list[Excess]:
    """One Excess for each feature of the trace that was measured at scale 1 too."""
    return [
        _excess(name, trace.feature(name), float(unguided.first[name]), float(unguided.last[name]), unguided.minority)
        for name in trace.features
        if name in unguided.first and name in unguided.last
    ]


def crossing(probability: Values) -> int | None:
    """The first frame on the other side of one half than frame 0; None where there is none."""
    beyond = np.flatnonzero((probability > 0.5) != (probability[0] > 0.5))
    known = beyond[np.isfinite(probability[beyond])]
    return int(known[0]) if len(known) and math.isfinite(probability[0]) else None


def _effect(trace: Trace, name: str, spread: float | None) -> Effect:
    values = trace.feature(name)
    if spread is not None and not (math.isfinite(spread) and spread > 0):
        raise OutOfRange("a spread is above 0", field=f"spreads.{name}")
    change = _known(values[-1] - values[0])
    return Effect(
        feature=name,
        unit=trace.units.get(name, ""),
        first=_known(values[0]),
        last=_known(values[-1]),
        change=change,
        spread=spread,
        in_sd=None if change is None or spread is None else change / spread,
        order=_order(values),
        missing=int(np.isnan(values).sum()),
    )


def _order(values: Values) -> float | None:
    seen = np.isfinite(values)
    if seen.sum() < 3 or np.ptp(values[seen]) == 0:
        return None
    return float(spearmanr(np.flatnonzero(seen), values[seen]).statistic)


def _excess(name: str, values: Values, first: float, last: float, minority: str) -> Excess:
    unguided, used = _known(last - first), _known(values[-1] - values[0])
    first_moved, last_moved = _known(values[0] - first), _known(values[-1] - last)
    part = None
    if unguided is not None and used is not None and minority:
        excess = used - unguided
        if abs(excess) >= _LEAST_EXCESS * abs(unguided) and excess != 0:
            part = ((last_moved or 0.0) if minority == "last" else -(first_moved or 0.0)) / excess
    ratio = used / unguided if unguided and used is not None else None
    return Excess(name, unguided, used, ratio, first_moved, last_moved, part)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
