"""Patients of a window by group, and those of them who were there before.

Who returns depends on earlier windows, so it can be counted apart and put into a window that was closed without it:
``dataclasses.replace(window, returning=count_patients(...).returning)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.maths.fairness.drift.moments import Counts
from services.maths.fairness.groups import Grouping


@dataclass(frozen=True)
class PatientCounts:
    """``patients`` and ``returning`` are (R,) by the rows of ``WindowCells``, ``several`` is (A,)."""

    patients: Counts
    returning: Counts
    several: Counts


def count_patients(
    groups: Sequence[Grouping], patients: NDArray[np.int64], returning: NDArray[np.bool_] | None = None
) -> PatientCounts:
    """A patient counts once in every group that holds a record of theirs. patients and returning are (N,).

    A patient returns if any of their records is marked; nobody does without ``returning``.
    """
    number, distinct = pd.factorize(patients)
    was_seen = np.zeros(len(distinct), dtype=bool)
    if returning is not None:
        was_seen[number[np.asarray(returning, dtype=bool)]] = True
    inside: list[Counts] = []
    inside_returning: list[Counts] = []
    totals, several = [], []
    for grouping in groups:
        count = len(grouping.groups)
        known = grouping.codes >= 0
        pairs = pd.unique(number[known].astype(np.int64) * max(count, 1) + grouping.codes[known])
        own, group = pairs // max(count, 1), pairs % max(count, 1)
        inside.append(np.bincount(group, minlength=count))
        inside_returning.append(np.bincount(group[was_seen[own]], minlength=count))
        in_groups = np.bincount(own, minlength=len(distinct))
        totals.append(((in_groups > 0).sum(), ((in_groups > 0) & was_seen).sum()))
        several.append((in_groups > 1).sum())
    total = np.array(totals, dtype=np.int64).reshape(len(groups), 2)
    return PatientCounts(
        np.concatenate([*inside, total[:, 0]]).astype(np.int64),
        np.concatenate([*inside_returning, total[:, 1]]).astype(np.int64),
        np.array(several, dtype=np.int64),
    )
