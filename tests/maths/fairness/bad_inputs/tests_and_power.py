"""Bad questions to the tests, to the bootstrap and to the planning of an audit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from services.maths.fairness.bootstrap import (
    bootstrap_classification,
    gap_replicates,
    membership,
    paired_change,
    resample_patients,
)
from services.maths.fairness.groups import Grouping
from services.maths.fairness.testing.families import group_tests
from services.maths.fairness.testing.multiplicity import benjamini_hochberg, westfall_young
from services.maths.fairness.testing.planning import Assumptions, critical_value, planned_cells, required_positives
from services.maths.fairness.testing.power import minimum_detectable_gap, power_of
from services.maths.fairness.testing.vectors import attribute_vectors
from services.maths.fairness.testing.verdicts import tolerance, verdict
from tests.maths.fairness.bad_inputs.cases import (
    CLUSTER,
    PATIENTS,
    RECORDS,
    SEX,
    THRESHOLD,
    Y_SCORE,
    Y_TRUE,
    Cases,
    Kept,
    Refused,
    averaged,
    classified,
    spoiled,
)

VECTORS = attribute_vectors(CLUSTER, [SEX])
TESTABLE = {("Edema", "auroc", "sex"): ("F", "M")}
RESAMPLES = resample_patients(PATIENTS, replicates=64, seed=1)
MEMBER = membership([SEX])
NEGATIVES = np.zeros(RECORDS, dtype=np.int8)


def _tested(made=None, testable=TESTABLE, **changed):
    measured = {"Edema": (made or classified()).sums}
    given = {"vectors": VECTORS, "seed": 1, "permutations": 19}
    return group_tests(measured, testable=testable, **{**given, **changed})


def _drawn(**changed):
    given = {"y_true": Y_TRUE, "y_score": Y_SCORE, "threshold": 0.5}
    rest = {"patient": CLUSTER, "member": MEMBER, "resamples": RESAMPLES}
    return bootstrap_classification(**{**given, **rest, **changed})


def _planned(*rows, **changed):
    """A plan for one group and everyone, in 600 records of each class; each of ``rows`` changes the group's."""
    counts = {"records": 1200, "patients": 600, "patients_with_positives": 500, "patients_with_negatives": 500}
    group = {"metric": "tpr", "attribute": "sex", "group": "F", **counts, "positives": 600, "negatives": 600}
    everyone = {**group, "attribute": "", "group": "overall", "records": 2400, "positives": 1200, "negatives": 1200}
    table = pd.DataFrame([everyone, *({**group, **row} for row in (rows or [{}]))])
    return planned_cells(table.drop(columns=changed.pop("without", [])), **changed)


def _untested(tests):
    return all(test.statistic == 0.0 and test.p_value == 1.0 for test in tests.cells.values())


TESTS: Cases = {
    "no permutation": Refused(lambda: _tested(permutations=0), "at least 1"),
    "a negative seed": Refused(lambda: _tested(seed=-1), "not negative"),
    "alpha 0": Refused(lambda: _tested(alpha=0.0), "alpha must lie between 0 and 1"),
    "alpha NaN": Refused(lambda: _tested(alpha=math.nan), "alpha must lie between 0 and 1"),
    "an unknown label": Refused(
        lambda: _tested(testable={("Fracture", "auroc", "sex"): ("F",)}), "nothing was measured of 'Fracture'"
    ),
    "an unknown attribute": Refused(
        lambda: _tested(testable={("Edema", "auroc", "race"): ("F",)}), "'race' is not among"
    ),
    "an unknown group": Refused(
        lambda: _tested(testable={("Edema", "auroc", "sex"): ("F", "X")}), "'X'.* are not groups of attribute 'sex'"
    ),
    "an unknown metric": Refused(lambda: _tested(testable={("Edema", "f1", "sex"): ("F",)}), "no sums of 'value'"),
    "sums of another metric": Refused(lambda: _tested(averaged()), "no sums of 'positives'"),
    "label and image metric together": Refused(
        lambda: _tested(testable={**TESTABLE, ("Edema", "psnr", "sex"): ("F",)}), "a key of their own"
    ),
    "vectors of other patients": Refused(
        lambda: _tested(vectors=attribute_vectors(CLUSTER[:4], [SEX.take(np.arange(4))])), "without an attribute vector"
    ),
    "nothing to test": Kept(lambda: _tested(testable={}), lambda found: not found.cells and not found.gaps),
    "one group to test": Kept(
        lambda: _tested(testable={("Edema", "auroc", "sex"): ("F",)}),
        lambda found: len(found.cells) == 1 and not found.gaps,
    ),
    "no positives": Kept(lambda: _tested(classified(y_true=NEGATIVES)), _untested),
    "equal scores": Kept(lambda: _tested(classified(y_score=np.full(RECORDS, 0.5))), _untested),
    "no thresholds": Kept(
        lambda: _tested(classified(threshold=np.full(RECORDS, np.nan)), testable={("Edema", "tpr", "sex"): ("F", "M")}),
        _untested,
    ),
    "vectors of fewer groups": Refused(lambda: attribute_vectors(CLUSTER, [SEX.take(np.arange(3))]), "3 records"),
    "vectors without a patient": Refused(
        lambda: attribute_vectors(spoiled(CLUSTER, np.nan), [SEX]), "a patient for every record"
    ),
    "vectors of an attribute twice": Refused(lambda: attribute_vectors(CLUSTER, [SEX, SEX]), "different names"),
    "a patient in two groups": Kept(
        lambda: attribute_vectors(CLUSTER, [Grouping("age", ("young", "old"), np.arange(RECORDS) % 2)]),
        lambda found: found.varying_patients == PATIENTS,
    ),
    "step-down of other tests": Refused(lambda: westfall_young(np.ones(2), np.ones((9, 3))), "one column for each"),
    "step-down of one row": Refused(lambda: westfall_young(np.ones(2), np.ones(2)), "one column for each"),
    "step-down of no permutation": Refused(lambda: westfall_young(np.ones(2), np.ones((0, 2))), "at least one"),
    "step-down of a table": Refused(lambda: westfall_young(np.ones((2, 2)), np.ones((9, 2))), r"\(M,\) statistics"),
    "step-down of what was not tested": Kept(
        lambda: westfall_young(np.array([np.nan, 3.0]), np.ones((9, 2))),
        lambda p: np.isnan(p[0]) and p[1] == 0.1,
    ),
    "p above 1": Refused(lambda: benjamini_hochberg(np.array([0.1, 1.5])), r"in \[0, 1\]"),
    "p below 0": Refused(lambda: benjamini_hochberg(np.array([-0.1])), r"in \[0, 1\]"),
    "p in a table": Refused(lambda: benjamini_hochberg(np.full((2, 2), 0.5)), r"\(M,\)"),
    "no p": Kept(lambda: benjamini_hochberg(np.zeros(0)), lambda p: len(p) == 0),
    "verdict on NaN": Kept(lambda: verdict(math.nan, 0.01, 0.1), lambda said: said == "insufficient_evidence"),
    "verdict without power": Kept(lambda: verdict(0.9, math.nan, 0.1), lambda said: said == "insufficient_evidence"),
    "tolerance of an unknown metric": Kept(lambda: tolerance("f1"), lambda size: size is None),
}

POWER: Cases = {
    "power 1": Refused(lambda: minimum_detectable_gap(0.1, 2.0, power=1.0), "between 0 and 1"),
    "power NaN": Refused(lambda: minimum_detectable_gap(0.1, 2.0, power=math.nan), "between 0 and 1"),
    "standard error below 0": Refused(lambda: minimum_detectable_gap(-0.1, 2.0), "cannot be negative"),
    "power of a gap without error": Kept(lambda: power_of(0.1, 0.0, 2.0), lambda power: power == 1.0),
    "power without a standard error": Kept(lambda: power_of(0.1, math.nan, 2.0), math.isnan),
    "critical value of alpha 0": Refused(lambda: critical_value(10, alpha=0.0), "alpha must lie"),
    "positives for a gap of 0": Refused(lambda: required_positives("tpr", 0.0), "gap and the power"),
    "positives for a gap of NaN": Refused(lambda: required_positives("tpr", math.nan), "gap and the power"),
    "positives for certainty": Refused(lambda: required_positives("tpr", 0.1, power=1.0), "gap and the power"),
    "positives against nobody": Refused(lambda: required_positives("tpr", 0.1, times_larger=0.0), "more than none"),
    "positives without negatives": Refused(
        lambda: required_positives("auroc", 0.1, negatives_per_positive=0.0), "more than none"
    ),
    "positives for an unknown metric": Refused(lambda: required_positives("dice", 0.1), "no such plan for 'dice'"),
    "an assumed rate of 2": Refused(lambda: Assumptions(rate=2.0), "between 0 and 1"),
    "an assumed AUROC of 1": Refused(lambda: Assumptions(auroc=1.0), "between 0 and 1"),
    "an assumed spread of 0": Refused(lambda: Assumptions(spread={"dice": 0.0}), "above 0"),
    "a plan without a column": Refused(lambda: _planned(without=["positives"]), r"lack the columns \['positives'\]"),
    "a plan without everyone": Refused(lambda: _planned({"metric": "fpr"}), "one row with attribute"),
    "a plan with everyone twice": Refused(
        lambda: _planned({"attribute": "", "group": "overall"}), "one row with attribute"
    ),
    "a plan with a count of NaN": Refused(lambda: _planned({"records": math.nan}), "records must be whole numbers"),
    "a plan with a count below 0": Refused(lambda: _planned({"positives": -1}), "positives must be whole numbers"),
    "a plan with half a patient": Refused(lambda: _planned({"patients": 0.5}), "patients must be whole numbers"),
    "a plan with power 0": Refused(lambda: _planned(power=0.0), "power must lie"),
    "a plan for a group without positives": Kept(
        lambda: _planned({"positives": 0, "patients_with_positives": 0}),
        lambda table: table["state"].iloc[1] == "undefined" and math.isnan(table["minimum_detectable_gap"].iloc[1]),
    ),
    "a plan for a group of one patient": Kept(
        lambda: _planned({"patients": 1, "patients_with_positives": 1}),
        lambda table: table["state"].iloc[1] == "insufficient" and math.isnan(table["power"].iloc[1]),
    ),
    "a plan for an unknown metric": Kept(
        lambda: planned_cells(_planned().assign(metric="f1")[list(_planned().columns[:9])]),
        lambda table: table["minimum_detectable_gap"].isna().all(),
    ),
}

BOOTSTRAP: Cases = {
    "no patients": Refused(lambda: resample_patients(0, seed=1), "at least 1 patient"),
    "no replicates": Refused(lambda: resample_patients(4, replicates=0, seed=1), "1 replicate"),
    "a negative seed of resamples": Refused(lambda: resample_patients(4, seed=-1), "seed must lie in"),
    "no grouping": Refused(lambda: membership([]), "at least one"),
    "groupings of other records": Refused(lambda: membership([SEX, SEX.take(np.arange(3))]), "of the same records"),
    "resampled NaN": Refused(lambda: _drawn(y_score=spoiled(Y_SCORE, np.nan)), "scores must be finite"),
    "resampled infinity": Refused(lambda: _drawn(y_score=spoiled(Y_SCORE, np.inf)), "scores must be finite"),
    "resampled words": Refused(lambda: _drawn(y_score=spoiled(Y_SCORE, "high")), "y_score must hold numbers"),
    "resampled label 2": Refused(lambda: _drawn(y_true=spoiled(Y_TRUE, 2)), "labels must be 0, 1 or -1"),
    "resampled labels fewer": Refused(lambda: _drawn(y_true=Y_TRUE[1:]), "of the same records"),
    "resampled scores fewer": Refused(lambda: _drawn(y_score=Y_SCORE[1:]), "of the same records"),
    "resampled patients fewer": Refused(lambda: _drawn(patient=CLUSTER[1:]), "of the same records"),
    "resampled thresholds fewer": Refused(lambda: _drawn(threshold=THRESHOLD[1:]), "one finite number or one a record"),
    "resampled threshold infinite": Refused(lambda: _drawn(threshold=np.inf), "one finite number"),
    "resampled threshold a word": Refused(lambda: _drawn(threshold="auto"), "threshold must hold numbers"),
    "resampled patient unknown": Refused(lambda: _drawn(patient=CLUSTER + 1), r"numbers in 0\.\.39"),
    "resampled patient with a fraction": Refused(lambda: _drawn(patient=CLUSTER / 2), "patients must be integers"),
    "resampled metric unknown": Refused(lambda: _drawn().metric("f1"), "no replicates of 'f1'"),
    "resampled group unknown": Refused(lambda: _drawn().columns("sex", ["X"]), "no replicates of the group 'X'"),
    "resampled gap unknown": Refused(lambda: gap_replicates(_drawn(), "ser", ["tpr"], [0, 1]), "no gap 'ser'"),
    "resampled gap of other metrics": Refused(
        lambda: gap_replicates(_drawn(), "eodd_half", ["tpr"], [0, 1]), "no gap of 1 metrics"
    ),
    "replicates of other resamples": Refused(
        lambda: paired_change(_drawn(), replace(_drawn(), drawn=(PATIENTS, 2)), "eop", ["tpr"], [0, 1]),
        "paired only if",
    ),
    "resampled gap of one group": Kept(
        lambda: gap_replicates(_drawn(), "eop", ["tpr"], [0]), lambda gaps: np.isnan(gaps).all()
    ),
    "resampled one class": Kept(lambda: _drawn(y_true=NEGATIVES), lambda drawn: np.isnan(drawn.auroc).all()),
    "resampled without labels": Kept(
        lambda: _drawn(y_true=NEGATIVES - 1), lambda drawn: np.isnan(drawn.fpr).all() and not drawn.negatives.any()
    ),
    "resampled without thresholds": Kept(lambda: _drawn(threshold=np.nan), lambda drawn: np.isnan(drawn.tpr).all()),
    "resampled against itself": Kept(
        lambda: paired_change(_drawn(), _drawn(), "max_min", ["auroc"], [0, 1]),
        lambda change: (change.mean, change.standard_deviation) == (0.0, 0.0),
    ),
}

CASES: Cases = {**TESTS, **POWER, **BOOTSTRAP}
