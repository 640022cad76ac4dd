"""Groups of records: the levels of an attribute, or the intersections of the levels of several.

A level without any record stays a group: that nobody of it is in the cohort is a finding, not a gap in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

OVERALL = "overall"
MISSING = "(missing)"

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """Which group each record is in. ``codes`` is (N,) int64 into ``groups``, -1 where the attribute is missing."""

    attribute: str
    groups: tuple[str, ...]
    codes: Codes

    def __post_init__(self) -> None:
        if MISSING in self.groups:
            raise ValueError(f"attribute {self.attribute!r} has a level named {MISSING!r}; rename the level")
        if len(set(self.groups)) < len(self.groups):
            raise ValueError(f"attribute {self.attribute!r} has two groups of one name; give each its own")
        if self.codes.ndim != 1 or self.codes.dtype.kind not in "iu":
            found = f"{self.codes.dtype} {self.codes.shape}"
            raise ValueError(f"codes of attribute {self.attribute!r} must be (N,) integers, got {found}")
        if self.codes.size and not -1 <= int(self.codes.min()) <= int(self.codes.max()) < len(self.groups):
            raise ValueError(f"codes of attribute {self.attribute!r} must lie in -1..{len(self.groups) - 1}")

    @property
    def slots(self) -> Codes:
        """(N,) place of each record's cell in ``slot_names``: "(missing)" comes after the groups."""
        return np.where(self.codes < 0, len(self.groups), self.codes)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return (*self.groups, MISSING)

    def take(self, rows: NDArray[np.intp]) -> Grouping:
        """The same groups for a selection of the records."""
        return Grouping(self.attribute, self.groups, self.codes[rows])


def everyone(records: int) -> Grouping:
    """One group that holds all the records, those with missing attributes included."""
    return Grouping("", (OVERALL,), np.zeros(records, dtype=np.int64))


def intersect(groupings: Sequence[Grouping]) -> Grouping:
    """All intersections in the order of the levels, first attribute slowest; missing where any part is missing."""
    if not groupings or len({len(grouping.codes) for grouping in groupings}) != 1:
        raise ValueError("an intersection needs one attribute or more, all of the same records")
    first, *others = groupings
    attribute, groups, codes = first.attribute, first.groups, first.codes
    for other in others:
        attribute = f"{attribute},{other.attribute}"
        groups = tuple(f"{a}, {b}" for a in groups for b in other.groups)
        codes = np.where((codes < 0) | (other.codes < 0), -1, codes * len(other.groups) + other.codes)
    return Grouping(attribute, groups, codes)


def require_names(groupings: Sequence[Grouping]) -> None:
    """Raise ValueError unless the attributes have different names, none of them everyone's empty one."""
    names = [grouping.attribute for grouping in groupings]
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"attributes must have different names, none of them empty; got {names}")


def numbered_patients(cluster: NDArray[np.generic]) -> tuple[NDArray[np.generic], Codes]:
    """(K,) sorted patient ids of (N,) ``cluster``, and (N,) the place of each record's patient among them.

    Raises ValueError where a record has no patient (NaN, None), for ids of several kinds, and for another shape.
    """
    ids = np.asarray(cluster)
    if ids.ndim != 1:
        raise ValueError(f"cluster must be (N,) patient ids, got shape {ids.shape}")
    if ids.dtype.kind == "O" and pd.api.types.infer_dtype(ids) in ("mixed", "mixed-integer"):
        raise ValueError("cluster must hold patient ids of one kind, all numbers or all words")
    patient, distinct = pd.factorize(ids, sort=True)
    if (patient < 0).any():
        raise ValueError("cluster must name a patient for every record; leave out the rows without one")
    return np.asarray(distinct).astype(ids.dtype), patient.astype(np.int64)


def varying_patients(grouping: Grouping, cluster: NDArray[np.generic]) -> int:
    """How many patients have records in more than one group, "(missing)" aside. ``cluster`` is (N,) patient ids."""
    ids, patient = numbered_patients(cluster)
    if len(patient) != len(grouping.codes):
        raise ValueError(f"{len(grouping.codes)} records have a group and {len(patient)} a patient; they must agree")
    known = grouping.codes >= 0
    pairs = np.unique(patient[known] * len(grouping.groups) + grouping.codes[known])
    in_groups = np.bincount(pairs // max(len(grouping.groups), 1), minlength=len(ids))
    return int((in_groups > 1).sum())


def require_one_group_per_patient(grouping: Grouping, cluster: NDArray[np.generic]) -> None:
    """Raise ValueError where a patient is in several groups of an attribute that belongs to the patient."""
    varying = varying_patients(grouping, cluster)
    if varying:
        raise ValueError(
            f"{varying} patients are in more than one group of {grouping.attribute!r}, which is an attribute of "
            "patients; correct the rows, or declare that it may change between images"
        )


def patients_per_group(slots: Codes, count: int, cluster: Codes) -> Codes:
    """(count,) distinct patients in each slot. ``slots`` is (N,) in 0..count-1, ``cluster`` (N,) patient numbers."""
    patients = int(cluster.max(initial=-1)) + 1
    present = np.zeros((count, patients), dtype=bool)
    present[slots, cluster] = True
    distinct: Codes = present.sum(axis=1, dtype=np.int64)
    return distinct
