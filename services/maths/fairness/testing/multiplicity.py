"""Many tests at once: step-down maxT for findings one signs, false discovery rate for findings one follows up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.sums import Floats

# Statistics of two permutations that come to the same groups differ in the last bits: such are ties, and count.
TIE = 1e-9


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
