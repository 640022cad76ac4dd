"""Many tests at once: step-down maxT for findings one signs, false discovery rate for findings one follows up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.sums import Floats

# Statistics of two permutations that come to the same groups differ in the last bits: such are ties, and count.
TIE = 1e-9

_BINS_PER_SD = 100
_FARTHEST = 40  # SD; beyond there is one bin


def at_least(permuted: Floats, observed: Floats | float) -> NDArray[np.bool_]:
    """Where a permuted statistic is as large as the observed one, ties within a relative 1e-9 included."""
    return np.asarray(permuted >= observed - TIE * np.abs(observed))


def permutation_p(observed: Floats, permuted: Floats) -> Floats:
    """(M,) share of the B + 1 arrangements (the data themselves are one) whose statistic is as large as observed.

    ``observed`` is (M,), ``permuted`` (B, M); larger means farther from the null, so a two-sided test hands in absolute
    values. The smallest possible p is 1 / (B + 1) (Phipson and Smyth 2010).
    """
    return np.asarray((1.0 + at_least(permuted, observed).sum(axis=0)) / (len(permuted) + 1.0))


def westfall_young(observed: Floats, permuted: Floats) -> Floats:
    """(M,) p-values adjusted for the family-wise error rate: step-down maxT (Westfall and Young 1993, 4.1).

    ``observed`` is (M,) statistics, larger meaning farther from the null; ``permuted`` (B, M) the same statistics under
    B permutations, each applied to all M tests at once, so that their dependence is used and not bounded. The largest
    statistic is compared with the maximum over all tests, the next with the maximum over the others, and so on;
    adjusted p-values never decrease along that order. NaN statistics are not tests: they get NaN and count for nothing.
    """
    observed, permuted = np.asarray(observed), np.asarray(permuted)
    if observed.ndim != 1 or not len(permuted):
        raise ValueError("Westfall-Young needs (M,) statistics and at least one permutation of them")
    if permuted.ndim != 2 or permuted.shape[1] != len(observed):
        raise ValueError(f"permuted has shape {permuted.shape}; it needs one column for each of {len(observed)} tests")
    adjusted = np.full(len(observed), np.nan)
    tested = np.flatnonzero(~np.isnan(observed))
    order = tested[np.argsort(observed[tested], kind="stable")]
    if not len(order):
        return adjusted
    count = np.zeros(len(order))
    for rows in np.array_split(permuted, max(1, permuted.size // 2**20)):
        # Smallest observed first: the running maximum is then the maximum over all tests that are not more significant.
        running = np.maximum.accumulate(np.nan_to_num(rows[:, order], nan=-np.inf), axis=1)
        count += at_least(running, observed[order]).sum(axis=0)
    p = (1.0 + count) / (len(permuted) + 1.0)
    adjusted[order] = np.maximum.accumulate(p[::-1])[::-1]
    return adjusted


@dataclass
class PooledNull:
    """Permuted statistics of all tests of a family in one histogram, for p-values below 1 / (B + 1).

    B permutations say nothing about p-values below 1 / (B + 1), and a false discovery rate over M tests can ask for
    alpha / M: without more, a lone difference would never be found among hundreds of tests, however large. Statistics
    that are all studentised have about one null distribution, so B M permuted ones tell its tail together (Storey and
    Tibshirani 2003); where a test's own permutations do tell, they are believed.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_FARTHEST * _BINS_PER_SD + 1, dtype=np.int64))

    def add(self, permuted: Floats) -> None:
        """Count permuted statistics of any shape, in units of their null SD."""
        self.counts += np.bincount(_bins(permuted).ravel(), minlength=len(self.counts))

    def sharpened(self, p: Floats, observed: Floats, permutations: int) -> Floats:
        """(M,) permutation p-values, the smallest possible ones replaced by the pooled tail at (M,) ``observed``."""
        beyond = np.cumsum(self.counts[::-1])[::-1][_bins(observed)]
        pooled = (1.0 + beyond) / (1.0 + self.counts.sum())
        unresolved = p <= (1.0 + TIE) / (permutations + 1.0)
        return np.where(unresolved, np.minimum(p, pooled), p)


def _bins(statistics: Floats) -> NDArray[np.int64]:
    bins: NDArray[np.int64] = np.minimum(np.abs(statistics) * _BINS_PER_SD, _FARTHEST * _BINS_PER_SD).astype(np.int64)
    return bins


def benjamini_hochberg(p: Floats) -> Floats:
    """(M,) p-values adjusted for the false discovery rate (Benjamini and Hochberg 1995); NaN where ``p`` is NaN.

    Valid for independent and positively dependent tests, which overlapping groups of one cohort are taken to be.
    """
    p = np.asarray(p)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise ValueError("p-values must be (M,) in [0, 1], or NaN where there was no test")
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
