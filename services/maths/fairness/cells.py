"""A cell: one metric in one group, with its counts and how much it can say.

ok             enough patients and cases
wide           over the minimum, but below three times the minimum: a value that will move with the next few patients
insufficient   below the minimum: the value is printed, flagged, and kept out of every gap
undefined      the metric has no value there (an empty group, a class that is absent, no threshold): null, never 0
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from services.maths.fairness.groups import MISSING

State = Literal["ok", "wide", "insufficient", "undefined"]
STATES: tuple[State, ...] = ("ok", "wide", "insufficient", "undefined")
WIDE_FACTOR = 3


@dataclass(frozen=True)
class Minimums:
    """Smallest cell that is more than insufficient: patients, and the positives or negatives that the metric needs."""

    patients: int = 10
    cases: int = 5

    def __post_init__(self) -> None:
        if self.patients < 1 or self.cases < 1:
            raise ValueError("minimums must be at least 1 patient and 1 case")


@dataclass(frozen=True)
class Cell:
    """``records`` carry a value, ``excluded_records`` belong to the group but carry none.

    ``positives`` is None where the metric has no labels (Dice, PSNR, SSIM); ``estimate`` is None when undefined.
    """

    group: str
    records: int
    patients: int
    positives: int | None
    excluded_records: int
    state: State
    estimate: float | None


def cell_state(estimate: float, patients: int, cases: tuple[int, ...], minimums: Minimums) -> State:
    """State of a cell. ``estimate`` is NaN without a value; ``cases`` are the class sizes that the metric needs."""
    if math.isnan(estimate):
        return "undefined"
    fewest = min(cases, default=WIDE_FACTOR * minimums.cases)
    if patients < minimums.patients or fewest < minimums.cases:
        return "insufficient"
    if patients < WIDE_FACTOR * minimums.patients or fewest < WIDE_FACTOR * minimums.cases:
        return "wide"
    return "ok"


def reported(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """All cells but an empty "(missing)": empty levels are a finding, the absence of missing values is not."""
    return tuple(cell for cell in cells if cell.group != MISSING or cell.records or cell.excluded_records)
