"""Limits of cells and of differences against textbook formulas."""

import math

import numpy as np
import pytest
from scipy import sparse, stats

from services.maths.fairness.estimates import Estimates
from services.maths.fairness.limits import difference_limits, effective_patients, limits, normal_critical, t_multiplier


def estimates(values, errors, patients, scale, shares=None):
    """Groups without common patients, whose influences are such that the standard errors are ``errors``."""
    owner = np.repeat(np.arange(len(patients)), patients)
    total = len(owner)
    place = (np.arange(total), owner)
    part = 1.0 / np.array(patients)[owner] if shares is None else np.concatenate(shares)
    share = sparse.csr_array((part, place), shape=(total, len(patients)))
    counts = np.array(patients)
    # Equal squares that add up to errors² (K - 1) / K; whether they sum to zero is of no concern to limits.
    own = np.array(errors)[owner] * np.sqrt(np.maximum(counts - 1, 1) / np.maximum(counts, 2))[owner]
    influence = sparse.csr_array((own / np.sqrt(counts)[owner], place), shape=(total, len(patients)))
    return Estimates(np.array(values, dtype=float), influence, share, counts, np.arange(total), scale)


def test_identity_is_t_times_the_standard_error():
    low, high = limits(estimates([10.0], [2.0], [9], "identity"))
    reach = stats.t.ppf(0.975, 8) * 2.0
    assert (low[0], high[0]) == (pytest.approx(10 - reach), pytest.approx(10 + reach))


def test_wilson_is_the_textbook_interval_when_records_are_independent_and_patients_many():
    hits, cases = 27, 40
    rate = hits / cases
    result = estimates([rate], [math.sqrt(rate * (1 - rate) / cases)], [40], "wilson")
    z = stats.t.ppf(0.975, 39)
    centre = (hits + z**2 / 2) / (cases + z**2)
    reach = z / (cases + z**2) * math.sqrt(hits * (cases - hits) / cases + z**2 / 4)
    low, high = limits(result)
    assert low[0] == pytest.approx(centre - reach, rel=1e-12)
    assert high[0] == pytest.approx(centre + reach, rel=1e-12)


def test_clustering_widens_wilsons_interval_as_if_there_were_fewer_records():
    rate, cases, design_effect = 0.8, 100, 2.5
    clustered = estimates([rate], [math.sqrt(design_effect * rate * (1 - rate) / cases)], [30], "wilson")
    fewer = estimates([rate], [math.sqrt(rate * (1 - rate) / (cases / design_effect))], [30], "wilson")
    np.testing.assert_allclose(limits(clustered), limits(fewer), rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_of_nothing_or_everything_has_an_exact_limit_there_and_an_honest_one_on_the_other_side(rate):
    low, high = limits(estimates([rate], [0.0], [12], "wilson"))
    t_squared = stats.t.ppf(0.975, 11) ** 2
    other = 12 / (12 + t_squared)
    assert (low[0], high[0]) == pytest.approx((other, 1.0) if rate else (0.0, 1 - other))


def test_without_variance_one_large_patient_is_worth_little_more_than_one():
    shares = np.r_[0.9, np.full(10, 0.01)]
    result = estimates([1.0], [0.0], [11], "wilson", shares=[shares])
    assert effective_patients(result)[0] == pytest.approx(1 / (0.81 + 10 * 0.0001))
    assert limits(result)[0][0] < limits(estimates([1.0], [0.0], [11], "wilson"))[0][0] - 0.3


def test_logit_is_symmetric_there_and_stays_inside():
    low, high = limits(estimates([0.97], [0.02], [15], "logit"))
    logit = np.log(np.array([low[0], 0.97, high[0]]) / (1 - np.array([low[0], 0.97, high[0]])))
    reach = stats.t.ppf(0.975, 14) * 0.02 / (0.97 * 0.03)
    np.testing.assert_allclose(np.diff(logit), reach, rtol=1e-12)
    assert 0 < low[0] < high[0] < 1


def test_log_is_symmetric_by_ratio():
    low, high = limits(estimates([4.0], [0.5], [10], "log"))
    assert high[0] / 4.0 == pytest.approx(4.0 / low[0])
    assert math.log(high[0] / 4.0) == pytest.approx(stats.t.ppf(0.975, 9) * 0.5 / 4.0)


@pytest.mark.parametrize("scale", ["identity", "log"])
def test_a_mean_of_one_patient_has_no_limits(scale):
    low, high = limits(estimates([3.0, 3.0], [0.0, 0.5], [1, 5], scale))
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False]


@pytest.mark.parametrize("scale", ["wilson", "logit"])
def test_a_proportion_of_one_patient_has_limits_that_exclude_next_to_nothing(scale):
    low, high = limits(estimates([0.5], [0.0], [1], scale))
    assert high[0] - low[0] > 0.95


@pytest.mark.parametrize("scale", ["identity", "log", "wilson", "logit"])
def test_an_undefined_value_has_undefined_limits(scale):
    low, high = limits(estimates([np.nan, 0.5], [0.0, 0.1], [4, 6], scale))
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False]


def test_a_critical_value_keeps_its_tail_area():
    result = estimates([0.0, 0.0], [1.0, 1.0], [5, 1000], "identity")
    t = t_multiplier(result, 3.0)
    np.testing.assert_allclose(stats.t.sf(t, [4, 999]), stats.norm.sf(3.0))
    assert limits(result, 3.0)[1][0] > limits(result, normal_critical())[1][0]


def test_mover_of_means_is_difference_plus_or_minus_t_standard_errors():
    result = estimates([10.0, 7.0], [2.0, 1.5], [20, 20], "identity")
    low, high = difference_limits(result, *limits(result))
    reach = stats.t.ppf(0.975, 19) * math.hypot(2.0, 1.5)
    assert low[0, 1] == pytest.approx(3 - reach)
    assert high[0, 1] == pytest.approx(3 + reach)
    assert (low[1, 0], high[1, 0]) == (pytest.approx(-high[0, 1]), pytest.approx(-low[0, 1]))


def test_mover_counts_what_groups_share():
    draw = np.random.default_rng(0)
    influence = draw.normal(size=(50, 2)) + draw.normal(size=(50, 1))
    influence -= influence.mean(axis=0)
    share = sparse.csr_array(np.full((50, 2), 1 / 50))
    patients = np.array([50, 50])
    result = Estimates(np.array([1.0, 2.0]), sparse.csr_array(influence), share, patients, np.arange(50), "identity")
    low, high = difference_limits(result, *limits(result))
    error = math.sqrt(((influence[:, 0] - influence[:, 1]) ** 2).sum() * 50 / 49)
    assert (high - low)[0, 1] / 2 == pytest.approx(stats.t.ppf(0.975, 49) * error)
    np.testing.assert_allclose(np.diag(high - low), 0, atol=1e-7)


def test_mover_of_rates_is_newcombes():
    # Newcombe (1998), table II, method 10: 56/70 against 48/80 has limits .0524 and .3339.
    def at_z(hits, cases):
        rate = hits / cases
        return estimates([rate], [math.sqrt(rate * (1 - rate) / cases)], [1_000_000 // 1000], "wilson")

    first, second = at_z(56, 70), at_z(48, 80)
    both = estimates([0.8, 0.6], [first.standard_error[0], second.standard_error[0]], [1000, 1000], "wilson")
    low, high = difference_limits(both, *limits(both))
    assert low[0, 1] == pytest.approx(0.0524, abs=2e-4)
    assert high[0, 1] == pytest.approx(0.3339, abs=2e-4)
