"""A cell: one metric in one group, with its counts, its interval and how much it can say.

ok             enough patients and cases
wide           over the minimum, but below six times the minimum: an interval is printed, nothing is tested
insufficient   below the minimum: the value is printed, flagged, and kept out of every gap
undefined      the metric has no value there (an empty group, a class that is absent, no threshold): null, never 0

Only patients that decide a metric count: those with positives for a true positive rate, those with negatives for a
false positive rate, the fewer of both for AUROC and balanced accuracy, those with a value for a mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "wide", "insufficient", "undefined"]
STATES: tuple[State, ...] = ("ok", "wide", "insufficient", "undefined")
WIDE_FACTOR = 6


@dataclass(frozen=True)
class Minimums:
    """Smallest cell that is more than insufficient: the cases that the metric is over, and their patients.

    Cases are positives for a true positive rate, negatives for a false positive rate, the fewer of both for AUROC and
    balanced accuracy, and records for everything else.
    """

    cases: int = 10
    patients: int = 5

    def __post_init__(self) -> None:
        if not (self.patients >= 1 and self.cases >= 1):  # NaN is no minimum either
            raise ValueError("minimums must be at least 1 patient and 1 case")


@dataclass(frozen=True)
class Cell:
    """``records`` carry a value, ``excluded_records`` belong to the group but carry none.

    ``patients`` have such records, ``deciding_patients`` those that the metric turns on. ``positives`` is None where
    the metric has no labels (Dice, PSNR, SSIM); the estimate, its standard error and its 95 % limits are None when
    undefined, and the limits also where a single patient leaves them unknown.
    """

    group: str
    records: int
    patients: int
    deciding_patients: int
    positives: int | None
    excluded_records: int
    state: State
    estimate: float | None
    standard_error: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None


def cell_state(estimate: float, deciding_patients: int, cases: int, minimums: Minimums) -> State:
    """State of a cell. ``estimate`` is NaN without a value."""
    if math.isnan(estimate):
        return "undefined"
    if deciding_patients < minimums.patients or cases < minimums.cases:
        return "insufficient"
    if deciding_patients < WIDE_FACTOR * minimums.patients or cases < WIDE_FACTOR * minimums.cases:
        return "wide"
    return "ok"
