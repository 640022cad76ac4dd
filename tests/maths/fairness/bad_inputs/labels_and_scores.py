"""Bad labels, scores, thresholds and patients of one label in one pipeline."""

from __future__ import annotations

import numpy as np

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping, everyone
from services.maths.fairness.metrics.auroc import auroc, auroc_by_attribute
from services.maths.fairness.metrics.classification import METRICS
from services.maths.fairness.metrics.cross_auroc import cross_auroc
from services.maths.fairness.sums import units_of
from tests.maths.fairness.bad_inputs.cases import (
    CLUSTER,
    RECORDS,
    SEX,
    THRESHOLD,
    Y_SCORE,
    Y_TRUE,
    Cases,
    Kept,
    Refused,
    cell,
    classified,
    spoiled,
    undefined,
)

FEMALE = SEX.codes == 0
UNITS = units_of(CLUSTER, [SEX])
(OF_UNITS,) = UNITS.sensitive_features


def _crossed(y_true=Y_TRUE, y_score=Y_SCORE, units=UNITS):
    return cross_auroc(y_true, y_score, units, OF_UNITS)


REFUSED: Cases = {
    "score NaN": Refused(lambda: classified(y_score=spoiled(Y_SCORE, np.nan)), "y_score .* NaN"),
    "score infinite": Refused(lambda: classified(y_score=spoiled(Y_SCORE, np.inf)), r"y_score must lie in \[0, 1\]"),
    "score minus infinite": Refused(lambda: classified(y_score=spoiled(Y_SCORE, -np.inf)), r"\[0, 1\]"),
    "score above 1": Refused(lambda: classified(y_score=spoiled(Y_SCORE, 1.0001)), r"\[0, 1\]"),
    "score below 0": Refused(lambda: classified(y_score=spoiled(Y_SCORE, -0.1)), "not logits"),
    "scores in percent": Refused(lambda: classified(y_score=100 * Y_SCORE), "percentages"),
    "score is a word": Refused(lambda: classified(y_score=spoiled(Y_SCORE, "high")), "y_score must hold numbers"),
    "score is None": Refused(lambda: classified(y_score=spoiled(Y_SCORE, None)), "y_score .* NaN"),
    "scores complex": Refused(lambda: classified(y_score=Y_SCORE + 0j), "y_score must hold numbers"),
    "scores in one column": Refused(lambda: classified(y_score=Y_SCORE[:, None]), "y_score has shape"),
    "label 2": Refused(lambda: classified(y_true=spoiled(Y_TRUE, 2)), "y_true must hold 0, 1 or -1"),
    "label -2": Refused(lambda: classified(y_true=spoiled(Y_TRUE, -2)), "y_true must hold 0, 1 or -1"),
    "label one half": Refused(lambda: classified(y_true=spoiled(Y_TRUE, 0.5)), "y_true must hold 0, 1 or -1"),
    "label NaN": Refused(lambda: classified(y_true=spoiled(Y_TRUE, np.nan)), "y_true must hold 0, 1 or -1"),
    "label is a word": Refused(lambda: classified(y_true=spoiled(Y_TRUE, "yes")), "y_true must hold"),
    "label is None": Refused(lambda: classified(y_true=spoiled(Y_TRUE, None)), "y_true must hold 0, 1 or -1"),
    "labels in one column": Refused(lambda: classified(y_true=Y_TRUE[:, None]), "y_true has shape"),
    "labels fewer": Refused(lambda: classified(y_true=Y_TRUE[1:]), r"y_true has shape \(79,\)"),
    "scores fewer": Refused(lambda: classified(y_score=Y_SCORE[1:]), r"y_score has shape \(79,\)"),
    "thresholds fewer": Refused(lambda: classified(threshold=THRESHOLD[1:]), r"threshold has shape \(79,\)"),
    "patients fewer": Refused(lambda: classified(cluster=CLUSTER[1:]), "cluster has 79 records"),
    "groups fewer": Refused(
        lambda: classified(sensitive_features=[Grouping("sex", ("F", "M"), SEX.codes[1:])]),
        "attribute 'sex' has 79 records",
    ),
    "threshold one number": Refused(lambda: classified(threshold=0.5), "threshold has shape"),
    "threshold infinite": Refused(lambda: classified(threshold=spoiled(THRESHOLD, np.inf)), "threshold must be finite"),
    "threshold in percent": Refused(lambda: classified(threshold=100 * THRESHOLD), r"threshold must lie in \[0, 1\]"),
    "threshold negative": Refused(lambda: classified(threshold=-THRESHOLD), r"threshold must lie in \[0, 1\]"),
    "threshold is a word": Refused(
        lambda: classified(threshold=spoiled(THRESHOLD, "auto")), "threshold must hold numbers"
    ),
    "patient NaN": Refused(lambda: classified(cluster=spoiled(CLUSTER, np.nan)), "a patient for every record"),
    "patient None": Refused(
        lambda: classified(cluster=spoiled(CLUSTER.astype(str), None)), "a patient for every record"
    ),
    "patients in one column": Refused(
        lambda: classified(cluster=np.column_stack([CLUSTER, CLUSTER])), r"cluster must be \(N,\)"
    ),
    "patients numbers and words": Refused(lambda: classified(cluster=spoiled(CLUSTER, "p7")), "of one kind"),
    "the same attribute twice": Refused(lambda: classified(sensitive_features=[SEX, SEX]), "different names"),
    "an attribute without a name": Refused(
        lambda: classified(sensitive_features=[everyone(RECORDS)]), "different names"
    ),
    "minimum of no patients": Refused(lambda: Minimums(patients=0), "at least 1"),
    "minimum of no cases": Refused(lambda: Minimums(cases=0), "at least 1"),
    "minimum NaN": Refused(lambda: Minimums(cases=float("nan")), "at least 1"),
    "AUROC of a NaN": Refused(lambda: auroc(Y_TRUE, spoiled(Y_SCORE, np.nan)), "scores must be finite"),
    "AUROC of an infinity": Refused(lambda: auroc(Y_TRUE, spoiled(Y_SCORE, np.inf)), "scores must be finite"),
    "AUROC of a label 2": Refused(lambda: auroc(spoiled(Y_TRUE, 2), Y_SCORE), "labels must be 0 or 1"),
    "AUROC of a missing label": Refused(lambda: auroc(spoiled(Y_TRUE, -1), Y_SCORE), "labels must be 0 or 1"),
    "AUROC of fewer scores": Refused(lambda: auroc(Y_TRUE, Y_SCORE[1:]), "of the same records"),
    "AUROC of fewer labels": Refused(lambda: auroc(Y_TRUE[1:], Y_SCORE), "of the same records"),
    "AUROC of words": Refused(lambda: auroc(Y_TRUE, spoiled(Y_SCORE, "high")), "y_score must hold numbers"),
    "AUROC of other units": Refused(
        lambda: auroc_by_attribute(Y_TRUE[1:], Y_SCORE[1:], UNITS, [OF_UNITS]), "of the same records"
    ),
    "cross AUROC of a NaN": Refused(lambda: _crossed(y_score=spoiled(Y_SCORE, np.nan)), "scores must be finite"),
    "cross AUROC of fewer scores": Refused(lambda: _crossed(y_score=Y_SCORE[1:]), "of the same records"),
    "cross AUROC of fewer labels": Refused(lambda: _crossed(y_true=Y_TRUE[1:]), "of the same records"),
    "cross AUROC of a missing label": Refused(lambda: _crossed(y_true=spoiled(Y_TRUE, -1)), "labels must be 0 or 1"),
}

NEED_BOTH = ("auroc", "balanced_accuracy")
CONSTANT = np.full(RECORDS, 0.5)
NOTHING = {
    "y_true": np.zeros(0, dtype=np.int8),
    "y_score": np.zeros(0),
    "threshold": np.zeros(0),
    "cluster": np.zeros(0, dtype=np.int64),
    "sensitive_features": [SEX.take(np.zeros(0, dtype=np.intp))],
}


def _only(group_codes, names=("F", "M")):
    return [Grouping("sex", names, group_codes)]


KEPT: Cases = {
    "no positive at all": Kept(
        lambda: classified(y_true=np.zeros(RECORDS, dtype=np.int8)),
        lambda made: (
            all(undefined(cell(made, metric)) for metric in (*NEED_BOTH, "tpr"))
            and cell(made, "fpr").estimate is not None
            and cell(made, "prevalence").estimate == 0.0
        ),
    ),
    "no negative at all": Kept(
        lambda: classified(y_true=np.ones(RECORDS, dtype=np.int8)),
        lambda made: (
            all(undefined(cell(made, metric)) for metric in (*NEED_BOTH, "fpr"))
            and cell(made, "tpr").estimate is not None
        ),
    ),
    "no positive in one group": Kept(
        lambda: classified(y_true=np.where(FEMALE, 0, Y_TRUE)),
        lambda made: (
            all(undefined(cell(made, metric, "F")) for metric in (*NEED_BOTH, "tpr"))
            and cell(made, "auroc", "M").estimate is not None
            and cell(made, "tpr", "F").positives == 0
        ),
    ),
    "no negative in one group": Kept(
        lambda: classified(y_true=np.where(FEMALE, 1, Y_TRUE)),
        lambda made: all(undefined(cell(made, m, "F")) for m in (*NEED_BOTH, "fpr")),
    ),
    "every label missing": Kept(
        lambda: classified(y_true=np.full(RECORDS, -1)),
        lambda made: (
            all(undefined(cell(made, metric, group)) for metric in METRICS for group in ("overall", "F", "M"))
            and cell(made, "auroc").excluded_records == RECORDS
        ),
    ),
    "labels of one group missing": Kept(
        lambda: classified(y_true=np.where(FEMALE, -1, Y_TRUE)),
        lambda made: all(undefined(cell(made, m, "F")) and not undefined(cell(made, m, "M")) for m in METRICS),
    ),
    "every attribute missing": Kept(
        lambda: classified(sensitive_features=_only(np.full(RECORDS, -1))),
        lambda made: (
            undefined(cell(made, "auroc", "F"))
            and made.by["auroc", "sex"].comparable_groups == ()
            and cell(made, "auroc", "(missing)").estimate == cell(made, "auroc").estimate
        ),
    ),
    "nothing at all": Kept(
        lambda: classified(**NOTHING),
        lambda made: all(undefined(cell(made, m, g)) for m in METRICS for g in ("overall", "F", "M")),
    ),
    "a group of nobody": Kept(
        lambda: classified(sensitive_features=_only(SEX.codes, ("F", "M", "X"))),
        lambda made: undefined(cell(made, "auroc", "X")) and cell(made, "auroc", "X").records == 0,
    ),
    "a group of one patient": Kept(
        lambda: classified(sensitive_features=_only(np.where(CLUSTER == 0, 2, SEX.codes), ("F", "M", "X"))),
        lambda made: all(cell(made, m, "X").state in ("insufficient", "undefined") for m in METRICS),
    ),
    "one record": Kept(
        lambda: classified(
            y_true=Y_TRUE[:1],
            y_score=Y_SCORE[:1],
            threshold=THRESHOLD[:1],
            cluster=CLUSTER[:1],
            sensitive_features=[SEX.take(np.array([0]))],
        ),
        lambda made: cell(made, "brier").state == "insufficient" and undefined(cell(made, "auroc")),
    ),
    "one patient": Kept(
        lambda: classified(cluster=np.zeros(RECORDS, dtype=np.int64)),
        lambda made: all(cell(made, m).state == "insufficient" for m in METRICS),
    ),
    "scores all equal": Kept(
        lambda: classified(y_score=CONSTANT),
        lambda made: (
            cell(made, "auroc").estimate == 0.5
            and cell(made, "auroc").ci_low < 0.5 < cell(made, "auroc").ci_high
            and cell(made, "tpr").estimate == cell(made, "fpr").estimate == 1.0
        ),
    ),
    "scores all 0": Kept(lambda: classified(y_score=np.zeros(RECORDS)), lambda made: cell(made, "tpr").estimate == 0.0),
    "scores all 1": Kept(lambda: classified(y_score=np.ones(RECORDS)), lambda made: cell(made, "fpr").estimate == 1.0),
    "perfect separation": Kept(
        lambda: classified(y_score=Y_TRUE.astype(float)),
        lambda made: (
            cell(made, "auroc").estimate == 1.0
            and cell(made, "auroc").ci_low < 0.97
            and cell(made, "brier").estimate == 0.0
        ),
    ),
    "scores turned round": Kept(
        lambda: classified(y_score=1.0 - Y_TRUE),
        lambda made: cell(made, "auroc").estimate == 0.0 and cell(made, "auroc").ci_high > 0.03,
    ),
    "no threshold": Kept(
        lambda: classified(threshold=np.full(RECORDS, np.nan)),
        lambda made: (
            all(undefined(cell(made, m)) for m in ("tpr", "fpr", "balanced_accuracy"))
            and cell(made, "auroc").estimate is not None
        ),
    ),
    "no threshold in one group": Kept(
        lambda: classified(threshold=np.where(FEMALE, np.nan, 0.5)),
        lambda made: undefined(cell(made, "tpr", "F")) and not undefined(cell(made, "tpr", "M")),
    ),
    "threshold 0": Kept(
        lambda: classified(threshold=np.zeros(RECORDS)), lambda made: cell(made, "fpr").estimate == 1.0
    ),
    "a patient in both groups": Kept(
        lambda: classified(sensitive_features=_only(np.arange(RECORDS) % 2)),
        lambda made: cell(made, "brier", "F").patients == cell(made, "brier", "M").patients == 40,
    ),
    "every row twice": Kept(
        lambda: classified(
            y_true=np.tile(Y_TRUE, 2),
            y_score=np.tile(Y_SCORE, 2),
            threshold=np.tile(THRESHOLD, 2),
            cluster=np.tile(CLUSTER, 2),
            sensitive_features=_only(np.tile(SEX.codes, 2)),
        ),
        lambda made: (
            abs(cell(made, "auroc").standard_error - cell(classified(), "auroc").standard_error) < 1e-12
            and cell(made, "auroc").patients == 40
        ),
    ),
    "labels as booleans": Kept(
        lambda: classified(y_true=Y_TRUE == 1),
        lambda made: cell(made, "auroc") == cell(classified(), "auroc"),
    ),
    "scores as whole numbers": Kept(
        lambda: classified(y_score=Y_TRUE.astype(np.int64)), lambda made: cell(made, "auroc").estimate == 1.0
    ),
    "scores in single precision": Kept(
        lambda: classified(y_score=Y_SCORE.astype(np.float32)), lambda made: cell(made, "auroc").state != "undefined"
    ),
    "patients as words": Kept(
        lambda: classified(cluster=np.array([f"p{i:03d}" for i in CLUSTER])),
        lambda made: cell(made, "auroc", "F") == cell(classified(), "auroc", "F"),
    ),
    "AUROC of one class": Kept(lambda: auroc(np.ones(4), np.zeros(4)), np.isnan),
    "AUROC of nothing": Kept(lambda: auroc(np.zeros(0), np.zeros(0)), np.isnan),
    "cross AUROC of one class": Kept(
        lambda: _crossed(y_true=np.ones(RECORDS)), lambda made: np.isnan(made.xauc_matrix).all()
    ),
}

CASES: Cases = {**REFUSED, **KEPT}
