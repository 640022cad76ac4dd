"""A window of arriving records as sums: per label and group, patient-clustered, mergeable, without a single row.

The rest of a group, everyone else with a known level of that attribute, is the attribute's total less the group. That
is exact for patients who are in one group of the attribute. A patient in several (``several`` counts them) adds
2 n_g n_r to the rest's Σ n², which makes the rest's variance too large where a patient's records agree, so a gap is
called less often, not more; and counts in the group and not in the rest's patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.maths.fairness.drift.moments import BINS, FIELDS, LARGEST, QUANTITIES, Counts, sums_of_label
from services.maths.fairness.drift.patients import count_patients
from services.maths.fairness.groups import Codes, Grouping, require_names

_LARGEST_SUM = 2**62
_SUMS = ("records", "patients", "returning", "several", "labelled", "histogram")


@dataclass(frozen=True)
class WindowCells:
    """Sums of one window. Rows R are the C groups of all attributes in order, then the A totals of the attributes.

    Attributes:
        label_names: L names.
        attributes: A pairs of an attribute and its groups.
        thresholds: (L,) float64 operating points, NaN for a label without one.
        records, patients: (R,) int64.
        returning: (R,) int64 patients who had records in an earlier window, 0 where nobody said so.
        several: (A,) int64 patients in more than one group of the attribute.
        labelled: (L, R) int64 records with a label.
        moments: (L, R, 7, 7) int64 by QUANTITIES and FIELDS (moments.py).
        histogram: (L, R, 20) int64 records by score, bins of equal width over [0, 1].
    """

    label_names: tuple[str, ...]
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    thresholds: NDArray[np.float64]
    records: Counts
    patients: Counts
    returning: Counts
    several: Counts
    labelled: Counts
    moments: Counts
    histogram: Counts

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """(attribute, group) of the first C rows."""
        return tuple((attribute, group) for attribute, groups in self.attributes for group in groups)

    @property
    def total_rows(self) -> Counts:
        """(C,) row of the attribute's total, for every cell."""
        sizes = [len(groups) for _, groups in self.attributes]
        return np.repeat(sum(sizes) + np.arange(len(sizes)), sizes).astype(np.int64)

    @property
    def group_sums(self) -> Counts:
        """(L, C, 7, 7) moments of the groups."""
        return self.moments[:, : len(self.cells)]

    @property
    def rest_sums(self) -> Counts:
        """(L, C, 7, 7) moments of everyone else with a known level; the largest d is that of the total."""
        total = self.moments[:, self.total_rows]
        rest = total - self.group_sums
        rest[..., LARGEST] = total[..., LARGEST]
        return rest

    def to_dict(self) -> dict[str, Any]:
        """Strings, whole numbers, floats, None, lists and dicts only; ``from_dict`` gives the same window back."""
        return {
            "label_names": list(self.label_names),
            "attributes": [{"attribute": name, "groups": list(groups)} for name, groups in self.attributes],
            "thresholds": [None if np.isnan(value) else float(value) for value in self.thresholds],
            **{name: getattr(self, name).tolist() for name in (*_SUMS, "moments")},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> WindowCells:
        """The window of ``to_dict``. Raises ValueError where a field is missing or has another shape."""
        missing = [field.name for field in fields(cls) if field.name not in plain]
        if missing:
            raise ValueError(f"a window needs {', '.join(missing)}")
        label_names = tuple(plain["label_names"])
        attributes = tuple((part["attribute"], tuple(part["groups"])) for part in plain["attributes"])
        thresholds = np.array([np.nan if value is None else value for value in plain["thresholds"]], dtype=np.float64)
        arrays = {}
        for name, shape in _shapes(label_names, attributes).items():
            array = np.array(plain[name], dtype=np.int64)
            if array.size == np.prod(shape):  # empty axes are lost in lists
                array = array.reshape(shape)
            if array.shape != shape:
                raise ValueError(f"{name} of a window must be {shape}, got {array.shape}")
            arrays[name] = array
        return cls(label_names, attributes, thresholds, **arrays)


def window_cells(
    scores: NDArray[np.float32],
    labels: NDArray[np.int8],
    groups: Sequence[Grouping],
    patients: NDArray[np.int64],
    thresholds: NDArray[np.float64],
    *,
    label_names: Sequence[str] | None = None,
    returning: NDArray[np.bool_] | None = None,
) -> WindowCells:
    """Add up a window's rows; their order changes nothing.

    scores (L, N) float32 in [0, 1], NaN missing; labels (L, N) int8, 1, 0 or -1 missing; one grouping of the N records
    per attribute; patients (N,) int64 in any numbering; thresholds (L,), a record is flagged at or over it, NaN for a
    label without one. ``label_names`` default to "0", "1", ...; ``returning`` (N,) says whose patient was seen in an
    earlier window. A record without a label counts for flag rate and scores only, one without a score for prevalence.

    Raises ValueError where shapes disagree or values are out of range, and where so many records belong to one patient
    that a sum of squares would leave int64 (Σ of squared records per patient at 2³⁴).
    """
    _check(scores, labels, groups, patients, thresholds)
    names = tuple(str(place) for place in range(len(scores))) if label_names is None else tuple(label_names)
    if len(set(names)) != len(scores):
        raise ValueError(f"{len(scores)} labels need as many different names, got {len(set(names))}")
    attributes = tuple((grouping.attribute, grouping.groups) for grouping in groups)
    sizes = [len(grouping.groups) for grouping in groups]
    cells, rows = sum(sizes), sum(sizes) + len(groups)
    offsets = np.concatenate([[0], np.cumsum(sizes)])[: len(groups)].astype(np.int64)

    profile, codes = _profiles(groups, len(patients))
    order = np.argsort(patients, kind="stable")
    sorted_patients = patients[order]
    firsts = np.flatnonzero(np.r_[True, sorted_patients[1:] != sorted_patients[:-1]][: len(patients)])
    starts = np.append(firsts, len(patients)).astype(np.int64)
    if float((np.diff(starts).astype(np.float64) ** 2).sum()) >= 2**34:
        raise ValueError("one patient holds too many of the window's records for sums over patients")
    mixed = _mixed(profile[order], starts)
    spread = [(offsets[a], cells + a, codes[:, a]) for a in range(len(groups))]

    tables = {name: np.zeros(shape, dtype=np.int64) for name, shape in _shapes(names, attributes).items()}
    _spread(tables["records"], np.bincount(profile, minlength=len(codes)), spread)
    people = count_patients(groups, patients, returning)
    tables |= {"patients": people.patients, "returning": people.returning, "several": people.several}
    for place in range(len(scores)):
        moments = np.zeros((len(codes), len(QUANTITIES), len(FIELDS)), dtype=np.int64)
        histogram = np.zeros((len(codes), BINS), dtype=np.int64)
        labelled = np.zeros(len(codes), dtype=np.int64)
        sums_of_label(
            scores[place], labels[place], float(thresholds[place]), order, starts, profile, mixed, codes, offsets,
            moments, histogram, labelled, tables["moments"][place],
        )  # fmt: skip
        _spread(tables["histogram"][place], histogram, spread)
        _spread(tables["labelled"][place], labelled, spread)
        largest = np.maximum(tables["moments"][place, ..., LARGEST], _spread_largest(moments, spread, rows))
        _spread(tables["moments"][place], moments, spread)
        tables["moments"][place, ..., LARGEST] = largest
    return WindowCells(names, attributes, np.asarray(thresholds, dtype=np.float64), **tables)


def merge(first: WindowCells, second: WindowCells) -> WindowCells:
    """The sums of both: those of the union where no patient is in both parts.

    A patient in both counts as two, whose records are then taken for independent. Raises ValueError unless labels,
    thresholds, attributes and groups agree.
    """
    if (first.label_names, first.attributes) != (second.label_names, second.attributes):
        raise ValueError("windows differ in labels, attributes or groups; merge windows of one monitor")
    if not np.array_equal(first.thresholds, second.thresholds, equal_nan=True):
        raise ValueError("windows have different thresholds; merge windows of one threshold")
    if len(first.moments) and first.moments.max(initial=0) + float(second.moments.max(initial=0)) >= _LARGEST_SUM:
        raise ValueError("the sums of both windows leave int64; merge fewer windows")
    moments = first.moments + second.moments
    moments[..., LARGEST] = np.maximum(first.moments[..., LARGEST], second.moments[..., LARGEST])
    sums = {name: getattr(first, name) + getattr(second, name) for name in _SUMS}
    return WindowCells(first.label_names, first.attributes, first.thresholds, moments=moments, **sums)


def _shapes(
    label_names: tuple[str, ...], attributes: tuple[tuple[str, tuple[str, ...]], ...]
) -> dict[str, tuple[int, ...]]:
    rows = sum(len(groups) + 1 for _, groups in attributes)
    return {
        "records": (rows,),
        "patients": (rows,),
        "returning": (rows,),
        "several": (len(attributes),),
        "labelled": (len(label_names), rows),
        "moments": (len(label_names), rows, len(QUANTITIES), len(FIELDS)),
        "histogram": (len(label_names), rows, BINS),
    }


def _check(
    scores: NDArray[np.float32],
    labels: NDArray[np.int8],
    groups: Sequence[Grouping],
    patients: NDArray[np.int64],
    thresholds: NDArray[np.float64],
) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape or scores.shape[1] != len(patients):
        raise ValueError(
            f"scores and labels must be (L, N) for (N,) patients, got {scores.shape}, {labels.shape}, {patients.shape}"
        )
    if patients.ndim != 1 or patients.dtype.kind not in "iu":
        raise ValueError(f"patients must be (N,) integers, got {patients.dtype} {patients.shape}")
    if np.shape(thresholds) != (len(scores),):
        raise ValueError(f"{len(scores)} labels need as many thresholds, got {np.shape(thresholds)}")
    require_names(groups)
    if any(len(grouping.codes) != len(patients) for grouping in groups):
        raise ValueError(f"every attribute needs a group for each of the {len(patients)} records")
    for score, label in zip(scores, labels, strict=True):  # by label: no copy of everything
        if len(score) and not (np.nanmin(score, initial=0.0) >= 0.0 and np.nanmax(score, initial=1.0) <= 1.0):
            raise ValueError("scores must be probabilities in [0, 1], NaN where there is none")
        if len(label) and not (label.min() >= -1 and label.max() <= 1):
            raise ValueError("labels must be 1, 0, or -1 where there is none")


def _profiles(groups: Sequence[Grouping], records: int) -> tuple[Codes, Codes]:
    """(N,) profile of each record, and (P, A) the groups that each profile is made of. P is at least 1."""
    profile = np.zeros(records, dtype=np.int64)
    for grouping in groups:
        profile = pd.factorize(profile * (len(grouping.groups) + 1) + grouping.codes + 1)[0].astype(np.int64)
    count = int(profile.max(initial=0)) + 1
    example = np.zeros(count, dtype=np.int64)
    example[profile] = np.arange(records)
    codes = np.full((count, len(groups)), -1, dtype=np.int64)
    for place, grouping in enumerate(groups):
        if records:
            codes[:, place] = grouping.codes[example]
    return profile, codes


def _mixed(sorted_profile: Codes, starts: Codes) -> NDArray[np.bool_]:
    """(K,) whether a patient's records have several profiles."""
    if len(starts) < 2:
        return np.zeros(0, dtype=bool)
    return np.minimum.reduceat(sorted_profile, starts[:-1]) < np.maximum.reduceat(sorted_profile, starts[:-1])


def _spread(target: Counts, by_profile: Counts, spread: list[tuple[int, int, Codes]]) -> None:
    """Add (P, ...) sums of profiles to the (R, ...) rows of their groups and attributes' totals."""
    for offset, total, codes in spread:
        known = codes >= 0
        np.add.at(target, offset + codes[known], by_profile[known])
        target[total] += by_profile[known].sum(axis=0)


def _spread_largest(by_profile: Counts, spread: list[tuple[int, int, Codes]], rows: int) -> Counts:
    """(R, 7) largest denominator of a patient, from (P, 7, 7) sums of profiles."""
    target = np.zeros((rows, len(QUANTITIES)), dtype=np.int64)
    for offset, total, codes in spread:
        known = codes >= 0
        np.maximum.at(target, offset + codes[known], by_profile[known][..., LARGEST])
        target[total] = by_profile[known][..., LARGEST].max(axis=0, initial=0)
    return target
