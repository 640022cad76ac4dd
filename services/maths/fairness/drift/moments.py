"""Patient-clustered sums of one label, in one pass over rows that are sorted by patient.

Seven ratios, each the sum of a numerator n_k over the sum of a denominator d_k of patients k:

    tpr          flagged positives                    / positives with a score
    fpr          flagged negatives                    / negatives with a score
    prevalence   positives                            / labelled records
    flag_rate    records at or over the threshold     / records with a score
    mean_score   scores, in whole 2⁻¹⁴                / records with a score
    mean_score_of_positives, mean_score_of_negatives  the same over labelled records of one class

Of each are kept Σ n, Σ d, Σ n², Σ n d, Σ d², the number of patients with d > 0 and the largest d: all int64, so that no
order of addition changes them. Most patients are in one group of every attribute; their sums are added once per
*profile* (combination of groups) and spread over the attributes afterwards.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

METRICS = ("tpr", "fpr", "prevalence", "flag_rate")
QUANTITIES = (*METRICS, "mean_score", "mean_score_of_positives", "mean_score_of_negatives")
FIELDS = ("numerator", "denominator", "nn", "nd", "dd", "patients", "largest")
LARGEST = FIELDS.index("largest")
BINS = 20
SCORE_UNIT = 2.0**-14
"""Scores are added up in whole units: exact in any order, and no further from the mean than half a unit."""

Counts = NDArray[np.int64]
_UNITS = 16384
_TP, _P, _FP, _N, _POS, _LABELLED, _FLAGGED, _SCORED, _SCORE, _SCORE_P, _SCORE_N = range(11)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count(counters, score, label, threshold):  # type: ignore[no-untyped-def]
    """Add one record to the counters of its patient. Returns the bin of its score, -1 without one."""
    if label >= 0:
        counters[_LABELLED] += 1
        counters[_POS] += label
    if np.isnan(score):
        return -1
    flagged = 1 if score >= threshold else 0
    counters[_SCORED] += 1
    counters[_FLAGGED] += flagged
    units = int(score * _UNITS + 0.5)
    counters[_SCORE] += units
    if label == 1:
        counters[_P] += 1
        counters[_TP] += flagged
        counters[_SCORE_P] += units
    elif label == 0:
        counters[_N] += 1
        counters[_FP] += flagged
        counters[_SCORE_N] += units
    return min(int(score * BINS), BINS - 1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_ratio(moments, n, d):  # type: ignore[no-untyped-def]
    """Add one patient's numerator and denominator to the (7,) sums of one ratio."""
    if d > 0:
        moments[0] += n
        moments[1] += d
        moments[2] += n * n
        moments[3] += n * d
        moments[4] += d * d
        moments[5] += 1
        moments[6] = max(moments[6], d)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_patient(moments, counters, has_threshold):  # type: ignore[no-untyped-def]
    """Add one patient's counters to the (7, 7) sums of a group."""
    if has_threshold:
        _add_ratio(moments[0], counters[_TP], counters[_P])
        _add_ratio(moments[1], counters[_FP], counters[_N])
        _add_ratio(moments[3], counters[_FLAGGED], counters[_SCORED])
    _add_ratio(moments[2], counters[_POS], counters[_LABELLED])
    _add_ratio(moments[4], counters[_SCORE], counters[_SCORED])
    _add_ratio(moments[5], counters[_SCORE_P], counters[_P])
    _add_ratio(moments[6], counters[_SCORE_N], counters[_N])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sums_of_label(  # type: ignore[no-untyped-def]  # noqa: PLR0917 - compiled, so arrays one by one
    score, label, threshold, order, starts, profile, mixed, codes, offsets, moments, histogram, labelled, rows
):
    """Fill one label's sums.

    score (N,) float32, label (N,) int8, order (N,) rows sorted by patient, starts (K + 1,) where each patient begins in
    ``order``, profile (N,) int64 in 0..P-1, mixed (K,) whether a patient has several profiles, codes (P, A) groups of a
    profile (-1: missing), offsets (A,) row of an attribute's first group. Filled: moments (P, 7, 7), histogram
    (P, 20) and labelled (P,) by profile; rows (R, 7, 7), the sums of mixed patients by group, attributes' totals last.
    """
    attributes = codes.shape[1]
    groups = rows.shape[0] - attributes
    has_threshold = not np.isnan(threshold)
    counters = np.zeros(11, np.int64)
    whole = np.zeros(11, np.int64)
    scratch = np.zeros((groups + 1, 11), np.int64)
    ignored = np.zeros(11, np.int64)
    for patient in range(starts.shape[0] - 1):
        begin, end = starts[patient], starts[patient + 1]
        counters[:] = 0
        for place in range(begin, end):
            row = order[place]
            own = profile[row]
            score_bin = _count(counters, score[row], label[row], threshold)
            if score_bin >= 0:
                histogram[own, score_bin] += 1
            if label[row] >= 0:
                labelled[own] += 1
        if not mixed[patient]:
            _add_patient(moments[profile[order[begin]]], counters, has_threshold)
            continue
        for attribute in range(attributes):
            whole[:] = 0
            for place in range(begin, end):
                row = order[place]
                code = codes[profile[row], attribute]
                if code >= 0:
                    _count(scratch[offsets[attribute] + code], score[row], label[row], threshold)
                    _count(whole, score[row], label[row], threshold)
                else:
                    _count(ignored, score[row], label[row], threshold)
            for place in range(begin, end):
                code = codes[profile[order[place]], attribute]
                if code >= 0:
                    # A group that was added is zero by now, and a zero adds nothing.
                    _add_patient(rows[offsets[attribute] + code], scratch[offsets[attribute] + code], has_threshold)
                    scratch[offsets[attribute] + code, :] = 0
            _add_patient(rows[groups + attribute], whole, has_threshold)
