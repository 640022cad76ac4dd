"""Attributes that a training can work with: every row in a group, and rows in at least two groups.

What is missing is never dropped in silence and never a weight of NaN: it is refused with its count, or made a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from services.maths.fairness.groups import Grouping, require_names

Missing = Literal["refuse", "own-group"]
NOT_RECORDED = "not recorded"


def trainable(groupings: Sequence[Grouping], *, missing: Missing = "refuse") -> list[Grouping]:
    """The attributes of N rows with a group for each row and only groups that have rows.

    Under "own-group" the rows without a level are a group named "not recorded".

    Raises ValueError for missing values under "refuse" (with their count), an attribute of which fewer than two levels
    have rows, attributes of different rows, two of one name, or none.
    """
    if not groupings or len({len(grouping.codes) for grouping in groupings}) != 1:
        raise ValueError("attributes: one or more are needed, all of the same rows")
    require_names(groupings)
    return [_trainable(grouping, missing) for grouping in groupings]


def _trainable(grouping: Grouping, missing: Missing) -> Grouping:
    absent = int((grouping.codes < 0).sum())
    if absent and missing == "refuse":
        raise ValueError(
            f"attribute {grouping.attribute!r} is missing in {absent} of {len(grouping.codes)} rows; leave these rows "
            "out or make a group of them"
        )
    present = np.unique(grouping.codes[grouping.codes >= 0])
    if len(present) < 2:
        raise ValueError(f"attribute {grouping.attribute!r} has rows of fewer than two levels; nothing can differ")
    names = [grouping.groups[code] for code in present] + [NOT_RECORDED] * bool(absent)
    place = np.full(len(grouping.groups) + 1, len(present), dtype=np.int64)
    place[present] = np.arange(len(present))
    return Grouping(grouping.attribute, tuple(names), place[grouping.slots])
