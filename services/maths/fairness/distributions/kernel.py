"""The kernel distance (KID; Binkowski et al. 2018): squared maximum mean discrepancy, unbiased at any sample size.

    k(x, y) = (x·y / d + 1)³
    KID     = mean k(x, x') + mean k(y, y') - 2 mean k(x, y)

over pairs of records of *different patients*. With one record a patient this is the usual unbiased estimator; two
images of one patient resemble each other for a reason that says nothing about the groups, so such pairs are left out.
Everything below works on sums of k over the records of one patient in one group (a *unit*): permutations
and the jackknife never see the features again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.distributions.frechet import checked
from services.maths.fairness.groups import Grouping, numbered_patients

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
GroupState = Literal["ok", "insufficient"]

PERMUTATIONS = 1999
MINIMUM_PATIENTS = 5  # as for cells: below it, two groups have too few arrangements for a test
_ROWS = 512  # rows of the kernel that exist at one time


@dataclass(frozen=True)
class KernelDistance:
    """KID of two samples. It has no unit; 0 means equal distributions, where chance makes it negative half the time.

    ``standard_error`` is the delete-one-patient jackknife: right where distributions differ, too large (up to 1.4
    times) where they do not, because the estimator is degenerate there. The test is the permutation p, one-sided: the
    share of relabellings of whole patients with at least this KID, (1 + #) / (1 + permutations).
    """

    value: float
    standard_error: float
    p_value: float
    patients: tuple[int, int]
    permutations: int


@dataclass(frozen=True)
class KernelMatrix:
    """KID of all pairs of groups. (G, G) symmetric matrices with NaN on the diagonal and where a group is not ``ok``.

    ``p_value`` is of each pair by itself, ``p_adjusted`` Holm's over the pairs of the matrix.
    """

    groups: tuple[str, ...]
    states: tuple[GroupState, ...]
    records: Integers
    patients: Integers
    permutations: int
    value: Floats
    standard_error: Floats
    p_value: Floats
    p_adjusted: Floats


def kid(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    *,
    first_cluster: NDArray[np.generic],
    second_cluster: NDArray[np.generic],
    permutations: int = PERMUTATIONS,
    seed: int,
) -> KernelDistance:
    """KID of (n, d) and (m, d) features; n and m may differ. Clusters are the (n,) and (m,) patient ids.

    An id in both clusters is one patient seen in both samples (a synthetic record and the patient it was made from): it
    is never paired with itself, and a permutation swaps its two sets of records instead of moving them.

    Raises ValueError for features that are not finite or differ in width, for lengths that differ, and for fewer than
    5 patients in a sample.
    """
    left, right = checked(first, "first"), checked(second, "second")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"samples must have the same features, got {left.shape[1]} and {right.shape[1]}")
    if len(left) != len(first_cluster) or len(right) != len(second_cluster):
        sizes = [len(part) for part in (left, first_cluster, right, second_cluster)]
        raise ValueError(f"each sample and its own cluster must not differ in length, got {sizes}")
    codes = np.repeat(np.array([0, 1]), [len(left), len(right)])
    ids = np.concatenate([np.asarray(first_cluster), np.asarray(second_cluster)])
    both = Grouping("sample", ("first", "second"), codes)
    matrix = kid_matrix(np.concatenate([left, right]), both, cluster=ids, permutations=permutations, seed=seed)
    if "insufficient" in matrix.states:
        raise ValueError(
            f"a kernel distance needs {MINIMUM_PATIENTS} patients a sample, got {matrix.patients.tolist()}"
        )
    return KernelDistance(
        value=float(matrix.value[0, 1]),
        standard_error=float(matrix.standard_error[0, 1]),
        p_value=float(matrix.p_value[0, 1]),
        patients=(int(matrix.patients[0]), int(matrix.patients[1])),
        permutations=permutations,
    )


def kid_matrix(
    features: NDArray[np.floating],
    groups: Grouping,
    *,
    cluster: NDArray[np.generic],
    permutations: int = PERMUTATIONS,
    seed: int,
) -> KernelMatrix:
    """KID, its standard error and permutation p for all pairs of groups.

    Args:
        features: (N, d), finite.
        groups: the group of each record; records of no group take no part.
        cluster: (N,) patient ids. Whole patients are permuted.
        permutations: of patients, per pair; the smallest p is 1 / (permutations + 1).
        seed: relabellings are keyed by (seed, names of the pair).

    Memory: 8 U² bytes for U units (a patient in a group). Raises ValueError for lengths that differ or features that
    are not finite. A group of fewer than 5 patients is ``insufficient``.
    """
    table = checked(features, "features")
    if not len(table) == len(groups.codes) == len(cluster):
        raise ValueError(
            f"features, groups and cluster differ in length: {len(table)}, {len(groups.codes)}, {len(cluster)}"
        )
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    _, patient = numbered_patients(cluster)
    units = _units(table, groups, patient)
    count = len(groups.groups)
    patients = np.bincount(units.group, minlength=count)
    enough = patients >= MINIMUM_PATIENTS
    value, error, p_value = (np.full((count, count), np.nan) for _ in range(3))
    for a in range(count):
        for b in range(a + 1, count):
            if enough[a] and enough[b]:
                rng = _stream(seed, sorted((groups.groups[a], groups.groups[b])))
                found = _pair(units.of(a, b), rng, permutations)
                for matrix, number in zip((value, error, p_value), found, strict=True):
                    matrix[a, b] = matrix[b, a] = number
    return KernelMatrix(
        groups=groups.groups,
        states=tuple("ok" if ok else "insufficient" for ok in enough),
        records=np.bincount(groups.codes[groups.codes >= 0], minlength=count),
        patients=patients,
        permutations=permutations,
        value=value,
        standard_error=error,
        p_value=p_value,
        p_adjusted=_holm(p_value),
    )


def _stream(seed: int, names: list[str]) -> np.random.Generator:
    words = [byte for name in names for byte in (*name.encode(), 256)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))


@dataclass(frozen=True)
class _Units:
    """Kernel sums between units, 0 between those of one patient; records (``size``), group and patient of each."""

    sums: Floats
    size: Floats
    group: Integers
    patient: Integers

    def of(self, a: int, b: int) -> _Units:
        """The units of two groups, b's marked 1 and a's 0, in an order that does not depend on which comes first."""
        chosen = np.flatnonzero((self.group == a) | (self.group == b))
        chosen = chosen[np.argsort(self.patient[chosen], kind="stable")]
        marks = (self.group[chosen] == b).astype(np.int64)
        return _Units(self.sums[np.ix_(chosen, chosen)], self.size[chosen], marks, self.patient[chosen])


def _units(table: Floats, groups: Grouping, patient: Integers) -> _Units:
    rows = np.flatnonzero(groups.codes >= 0)
    rows = rows[np.lexsort([patient[rows], groups.codes[rows]])]
    code, who = groups.codes[rows], patient[rows]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (code[1:] != code[:-1]) | (who[1:] != who[:-1])
    starts = np.flatnonzero(new)
    unit = np.cumsum(new) - 1
    ordered = table[rows]
    sums = np.zeros((len(starts), len(starts)))
    for at in range(0, len(rows), _ROWS):
        block = ordered[at : at + _ROWS] @ ordered.T
        block /= table.shape[1]
        block += 1.0
        block *= block * block
        inside = unit[at : at + _ROWS] - unit[at]
        edges = np.searchsorted(inside, np.arange(inside[-1] + 1))
        sums[unit[at] : unit[at] + len(edges)] += np.add.reduceat(np.add.reduceat(block, starts, axis=1), edges, axis=0)
    who = who[starts]
    sums[who[:, None] == who[None, :]] = 0.0
    return _Units(sums, np.diff(np.append(starts, len(rows))).astype(np.float64), code[starts], who)


def _pair(units: _Units, rng: np.random.Generator, permutations: int) -> tuple[float, float, float]:
    """KID, jackknife standard error and permutation p of the units marked 0 and 1."""
    labels = np.column_stack([units.group, _relabelled(units, rng, permutations)]).astype(np.float64)
    values = _distances(units, labels)
    observed = float(values[0])
    # The same arrangement, added up in another order, must count as a tie.
    tie = 1e-12 * max(1.0, float(np.abs(values).max()))
    p_value = float(np.count_nonzero(values >= observed - tie)) / (permutations + 1)
    return observed, _jackknife(units), p_value


def _relabelled(units: _Units, rng: np.random.Generator, permutations: int) -> NDArray[np.int8]:
    """(U, permutations) labels: patients with one unit exchange theirs, those with two swap their own two or not."""
    seen = np.bincount(units.patient)
    single = np.flatnonzero(seen[units.patient] == 1)
    double = np.flatnonzero(seen[units.patient] == 2).reshape(-1, 2)  # units are in the order of patients
    labels = np.empty((len(units.group), permutations), dtype=np.int8)
    marks = np.repeat(units.group[single].astype(np.int8)[:, None], permutations, axis=1)
    labels[single] = rng.permuted(marks, axis=0)
    swaps = rng.integers(0, 2, size=(len(double), permutations), dtype=np.int8)
    labels[double[:, 0]] = units.group[double[:, 0]].astype(np.int8)[:, None] ^ swaps
    labels[double[:, 1]] = units.group[double[:, 1]].astype(np.int8)[:, None] ^ swaps
    return labels


def _distances(units: _Units, labels: Floats) -> Floats:
    """(B,) KID for (U, B) labels 0 and 1, of which no patient has the same twice."""
    size, other = units.size, _others(units).sum(axis=1)
    rows = units.sums.sum(axis=1)
    within = np.einsum("ub,ub->b", labels, units.sums @ labels)
    pairs = (size @ labels) ** 2 - np.square(size) @ labels
    touching, touching_pairs = rows @ labels, (size * other) @ labels  # those within, and those that cross
    across, across_pairs = touching - within, touching_pairs - pairs
    rest = rows.sum() - 2 * touching + within
    rest_pairs = size @ other - 2 * touching_pairs + pairs
    return np.asarray(within / pairs + rest / rest_pairs - 2 * across / across_pairs)


def _others(units: _Units) -> Floats:
    """(U, 2) records of *other* patients marked 0 and 1."""
    own = np.zeros((int(units.patient.max()) + 1, 2))
    np.add.at(own, (units.patient, units.group), units.size)
    return np.asarray(own.sum(axis=0) - own[units.patient])


def _jackknife(units: _Units) -> float:
    """Delete-one-patient standard error; patients of the first group, of the second and of both are three strata."""
    marks = np.column_stack([units.group == 0, units.group == 1]).astype(np.float64)
    above = _left_out(units, units.sums @ marks)
    below = _left_out(units, units.size[:, None] * _others(units))
    values = above[0] / below[0] + above[1] / below[1] - 2 * above[2] / below[2]
    place = np.unique(units.patient, return_inverse=True)[1]
    kind = np.bincount(place, weights=units.group + 1.0).astype(np.int64) - 1  # 0 first, 1 second, 2 both
    variance = 0.0
    for stratum in range(3):
        part = values[kind == stratum]
        if len(part) > 1:
            variance += (len(part) - 1) / len(part) * float(np.square(part - part.mean()).sum())
    return float(np.sqrt(variance))


def _left_out(units: _Units, toward: Floats) -> tuple[Floats, Floats, Floats]:
    """(K,) sums within the first, within the second and across, without each patient in turn.

    ``toward`` is (U, 2), each unit's sums with the units marked 0 and marked 1.
    """
    place = np.unique(units.patient, return_inverse=True)[1]
    first, second = (units.group == 0).astype(np.float64), (units.group == 1).astype(np.float64)

    def lost(part: Floats) -> Floats:
        return np.asarray(np.bincount(place, weights=part), dtype=np.float64)

    return (
        first @ toward[:, 0] - 2 * lost(first * toward[:, 0]),
        second @ toward[:, 1] - 2 * lost(second * toward[:, 1]),
        first @ toward[:, 1] - lost(first * toward[:, 1] + second * toward[:, 0]),
    )


def _holm(p_value: Floats) -> Floats:
    """(G, G) step-down adjusted p over the upper triangle (Holm 1979); NaN stays NaN and is not counted."""
    adjusted = np.full_like(p_value, np.nan)
    rows, columns = np.triu_indices(len(p_value), 1)
    tested = np.isfinite(p_value[rows, columns])
    rows, columns = rows[tested], columns[tested]
    order = np.argsort(p_value[rows, columns], kind="stable")
    steps = p_value[rows, columns][order] * np.arange(len(order), 0, -1)
    adjusted[rows[order], columns[order]] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return np.fmax(adjusted, adjusted.T)
