"""Planted truth: scores whose true rates have a closed form. Fairlearn for point values; cells that know nothing."""

import math

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from services.maths.fairness.cells import Minimums
from services.maths.fairness.gaps.simultaneous import standard_normals
from services.maths.fairness.groups import Grouping, intersect
from services.maths.fairness.metrics.classification import METRICS, disaggregate_classification

LATENT = 0.5  # the threshold before scores are squeezed into [0, 1]
TAU = float(norm.cdf(LATENT))


def _world(*, prevalence, mean_positive, records=60_000, seed=0):
    """Scores Phi(x), x ~ N(mu_{y,g}, 1), mu_0 = 0: TPR_g = 1 - Phi(t - mu_{1,g}) and FPR_g = 1 - Phi(t)."""
    draw = np.random.default_rng(seed)
    group = draw.integers(0, 2, records)
    y_true = (draw.random(records) < np.array(prevalence)[group]).astype(np.int8)
    y_score = norm.cdf(draw.normal(np.where(y_true == 1, np.array(mean_positive)[group], 0.0), 1.0))
    return y_true, y_score, group


def _measure(y_true, y_score, group, *, names=("A", "B"), threshold=TAU, cluster=None, minimums=None, extra=()):
    records = len(y_true)
    return disaggregate_classification(
        np.asarray(y_true),
        np.asarray(y_score),
        np.broadcast_to(np.asarray(threshold, dtype=float), (records,)),
        sensitive_features=[Grouping("a", names, np.asarray(group)), *extra],
        cluster=np.arange(records) // 2 if cluster is None else np.asarray(cluster),
        minimums=minimums or Minimums(),
    )


WORLDS = {
    "null": {"prevalence": (0.3, 0.3), "mean_positive": (1.5, 1.5)},
    "planted": {"prevalence": (0.3, 0.3), "mean_positive": (1.5, 1.0)},
    "confounded": {"prevalence": (0.6, 0.1), "mean_positive": (1.5, 1.5)},
}
SMALL = {"prevalence": (0.3, 0.3), "mean_positive": (1.5, 1.5)}


@pytest.mark.parametrize("world", WORLDS)
def test_rates_and_areas_are_the_closed_form_and_inside_their_limits(world):
    means = np.array(WORLDS[world]["mean_positive"])
    by = _measure(*_world(**WORLDS[world])).by
    tpr, fpr = norm.sf(LATENT - means), np.full(2, norm.sf(LATENT))
    truths = {
        "auroc": norm.cdf(means / math.sqrt(2)),
        "tpr": tpr,
        "fpr": fpr,
        "balanced_accuracy": (tpr + 1 - fpr) / 2,
        "prevalence": np.array(WORLDS[world]["prevalence"]),
    }
    for metric, truth in truths.items():
        part = by[metric, "a"]
        errors = np.array([cell.standard_error for cell in part.cells])
        assert (np.abs(part.by_group - truth) < 4 * errors).all(), metric
        assert (errors < 0.02).all(), metric
        limits = part.by_group_ci
        assert ((limits["low"] < part.by_group) & (part.by_group < limits["high"])).all()


def test_planted_difference_is_in_its_interval_and_null_and_confounded_worlds_show_none():
    normals = standard_normals(1)
    results = {world: _measure(*_world(**how)).by for world, how in WORLDS.items()}
    planted = norm.sf(LATENT - 1.5) - norm.sf(LATENT - 1.0)
    low, high = results["planted"]["tpr", "a"].difference_ci(normals=normals)
    assert 0 < low < planted < high < planted + 0.03
    for world in ("null", "confounded"):
        assert results[world]["tpr", "a"].difference_ci(normals=normals)[0] == 0
    assert results["confounded"]["prevalence", "a"].difference_ci(normals=normals)[0] > 0.4


def test_point_values_differences_and_ratios_are_fairlearns():
    y_true, y_score, group = _world(**WORLDS["planted"], records=4000)
    other = np.random.default_rng(1).integers(0, 3, 4000)
    second = Grouping("b", ("x", "y", "z"), other)
    first = Grouping("a", ("A", "B"), group)
    by = _measure(y_true, y_score, group, extra=[second, intersect([first, second])]).by
    frame = pd.DataFrame({"a": np.array(["A", "B"])[group], "b": np.array(["x", "y", "z"])[other]})
    frame["a,b"] = frame["a"] + ", " + frame["b"]
    called = {"tpr": true_positive_rate, "fpr": false_positive_rate, "balanced_accuracy": balanced_accuracy_score}
    scored = {"auroc": roc_auc_score, "brier": brier_score_loss}
    for metrics, prediction in ((called, (y_score >= TAU).astype(int)), (scored, y_score)):
        for attribute in ("a", "b", "a,b"):
            theirs = MetricFrame(metrics=metrics, y_true=y_true, y_pred=prediction, sensitive_features=frame[attribute])
            for metric in metrics:
                ours = by[metric, attribute]
                np.testing.assert_allclose(ours.by_group, theirs.by_group[metric][ours.by_group.index], atol=1e-13)
                assert ours.overall == pytest.approx(theirs.overall[metric], abs=1e-13)
                for method in ("between_groups", "to_overall"):
                    assert ours.difference(method) == pytest.approx(theirs.difference(method)[metric], abs=1e-13)
                    assert ours.ratio(method) == pytest.approx(theirs.ratio(method)[metric], abs=1e-13)


def test_group_without_positives_is_undefined_where_fairlearn_says_zero():
    y_true, y_score, group = _world(**SMALL, records=3000)
    group = np.where(np.arange(3000) % 3 == 0, 2, group)
    y_true = np.where(group == 2, 0, y_true).astype(np.int8)
    by = _measure(y_true, y_score, group, names=("A", "B", "C")).by
    assert [cell.state for cell in by["tpr", "a"].cells] == ["ok", "ok", "undefined"]
    nobody = by["tpr", "a"].cells[2]
    assert (nobody.estimate, nobody.standard_error, nobody.ci_low, nobody.ci_high) == (None,) * 4
    assert (nobody.positives, nobody.deciding_patients) == (0, 0)
    assert by["fpr", "a"].cells[2].state == "ok"
    theirs = MetricFrame(metrics=true_positive_rate, y_true=y_true, y_pred=y_score >= TAU, sensitive_features=group)
    assert theirs.by_group[2] == 0.0
    assert theirs.difference() > 0.7
    assert by["tpr", "a"].difference() < 0.2


def test_estimates_have_the_cells_as_columns_and_everyone_last():
    y_true, y_score, group = _world(**SMALL, records=800)
    group = np.where(np.arange(800) % 7 == 0, -1, group)
    result = _measure(y_true, y_score, group)
    assert set(result.by) == {(metric, attribute) for metric in METRICS for attribute in ("", "a")}
    for (metric, attribute), part in result.by.items():
        values = [cell.estimate for cell in part.cells]
        np.testing.assert_array_equal(part.estimates.value, [*values, part.overall], err_msg=metric)
        errors = [cell.standard_error for cell in part.cells]
        np.testing.assert_allclose(part.estimates.standard_error[:-1], errors, rtol=1e-12)
        assert part.estimates.influence.shape == (400, len(part.cells) + 1)
        np.testing.assert_allclose(part.estimates.influence.sum(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(part.estimates.share.sum(axis=0), 1, atol=1e-12)
        assert part.overall_cell == result.by[metric, ""].cells[0]
        assert [cell.group for cell in part.cells] == (["A", "B", "(missing)"] if attribute else ["overall"])
        assert part.columns(["B"]) == [1] if attribute else True


def test_sums_hold_what_tests_and_other_sites_need():
    y_true, y_score, group = _world(**SMALL, records=500)
    y_true[:20] = -1
    sums = _measure(y_true, y_score, group).sums
    known = y_true >= 0
    assert sums.column("records").sum() == known.sum()
    assert sums.column("positives").sum() == (y_true == 1).sum()
    assert sums.column("true_positives").sum() == ((y_true == 1) & (y_score >= TAU)).sum()
    assert sums.column("false_positives").sum() == ((y_true == 0) & (y_score >= TAU)).sum()
    assert sums.column("brier").sum() == pytest.approx(((y_score - y_true)[known] ** 2).sum())
    area = roc_auc_score(y_true[known], y_score[known])
    assert sums.column("positive_placements").sum() / (y_true == 1).sum() == pytest.approx(area)
    assert sums.column("negative_placements").sum() / (y_true == 0).sum() == pytest.approx(area)
    patient = 57
    mine = known & (np.arange(500) // 2 == patient)
    below = [(y_score[y_true == 0] < s).mean() for s in y_score[mine & (y_true == 1)]]
    unit = sums.patient == patient
    assert sums.column("positive_placements")[unit].sum() == pytest.approx(sum(below))


@pytest.mark.parametrize("y_true", [np.zeros(8, dtype=np.int8), np.ones(8, dtype=np.int8)])
def test_placements_of_one_class_alone_are_zero(y_true):
    sums = _measure(y_true, np.linspace(0, 1, 8), np.zeros(8, dtype=np.int64)).sums
    assert not sums.column("positive_placements").any()
    assert not sums.column("negative_placements").any()


def test_patients_that_decide_are_those_with_the_cases():
    #            patient 0: both      1: positive 2: negative 3: negative, never called
    y_true = np.array([1, 0, 1, 0, 0], dtype=np.int8)
    by = _measure(y_true, [0.9, 0.1, 0.8, 0.2, 0.3], [0] * 5, cluster=[0, 0, 1, 2, 3]).by
    deciding = {metric: by[metric, ""].cells[0].deciding_patients for metric in METRICS}
    assert deciding == {
        "auroc": 2,
        "tpr": 2,
        "fpr": 3,
        "balanced_accuracy": 2,
        "brier": 4,
        "ece": 4,
        "prevalence": 4,
    }
    assert {by[metric, ""].cells[0].patients for metric in METRICS} == {4}


def test_groups_without_records_stay_in_the_table():
    y_true, y_score, group = _world(**SMALL, records=500)
    by = _measure(y_true, y_score, group, names=("A", "B", "C")).by
    for metric in METRICS:
        nobody = by[metric, "a"].cells[2]
        assert (nobody.group, nobody.records, nobody.patients, nobody.state) == ("C", 0, 0, "undefined")
        assert (nobody.estimate, nobody.standard_error, nobody.ci_low, nobody.ci_high) == (None,) * 4


def test_a_group_of_one_patient_is_insufficient_and_its_proportions_know_next_to_nothing():
    y_true = np.tile([0, 1], 20).astype(np.int8)
    by = _measure(y_true, np.linspace(0.01, 0.99, 40), [0] * 20 + [1] * 20, cluster=[*range(20), *[99] * 20]).by
    for metric in METRICS:
        alone = by[metric, "a"].cells[1]
        assert (alone.state, alone.patients, alone.deciding_patients) == ("insufficient", 1, 1)
        if metric in ("auroc", "tpr", "fpr", "prevalence"):
            assert alone.ci_high - alone.ci_low > 0.9
    assert by["brier", "a"].cells[1].ci_low is None


def test_unlabelled_rows_are_counted_as_excluded_and_used_for_nothing():
    y_true, y_score, group = _world(**SMALL, records=600)
    more = _measure(
        np.concatenate([y_true, np.full(50, -1, dtype=np.int8)]),
        np.concatenate([y_score, np.full(50, 0.9)]),
        np.concatenate([group, np.zeros(50, dtype=np.int64)]),
    ).by
    less = _measure(y_true, y_score, group).by
    for metric in METRICS:
        assert more[metric, "a"].by_group.equals(less[metric, "a"].by_group)
        assert more[metric, "a"].by_group_ci.equals(less[metric, "a"].by_group_ci)
        assert more[metric, ""].overall == less[metric, ""].overall
        assert [cell.excluded_records for cell in more[metric, "a"].cells] == [50, 0]
        assert more[metric, ""].overall_cell.patients == 300


def test_all_missing_is_undefined_everywhere():
    by = _measure(np.full(40, -1, dtype=np.int8), np.zeros(40), np.full(40, -1)).by
    assert {cell.state for part in by.values() for cell in part.cells} == {"undefined"}
    assert by["auroc", "a"].cells[-1].group == "(missing)"
    assert by["auroc", "a"].cells[-1].excluded_records == 40


def test_no_rows_at_all_are_undefined_cells():
    by = _measure(np.zeros(0, dtype=np.int8), np.zeros(0), np.zeros(0, dtype=np.int64)).by
    assert {cell.state for part in by.values() for cell in part.cells} == {"undefined"}
    assert [cell.group for cell in by["tpr", "a"].cells] == ["A", "B"]


def test_no_threshold_leaves_the_rates_of_its_group_undefined_and_everything_else_alone():
    y_true, y_score, group = _world(**SMALL, records=800)
    by = _measure(y_true, y_score, group, threshold=np.where(group == 0, np.nan, TAU)).by
    for metric in ("tpr", "fpr", "balanced_accuracy"):
        assert [cell.state == "undefined" for cell in by[metric, "a"].cells] == [True, False]
        assert by[metric, ""].cells[0].state == "undefined"
        assert not by[metric, "a"].estimates.influence.toarray()[:, [0, 2]].any()
    for metric in ("auroc", "brier", "ece", "prevalence"):
        assert by[metric, ""].cells[0].state == "ok"


def test_a_score_at_the_threshold_is_called_and_each_row_is_read_at_its_own():
    y_true = np.array([1, 1, 0, 0], dtype=np.int8)
    by = _measure(y_true, [0.4, 0.4, 0.4, 0.4], [0] * 4, threshold=[0.4, 0.5, 0.3, 0.4]).by
    assert by["tpr", ""].overall == 0.5
    assert by["fpr", ""].overall == 1.0
    assert by["balanced_accuracy", ""].overall == 0.25


def test_order_of_rows_does_not_change_what_is_reported():
    y_true, y_score, group = _world(**SMALL, records=700)
    cluster = np.random.default_rng(2).integers(0, 250, 700)
    shuffle = np.random.default_rng(3).permutation(700)
    straight = _measure(y_true, y_score, group, cluster=cluster).by
    shuffled = _measure(y_true[shuffle], y_score[shuffle], group[shuffle], cluster=cluster[shuffle]).by
    for key, part in straight.items():
        np.testing.assert_allclose(part.by_group, shuffled[key].by_group, rtol=1e-13)
        np.testing.assert_allclose(part.by_group_ci, shuffled[key].by_group_ci, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_true": [2, 0]}, "y_true must hold 0, 1 or -1"),
        ({"y_true": [-2, 0]}, "y_true must hold"),
        ({"y_true": [0.5, 0]}, "y_true must hold"),
        ({"y_true": [np.nan, 0]}, "y_true must hold"),
        ({"y_true": [1]}, "y_true has shape"),
        ({"y_true": [[1, 0]]}, "y_true has shape"),
        ({"y_score": [np.nan, 0.5]}, "must not hold NaN"),
        ({"y_score": [-0.01, 0.5]}, r"must lie in \[0, 1\]"),
        ({"y_score": [1.01, 0.5]}, r"must lie in \[0, 1\]"),
        ({"y_score": [np.inf, 0.5]}, r"must lie in \[0, 1\]"),
        ({"y_score": [0.5]}, "y_score has shape"),
        ({"y_score": [0.5, 0.5, 0.5]}, "y_score has shape"),
        ({"threshold": [np.inf, 0.5]}, "threshold must be finite"),
        ({"threshold": [-np.inf, 0.5]}, "threshold must be finite"),
        ({"threshold": [0.5]}, "threshold has shape"),
        ({"codes": [0]}, "attribute 'a' has 1 records"),
        ({"cluster": ["p", None]}, "patient for every record"),
    ],
)
def test_impossible_rows_are_refused(changed, message):
    rows = {"y_true": [1, 0], "y_score": [0.2, 0.8], "threshold": [0.5, 0.5], "codes": [0, 1], "cluster": ["p", "q"]}
    rows |= changed
    with pytest.raises(ValueError, match=message):
        disaggregate_classification(
            np.array(rows["y_true"]),
            np.array(rows["y_score"]),
            np.array(rows["threshold"]),
            sensitive_features=[Grouping("a", ("A", "B"), np.array(rows["codes"]))],
            cluster=np.array(rows["cluster"], dtype=object),
            minimums=Minimums(),
        )
