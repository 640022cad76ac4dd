"""The contrasts of a block of keys under each permutation: from per-patient sums to one row of statistics.

A block holds some labels (or some image metrics). Its columns are first the tests, group minus everyone, then the
pairwise differences that only max-min gaps of means need.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.sums import Floats, PatientSums
from services.maths.fairness.testing.mean_tests import MeanNull, mean_null, mean_statistics, pairwise_statistics
from services.maths.fairness.testing.permutation import Features
from services.maths.fairness.testing.score_tests import (
    SCORE_METRICS,
    LabelSums,
    ScoreNull,
    from_average,
    own_auroc_variance,
    score_null,
    score_statistics,
)
from services.maths.fairness.testing.vectors import PatientVectors

Key = Hashable
CellKey = tuple[Key, str, str, str]
GapKey = tuple[Key, str, str]
Testable = Mapping[tuple[Key, str, str], Sequence[str]]
Places = NDArray[np.intp]

JOINT_GAPS = (("tpr", "fpr"),)

# Labels (or image metrics) whose features are held at once: with 60,000 patients 12 labels are 25 MiB.
KEYS_AT_ONCE = 12


@dataclass(frozen=True)
class Block:
    """Tests of up to ``KEYS_AT_ONCE`` keys.

    Attributes:
        keys: whose features the null holds, in its order.
        null: features and pooled variances.
        tests: what each of the first columns of a row of statistics is.
        places: (metric, groups, keys): which statistics those columns are, metric after metric.
        pairs: (attribute's groups, pair, key) of the further columns, attribute after attribute; only of means.
        gaps: which columns' maximum is the statistic of which gap, with the groups that took part.
    """

    keys: Sequence[Key]
    null: ScoreNull | MeanNull
    tests: list[CellKey]
    places: list[tuple[str, Places, Places]]
    pairs: list[tuple[slice, Places, Places]]
    gaps: dict[GapKey, tuple[tuple[str, ...], Places]]

    @property
    def features(self) -> Features:
        return self.null.features

    def statistics(self, sums: Floats) -> Floats:
        """(B, columns) statistics from (B, G, F) sums over the groups of all attributes."""
        parts = [self._metric(metric, sums)[0][:, groups, keys] for metric, groups, keys in self.places]
        if isinstance(self.null, MeanNull):
            parts += [pairwise_statistics(self.null, sums[:, at])[:, pair, keys] for at, pair, keys in self.pairs]
        return np.concatenate(parts, axis=1)

    def standard_errors(self, sums: Floats) -> Floats:
        """(tests,) standard errors of the tests from the (1, G, F) sums of the data."""
        return np.concatenate([self._metric(metric, sums)[1][0, groups, keys] for metric, groups, keys in self.places])

    def within_groups(
        self, aurocs: Mapping[CellKey, float], sums: Floats, vectors: PatientVectors
    ) -> dict[int, tuple[float, float]]:
        """By test, a group's own AUROC minus the average of its attribute's groups, and its error under the null.

        Groups weigh by precision: with v the null variance of a group's own AUROC, the difference has the variance
        v - 1 / Σ (1 / v), the group being part of the average. The variance of a group minus everyone will not do:
        where prevalence differs, a group of many positives and few negatives has an uncertain AUROC of its own, but
        the comparison of its records with everyone's hardly shows it.

        Tests without a value, or with values of fewer than two groups, are left out.
        """
        found: dict[int, tuple[float, float]] = {}
        if not aurocs or isinstance(self.null, MeanNull):
            return found
        variance = own_auroc_variance(self.null, sums)[0]
        known: dict[tuple[Key, str], dict[str, float]] = {}
        for (key, _, attribute, group), value in aurocs.items():
            known.setdefault((key, attribute), {})[group] = value
        test_of = {test: place for place, test in enumerate(self.tests)}
        for (key, attribute), values in known.items():
            own = {name: test_of[test] for name in values if (test := (key, "auroc", attribute, name)) in test_of}
            if not own or len(values) < 2:
                continue
            first, levels = vectors.columns(attribute).start, _levels(attribute, vectors)
            rows = [first + levels.index(name) for name in values]
            differences = from_average(np.array(list(values.values())), variance[rows, self.keys.index(key)])
            for name, *contrast in zip(values, *differences, strict=True):
                if name in own:
                    found[own[name]] = (float(contrast[0]), float(contrast[1]))
        return found

    def _metric(self, metric: str, sums: Floats) -> tuple[Floats, Floats]:
        if isinstance(self.null, MeanNull):
            return mean_statistics(self.null, sums)
        return score_statistics(self.null, metric, sums)


def blocks(measured: Mapping[Key, PatientSums], testable: Testable, vectors: PatientVectors) -> Iterator[Block]:
    """The work of all keys with anything to test, some keys at a time; features are built as blocks are asked for.

    Raises ValueError for a metric that is neither a score metric nor backed by columns value and records.
    """
    kinds: dict[bool, list[Key]] = {True: [], False: []}
    for key in measured:
        metrics = {metric for tested, metric, _ in testable if tested == key}
        scored = bool(metrics & set(SCORE_METRICS))
        if scored and metrics - set(SCORE_METRICS):
            raise ValueError(f"{key!r} mixes {sorted(metrics)}; give image metrics a key of their own")
        if metrics:
            kinds[scored].append(key)
    for scored, keys in kinds.items():
        for first in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[first : first + KEYS_AT_ONCE]
            null: ScoreNull | MeanNull
            if scored:
                null = score_null([_label(measured[key], vectors) for key in some])
            else:
                null = mean_null([_values(measured[key], vectors) for key in some])
            yield _block(null, some, testable, vectors)


def _block(null: ScoreNull | MeanNull, keys: Sequence[Key], testable: Testable, vectors: PatientVectors) -> Block:
    block = Block(keys, null, [], [], [], {})
    column: dict[CellKey, int] = {}
    chosen = {entry: _known(groups, entry[2], vectors) for entry, groups in testable.items() if entry[0] in keys}
    for metric in sorted({metric for _, metric, _ in chosen}):
        groups, places = [], []
        for (key, measure, attribute), names in chosen.items():
            if measure != metric:
                continue
            first = vectors.columns(attribute).start
            levels = _levels(attribute, vectors)
            for name in names:
                column[key, metric, attribute, name] = len(block.tests)
                block.tests.append((key, metric, attribute, name))
                groups.append(first + levels.index(name))
                places.append(keys.index(key))
        block.places.append((metric, np.array(groups, dtype=np.intp), np.array(places, dtype=np.intp)))
    if isinstance(null, MeanNull):
        _add_mean_gaps(block, keys, chosen, vectors)
    else:
        _add_score_gaps(block, chosen, column)
    return block


def _add_score_gaps(block: Block, chosen: Testable, column: Mapping[CellKey, int]) -> None:
    """The statistic of a gap of rates is the largest distance of a group from everyone, over all its metrics."""
    for key, attribute in dict.fromkeys((key, attribute) for key, _, attribute in chosen):
        present = [metric for metric in SCORE_METRICS if (key, metric, attribute) in chosen]
        for metrics in [*((metric,) for metric in present), *(joint for joint in JOINT_GAPS if {*joint} <= {*present})]:
            groups = [
                name
                for name in chosen[key, metrics[0], attribute]
                if all(name in chosen[key, metric, attribute] for metric in metrics)
            ]
            if len(groups) > 1:
                columns = [column[key, metric, attribute, name] for metric in metrics for name in groups]
                block.gaps[key, ",".join(metrics), attribute] = (tuple(groups), np.array(columns, dtype=np.intp))


def _add_mean_gaps(block: Block, keys: Sequence[Key], chosen: Testable, vectors: PatientVectors) -> None:
    """The statistic of a gap of means is the largest studentised difference of two groups."""
    next_column = len(block.tests)
    for attribute in dict.fromkeys(attribute for _, _, attribute in chosen):
        levels = _levels(attribute, vectors)
        number = {pair: at for at, pair in enumerate(combinations(range(len(levels)), 2))}
        pairs: list[int] = []
        places: list[int] = []
        for (key, metric, other), names in chosen.items():
            if other != attribute or len(names) < 2:
                continue
            own = [number[pair] for pair in combinations(sorted(levels.index(name) for name in names), 2)]
            first = next_column + len(pairs)
            block.gaps[key, metric, attribute] = (tuple(names), np.arange(first, first + len(own)))
            pairs += own
            places += [keys.index(key)] * len(own)
        if pairs:
            block.pairs.append((vectors.columns(attribute), np.array(pairs), np.array(places)))
        next_column += len(pairs)


def _levels(attribute: str, vectors: PatientVectors) -> list[str]:
    return next(list(grouping.groups) for grouping in vectors.cells if grouping.attribute == attribute)


def _known(names: Sequence[str], attribute: str, vectors: PatientVectors) -> list[str]:
    levels = _levels(attribute, vectors) if vectors.columns(attribute) else []
    unknown = [name for name in names if name not in levels]
    if unknown:
        raise ValueError(f"{unknown} are not groups of attribute {attribute!r}, which has {levels}")
    return list(names)


def _label(sums: PatientSums, vectors: PatientVectors) -> LabelSums:
    """Sums of the patients in the order of the vectors; rates without a threshold (NaN) are left at 0, untested."""
    names = (
        "positives",
        "negatives",
        "positive_placements",
        "negative_placements",
        "true_positives",
        "false_positives",
    )
    return LabelSums(*(_by_patient(sums, name, vectors) for name in names))


def _values(sums: PatientSums, vectors: PatientVectors) -> tuple[Floats, Floats]:
    return _by_patient(sums, "value", vectors), _by_patient(sums, "records", vectors)


def _by_patient(sums: PatientSums, name: str, vectors: PatientVectors) -> Floats:
    """(K,) one quantity summed over the units of each patient; 0 for patients that were not measured."""
    place = np.searchsorted(vectors.patient_ids, sums.patient_ids)
    inside = place < len(vectors.patient_ids)
    if not inside.all() or not np.array_equal(vectors.patient_ids[place], sums.patient_ids):
        raise ValueError("sums hold patients without an attribute vector; build the vectors from all records")
    values = np.nan_to_num(sums.column(name), nan=0.0)
    added: Floats = np.bincount(place[sums.patient], weights=values, minlength=len(vectors.patient_ids)).astype(float)
    return added
