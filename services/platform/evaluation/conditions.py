"""From rows of a table to the conditions a generator is given, and to the levels that its images are grouped by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from services.maths.diffusion.attributes import Attribute
from services.maths.phantoms.captions import attributes_of, compose, is_clear
from services.maths.phantoms.cardiac import BMI_CUTS, bmi_level
from services.maths.phantoms.worlds import Kind
from services.platform.evaluation.generators import Generator

AGE_CUTS = (40, 60, 80)
_FEW = 8  # whole numbers that are levels of their own
_THIRDS = ("low", "middle", "high")
_AGES = ("below 40", "40 to 59", "60 to 79", "80 and above")
_ORDERED = ("absent", "none", *_AGES, *BMI_CUTS, *_THIRDS)

Described = tuple[dict[str, str | None], dict[str, Any]]


def describe(generator: Generator, organ: str, row: Mapping[str, Any]) -> Described | None:
    """Levels of one row and the request for such an image; None where the row cannot be asked for.

    That is a phantom that does not show clearly what its caption would say, or one that lacks an attribute which the
    model is conditioned on, or has it at a level that the model does not know.
    """
    if generator.task == "class-to-image":
        return _by_attributes(generator.conditions, row)
    attributes = attributes_of(cast("Kind", organ), row)
    if not is_clear(attributes):
        return None
    return dict(attributes), {"prompt": compose(cast("Kind", organ), attributes)}


def _by_attributes(conditions: Sequence[Attribute], row: Mapping[str, Any]) -> Described | None:
    given = {condition.name: row.get(condition.name) for condition in conditions}
    if not all(_askable(condition, given[condition.name]) for condition in conditions):
        return None
    levels = {condition.name: level_of(condition, given[condition.name]) for condition in conditions}
    return levels, {"attributes": {name: spelled(value) for name, value in given.items()}}


def _askable(condition: Attribute, value: Any) -> bool:
    """Whether the model has such a level, or such numbers."""
    if is_missing(value):
        return False
    return spelled(value) in condition.levels if condition.levels else condition.low <= float(value) <= condition.high


def level_of(condition: Attribute, value: Any) -> str | None:
    """The level that a value is grouped under: its own, or a range of a number."""
    if is_missing(value):
        return None
    if condition.levels:
        return spelled(value)
    number = float(value)
    if condition.name == "age":
        return age_group(number)
    if condition.name == "bmi":
        return bmi_level(number)
    if number.is_integer() and condition.high - condition.low < _FEW:
        return f"{number:g}"
    third = 3 * (number - condition.low) / (condition.high - condition.low)
    return _THIRDS[min(max(int(third), 0), 2)]


def age_group(age: float) -> str:
    """ "below 40", "40 to 59", "60 to 79", "80 and above"."""
    return _AGES[sum(age >= cut for cut in AGE_CUTS)]


def in_order(levels: Iterable[str]) -> list[str]:
    """Levels from low to high where they have an order, else by the alphabet."""
    return sorted(set(levels), key=lambda level: (_ORDERED.index(level) if level in _ORDERED else len(_ORDERED), level))


def spelled(value: Any) -> str:
    """A value as a request carries it."""
    return value if isinstance(value, str) else f"{float(value):.6g}"


def is_missing(value: Any) -> bool:
    """None, NaN or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
