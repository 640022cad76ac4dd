"""Spread between groups and shrunken values: closed forms and planted truth."""

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.gaps.shrinkage import (
    between_group_sd,
    between_group_sd_interval,
    between_group_variance,
    shrunken,
    shrunken_values,
)


def test_variance_is_the_sample_variance_less_the_mean_squared_error():
    values, errors = np.array([0.7, 0.8, 0.95]), np.array([0.02, 0.05, 0.1])
    expected = values.var(ddof=1) - (errors**2).mean()
    assert between_group_variance(values, np.diag(errors**2)) == pytest.approx(expected)


def test_common_error_is_no_spread():
    # A shared error moves all groups together.
    covariance = np.full((4, 4), 0.3) + np.diag([0.1] * 4)
    assert between_group_variance(np.arange(4.0), covariance) == pytest.approx(5 / 3 - 0.1)


def test_planted_spread_is_recovered_and_its_absence_is_not_the_noise():
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.02, 0.06, 20)
    for planted in (0.0, 0.05):
        drawn = rng.normal(size=(20, 4000)) * planted + rng.normal(size=(20, 4000)) * errors[:, None]
        variances = between_group_variance(drawn, np.diag(errors**2))
        assert variances.mean() == pytest.approx(planted**2, abs=5e-5)


def test_interval_covers_the_planted_spread():
    rng = np.random.default_rng(1)
    errors, covered = rng.uniform(0.02, 0.06, 12), 0
    for _ in range(300):
        values = rng.normal(size=12) * 0.05 + rng.normal(size=12) * errors
        low, high = between_group_sd_interval(values, np.diag(errors**2))
        covered += low <= 0.05 <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_equal_errors_give_the_chi_square_interval():
    values = np.array([0.1, 0.4, 0.5, 0.9, 1.3])
    square = 0.01
    low, high = between_group_sd_interval(values, np.eye(5) * square)
    total = ((values - values.mean()) ** 2).sum()
    expected = np.sqrt(total / stats.chi2.ppf([0.975, 0.025], 4) - square)
    assert (low, high) == pytest.approx(tuple(expected), rel=1e-9)


def test_equal_groups_have_no_spread():
    assert between_group_sd(np.full(9, 0.8), np.eye(9) * 1e-4) == 0.0
    assert between_group_sd_interval(np.full(9, 0.8), np.eye(9) * 1e-4) == (0.0, 0.0)


def test_values_are_drawn_to_the_mean_by_their_error():
    values, errors = np.array([0.5, 0.7, 0.9, 0.7]), np.array([0.01, 0.01, 0.01, 0.2])
    drawn = shrunken_values(values, np.diag(errors**2))
    pull = (values - drawn) / np.where(values == 0.7, 1, values - 0.7)
    assert abs(pull[0]) < 0.02
    assert drawn[3] == pytest.approx(0.7, abs=0.02)
    noisy = shrunken_values(values, np.eye(4))
    assert noisy == pytest.approx(np.full(4, values.mean()))


def test_groups_without_any_error_keep_their_values():
    assert shrunken_values(np.array([0.5, 0.7]), np.zeros((2, 2))).tolist() == [0.5, 0.7]


def test_shrunken_cells_are_the_comparable_ones_of_many(worlds):
    estimates = worlds.fixed(np.linspace(0.6, 0.9, 9), [0.05] * 9)
    states = ["ok"] * 8 + ["insufficient"]
    found = shrunken(worlds.disaggregation_of("auroc", estimates, states))
    assert np.isfinite(found[:8]).all()
    assert np.isnan(found[8])
    assert np.ptp(found[:8]) < np.ptp(estimates.value[:8])
    few = shrunken(worlds.disaggregation_of("auroc", estimates, ["ok"] * 7 + ["insufficient"] * 2))
    assert np.isnan(few).all()
