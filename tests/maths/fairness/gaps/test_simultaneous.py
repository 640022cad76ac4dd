"""Joint critical values against published distributions, and intervals by hand."""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.gaps import simultaneous
from services.maths.fairness.gaps.simultaneous import (
    contrast_critical,
    contrast_limits,
    contrasts_of,
    critical_of,
    critical_value,
    deviations,
    joint_limits,
    largest_interval,
    max_pair_interval,
    ordered_pairs,
    pair_limits,
    simultaneous_limits,
    standard_normals,
    unordered_pairs,
)


def test_normals_are_those_of_their_seed():
    assert np.array_equal(standard_normals(3), standard_normals(3))
    assert not np.array_equal(standard_normals(3), standard_normals(4))
    assert standard_normals(3).shape == (4096, 64)


@pytest.mark.parametrize("groups", [3, 5, 20])
def test_critical_value_of_all_pairs_is_the_studentised_range(normals, groups):
    expected = stats.studentized_range.ppf(0.95, groups, np.inf) / np.sqrt(2)
    assert critical_value(np.eye(groups), unordered_pairs(groups), normals) == pytest.approx(expected, abs=0.06)


def test_one_pair_has_the_normal_critical_value(normals):
    assert critical_value(np.diag([1.0, 4.0]), unordered_pairs(2), normals) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize(("others", "expected"), [(2, 2.21), (3, 2.35), (4, 2.44), (9, 2.69)])
def test_contrasts_with_one_group_have_dunnetts_critical_value(normals, others, expected):
    pairs = np.array([(place, 0) for place in range(1, others + 1)])
    critical = contrast_critical(np.eye(others + 1), contrasts_of(pairs, others + 1), normals)
    assert critical == pytest.approx(expected, abs=0.06)
    assert critical_value(np.eye(others + 1), pairs, normals) == pytest.approx(critical, rel=1e-9)


def test_deviations_have_the_covariance(normals):
    factor = np.random.default_rng(0).normal(size=(4, 4))
    covariance = factor @ factor.T
    assert np.cov(deviations(covariance, normals)) == pytest.approx(covariance, rel=0.15, abs=0.25)


def test_groups_that_contain_one_another_and_groups_without_error_have_deviations(normals):
    drawn = deviations(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), normals)
    assert drawn[0] == pytest.approx(drawn[1], abs=1e-3)
    assert not drawn[2].any()


def test_more_groups_than_columns_are_still_independent(normals):
    drawn = deviations(np.eye(70), normals)
    correlation = np.corrcoef(drawn) - np.eye(70)
    assert np.abs(correlation).max() < 0.1


def test_undefined_groups_are_refused(normals):
    with pytest.raises(ValueError, match="leave out the groups"):
        deviations(np.full((2, 2), np.nan), normals)


def test_two_groups_get_the_interval_of_their_difference(worlds, normals):
    estimates = worlds.fixed([0.3, 0.9], [0.1, 0.2], patients=100_000)
    reach = stats.norm.ppf(0.975) * np.hypot(0.1, 0.2)
    assert max_pair_interval(estimates, normals) == pytest.approx((0.6 - reach, 0.6 + reach), rel=1e-4)
    estimates = worlds.fixed([0.8, 0.9], [0.1, 0.2], patients=100_000)
    assert max_pair_interval(estimates, normals) == pytest.approx((0.0, 0.1 + reach), rel=1e-4)


def test_one_group_far_off_is_compared_with_those_it_may_be_farthest_from(worlds, normals):
    # Pairs among the three equal groups, and the pair with the middle one, cannot be the widest.
    values = np.array([0.0, 5.0, 9.9, 10.0])
    estimates = worlds.fixed(values, [0.1] * 4, patients=100_000)
    low, high = max_pair_interval(estimates, normals)
    error = 0.1 * np.sqrt(2)
    two = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=400_000)
    # Directions are certain; both upper limits hardly ever fail at once.
    critical = np.quantile(two.max(axis=1), 0.955 + (two.max(axis=1) < -1.959964).mean())
    assert low == pytest.approx(10.0 - critical * error, abs=0.01)
    assert high == pytest.approx(10.0 + 1.959964 * error, abs=1e-3)


def test_one_small_group_far_from_large_ones_has_all_its_coverage():
    """Its differences from them vary as one: if one upper limit is too small, so are all."""
    truth, errors = np.array([0.3, 0.0, 0.0]), np.array([0.03, 0.002, 0.002])
    pairs = ordered_pairs(unordered_pairs(3))
    critical = critical_of(np.diag(errors**2), deviations(np.diag(errors**2), standard_normals(1)))
    known = cache(lambda kept, *levels: critical(np.array(kept), *levels))
    reach = np.hypot(*errors[pairs.T])
    rng, covered = np.random.default_rng(4), 0
    for _ in range(3000):
        values = truth + errors * rng.standard_normal(3)
        apart = values[pairs[:, 0]] - values[pairs[:, 1]]
        low, high = largest_interval(
            pairs,
            lambda value, apart=apart: (apart - value * reach, apart + value * reach),
            lambda kept, *levels: known(tuple(map(tuple, kept.tolist())), *levels),
        )
        covered += low <= 0.3 <= high
    assert covered / 3000 == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_interval_holds_the_corrected_and_never_a_negative_gap(worlds, normals, spread):
    rng = np.random.default_rng(2)
    for _ in range(20):
        estimates = worlds.fixed(spread * rng.normal(size=7), rng.uniform(0.05, 0.3, 7))
        low, high = max_pair_interval(estimates, normals)
        assert 0.0 <= low <= np.ptp(estimates.value) <= high


def test_order_of_groups_matters_no_more_than_the_draws(worlds, normals):
    values, errors = np.array([0.1, 0.5, 0.2, 0.9]), np.array([0.1, 0.05, 0.2, 0.1])
    forward = max_pair_interval(worlds.fixed(values, errors), normals)
    backward = max_pair_interval(worlds.fixed(values[::-1], errors[::-1]), normals)
    assert forward == pytest.approx(backward, abs=0.01)


def test_rates_of_one_are_not_known_without_error(worlds, normals):
    codes = np.repeat([0, 1, 2], [8, 200, 300])
    low, high = max_pair_interval(worlds.estimates_of(codes, np.full(508, 3), "wilson"), normals)
    assert low == 0.0
    assert 0.3 < high < 0.6  # eight patients of eight: down to about .6


def test_contrast_limits_of_a_pair_are_the_pair_limits(worlds, normals):
    rng = np.random.default_rng(5)
    estimates = worlds.estimates_of(*worlds.clustered_rates(rng, [0.9, 0.7, 0.95], 40), "wilson")
    pairs = unordered_pairs(3)
    expected = pair_limits(estimates, pairs, 2.2)
    assert np.allclose(contrast_limits(estimates, contrasts_of(pairs, 3), 2.2), expected, atol=1e-12)
    joint = joint_limits(estimates, contrasts_of(pairs, 3), normals)
    assert np.allclose(joint, simultaneous_limits(estimates, pairs, normals), rtol=1e-9)


def test_last_bits_of_the_input_stay_last_bits(normals):
    rng = np.random.default_rng(6)
    factor = rng.normal(size=(6, 4))
    covariance = factor @ factor.T  # singular
    other = covariance * (1 + 1e-15 * np.sign(np.add.outer(np.arange(6), np.arange(6)) - 5))
    pairs = unordered_pairs(6)
    assert critical_value(covariance, pairs, normals) == pytest.approx(critical_value(other, pairs, normals), rel=1e-10)


def test_nothing_resamples_a_gap():
    assert not [name for name in dir(simultaneous) if "bootstrap" in name.lower()]
