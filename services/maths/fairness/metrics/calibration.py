"""Expected calibration error by group, with bands over its bins.

Records are sorted into equal-width bins of their score. A bin's error is the sum of score minus label over its
records; ECE adds up the bins' absolute errors and divides by the number of records (Naeini, Cooper and Hauskrecht
2015): 0 means that in every bin as many records are positive as the scores say, and 1 is the worst. An absolute value
cannot fall below zero by chance, so ECE is biased upward, the more so the smaller the group: two groups with the same
calibration and different sizes have different expected ECE. The interval says how much of it may be chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import special

from services.maths.fairness.estimates import ROUNDING, Estimates, ratio_of_sums
from services.maths.fairness.groups import Codes
from services.maths.fairness.sums import Floats, PatientSums, Units

BINS = 15


@dataclass(frozen=True)
class CalibrationBands:
    """Limits of ECE from simultaneous bands over the bins' signed errors e_b, which add up to it as sum |e_b|.

    low = sum (|e_b| - c se_b)+ and high = min(1, sum (|e_b| + c se_b)), where c is the t quantile of the critical
    value's tail area divided by the number of bins in use (Bonferroni). Low is 0 where every bin is compatible with
    calibration.

    Attributes:
        absolute: (G, B) |e_b|.
        error: (G, B) standard errors of e_b.
        degrees: (G,) degrees of freedom.
    """

    absolute: Floats
    error: Floats
    degrees: Codes

    def at(self, critical: float) -> tuple[Floats, Floats]:
        """(G,) lower and upper limits at a normal critical value."""
        used = np.maximum((self.error > 0).sum(axis=1), 1)
        multiplier = -special.stdtrit(self.degrees, special.ndtr(-critical) / used)
        reach = multiplier[:, None] * self.error
        return np.maximum(self.absolute - reach, 0.0).sum(axis=1), np.minimum((self.absolute + reach).sum(axis=1), 1.0)

    def take(self, groups: NDArray[np.intp]) -> CalibrationBands:
        """The limits of some of the groups, in the order given."""
        return CalibrationBands(self.absolute[groups], self.error[groups], self.degrees[groups])

    def beside(self, other: CalibrationBands) -> CalibrationBands:
        """These groups and then those of ``other``."""
        return CalibrationBands(
            np.concatenate([self.absolute, other.absolute]),
            np.concatenate([self.error, other.error]),
            np.concatenate([self.degrees, other.degrees]),
        )


def bin_of(y_score: NDArray[np.float64]) -> Codes:
    """(N,) bin of each score in [0, 1]: bin b holds b / 15 <= score < (b + 1) / 15, the last one 1 as well."""
    return np.minimum((y_score * BINS).astype(np.int64), BINS - 1)


@dataclass(frozen=True)
class BinnedRecords:
    """Records sorted into bins; made once per label, it serves every attribute.

    Attributes:
        units: units of the N records.
        bins: (N,) bin of each.
        y_true, y_score: (N,).
        excess: (U, B) sums of score minus label by unit and bin.
        records: (U,) records of the unit.
    """

    units: Units
    bins: Codes
    y_true: Floats
    y_score: Floats
    excess: Floats
    records: Floats


def binned_records(y_true: NDArray[np.int8], y_score: NDArray[np.float64], units: Units) -> BinnedRecords:
    """Sort (N,) labels in {0, 1} and scores in [0, 1] into bins. ``units`` are the units of these N records."""
    bins, count = bin_of(y_score), len(units.patient)
    truth = y_true.astype(np.float64)
    excess = np.bincount(units.unit * BINS + bins, weights=y_score - truth, minlength=count * BINS)
    records = np.bincount(units.unit, minlength=count).astype(np.float64)
    return BinnedRecords(units, bins, truth, y_score, excess.astype(np.float64).reshape(count, BINS), records)


def ece_estimates(binned: BinnedRecords, slots: Codes, count: int) -> Estimates:
    """(count,) expected calibration error of each group; NaN where it has no records.

    ``slots`` is (U,) group numbers of the units in 0..count-1. Influence: a record adds its excess (score - label),
    with the sign of its bin's error, less the group's ECE, over the group's records.
    """
    signed = np.zeros((count, BINS))
    np.add.at(signed, slots, binned.excess)
    columns = np.column_stack([(np.sign(signed)[slots] * binned.excess).sum(axis=1), binned.records])
    units = binned.units
    sums = PatientSums(units.patient_ids, units.patient, units.sensitive_features, ("excess", "records"), columns)
    estimates = ratio_of_sums(sums, "excess", "records", slots=slots, count=count, scale="identity")
    records = np.maximum(np.bincount(slots, weights=binned.records, minlength=count), 1.0)[:, None]
    error = np.sqrt(_variance(binned, slots, signed, records, estimates)) / records
    return replace(estimates, own_limits=CalibrationBands(np.abs(signed) / records, error, estimates.degrees))


def _variance(binned: BinnedRecords, slots: Codes, signed: Floats, records: Floats, estimates: Estimates) -> Floats:
    """(G, B) variances of the bins' sums of excess."""
    count = len(signed)
    place = slots[binned.units.unit] * BINS + binned.bins

    def by_bin(values: Floats | None) -> Floats:
        added: Floats = np.bincount(place, weights=values, minlength=count * BINS).astype(np.float64)
        return added.reshape(count, BINS)

    mean = signed / records
    inflation = (np.maximum(estimates.patients, 2) / estimates.degrees)[:, None]
    clustered = _squares(binned.units.patient, slots, binned.excess, binned.records, mean) * inflation
    squares = by_bin((binned.y_score - binned.y_true) ** 2)
    independent = squares - 2.0 * mean * signed + mean**2 * records
    varying = independent > ROUNDING * squares
    design_effect = np.divide(clustered, independent, out=np.ones_like(clustered), where=varying)
    # No bin is surer than records whose rate is the one that the scores say, or the observed one with two more
    # positives and negatives (Agresti and Coull 1998): with hardly a positive record, the variance seen is too small.
    counts = by_bin(None)
    rate = (by_bin(binned.y_true) + 2.0) / (counts + 4.0)
    expected = np.maximum(by_bin(binned.y_score * (1.0 - binned.y_score)), counts * rate * (1.0 - rate))
    variance: Floats = np.maximum(clustered, expected * np.maximum(design_effect, 1.0))
    return variance


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _squares(patient: Codes, slots: Codes, excess: Floats, records: Floats, mean: Floats) -> Floats:
    """(G, B) sums over patients of (x_kb - e_b n_k)², x_kb the patient's excess in the bin and n_k its records.

    A patient's units follow one another; those of the same group are added up at the first of them.
    """
    squares = np.zeros(mean.shape)
    first = 0
    for u in range(len(patient)):
        if patient[u] != patient[first]:
            first = u
        counted = False
        for before in range(first, u):
            counted = counted or slots[before] == slots[u]
        if counted:
            continue
        own, size = excess[u].copy(), records[u]
        after = u + 1
        while after < len(patient) and patient[after] == patient[u]:
            if slots[after] == slots[u]:
                own += excess[after]
                size += records[after]
            after += 1
        squares[slots[u]] += (own - mean[slots[u]] * size) ** 2
    return squares
