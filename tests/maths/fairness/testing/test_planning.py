"""Plans against the published sample sizes and against direct computation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from services.maths.fairness.testing.planning import auroc_variance, critical_value, planned_cells, required_positives


@pytest.mark.parametrize(("gap", "alone", "among_many"), [(0.05, 972, 3151), (0.10, 243, 788), (0.20, 61, 197)])
def test_positives_for_a_gap_of_true_positive_rates(gap, alone, among_many):
    """Power .8, design effect 1.5, reference ten times larger, a rate of .75, one test or 1,908."""
    assert required_positives("tpr", gap) == alone
    assert required_positives("tpr", gap, tests=1908) == among_many


@pytest.mark.parametrize(("gap", "alone", "among_many"), [(0.05, 315, 1020), (0.10, 80, 255), (0.02, 1950, 6350)])
def test_positives_for_a_gap_of_auroc(gap, alone, among_many):
    assert required_positives("auroc", gap) == pytest.approx(alone, rel=0.015)
    assert required_positives("auroc", gap, tests=1908) == pytest.approx(among_many, rel=0.015)


def test_variance_of_auroc_is_that_of_exponential_scores():
    rng = np.random.default_rng(1)
    rate = (1 - 0.8) / 0.8  # positives ~ Exp(mean 1 / rate) beat negatives ~ Exp(1) with probability .8
    draws = []
    for _ in range(4000):
        negatives = np.sort(rng.exponential(1.0, 40))
        positives = rng.exponential(1 / rate, 15)
        draws.append(np.searchsorted(negatives, positives).mean() / 40)
    assert np.mean(draws) == pytest.approx(0.8, abs=0.01)
    assert float(auroc_variance(0.8, 15, 40)) == pytest.approx(np.var(draws), rel=0.08)
    assert math.isnan(auroc_variance(0.8, 0, 40))


def test_required_positives_refuses_what_it_cannot_plan():
    with pytest.raises(ValueError, match="tpr, fpr or auroc"):
        required_positives("psnr", 0.5)
    with pytest.raises(ValueError, match="gap"):
        required_positives("tpr", 0.0)


def _counts(metrics=("auroc", "tpr", "fpr", "prevalence", "psnr", "ece"), labels=("a",)):
    sizes = {
        ("", "overall"): (20000, 2000),
        ("sex", "F"): (9000, 900),
        ("sex", "M"): (11000, 1100),
        ("race", "x"): (300, 20),
        ("sex,race", "F, x"): (3000, 300),
        ("race", "none"): (0, 0),
    }
    return pd.DataFrame(
        [
            {
                "label": label,
                "metric": metric,
                "attribute": attribute,
                "group": group,
                "records": n,
                "patients": n // 3,
                "patients_with_positives": math.ceil(p / 2),
                "patients_with_negatives": (n - p) // 3,
                "positives": p,
                "negatives": n - p,
            }
            for label in labels
            for (attribute, group), (n, p) in sizes.items()
            for metric in metrics
        ]
    )


def test_a_plan_says_state_family_and_detectable_gap_of_each_cell():
    plan = planned_cells(_counts(), pipelines=3).set_index(["metric", "attribute", "group"])
    # sex: 2 groups × (auroc, tpr, fpr, psnr); race x: fpr and psnr alone are ok; three pipelines
    assert plan.loc["tpr", "sex", "F"]["tests"] == 3 * (2 * 4 + 2)
    assert plan.loc["prevalence", "sex", "F"]["tests"] == 2 + 1 + 1
    assert plan.loc["tpr", "sex,race", "F, x"]["family"] == "exploratory"
    assert plan.loc["tpr", "race", "x"]["state"] == "wide"
    assert plan.loc["tpr", "race", "none"]["state"] == "undefined"
    for untested in (("tpr", "race", "x"), ("tpr", "race", "none"), ("tpr", "", "overall"), ("ece", "sex", "F")):
        assert np.isnan(plan.loc[untested]["minimum_detectable_gap"])
        assert np.isnan(plan.loc[untested]["power"])
    cell = plan.loc["tpr", "sex", "F"]
    error = math.sqrt(1.5 * 0.75 * 0.25 * (1 / 900 - 1 / 2000))
    critical = stats.norm.isf(0.05 / 30 / 2)
    assert cell["standard_error"] == pytest.approx(error)
    assert cell["minimum_detectable_gap"] == pytest.approx((critical + stats.norm.ppf(0.8)) * error)
    assert cell["tolerance"] == 0.10
    assert critical_value(30) == pytest.approx(critical)


def test_labels_are_planned_against_their_own_everyone():
    counts = _counts(labels=("a", "b"))
    counts.loc[counts["label"] == "b", "positives"] //= 10
    plan = planned_cells(counts).set_index(["label", "metric", "attribute", "group"])
    assert plan.loc["b", "tpr", "sex", "F"]["standard_error"] == pytest.approx(
        math.sqrt(10) * plan.loc["a", "tpr", "sex", "F"]["standard_error"]
    )


def test_a_plan_needs_everyone_and_all_columns():
    counts = _counts()
    with pytest.raises(ValueError, match="everyone"):
        planned_cells(counts[counts["attribute"] != ""])
    with pytest.raises(ValueError, match="positives"):
        planned_cells(counts.drop(columns="positives"))
