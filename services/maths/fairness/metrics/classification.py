"""AUROC, TPR, FPR, balanced accuracy, Brier score, ECE and prevalence of one label, by every attribute at once.

Areas between groups (BPSN, BNSP, xAUC) come with it for the attributes that ask for them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.arguments import numbers
from services.maths.fairness.cells import Minimums
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates, ratio_of_sums
from services.maths.fairness.groups import Codes, Grouping, everyone
from services.maths.fairness.metrics.auroc import (
    Placements,
    RankedRecords,
    auroc_estimates,
    deciding_patients,
    placements,
    ranked_records,
)
from services.maths.fairness.metrics.balanced_accuracy import balanced_accuracy
from services.maths.fairness.metrics.calibration import BinnedRecords, binned_records, ece_estimates
from services.maths.fairness.metrics.cross_auroc import CrossAuroc, ranked_cross_auroc
from services.maths.fairness.metrics.measured import Counts, Overall, disaggregation, reported_names
from services.maths.fairness.sums import Floats, PatientSums, Units, units_of

METRICS = ("auroc", "tpr", "fpr", "balanced_accuracy", "brier", "ece", "prevalence")
BETWEEN_METRICS = ("auroc_bpsn", "auroc_bnsp")
UNLABELLED = -1


@dataclass(frozen=True)
class Classification:
    """Disaggregations by (metric, attribute), attribute "" for everyone, and the sums per patient behind them.

    Columns of ``sums``, over labelled records: records, positives, negatives, true_positives, false_positives, brier
    (sum of squared differences of score and label), positive_placements (sum over positives of the share of all
    negatives that score lower, ties half) and negative_placements (sum over negatives of the share of all positives
    that score higher, ties half); the last two are of this call's records and not mergeable.

    ``between`` has the areas between groups of the attributes that were asked for; BPSN and BNSP are also in ``by``, as
    "auroc_bpsn" and "auroc_bnsp". Everyone's value of these is the AUROC, which both equal where groups are ranked
    alike: there is no other group that everyone could be set against.
    """

    sums: PatientSums
    by: dict[tuple[str, str], Disaggregation]
    between: dict[str, CrossAuroc] = field(default_factory=dict)


@dataclass(frozen=True)
class _Label:
    """One label's labelled records; ``units`` are those of all records."""

    units: Units
    ranked: RankedRecords
    binned: BinnedRecords
    placed: Placements
    sums: PatientSums


def disaggregate_classification(
    y_true: NDArray[np.int8],
    y_score: NDArray[np.float64],
    threshold: NDArray[np.float64],
    *,
    sensitive_features: Sequence[Grouping],
    cluster: NDArray[np.generic],
    minimums: Minimums,
    between: Collection[str] = (),
) -> Classification:
    """Measure one label in one pipeline by every attribute.

    ``y_true`` is (N,) in {0, 1}, -1 where the label is missing: such records are counted as excluded and used for
    nothing. ``y_score`` is (N,) in [0, 1]; ``threshold`` is (N,) in [0, 1], a record is called positive at or above it,
    and NaN leaves the rates of its group undefined. ``cluster`` is (N,) patient ids. ``between`` names the
    attributes whose areas between groups are measured too. Raises ValueError for anything else.
    """
    y_true, y_score, threshold = np.asarray(y_true), numbers("y_score", y_score), numbers("threshold", threshold)
    _require_valid(y_true, y_score, threshold, len(cluster))
    units = units_of(cluster, sensitive_features)
    has_label = y_true != UNLABELLED
    of_units = (everyone(len(units.patient)), *units.sensitive_features)
    label = _label(
        truth=y_true[has_label].astype(np.int8),
        score=y_score[has_label],
        threshold=threshold[has_label],
        units=replace(units, unit=units.unit[has_label]),
        of_units=of_units,
    )

    overall: dict[str, Overall] = {}
    by: dict[tuple[str, str], Disaggregation] = {}
    crossed: dict[str, CrossAuroc] = {}
    for attribute, grouping in enumerate((everyone(len(y_true)), *sensitive_features)):
        slots, count = of_units[attribute].slots, len(reported_names(grouping))
        excluded = np.bincount(slots[units.unit[~has_label]], minlength=count)
        no_threshold = np.bincount(slots[units.unit[has_label & np.isnan(threshold)]], minlength=count) > 0
        counts = _counts(label.sums, slots, count, excluded)
        for metric, values in _estimates(label, attribute, slots, count, no_threshold).items():
            known = overall.get(metric)
            part = disaggregation(metric, grouping, values, counts[metric], overall=known, minimums=minimums)
            by[metric, grouping.attribute] = part
            overall.setdefault(metric, Overall(part.overall_cell, values))
        if grouping.attribute and grouping.attribute in between:
            areas = ranked_cross_auroc(label.ranked, label.units, of_units[attribute])
            crossed[grouping.attribute] = areas
            for metric, values in zip(BETWEEN_METRICS, (areas.bpsn, areas.bnsp), strict=True):
                of = replace(counts["auroc"], cases=_cases_between(metric, label.sums, slots, count))
                part = disaggregation(metric, grouping, values, of, overall=overall["auroc"], minimums=minimums)
                by[metric, grouping.attribute] = part
    return Classification(label.sums, by, crossed)


def _require_valid(y_true: NDArray[np.int8], y_score: Floats, threshold: Floats, records: int) -> None:
    for name, column in (("y_true", y_true), ("y_score", y_score), ("threshold", threshold)):
        if column.shape != (records,):
            raise ValueError(f"{name} has shape {column.shape}, cluster has {records} records; pass one value a record")
    if not np.isin(y_true, (UNLABELLED, 0, 1)).all():
        raise ValueError("y_true must hold 0, 1 or -1 for missing")
    if np.isnan(y_score).any():
        raise ValueError("y_score must not hold NaN; leave the rows without a score out")
    if ((y_score < 0) | (y_score > 1)).any():
        raise ValueError("y_score must lie in [0, 1]; pass probabilities, not logits or percentages")
    if np.isinf(threshold).any():
        raise ValueError("threshold must be finite, or NaN where there is none; infinity calls everyone alike")
    if ((threshold < 0) | (threshold > 1)).any():
        raise ValueError("threshold must lie in [0, 1] as scores do; beyond, it calls everyone alike")


def _label(
    *,
    truth: NDArray[np.int8],
    score: Floats,
    threshold: Floats,
    units: Units,
    of_units: tuple[Grouping, ...],
) -> _Label:
    """``of_units`` are attributes of the units, everyone first."""
    ranked = ranked_records(truth, score, units.unit)
    names = [reported_names(grouping) for grouping in of_units]
    placed = placements(ranked, [grouping.slots for grouping in of_units], [len(each) for each in names])
    called = score >= threshold
    sums = units.sums(
        {
            "records": np.ones(len(truth)),
            "positives": truth == 1,
            "negatives": truth == 0,
            "true_positives": called & (truth == 1),
            "false_positives": called & (truth == 0),
            "brier": (score - truth) ** 2,
        }
    )
    positives, negatives = max(int(placed.group_positives[0]), 1), max(int(placed.group_negatives[0]), 1)
    lower = placed.wins / (2.0 * negatives)
    losses = placed.wins - placed.net[:, 0]
    higher = np.where(placed.group_positives[0] > 0, placed.negatives - losses / (2.0 * positives), 0.0)
    sums = replace(
        sums,
        columns=(*sums.columns, "positive_placements", "negative_placements"),
        values=np.column_stack([sums.values, lower, higher]),
    )
    return _Label(units, ranked, binned_records(truth, score, units), placed, sums)


def _estimates(
    label: _Label, attribute: int, slots: Codes, count: int, no_threshold: NDArray[np.bool_]
) -> dict[str, Estimates]:
    def ratio(numerator: str, denominator: str) -> Estimates:
        return ratio_of_sums(label.sums, numerator, denominator, slots=slots, count=count, scale="wilson")

    tpr = _without(ratio("true_positives", "positives"), no_threshold)
    fpr = _without(ratio("false_positives", "negatives"), no_threshold)
    return {
        "auroc": auroc_estimates(label.placed, attribute, label.units, slots, count),
        "tpr": tpr,
        "fpr": fpr,
        "balanced_accuracy": balanced_accuracy(tpr, fpr),
        "brier": replace(ratio("brier", "records"), scale="identity"),
        "ece": ece_estimates(label.binned, slots, count),
        "prevalence": ratio("positives", "records"),
    }


def _without(rates: Estimates, no_threshold: NDArray[np.bool_]) -> Estimates:
    """The rates of groups in which some record has no threshold are undefined."""
    if not no_threshold.any():
        return rates
    influence = rates.influence.copy()
    influence.data[no_threshold[influence.indices]] = 0.0
    return replace(rates, value=np.where(no_threshold, np.nan, rates.value), influence=influence)


def _counts(sums: PatientSums, slots: Codes, count: int, excluded: Codes) -> dict[str, Counts]:
    def total(column: str) -> Codes:
        return np.bincount(slots, weights=sums.column(column), minlength=count).astype(np.int64)

    records, positives, negatives = total("records"), total("positives"), total("negatives")
    fewer = np.minimum(positives, negatives)
    cases = {"tpr": positives, "fpr": negatives, "auroc": fewer, "balanced_accuracy": fewer}
    patients = deciding_patients(sums.column("records"), sums.patient, slots, count)
    return {metric: Counts(records, patients, positives, excluded, cases.get(metric, records)) for metric in METRICS}


def _cases_between(metric: str, sums: PatientSums, slots: Codes, count: int) -> Codes:
    """(count,) the fewer of both sides' records: BPSN sets a group's negatives against all others' positives."""
    mine, others = ("negatives", "positives") if metric == "auroc_bpsn" else ("positives", "negatives")
    own, theirs = (np.bincount(slots, weights=sums.column(name), minlength=count) for name in (mine, others))
    fewer: Codes = np.minimum(own, theirs.sum() - theirs).astype(np.int64)
    return fewer
