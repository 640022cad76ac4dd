"""AUROC against scikit-learn, its variance against brute force, and where no AUROC exists."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from services.maths.fairness.groups import Grouping, everyone
from services.maths.fairness.limits import limits
from services.maths.fairness.metrics.auroc import auroc, auroc_by_attribute, deciding_patients
from services.maths.fairness.sums import units_of


def estimates(y_true, y_score, groups, cluster=None, levels=None):
    """One attribute of integer groups."""
    groups = np.asarray(groups)
    names = tuple(f"g{g}" for g in range(levels or int(groups.max(initial=0)) + 1))
    cluster = np.arange(len(groups)) if cluster is None else cluster
    units = units_of(np.asarray(cluster), [Grouping("a", names, groups.astype(np.int64))])
    (result,) = auroc_by_attribute(
        np.asarray(y_true, dtype=np.int8), np.asarray(y_score, dtype=float), units, units.sensitive_features
    )
    return result.take(np.arange(len(names)))


def scored(seed, records, *, decimals=6, groups=4, prevalence=0.3):
    draw = np.random.default_rng(seed)
    y_true = (draw.random(records) < prevalence).astype(np.int8)
    return y_true, np.round(draw.normal(y_true, 1.0), decimals), draw.integers(0, groups, records), draw


def brute_placements(y_true, y_score):
    """O(mn): share of negatives below each positive and of positives above each negative, ties half."""
    positive, negative = y_score[y_true == 1], y_score[y_true == 0]
    wins = (positive[:, None] > negative).astype(float) + 0.5 * (positive[:, None] == negative)
    return wins.mean(axis=1), wins.mean(axis=0), wins.mean()


@pytest.mark.parametrize("decimals", [0, 1, 6], ids=["heavy ties", "some ties", "hardly a tie"])
def test_every_group_equals_scikit_learn(decimals):
    y_true, y_score, groups, _ = scored(decimals, 3000, decimals=decimals, groups=7)
    theirs = [roc_auc_score(y_true[groups == g], y_score[groups == g]) for g in range(7)]
    np.testing.assert_allclose(estimates(y_true, y_score, groups).value, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("decimals", [0, 1, 6], ids=["heavy ties", "some ties", "hardly a tie"])
def test_influence_is_delongs_for_patients_with_one_record_each(decimals):
    y_true, y_score, groups, _ = scored(10 + decimals, 400, decimals=decimals)
    ours = estimates(y_true, y_score, groups).influence.toarray()
    for g in range(4):
        mine = groups == g
        above, below, area = brute_placements(y_true[mine], y_score[mine])
        expected = np.zeros(400)
        expected[mine & (y_true == 1)] = (above - area) / len(above)
        expected[mine & (y_true == 0)] = (below - area) / len(below)
        np.testing.assert_allclose(ours[:, g], expected, atol=1e-15)
        delong = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
        m, n = len(above), len(below)
        squares = ours[:, g] ** 2
        unbiased = squares[y_true == 1].sum() * m / (m - 1) + squares[y_true == 0].sum() * n / (n - 1)
        assert unbiased == pytest.approx(delong, rel=1e-12)


def test_standard_error_is_the_jackknife_over_patients_in_large_samples():
    y_true, y_score, _, draw = scored(3, 1500, decimals=2)
    cluster = draw.integers(0, 400, 1500)
    y_score = np.round(y_score + draw.normal(size=400)[cluster], 2)  # images of a patient resemble each other
    result = estimates(y_true, y_score, np.zeros(1500), cluster)
    without = np.array([roc_auc_score(y_true[cluster != k], y_score[cluster != k]) for k in np.unique(cluster)])
    many = len(without)
    jackknife = math.sqrt((many - 1) / many * ((without - without.mean()) ** 2).sum())
    assert result.standard_error[0] == pytest.approx(jackknife, rel=0.02)
    # And patient by patient, which the standard error alone would not show.
    np.testing.assert_allclose(result.influence.toarray()[:, 0], result.value[0] - without, atol=6e-5)
    assert np.corrcoef(result.influence.toarray()[:, 0], result.value[0] - without)[0, 1] > 0.999


def test_influence_of_a_patient_in_two_groups_is_counted_in_both_and_sums_to_zero():
    y_true, y_score, groups, draw = scored(4, 600)
    result = estimates(y_true, y_score, groups, draw.integers(0, 100, 600))
    assert ((result.influence.toarray() != 0).sum(axis=1) > 1).any()
    np.testing.assert_allclose(result.influence.sum(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(result.share.sum(axis=0), 1, atol=1e-12)
    assert (np.abs(result.covariance - np.diag(np.diag(result.covariance))) > 0).any()


def test_deciding_patients_are_the_fewer_of_those_with_positives_and_with_negatives():
    y_true = [1, 1, 0, 0, 0, 1, 0]
    cluster = [0, 0, 0, 1, 2, 3, 3]
    assert estimates(y_true, np.linspace(0, 1, 7), np.zeros(7), cluster).patients.tolist() == [2]
    counted = deciding_patients(np.array([1, 1, 0, 2]), np.array([0, 0, 1, 2]), np.array([0, 0, 0, 1]), 3)
    assert counted.tolist() == [1, 1, 0]


def test_a_tie_counts_one_half():
    assert auroc(np.array([0, 1], dtype=np.int8), np.array([0.3, 0.3])) == 0.5


def test_order_of_rows_does_not_change_a_bit():
    y_true, y_score, groups, draw = scored(5, 500, decimals=1)
    cluster = draw.integers(0, 200, 500)
    shuffle = draw.permutation(500)
    assert auroc(y_true, y_score) == auroc(y_true[shuffle], y_score[shuffle])
    straight = estimates(y_true, y_score, groups, cluster)
    shuffled = estimates(y_true[shuffle], y_score[shuffle], groups[shuffle], cluster[shuffle])
    np.testing.assert_array_equal(straight.value, shuffled.value)
    np.testing.assert_array_equal(straight.influence.toarray(), shuffled.influence.toarray())


def test_all_attributes_in_one_pass_are_the_attributes_one_by_one():
    y_true, y_score, groups, draw = scored(6, 800, decimals=1)
    other = draw.integers(-1, 2, 800)
    cluster = draw.integers(0, 300, 800)
    units = units_of(cluster, [Grouping("a", ("0", "1", "2", "3"), groups), Grouping("b", ("x", "y"), other)])
    everybody = everyone(len(units.patient))
    together = auroc_by_attribute(y_true, y_score, units, [everybody, *units.sensitive_features])
    for grouping, joint in zip([everybody, *units.sensitive_features], together, strict=True):
        (alone,) = auroc_by_attribute(y_true, y_score, units, [grouping])
        np.testing.assert_array_equal(joint.value, alone.value)
        np.testing.assert_array_equal(joint.influence.toarray(), alone.influence.toarray())
    np.testing.assert_allclose(together[2].value[2], roc_auc_score(y_true[other < 0], y_score[other < 0]))


@pytest.mark.parametrize("y_true", [[0, 0, 0], [1, 1, 1], []], ids=["no positives", "no negatives", "no rows"])
def test_one_class_has_no_auroc(y_true):
    assert math.isnan(auroc(np.array(y_true, dtype=np.int8), np.linspace(0, 1, len(y_true))))


def test_an_empty_group_between_full_ones_has_none_and_shifts_nothing():
    result = estimates([0, 1, 0, 1], [0.1, 0.9, 0.8, 0.2], [0, 0, 2, 2], levels=4)
    np.testing.assert_array_equal(result.value, [1.0, np.nan, 0.0, np.nan])
    np.testing.assert_array_equal(result.patients, [1, 0, 1, 0])
    assert result.influence.toarray()[:, [1, 3]].tolist() == [[0, 0]] * 4
    np.testing.assert_array_equal(np.isnan(np.array(limits(result))), [[False, True] * 2] * 2)


def test_equal_scores_are_one_half_and_the_interval_says_that_little_is_known():
    y_true = np.repeat([0, 1], 20)
    result = estimates(y_true, np.full(40, 0.5), np.zeros(40))
    low, high = limits(result)
    assert result.value[0] == 0.5
    assert low[0] < 0.35
    assert high[0] > 0.65


def test_perfect_separation_is_one_with_a_lower_limit_that_rises_with_the_patients():
    lows = []
    for each in (5, 50, 500):
        y_true = np.repeat([0, 1], each)
        low, high = limits(estimates(y_true, y_true.astype(float), np.zeros(2 * each)))
        assert high[0] == 1.0
        lows.append(low[0])
    assert lows == sorted(lows)
    assert 0.3 < lows[0] < 0.7
    assert 0.98 < lows[2] < 1.0
