"""Every test of an audit, in families that are controlled together.

    primary       AUROC, TPR, FPR and image metrics by single attributes: family-wise error, step-down maxT
    exploratory   the same by intersections of attributes: false discovery rate, p-values beyond the number of
                  permutations from the family's pooled null
    cohort        prevalence by all attributes: family-wise error; a finding about the patients, not about the model

All labels, metrics and pipelines handed in share one stream of permutations (common random numbers), so that step-down
sees how they hang together: five pipelines that err on the same patients cost hardly more than one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.maths.fairness.sums import Floats, PatientSums
from services.maths.fairness.testing.contrasts import Block, CellKey, GapKey, Key, Testable, blocks
from services.maths.fairness.testing.multiplicity import PooledNull, at_least, benjamini_hochberg, westfall_young
from services.maths.fairness.testing.permutation import dealt, group_sums
from services.maths.fairness.testing.vectors import PatientVectors
from services.maths.fairness.testing.verdicts import ALPHA

PERMUTATIONS = 1999
PRIMARY, EXPLORATORY, COHORT = "primary", "exploratory", "cohort"
STEP_DOWN = "Westfall-Young step-down maxT"
FALSE_DISCOVERY = "Benjamini-Hochberg"

# Dealt vectors and sums held at once: 64 permutations of 60,000 patients are 4 MiB of vectors.
PERMUTATIONS_AT_ONCE = 64


@dataclass(frozen=True)
class CellTest:
    """A group against everyone.

    ``statistic`` is positive where the group's metric is above everyone's and about standard normal under the null;
    ``standard_error`` is that of the difference in the metric's units (under the null for score tests);
    ``p_value`` the cell's own two-sided permutation p, ``p_adjusted`` the one within the family, never below it.
    """

    family: str
    statistic: float
    standard_error: float
    p_value: float
    p_adjusted: float


@dataclass(frozen=True)
class GapTest:
    """No difference between any of the ``groups``, all metrics of the gap together.

    ``p_adjusted`` is the smallest one among its cells: the gap is a finding where one of its cells is.
    """

    family: str
    groups: tuple[str, ...]
    p_value: float
    p_adjusted: float


@dataclass(frozen=True)
class Family:
    """``critical`` is about what |statistic| has to exceed for a finding; None for a family without tests.

    Step-down: the 1 - alpha quantile of the permuted maximum. False discovery rate: the normal quantile of the p-value
    that one more finding would need, alpha (findings + 1) / tests.
    """

    name: str
    procedure: str
    tests: int
    alpha: float
    permutations: int
    findings: int
    critical: float | None


@dataclass(frozen=True)
class GroupTests:
    """``cells`` by (key, metric, attribute, group); ``gaps`` by (key, metric, attribute), metric "tpr,fpr" for EODD."""

    cells: dict[CellKey, CellTest]
    gaps: dict[GapKey, GapTest]
    families: dict[str, Family]
    varying_patients: int


@dataclass(frozen=True)
class _Tally:
    """The tests of one block after all permutations: (M,) each, but ``permuted`` (B, M of the step-down families).

    ``pooled`` has the permuted statistics of all others.
    """

    tests: list[CellKey]
    observed: Floats
    standard_error: Floats
    p_value: Floats
    permuted: NDArray[np.float64]
    pooled: PooledNull
    gaps: dict[GapKey, tuple[tuple[str, ...], float]]


def group_tests(
    measured: Mapping[Key, PatientSums],
    *,
    vectors: PatientVectors,
    testable: Testable,
    seed: int,
    permutations: int = PERMUTATIONS,
    alpha: float = ALPHA,
    aurocs: Mapping[CellKey, float] | None = None,
) -> GroupTests:
    """Test every testable cell and gap of an audit by permuting attribute vectors over patients.

    How results call it::

        vectors = attribute_vectors(patient_ids_of_all_records, groupings)      # once; singles and intersections
        measured[pipeline, label] = classification.sums                         # once per pipeline and label
        testable[(pipeline, label), metric, attribute] = disaggregation.testable_groups
        measured[pipeline, "psnr"] = sums_of_that_metric                        # image metrics: a key of their own
        testable[(pipeline, "psnr"), "psnr", attribute] = disaggregation.testable_groups
        aurocs[(pipeline, label), "auroc", attribute, group] = estimate         # of each of its comparable_groups
        tests = group_tests(measured, vectors=vectors, testable=testable, seed=seed, aurocs=aurocs)
        tests.cells.get((key, metric, attribute, group))                        # None: not tested
        tests.gaps.get((key, "auroc", attribute)), tests.gaps.get((key, "tpr,fpr", attribute))   # EOP: "tpr"

    Args:
        measured: per-patient sums by any hashable key. Score metrics need the columns positives, negatives,
            true_positives, false_positives, positive_placements and negative_placements; all other metrics value and
            records. Patients may differ from key to key; every one needs a vector.
        vectors: ``attribute_vectors`` of all records of the audit, the same for all keys.
        testable: the groups in state ok of each (key, metric, attribute); leave out what is not to be tested, e.g.
            prevalence in all pipelines but the first. Metrics: auroc, tpr, fpr, prevalence; any other is a mean.
        seed: permutation b depends on (seed, b) alone.
        permutations: B; the smallest p-value is 1 / (B + 1).
        aurocs: the AUROC within each comparable group. With them the observed contrast is a group's own AUROC minus the
            average of the attribute's groups, weighted by precision, or its first-order value where that says less;
            without them its first-order value, which sets records against those of all groups and takes a group whose
            scores are all shifted, positives and negatives alike, for one that ranks worse. Permuted contrasts are
            first-order ones either way.

    An attribute whose name has a comma is an intersection. Gaps need two testable groups. Cost: one pass over the
    patients' sums per permutation for all labels and groups; memory about 50 MiB beyond the arguments for 60,000
    patients, plus 8 B bytes per test of the step-down families.
    """
    if permutations < 1 or seed < 0:
        raise ValueError("permutations must be at least 1 and the seed not negative")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    unmeasured = [key for key, _, _ in testable if key not in measured]
    if unmeasured:
        raise ValueError(f"nothing was measured of {unmeasured[0]!r}, which is to be tested")
    tallies = [
        _tally(block, vectors, aurocs or {}, seed, permutations) for block in blocks(measured, testable, vectors)
    ]
    cells: dict[CellKey, CellTest] = {}
    families: dict[str, Family] = {}
    for name in (PRIMARY, EXPLORATORY, COHORT):
        own, families[name] = _family(name, tallies, permutations, alpha)
        cells.update(own)
    gaps = {
        key: GapTest(family_of(*key[1:]), groups, p, _smallest(cells, key, groups))
        for tally in tallies
        for key, (groups, p) in tally.gaps.items()
    }
    return GroupTests(cells, gaps, families, vectors.varying_patients)


def family_of(metric: str, attribute: str) -> str:
    """The family that a cell or gap belongs to."""
    if metric == "prevalence":
        return COHORT
    return EXPLORATORY if "," in attribute else PRIMARY


def _tally(
    block: Block, vectors: PatientVectors, aurocs: Mapping[CellKey, float], seed: int, permutations: int
) -> _Tally:
    """Run all permutations of one block; step-down families keep every permuted statistic, others pool them."""
    data = group_sums(block.features, dealt(vectors.cell, seed, 0, 1), vectors)
    signed, error, count = block.statistics(data)[0], block.standard_errors(data), len(block.tests)
    for test, (difference, own) in block.within_groups(aurocs, data, vectors).items():
        signed[test], error[test] = _agreed(signed[test], difference / own if own > 0 else 0.0), own
    observed = np.abs(signed)
    gap_columns = [columns for _, columns in block.gaps.values()]
    gap_observed = np.array([observed[columns].max() for columns in gap_columns])
    families = [family_of(metric, attribute) for _, metric, attribute, _ in block.tests]
    kept = np.flatnonzero([family != EXPLORATORY for family in families])
    others, pooled = np.flatnonzero([family == EXPLORATORY for family in families]), PooledNull()
    permuted = np.empty((permutations, len(kept)))
    larger, gap_larger = np.zeros(count), np.zeros(len(gap_columns))
    for first in range(0, permutations, PERMUTATIONS_AT_ONCE):
        some = min(PERMUTATIONS_AT_ONCE, permutations - first)
        rows = dealt(vectors.cell, seed, first + 1, some)
        statistics = np.abs(block.statistics(group_sums(block.features, rows, vectors)))
        permuted[first : first + some] = statistics[:, kept]
        pooled.add(statistics[:, others])
        larger += at_least(statistics[:, :count], observed[:count]).sum(axis=0)
        for at, columns in enumerate(gap_columns):
            gap_larger[at] += at_least(statistics[:, columns].max(axis=1), gap_observed[at]).sum()
    gap_p = (1.0 + gap_larger) / (permutations + 1.0)
    return _Tally(
        tests=block.tests,
        observed=signed[:count],
        standard_error=error,
        p_value=(1.0 + larger) / (permutations + 1.0),
        permuted=permuted,
        pooled=pooled,
        gaps={key: (groups, float(p)) for (key, (groups, _)), p in zip(block.gaps.items(), gap_p, strict=True)},
    )


def _agreed(first_order: float, within_groups: float) -> float:
    """The smaller of two statistics of one question; 0 where they point in opposite directions.

    The permutations are of first-order statistics, so a finding that needs both cannot be commoner than they allow. It
    matters where classes are all but separate: one misplaced record in a small group is a jump of that group's own
    AUROC against a null error of next to nothing.
    """
    if first_order * within_groups <= 0:
        return 0.0
    return min(first_order, within_groups, key=abs)


def _family(
    name: str, tallies: list[_Tally], permutations: int, alpha: float
) -> tuple[dict[CellKey, CellTest], Family]:
    """Adjust the tests of one family, over all blocks."""
    keys: list[CellKey] = []
    parts: list[tuple[Floats, Floats, Floats]] = []
    permuted: list[Floats] = []
    for tally in tallies:
        families = np.array([family_of(metric, attribute) for _, metric, attribute, _ in tally.tests])
        own = families == name
        keys += [key for key, mine in zip(tally.tests, own, strict=True) if mine]
        parts.append((tally.observed[own], tally.standard_error[own], tally.p_value[own]))
        if name != EXPLORATORY:
            permuted.append(tally.permuted[:, own[families != EXPLORATORY]])
    procedure = FALSE_DISCOVERY if name == EXPLORATORY else STEP_DOWN
    if not keys:
        return {}, Family(name, procedure, 0, alpha, permutations, 0, None)
    observed, error, p = (np.concatenate([part[i] for part in parts]) for i in range(3))
    if name == EXPLORATORY:
        pooled = PooledNull(np.sum([tally.pooled.counts for tally in tallies], axis=0))
        adjusted = np.maximum(benjamini_hochberg(pooled.sharpened(p, observed, permutations)), p)
        findings = int((adjusted <= alpha).sum())
        critical = float(stats.norm.isf(min(alpha * (findings + 1) / len(keys), alpha) / 2))
    else:
        together = permuted[0] if len(permuted) == 1 else np.concatenate(permuted, axis=1)
        adjusted = westfall_young(np.abs(observed), together)
        findings = int((adjusted <= alpha).sum())
        critical = float(np.quantile(together.max(axis=1), 1 - alpha))
    rows = zip(observed.tolist(), error.tolist(), p.tolist(), adjusted.tolist(), strict=True)
    cells = {key: CellTest(name, *row) for key, row in zip(keys, rows, strict=True)}
    return cells, Family(name, procedure, len(keys), alpha, permutations, findings, critical)


def _smallest(cells: Mapping[CellKey, CellTest], gap: GapKey, groups: tuple[str, ...]) -> float:
    key, metrics, attribute = gap
    return min(cells[key, metric, attribute, group].p_adjusted for metric in metrics.split(",") for group in groups)
