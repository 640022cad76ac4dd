"""Within-patient swaps of two pipelines: what a change would look like if the pipelines were interchangeable.

If candidate and baseline do equally well, which of a patient's two results is called the candidate's is arbitrary.
Exchanging them for a random half of the patients, thousands of times, gives the null distribution of any function of
the results, a largest difference included (Venkatraman and Begg 1996; Bandos, Rockette and Gur 2005). All images of a
patient are exchanged together, for every label and group at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.arguments import stream_key
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.sums import Floats

Ids = NDArray[np.generic]

_WORD = 64  # swaps per random word and stream
_TIE = 1e-9  # relative: equal statistics that were added up in another order
_ROUNDING = 1e-12  # relative: a contribution that is the same in both pipelines


class Swaps:
    """Which patients are exchanged in which of ``count`` swaps, one bit each: 15 MB for 58,000 patients × 1,999.

    ``patient_ids`` are all patients of the audit. A patient's bits depend only on the seed and the patient's place
    among the sorted ids, so that all labels, attributes and pipelines share them and can be adjusted as one family.
    """

    def __init__(self, seed: int, patient_ids: Ids, count: int = 1999) -> None:
        if count < 1:
            raise ValueError("swaps must be at least 1")
        self.count = count
        self.patient_ids = np.unique(patient_ids)
        words = -(-count // _WORD)
        drawn = np.empty((len(self.patient_ids), words), dtype="<u8")
        for word in range(words):
            generator = np.random.Philox(key=stream_key(seed, word))
            drawn[:, word] = generator.random_raw(len(self.patient_ids))
        self.bits = drawn.view(np.uint8)

    def places(self, patient_ids: Ids) -> NDArray[np.int64]:
        """Rows of ``bits`` for sorted patient ids. Raises ValueError for a patient that the audit does not know."""
        if len(patient_ids) == len(self.patient_ids) and np.array_equal(patient_ids, self.patient_ids):
            return np.arange(len(patient_ids))
        places = np.searchsorted(self.patient_ids, patient_ids)
        known = places < len(self.patient_ids)
        if not known.all() or not np.array_equal(self.patient_ids[places], patient_ids):
            raise ValueError("swaps were drawn for other patients; pass the patient ids of the whole audit to Swaps")
        return places.astype(np.int64)

    def swapped(self, pairs: Sequence[tuple[Estimates, Estimates]]) -> list[tuple[Floats, Floats]]:
        """(G, count) values of (baseline, candidate) after each swap, for several metrics in the same G groups.

        All estimates must be of the same patients. Exact for rates and means, whose contributions are parts of a sum
        over the same records; for AUROC to first order.
        """
        changes = [
            sparse.csc_array(contributions(candidate) - contributions(baseline)) for baseline, candidate in pairs
        ]
        exchanged = self._sums(changes, self.places(pairs[0][0].patient_ids))
        return [
            (baseline.value[:, None] + sums, candidate.value[:, None] - sums)
            for (baseline, candidate), sums in zip(pairs, exchanged, strict=True)
        ]

    def _sums(self, changes: list[sparse.csc_array], places: NDArray[np.int64]) -> Floats:
        """(metrics, G, count) sums of each metric's (K, G) changes over the exchanged patients."""
        groups = changes[0].shape[1]
        sums = np.zeros((len(changes), groups, self.bits.shape[1] * 8))
        for group in range(groups):
            weights = np.zeros((len(changes), len(places)))
            for metric, change in enumerate(changes):
                entries = slice(change.indptr[group], change.indptr[group + 1])
                moved = change.data[entries]
                moved = np.where(np.abs(moved) > _ROUNDING * np.abs(moved).max(initial=0.0), moved, 0.0)
                weights[metric, change.indices[entries]] = moved
            rows = np.flatnonzero(weights.any(axis=0))
            whole = np.pad(rows, (0, -len(rows) % 8))  # the rows that fill the last eight weigh nothing
            weighed = np.pad(weights[:, rows], ((0, 0), (0, -len(rows) % 8)))
            _add_exchanged(self.bits, places[whole], weighed, sums[:, group])
        return sums[:, :, : self.count]


def contributions(estimates: Estimates) -> sparse.csr_array:
    """(K, G) what each patient contributes to each value; columns sum to the values."""
    return sparse.csr_array(estimates.influence + estimates.share @ sparse.diags_array(estimates.value))


def permutation_p(observed: float, permuted: Floats) -> float:
    """Two-sided p value; the observed assignment counts as one of the permutations, and ties count against it."""
    sizes = np.abs(permuted)
    extreme = sizes >= abs(observed) - _TIE * max(abs(observed), float(sizes.max()))
    return float(1 + np.count_nonzero(extreme)) / (1 + len(permuted))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_exchanged(bits: NDArray[np.uint8], rows: NDArray[np.int64], weights: Floats, sums: Floats) -> None:
    """Add to (M, B) sums[m, b] the (M, R) weights[m] of the R rows whose bit b is set; R is a multiple of eight.

    Eight rows at a time: their 256 subset sums are tabled, and each swap looks its own up by the byte that the eight
    rows' bits make. An eighth of the additions, and the table stays in the first-level cache.
    """
    table, subset = np.zeros(256), np.zeros(sums.shape[1], dtype=np.uint8)
    for start in range(0, len(rows), 8):
        _subsets(bits, rows[start : start + 8], subset)
        for metric in range(len(weights)):
            size, moved = 1, False
            for row in range(start, start + 8):
                weight = weights[metric, row]
                moved |= weight != 0.0
                for place in range(size):
                    table[size + place] = table[place] + weight
                size *= 2
            if moved:
                for swap in range(len(subset)):
                    sums[metric, swap] += table[subset[swap]]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _subsets(bits: NDArray[np.uint8], rows: NDArray[np.int64], subset: NDArray[np.uint8]) -> None:
    """Bit i of subset[b] is bit b of ``rows[i]``, by exchanging 8 × 8 bits (Warren, Hacker's Delight, section 7-3)."""
    for byte in range(bits.shape[1]):
        square = np.uint64(0)
        for row in range(8):
            square |= np.uint64(bits[rows[row], byte]) << np.uint64(8 * row)
        turn = (square ^ (square >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
        square = square ^ turn ^ (turn << np.uint64(7))
        turn = (square ^ (square >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
        square = square ^ turn ^ (turn << np.uint64(14))
        turn = (square ^ (square >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
        square = square ^ turn ^ (turn << np.uint64(28))
        for swap in range(8):
            subset[8 * byte + swap] = (square >> np.uint64(8 * swap)) & np.uint64(255)
