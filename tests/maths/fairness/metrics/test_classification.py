"""Planted truth: scores whose true rates have a closed form."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from services.maths.fairness.cells import Minimums
from services.maths.fairness.classification import disaggregate_classification
from services.maths.fairness.gaps import gaps_of
from services.maths.fairness.groups import Grouping

TAU = 0.5


def _world(*, prevalence, mean_positive, records=60_000, seed=0):
    """Scores ~ N(mu_{y,g}, 1), mu_0 = 0, so that TPR_g = 1 - Phi(tau - mu_{1,g}) and FPR_g = 1 - Phi(tau)."""
    draw = np.random.default_rng(seed)
    group = draw.integers(0, 2, records)
    y_true = (draw.random(records) < np.array(prevalence)[group]).astype(np.int8)
    y_score = draw.normal(np.where(y_true == 1, np.array(mean_positive)[group], 0.0), 1.0)
    return y_true, y_score, group


def _audit(y_true, y_score, group, names=("A", "B")):
    return disaggregate_classification(
        y_true,
        y_score,
        np.full(len(y_true), TAU),
        sensitive_features=[Grouping("a", names, group)],
        cluster=np.arange(len(y_true)) // 2,
        minimums=Minimums(),
    )


def _gaps(results):
    return {(gap.definition, gap.metric): gap for gap in gaps_of({m: part for (m, a), part in results.items() if a})}


WORLDS = {
    "null": {"prevalence": (0.3, 0.3), "mean_positive": (1.5, 1.5)},
    "planted": {"prevalence": (0.3, 0.3), "mean_positive": (1.5, 1.0)},
    "confounded": {"prevalence": (0.6, 0.1), "mean_positive": (1.5, 1.5)},
}


@pytest.mark.parametrize("world", WORLDS)
def test_rates_and_areas_are_the_closed_form_within_noise(world):
    means = WORLDS[world]["mean_positive"]
    results = _audit(*_world(**WORLDS[world]))
    rows = 60_000 / 2 * min(WORLDS[world]["prevalence"])
    four_standard_errors = 4 * 0.5 / math.sqrt(rows)
    np.testing.assert_allclose(results["tpr", "a"].by_group, norm.sf(TAU - np.array(means)), atol=four_standard_errors)
    np.testing.assert_allclose(results["fpr", "a"].by_group, norm.sf(TAU), atol=four_standard_errors)
    np.testing.assert_allclose(
        results["auroc", "a"].by_group, norm.cdf(np.array(means) / math.sqrt(2)), atol=four_standard_errors
    )


def test_planted_effect_is_found_and_null_and_confounded_worlds_show_none():
    eop = {world: _gaps(_audit(*_world(**how)))["eop", "tpr"].estimate for world, how in WORLDS.items()}
    planted = norm.sf(TAU - 1.5) - norm.sf(TAU - 1.0)
    assert eop["planted"] == pytest.approx(planted, abs=0.02)
    assert eop["null"] < 0.02
    assert eop["confounded"] < 0.03


def test_group_without_positives_is_undefined_and_leaves_every_gap_that_needs_them():
    y_true, y_score, group = _world(prevalence=(0.3, 0.3), mean_positive=(1.5, 1.5), records=3000)
    group = np.where(np.arange(3000) % 3 == 0, 2, group)
    y_true = np.where(group == 2, 0, y_true).astype(np.int8)
    results = _audit(y_true, y_score, group, names=("A", "B", "C"))
    assert [cell.state for cell in results["tpr", "a"].cells] == ["ok", "ok", "undefined"]
    assert results["tpr", "a"].cells[2].estimate is None
    assert results["fpr", "a"].cells[2].state == "ok"
    gaps = _gaps(results)
    assert gaps["eop", "tpr"].excluded_groups == ("C",)
    assert gaps["eodd_half", "tpr,fpr"].groups == ("A", "B")
    assert gaps["eop", "tpr"].estimate < 0.2, "a rate of 0 or 1 for the empty group would make a gap of about 0.8"


def test_groups_without_records_stay_in_the_table():
    y_true, y_score, group = _world(prevalence=(0.3, 0.3), mean_positive=(1.5, 1.5), records=500)
    nobody = _audit(y_true, y_score, group, names=("A", "B", "C"))["auroc", "a"].cells[2]
    assert (nobody.group, nobody.records, nobody.patients, nobody.state) == ("C", 0, 0, "undefined")


def test_unlabelled_rows_are_counted_as_excluded_and_used_for_nothing():
    y_true, y_score, group = _world(prevalence=(0.3, 0.3), mean_positive=(1.5, 1.5), records=600)
    more = _audit(
        np.concatenate([y_true, np.full(50, -1, dtype=np.int8)]),
        np.concatenate([y_score, np.full(50, 9.0)]),
        np.concatenate([group, np.zeros(50, dtype=np.int64)]),
    )
    less = _audit(y_true, y_score, group)
    assert more["auroc", "a"].by_group.equals(less["auroc", "a"].by_group)
    assert more["tpr", ""].overall == less["tpr", ""].overall
    assert [cell.excluded_records for cell in more["tpr", "a"].cells] == [50, 0]


def test_all_missing_is_undefined_everywhere():
    results = _audit(np.full(40, -1, dtype=np.int8), np.zeros(40), np.full(40, -1))
    assert {cell.state for part in results.values() for cell in part.cells} == {"undefined"}
    assert results["auroc", "a"].cells[-1].group == "(missing)"
    assert results["auroc", "a"].cells[-1].excluded_records == 40


def test_no_threshold_leaves_rates_undefined_and_the_area_alone():
    y_true, y_score, group = _world(prevalence=(0.3, 0.3), mean_positive=(1.5, 1.5), records=400)
    results = disaggregate_classification(
        y_true,
        y_score,
        np.full(400, np.nan),
        sensitive_features=[Grouping("a", ("A", "B"), group)],
        cluster=np.arange(400),
        minimums=Minimums(),
    )
    assert results["tpr", ""].cells[0].state == "undefined"
    assert results["auroc", ""].cells[0].state == "ok"


def test_patient_ids_travel_with_the_disaggregation():
    y_true, y_score, group = _world(prevalence=(0.3, 0.3), mean_positive=(1.5, 1.5), records=100)
    part = _audit(y_true, y_score, group)["auroc", "a"]
    np.testing.assert_array_equal(part.cluster, np.arange(100) // 2)
    assert part.overall_cell.patients == 50


@pytest.mark.parametrize(
    ("y_true", "y_score", "message"), [([2], [0.5], "y_true"), ([-2], [0.5], "y_true"), ([1], [np.nan], "y_score")]
)
def test_impossible_rows_are_refused(y_true, y_score, message):
    with pytest.raises(ValueError, match=message):
        _audit(np.array(y_true, dtype=np.int8), np.array(y_score), np.array([0]))
