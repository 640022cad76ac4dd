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
from numpy.typing import NDArray
from scipy import stats

from services.maths.fairness.estimates import ROUNDING, Estimates, ratio_of_sums
from services.maths.fairness.groups import Codes
from services.maths.fairness.sums import Floats, Units

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
        multiplier = stats.t.isf(stats.norm.sf(critical) / used, self.degrees)
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


def ece_estimates(
    y_true: NDArray[np.int8], y_score: NDArray[np.float64], units: Units, slots: Codes, count: int
) -> Estimates:
    """(count,) expected calibration error of each group; NaN where it has no records.

    ``y_true`` is (N,) in {0, 1}, ``y_score`` (N,) in [0, 1], ``units`` the units of these N records, and ``slots`` (U,)
    group numbers of the units in 0..count-1. Influence: a record adds its excess (score - label), with the sign of its
    bin's error, less the group's ECE, over the group's records.
    """
    place = slots[units.unit] * BINS + bin_of(y_score)
    excess = y_score - y_true

    def by_bin(values: Floats) -> Floats:
        added: Floats = np.bincount(place, weights=values, minlength=count * BINS).astype(np.float64)
        return added.reshape(count, BINS)

    signed = by_bin(excess)
    sums = units.sums({"excess": np.sign(signed).ravel()[place] * excess, "records": np.ones(len(y_score))})
    estimates = ratio_of_sums(sums, "excess", "records", slots=slots, count=count, scale="identity")

    records = np.maximum(np.bincount(slots[units.unit], minlength=count), 1)[:, None]
    mean = signed / records
    patient_slot = units.patient[units.unit] * count + slots[units.unit]
    inflation = (np.maximum(estimates.patients, 2) / estimates.degrees)[:, None]
    clustered = _squares(patient_slot, place, excess, mean) * inflation
    squares = by_bin(excess**2)
    independent = squares - 2.0 * mean * signed + mean**2 * records
    varying = independent > ROUNDING * squares
    design_effect = np.divide(clustered, independent, out=np.ones_like(clustered), where=varying)
    # No bin is surer than records whose rate is the one that the scores say, or the observed one with two more
    # positives and negatives (Agresti and Coull 1998): with hardly a positive record, the variance seen is too small.
    counts, positives = by_bin(np.ones(len(y_score))), by_bin(np.asarray(y_true, dtype=np.float64))
    rate = (positives + 2.0) / (counts + 4.0)
    expected = np.maximum(by_bin(y_score * (1.0 - y_score)), counts * rate * (1.0 - rate))
    variance = np.maximum(clustered, expected * np.maximum(design_effect, 1.0)) / records**2
    return replace(estimates, own_limits=CalibrationBands(np.abs(mean), np.sqrt(variance), estimates.degrees))


def _squares(patient_slot: Codes, place: Codes, excess: Floats, mean: Floats) -> Floats:
    """(G, B) sums over patients of (x_kb - e_b n_k)², x_kb the patient's excess in the bin, n_k its records."""
    count = len(mean)
    key, inverse, records = np.unique(patient_slot, return_inverse=True, return_counts=True)
    group = key % count
    records_squared = np.bincount(group, weights=records.astype(np.float64) ** 2, minlength=count)
    bins = place % BINS
    in_bin, entry = np.unique(inverse * BINS + bins, return_inverse=True)
    owner, at = np.divmod(in_bin, BINS)
    total = np.bincount(entry, weights=excess)
    cell = group[owner] * BINS + at
    own = np.bincount(cell, weights=total**2, minlength=count * BINS).reshape(count, BINS)
    cross = np.bincount(cell, weights=total * records[owner], minlength=count * BINS).reshape(count, BINS)
    squares: Floats = np.maximum(own - 2.0 * mean * cross + mean**2 * records_squared[:, None], 0.0)
    return squares
