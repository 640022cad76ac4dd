"""Score statistics against pooled z-tests, exact enumeration and the spread that permutations really have."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from services.maths.fairness.groups import Grouping
from services.maths.fairness.testing.permutation import dealt, group_sums
from services.maths.fairness.testing.score_tests import (
    SCORE_METRICS,
    LabelSums,
    from_average,
    score_null,
    score_statistics,
)
from services.maths.fairness.testing.vectors import attribute_vectors


def _label(truth, score, cluster, threshold=0.5):
    """Sums per patient 0..K-1, by hand."""
    positives, negatives = np.sort(score[truth == 1]), np.sort(score[truth == 0])
    below = (np.searchsorted(negatives, score) + np.searchsorted(negatives, score, side="right")) / (2 * len(negatives))
    above = 1 - (np.searchsorted(positives, score) + np.searchsorted(positives, score, side="right")) / (
        2 * len(positives)
    )
    called = score >= threshold
    columns = (truth, 1 - truth, truth * below, (1 - truth) * above, truth * called, (1 - truth) * called)
    return LabelSums(*(np.bincount(cluster, weights=column) for column in columns))


def _world(seed, patients=600, images=3, groups=4):
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(patients), rng.integers(1, images + 1, patients))
    group = rng.integers(0, groups, patients)
    own = rng.standard_normal(patients)[cluster]
    truth = (rng.uniform(size=len(cluster)) < 0.3).astype(int)
    score = stats.norm.cdf((0.6 * own + 0.8 * rng.standard_normal(len(cluster)) + 1.2 * truth) / 2)
    return cluster, group, truth, score


def _vectors(group):
    return attribute_vectors(
        np.arange(len(group)), [Grouping("race", tuple("ABCDE"[: group.max() + 1]), group.astype(np.int64))]
    )


def _statistics(label, vectors, rows):
    null = score_null([label])
    sums = group_sums(null.features, rows, vectors)
    return {metric: tuple(part[:, :, 0] for part in score_statistics(null, metric, sums)) for metric in SCORE_METRICS}


def test_the_difference_is_that_of_the_metrics():
    cluster, group, truth, score = _world(1, patients=4000)
    vectors = _vectors(group)
    found = _statistics(_label(truth, score, cluster), vectors, dealt(vectors.cell, 0, 0, 1))
    called = score >= 0.5
    for g in range(4):
        own = group[cluster] == g
        expected = {
            "tpr": called[own & (truth == 1)].mean() - called[truth == 1].mean(),
            "fpr": called[own & (truth == 0)].mean() - called[truth == 0].mean(),
            "prevalence": truth[own].mean() - truth.mean(),
        }
        for metric, value in expected.items():
            statistic, error = found[metric]
            assert statistic[0, g] * error[0, g] == pytest.approx(value, abs=1e-6)
        # AUROC is linear in the group's records only to first order.
        statistic, error = found["auroc"]
        exact = roc_auc_score(truth[own], score[own]) - roc_auc_score(truth, score)
        assert statistic[0, g] * error[0, g] == pytest.approx(exact, abs=0.1 * error[0, g])


def test_one_image_per_patient_gives_the_pooled_two_proportion_test():
    cluster, group, truth, score = _world(2, patients=900, images=1, groups=2)
    vectors = _vectors(group)
    statistic, _ = _statistics(_label(truth, score, cluster), vectors, dealt(vectors.cell, 0, 0, 1))["tpr"]
    called = (score >= 0.5)[truth == 1]
    table = [[(called & (group[truth == 1] == g)).sum(), (~called & (group[truth == 1] == g)).sum()] for g in (0, 1)]
    pearson = stats.chi2_contingency(table, correction=False).statistic
    assert statistic[0, 0] ** 2 == pytest.approx(pearson, rel=1e-5)
    assert statistic[0, 1] == pytest.approx(-statistic[0, 0], rel=1e-5)


def test_permuted_statistics_have_mean_zero_and_spread_one():
    """Three images per patient that hang together: without the design effect the spread would be 1.2."""
    cluster, group, truth, score = _world(3, patients=1500)
    vectors = _vectors(group)
    for metric, (statistic, _) in _statistics(
        _label(truth, score, cluster), vectors, dealt(vectors.cell, 7, 1, 2000)
    ).items():
        assert np.abs(statistic.mean(axis=0)).max() < 0.1, metric
        assert np.abs(statistic.std(axis=0) - 1).max() < 0.06, metric


def test_groups_with_more_images_have_their_own_design_effect():
    """Group A has eight images a patient, group B one, and a patient's images are all called or none."""
    rng = np.random.default_rng(4)
    group = np.repeat([0, 1], [150, 1200])
    draws = []
    for _ in range(600):
        cluster = np.repeat(np.arange(1350), np.where(group == 0, 8, 1))
        score = rng.uniform(size=1350)[cluster]
        truth = np.ones(len(cluster), dtype=int)
        truth[::4] = 0
        vectors = _vectors(group)
        draws.append(_statistics(_label(truth, score, cluster), vectors, dealt(vectors.cell, 0, 0, 1))["tpr"][0][0, 0])
    assert np.std(draws) == pytest.approx(1.0, abs=0.1)


def test_exact_enumeration_equals_scipy():
    """Eight patients with one positive each: all 40,320 arrangements, or the 56 that scipy tells apart."""
    called = np.array([1, 1, 1, 1, 0, 0, 1, 0])
    group = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    truth = np.concatenate([np.ones(8, dtype=int), np.zeros(8, dtype=int)])
    label = _label(truth, np.concatenate([called, np.zeros(8)]).astype(float), np.tile(np.arange(8), 2))
    vectors = _vectors(group)
    rows = np.array(list(permutations(vectors.cell)), dtype=np.uint8)
    permuted = np.abs(_statistics(label, vectors, rows)["tpr"][0][:, 0])
    observed = abs(_statistics(label, vectors, dealt(vectors.cell, 0, 0, 1))["tpr"][0][0, 0])
    oracle = stats.permutation_test(
        (called[group == 0], called[group == 1]),
        lambda a, b: np.abs(np.mean(a) - np.mean(b)),
        permutation_type="independent",
        alternative="greater",
        n_resamples=np.inf,
    )
    assert (permuted >= observed * (1 - 1e-9)).mean() == pytest.approx(oracle.pvalue)


def test_groups_that_cannot_be_tested_get_zero():
    """Nobody, everyone, and a group without positives."""
    group = np.array([0, 0, 0, 0, 1, 1])
    label = _label(np.array([1, 0, 1, 0, 0, 0]), np.array([0.9, 0.1, 0.8, 0.7, 0.2, 0.6]), np.arange(6))
    vectors = attribute_vectors(
        np.arange(6), [Grouping("race", ("A", "B", "nobody"), group), Grouping("all", ("x",), np.zeros(6, dtype=int))]
    )
    for metric, (statistic, error) in _statistics(label, vectors, dealt(vectors.cell, 0, 0, 1)).items():
        untested = [2, 3] if metric in ("fpr", "prevalence") else [1, 2, 3]
        assert (statistic[0, untested] == 0).all()
        assert (error[0, untested] == 0).all()
        assert np.isfinite(statistic).all()


def test_equal_scores_give_no_statistic():
    label = _label(np.tile([0, 1], 10), np.full(20, 0.5), np.arange(20))
    vectors = _vectors(np.repeat([0, 1], 10))
    for metric in ("auroc", "tpr", "fpr"):
        statistic, _ = _statistics(label, vectors, dealt(vectors.cell, 1, 0, 5))[metric]
        assert (statistic == 0).all()


def test_differences_from_a_weighted_average_have_the_errors_of_their_weights():
    values, variance = np.array([0.8, 0.7, 0.9]), np.array([0.01, 0.04, 0.0025])
    weights = (1 / variance) / (1 / variance).sum()
    contrasts = np.eye(3) - weights
    difference, error = from_average(values, variance)
    assert difference == pytest.approx(contrasts @ values)
    assert error == pytest.approx(np.sqrt(contrasts**2 @ variance))


def test_a_value_without_a_variance_has_no_part_in_the_average():
    difference, error = from_average(np.array([0.8, 0.7, 0.1]), np.array([0.01, 0.01, np.inf]))
    assert difference == pytest.approx([0.05, -0.05, 0.0])
    assert error == pytest.approx([np.sqrt(0.005), np.sqrt(0.005), 0.0])
    assert not np.any(from_average(np.array([0.8, 0.7]), np.array([0.0, 0.01])))
