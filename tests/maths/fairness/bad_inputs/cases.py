"""What a case of bad input is, and the small sound cohort that every case spoils in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.classification import Classification, disaggregate_classification
from services.maths.fairness.metrics.means import Means, disaggregate_mean

PATIENTS, RECORDS = 40, 80
DRAW = np.random.default_rng(11)
CLUSTER = np.repeat(np.arange(PATIENTS), 2)
SEX = Grouping("sex", ("F", "M"), np.repeat(np.arange(PATIENTS) % 2, 2))
Y_TRUE = (DRAW.random(RECORDS) < 0.5).astype(np.int8)
Y_SCORE = np.clip(0.3 + 0.4 * Y_TRUE + DRAW.normal(0, 0.2, RECORDS), 0.0, 1.0)
THRESHOLD = np.full(RECORDS, 0.5)
DICE = np.clip(0.8 + DRAW.normal(0, 0.05, RECORDS), 0.0, 1.0)
SMALL = Minimums(cases=3, patients=2)


@dataclass(frozen=True)
class Refused:
    """``call`` must raise exactly ``error``, out of our own code, with a message that ``match`` is found in."""

    call: Callable[[], Any]
    match: str
    error: type[Exception] = ValueError


@dataclass(frozen=True)
class Kept:
    """``call`` must return, without a warning, something of which ``holds`` is true."""

    call: Callable[[], Any]
    holds: Callable[[Any], bool]


Cases = dict[str, Refused | Kept]


def spoiled(column: np.ndarray, value: Any, *places: int) -> np.ndarray:
    """A copy with ``value`` at the places (the first by default), as objects where numbers cannot hold it."""
    numeric = isinstance(value, int | float)
    copy = column.astype(np.float64 if numeric else object)
    copy[list(places) or [0]] = value
    return copy


def classified(**changed: Any) -> Classification:
    """The cohort's label measured by sex, with some arguments changed."""
    given = {
        "y_true": Y_TRUE,
        "y_score": Y_SCORE,
        "threshold": THRESHOLD,
        "sensitive_features": [SEX],
        "cluster": CLUSTER,
        "minimums": SMALL,
    }
    return disaggregate_classification(**{**given, **changed})


def averaged(metric: str = "dice", values: Any = DICE, **changed: Any) -> Means:
    """The cohort's Dice measured by sex, with some arguments changed."""
    given = {"sensitive_features": [SEX], "cluster": CLUSTER, "minimums": SMALL}
    return disaggregate_mean(metric, values, **{**given, **changed})


def cell(measured: Classification | Means, metric: str, group: str = "overall", attribute: str = "") -> Any:
    """One cell; of everyone if no group is named."""
    part = measured.by[metric, attribute or ("" if group == "overall" else "sex")]
    return next(each for each in part.cells if each.group == group)


def undefined(found: Any) -> bool:
    """The cell says nothing and invents nothing."""
    numbers = (found.estimate, found.standard_error, found.ci_low, found.ci_high)
    return found.state == "undefined" and numbers == (None,) * 4
