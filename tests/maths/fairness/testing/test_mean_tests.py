"""Clustered differences of means against t-tests, the ratio estimator's own variance and exact enumeration."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.estimates import ratio_of_sums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.sums import patient_sums
from services.maths.fairness.testing.mean_tests import (
    mean_null,
    mean_statistics,
    normal_equivalent,
    pairwise_statistics,
)
from services.maths.fairness.testing.permutation import dealt, group_sums
from services.maths.fairness.testing.vectors import attribute_vectors


def _vectors(group):
    return attribute_vectors(np.arange(len(group)), [Grouping("race", tuple("ABCDE"[: group.max() + 1]), group)])


def _sums(values, vectors, rows=None):
    null = mean_null(values)
    return null, group_sums(null.features, dealt(vectors.cell, 0, 0, 1) if rows is None else rows, vectors)


@pytest.mark.parametrize("df", [5, 10, 29, 200])
def test_t_on_the_normal_scale(df):
    t = np.array([-6.0, -2.0, -0.5, 0.0, 0.5, 2.0, 6.0])
    exact = np.sign(t) * stats.norm.isf(stats.t.sf(np.abs(t), df))
    np.testing.assert_allclose(normal_equivalent(t, np.array(float(df))), exact, atol=0.025)


def test_one_image_per_patient_gives_welchs_test():
    rng = np.random.default_rng(1)
    group = rng.integers(0, 3, 200)
    value = rng.normal(30, 2 + group, 200)
    null, sums = _sums([(value, np.ones(200))], _vectors(group))
    found = pairwise_statistics(null, sums)[0, :, 0]
    for statistic, (a, b) in zip(found, [(0, 1), (0, 2), (1, 2)], strict=True):
        welch = stats.ttest_ind(value[group == a], value[group == b], equal_var=False)
        assert statistic == pytest.approx(np.sign(welch.statistic) * stats.norm.isf(welch.pvalue / 2), abs=0.002)


def test_standard_errors_are_the_clustered_ones_in_the_metrics_units():
    rng = np.random.default_rng(2)
    patients = 400
    group = rng.integers(0, 3, patients)
    cluster = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    value = rng.standard_normal(patients)[cluster] * 2 + rng.normal(30, 1, len(cluster))
    sums = patient_sums({"value": value, "records": np.ones(len(value))}, cluster=cluster, sensitive_features=[])
    null, found = _sums([(sums.column("value"), sums.column("records"))], _vectors(group))
    statistic, error = (part[0, :, 0] for part in mean_statistics(null, found))
    for g in range(3):
        apart = ratio_of_sums(sums, "value", "records", slots=(group != g).astype(np.int64), count=2, scale="identity")
        share = 1 - (group[cluster] == g).mean()
        # mean_g - mean = share of the rest × (mean_g - mean_rest)
        expected = share * np.sqrt((apart.standard_error**2).sum())
        assert error[g] == pytest.approx(expected, rel=1e-4)
        own = (group == g).sum() - 1.0
        difference = share * (apart.value[0] - apart.value[1])
        assert statistic[g] == pytest.approx(normal_equivalent(difference / expected, own), rel=1e-3)


def test_exact_enumeration_equals_scipy():
    value = np.array([31.0, 30.2, 29.9, 28.0, 29.1, 27.5, 28.8])
    group = np.array([0, 0, 0, 1, 1, 1, 1])
    vectors = _vectors(group)
    rows = np.array(list(permutations(vectors.cell)), dtype=np.uint8)
    null, sums = _sums([(value, np.ones(7))], vectors, rows)
    permuted = np.abs(pairwise_statistics(null, sums))[:, 0, 0]
    observed = np.abs(pairwise_statistics(*_sums([(value, np.ones(7))], vectors)))[0, 0, 0]

    def welch(a, b):
        a, b = np.asarray(a), np.asarray(b)
        va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        df = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        return abs(normal_equivalent((a.mean() - b.mean()) / np.sqrt(va + vb), df))

    oracle = stats.permutation_test(
        (value[group == 0], value[group == 1]), welch, permutation_type="independent", alternative="greater",
        n_resamples=np.inf,
    )  # fmt: skip
    assert (permuted >= observed * (1 - 1e-6)).mean() == pytest.approx(oracle.pvalue)


def test_units_do_not_matter():
    rng = np.random.default_rng(3)
    group, value = rng.integers(0, 2, 100), rng.normal(0.02, 0.001, 100)
    small, large = ((scale * value + 7 * scale, np.ones(100)) for scale in (1.0, 1e4))
    null, sums = _sums([small, large], _vectors(group))
    statistic, error = mean_statistics(null, sums)
    np.testing.assert_allclose(statistic[..., 0], statistic[..., 1], rtol=1e-3)
    np.testing.assert_allclose(error[..., 0] * 1e4, error[..., 1], rtol=1e-3)


def test_nothing_to_compare_gives_zero():
    null, sums = _sums(
        [(np.full(6, 3.0), np.ones(6)), (np.zeros(6), np.zeros(6))], _vectors(np.array([0, 0, 0, 1, 1, 2]))
    )
    for found in (*mean_statistics(null, sums), pairwise_statistics(null, sums)):
        assert (found == 0).all()


def test_a_single_patient_is_no_group():
    rng = np.random.default_rng(5)
    null, sums = _sums([(rng.normal(size=7), np.ones(7))], _vectors(np.array([0, 0, 0, 1, 1, 1, 2])))
    assert mean_statistics(null, sums)[0][0, 2, 0] == 0
    assert (pairwise_statistics(null, sums)[0, 1:, 0] == 0).all()
