"""Fieller against the textbook form and a search over ratios."""

import numpy as np
import pytest
from scipy import optimize, stats

from services.maths.fairness.estimates import everywhere
from services.maths.fairness.gaps import ratios
from services.maths.fairness.gaps.definitions import gaps_of
from services.maths.fairness.limits import difference_limits, limits

PAIR = np.array([[0, 1]])


@pytest.mark.parametrize("top", [0.0, 2.0, 35.0])
def test_independent_means_have_fiellers_limits(worlds, top):
    # Q = A / B, g = (t SE_B / B)²; Q / (1 - g) ± t Q / (1 - g) sqrt((1 - g) SE_A² / A² + SE_B² / B²)
    errors = np.array([0.4, 1.1])
    estimates = worlds.fixed([top, 7.0], errors, patients=30)
    t = stats.t.ppf(0.975, 29)
    g, quotient = (t * errors[1] / 7.0) ** 2, top / 7.0
    reach = t / (1 - g) * np.sqrt((1 - g) * errors[0] ** 2 / 49 + quotient**2 * errors[1] ** 2 / 49)
    low, high = ratios.ratio_limits(estimates, PAIR, stats.norm.ppf(0.975))
    assert high[0] == pytest.approx(quotient / (1 - g) + reach, rel=1e-9)
    assert low[0] == pytest.approx(max(quotient / (1 - g) - reach, 0.0), rel=1e-9)


@pytest.mark.parametrize("scale", ["identity", "wilson", "logit"])
def test_limits_are_where_the_difference_cannot_be_told_from_zero(worlds, scale):
    rng = np.random.default_rng(1)
    codes, hits = worlds.clustered_rates(rng, [0.6, 0.8], 40)
    one = worlds.estimates_of(codes, hits, scale)
    shared = worlds.estimates_of(codes * 0, hits, scale)  # a group that contains the others: correlated
    estimates = everywhere(one, shared).take([0, 2])
    low, high = limits(estimates, 1.96)
    correlation = estimates.covariance[0, 1] / np.prod(estimates.standard_error)
    (a, b), below, above = estimates.value, estimates.value - low, high - estimates.value

    def lower(ratio):  # MOVER's lower limit of a - ratio b
        return (
            a
            - ratio * b
            - np.sqrt(below[0] ** 2 + (ratio * above[1]) ** 2 - 2 * correlation * below[0] * ratio * above[1])
        )

    def upper(ratio):
        return (
            a
            - ratio * b
            + np.sqrt(above[0] ** 2 + (ratio * below[1]) ** 2 - 2 * correlation * above[0] * ratio * below[1])
        )

    found = ratios.ratio_limits(estimates, PAIR, 1.96)
    assert found[0][0] == pytest.approx(optimize.brentq(lower, 0.0, a / b), rel=1e-8)
    assert found[1][0] == pytest.approx(optimize.brentq(upper, a / b, 10.0), rel=1e-8)
    at_one = difference_limits(estimates, low, high)
    assert lower(1.0) == pytest.approx(at_one[0][0, 1])


def test_a_denominator_that_may_be_zero_has_no_limits(worlds):
    assert np.isnan(ratios.ratio_limits(worlds.fixed([1.0, 0.1], [0.1, 0.1]), PAIR, 1.96)).all()


def test_error_ratio_is_refused_when_an_error_may_be_zero(worlds, normals):
    sure, unsure = worlds.fixed([0.9, 0.6], [0.01, 0.02]), worlds.fixed([0.99, 0.6], [0.01, 0.02])
    found = [gaps_of({"dice": worlds.disaggregation_of("dice", each)}, normals)[0] for each in (sure, unsure)]
    assert found[0].estimate == pytest.approx(0.4 / 0.1)
    assert found[0].ci_low < 4.0 < found[0].ci_high
    assert (found[1].estimate, found[1].ci_low, found[1].ci_high) == (None, None, None)


def test_error_ratio_limits_are_those_of_the_log_ratio(worlds, normals):
    estimates = worlds.fixed([0.9, 0.6], [0.01, 0.02], patients=100_000)
    ser = gaps_of({"dice": worlds.disaggregation_of("dice", estimates)}, normals)[0]
    error = np.hypot(0.01 / 0.1, 0.02 / 0.4)
    expected = np.exp(np.log(4.0) + np.array([-1, 1]) * 1.959964 * error)
    assert (ser.ci_low, ser.ci_high) == pytest.approx(tuple(expected), rel=1e-4)


def test_percentage_is_of_the_best_group(worlds, normals):
    estimates = worlds.fixed([30.0, 40.0], [0.3, 0.2], patients=50)
    gap = gaps_of({"psnr": worlds.disaggregation_of("psnr", estimates)}, normals)[1]
    low, high = ratios.ratio_limits(estimates, PAIR, 1.959964)
    assert (gap.definition, gap.estimate) == ("percent_max_min", pytest.approx(25.0))
    assert (gap.ci_low, gap.ci_high) == pytest.approx((100 * (1 - high[0]), 100 * (1 - low[0])), rel=1e-6)
