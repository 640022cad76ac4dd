"""A metric in each group with the influence of each patient on it: what intervals, gaps, changes and tests stand on.

The influence of patient *k* on an estimate is, to first order, what the estimate would lose without that patient (the
infinitesimal jackknife). Influences add up to zero over patients; their squares add up to the variance. Because one
patient's records are summed before squaring, repeated images of one patient are one observation (Obuchowski 1997 for
AUROC, the linearised ratio estimator of survey sampling for rates and means). Groups may share patients, and two
pipelines read the same patients: sums of products give the covariances as well, with no further assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.groups import Codes
from services.maths.fairness.sums import Floats, PatientSums

ROUNDING = 1e-13  # relative; far below the influence of one record among a billion

Index = NDArray[np.int32]
Scale = Literal["identity", "logit", "wilson", "log"]


class OwnLimits(Protocol):
    """Limits of a metric that no scale describes: a mean of two rates, a sum of absolute values."""

    def at(self, critical: float) -> tuple[Floats, Floats]:
        """(G,) lower and upper limits at a normal critical value."""

    def take(self, groups: NDArray[np.intp]) -> OwnLimits:
        """The limits of some of the groups, in the order given."""

    def beside(self, other: Any) -> OwnLimits:
        """These groups and then those of ``other``, limits of the same kind."""


@dataclass(frozen=True)
class Estimates:
    """One metric in G groups over K patients.

    Attributes:
        value: (G,) float64, NaN where the metric has no value.
        influence: (K, G) sparse float64; each column sums to 0, all zero where the value is NaN.
        share: (K, G) sparse float64, the patient's part of the group's records; each column sums to 1. Hence
            ``influence + share * value`` are contributions that sum to the value.
        patients: (G,) int64, patients that decide the value (for TPR those with positives); ``patients - 1`` are the
            degrees of freedom.
        patient_ids: (K,) sorted and distinct.
        scale: where an interval is built: "identity" for means, "logit" for AUROC, "wilson" for proportions, "log"
            for positive quantities that are compared by ratio.
        own_limits: takes the scale's place where a metric has limits of its own (balanced accuracy, ECE).
    """

    value: Floats
    influence: sparse.csr_array
    share: sparse.csr_array
    patients: Codes
    patient_ids: NDArray[np.generic]
    scale: Scale
    own_limits: OwnLimits | None = None

    @property
    def degrees(self) -> Codes:
        """(G,) degrees of freedom, at least 1."""
        return np.maximum(self.patients - 1, 1)

    @cached_property
    def covariance(self) -> Floats:
        """(G, G) covariance of the values, standard errors inflated by sqrt(K_g / (K_g - 1)); NaN where undefined."""
        inflation = np.sqrt(np.maximum(self.patients, 2) / self.degrees)
        products = _products(self.influence.indptr, self.influence.indices, self.influence.data, len(self.value))
        covariance: Floats = products * np.outer(inflation, inflation)
        undefined = np.isnan(self.value)
        covariance[undefined] = np.nan
        covariance[:, undefined] = np.nan
        return covariance

    @cached_property
    def standard_error(self) -> Floats:
        """(G,) patient-clustered standard errors."""
        squares = column_squares(self.influence)
        error = np.sqrt(squares * np.maximum(self.patients, 2) / self.degrees)
        return np.where(np.isnan(self.value), np.nan, error)

    def take(self, groups: NDArray[np.intp] | list[int]) -> Estimates:
        """The same metric in some of the groups, in the order given."""
        chosen = np.asarray(groups, dtype=np.intp)
        return Estimates(
            self.value[chosen],
            _columns(self.influence, chosen),
            _columns(self.share, chosen),
            self.patients[chosen],
            self.patient_ids,
            self.scale,
            None if self.own_limits is None else self.own_limits.take(chosen),
        )


def ratio_of_sums(
    sums: PatientSums, numerator: str, denominator: str, *, slots: Codes, count: int, scale: Scale
) -> Estimates:
    """(count,) values of sum(numerator) / sum(denominator) in each slot; NaN where the denominator is 0.

    ``slots`` is (U,) group numbers of the units in 0..count-1. Influence of a patient: (n_k - value d_k) / sum(d)
    (linearised ratio; Cochran 1977, section 6).
    """
    above, below = sums.column(numerator), sums.column(denominator)
    total = np.bincount(slots, weights=below, minlength=count)
    value = np.full(count, np.nan)
    np.divide(np.bincount(slots, weights=above, minlength=count), total, out=value, where=total > 0)

    carries = below > 0
    patient, group, divisor = sums.patient[carries], slots[carries], total[slots[carries]]
    weight = below[carries] / divisor
    shape = (len(sums.patient_ids), count)
    own = above[carries] / divisor - value[group] * weight
    influence, share = by_patient((own, weight), patient, group, shape)
    drop_rounding(influence, share, value)
    patients = np.bincount(share.indices, minlength=count).astype(np.int64)
    return Estimates(value, influence, share, patients, sums.patient_ids, scale)


def by_patient(
    columns: tuple[Floats, ...], patient: Codes, group: Codes, shape: tuple[int, int]
) -> tuple[sparse.csr_array, ...]:
    """(K, G) sparse sums of each of the (n,) ``columns`` at (patient, group) places, all with the same entries.

    Entries that are zero are kept as entries. Units come in the order of patients, so that as a rule nothing is left to
    sort: this is several times faster than the way through scipy's coordinate format, and there are two such matrices
    per metric, attribute and label.
    """
    ascending, indices, ends = _rows(patient, group, shape[0])
    if not ascending:
        key = patient * shape[1] + group
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(key[order]) > 0])
        columns = tuple(np.add.reduceat(column[order], starts) for column in columns)
        _, indices, ends = _rows(patient[order[starts]], group[order[starts]], shape[0])
    return tuple(sparse.csr_array((column, indices, ends), shape=shape) for column in columns)


def column_squares(matrix: sparse.csr_array) -> Floats:
    """(G,) sums of the squares in each column."""
    return np.bincount(matrix.indices, weights=matrix.data**2, minlength=matrix.shape[1]).astype(np.float64)


def drop_rounding(influence: sparse.csr_array, share: sparse.csr_array, scale: Floats) -> None:
    """Set to 0, in place, influences that are rounding: below 1e-13 of share times the (G,) ``scale`` of the metric.

    The influence of a lone patient is 0, and so is everyone's where all are alike. What rounding leaves of it would
    pass for a variance, and a very small one.
    """
    threshold = ROUNDING * np.abs(scale)[influence.indices] * share.data
    influence.data[np.abs(influence.data) <= threshold] = 0.0


def everywhere(*parts: Estimates) -> Estimates:
    """The groups of several metrics side by side, for contrasts that are to hold jointly (TPR and FPR).

    All parts must be of the same patients (same ``patient_ids``). The scale of the first is kept; limits of their own
    are, if all parts have the same kind of them.
    """
    first, *others = parts
    for part in others:
        if part.patient_ids is not first.patient_ids and not np.array_equal(part.patient_ids, first.patient_ids):
            raise ValueError("estimates of different patients cannot stand side by side")
    own = first.own_limits
    for part in others:
        own = own.beside(part.own_limits) if own is not None and type(own) is type(part.own_limits) else None
    return Estimates(
        np.concatenate([part.value for part in parts]),
        reduce(_beside, [part.influence for part in parts]),
        reduce(_beside, [part.share for part in parts]),
        np.concatenate([part.patients for part in parts]),
        first.patient_ids,
        first.scale,
        own,
    )


def _beside(first: sparse.csr_array, second: sparse.csr_array) -> sparse.csr_array:
    """Columns of both; what scipy's hstack does, several times faster."""
    parts = _joined(
        (first.indptr, first.indices, first.data), (second.indptr, second.indices, second.data), first.shape[1]
    )
    return sparse.csr_array(parts, shape=(first.shape[0], first.shape[1] + second.shape[1]))


def _columns(matrix: sparse.csr_array, chosen: NDArray[np.intp]) -> sparse.csr_array:
    """Some of the columns, in the order given; what scipy's indexing does, in one call for each of thousands."""
    count = matrix.shape[1]
    places = np.full(count, -1, dtype=np.int64)
    places[chosen] = np.arange(len(chosen))
    if (places[chosen] != np.arange(len(chosen))).any():  # a column is asked for twice
        return sparse.csr_array(matrix[:, chosen])
    parts = _chosen(matrix.indptr, matrix.indices, matrix.data, places)
    return sparse.csr_array(parts, shape=(matrix.shape[0], len(chosen)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _products(ends: Index, indices: Index, data: Floats, count: int) -> Floats:
    """(count, count) products of every two columns, summed over the rows in their order."""
    products = np.zeros((count, count))
    for row in range(len(ends) - 1):
        for one in range(ends[row], ends[row + 1]):
            for other in range(ends[row], ends[row + 1]):
                products[indices[one], indices[other]] += data[one] * data[other]
    return products


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _chosen(ends: Index, indices: Index, data: Floats, places: Codes) -> tuple[Floats, Index, Index]:
    """The entries of columns that have a place, at that place."""
    total = 0
    for column in indices:
        total += places[column] >= 0
    kept, columns, kept_ends = np.empty(total), np.empty(total, np.int32), np.zeros(len(ends), np.int32)
    at = 0
    for row in range(len(ends) - 1):
        for entry in range(ends[row], ends[row + 1]):
            if places[indices[entry]] >= 0:
                kept[at], columns[at] = data[entry], places[indices[entry]]
                at += 1
        kept_ends[row + 1] = at
    return kept, columns, kept_ends


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _rows(patient: Codes, group: Codes, patients: int) -> tuple[bool, Index, Index]:
    """Whether places ascend strictly, their columns, and where each patient's row ends."""
    ascending = True
    indices, ends = np.empty(len(patient), np.int32), np.zeros(patients + 1, np.int32)
    for place in range(len(patient)):
        indices[place] = group[place]
        ends[patient[place] + 1] += 1
        if place and (
            patient[place] < patient[place - 1]
            or (patient[place] == patient[place - 1] and group[place] <= group[place - 1])
        ):
            ascending = False
    for row in range(patients):
        ends[row + 1] += ends[row]
    return ascending, indices, ends


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _joined(
    first: tuple[Index, Index, Floats], second: tuple[Index, Index, Floats], offset: int
) -> tuple[Floats, Index, Index]:
    (first_ends, first_indices, first_data), (second_ends, second_indices, second_data) = first, second
    total = len(first_indices) + len(second_indices)
    data, indices, ends = np.empty(total), np.empty(total, np.int32), np.zeros(len(first_ends), np.int32)
    at = 0
    for row in range(len(first_ends) - 1):
        for place in range(first_ends[row], first_ends[row + 1]):
            data[at], indices[at] = first_data[place], first_indices[place]
            at += 1
        for place in range(second_ends[row], second_ends[row + 1]):
            data[at], indices[at] = second_data[place], second_indices[place] + offset
            at += 1
        ends[row + 1] = at
    return data, indices, ends
