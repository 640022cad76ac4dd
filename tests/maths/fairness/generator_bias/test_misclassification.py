"""A classifier's errors are taken out of group shares, and what they cost is in the standard error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from services.maths.fairness.generator_bias import onto_simplex, rogan_gladen


def test_known_rates_give_back_the_shares_they_distorted():
    confusion = np.array([[80, 15, 5], [10, 85, 5], [2, 8, 90]])
    truth = np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(rogan_gladen(confusion).shares(truth @ (confusion / 100)), truth, rtol=1e-12)


def test_for_two_groups_it_is_rogan_and_gladens_formula():
    sensitivity, specificity = 0.9, 0.8
    corrected = rogan_gladen(np.array([[90, 10], [20, 80]])).shares(np.array([0.55, 0.45]))
    assert corrected[0] == pytest.approx((0.55 + specificity - 1) / (sensitivity + specificity - 1))


def test_the_covariance_from_measured_rates_is_that_of_repeated_measurement():
    rates = np.array([[0.85, 0.1, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])
    images, truth = np.array([400, 300, 200]), np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(1)
    observed = truth @ rates
    drawn = np.array([[rng.multinomial(n, row) for n, row in zip(images, rates, strict=True)] for _ in range(3000)])
    shares = np.array([rogan_gladen(table).shares(observed) for table in drawn])
    expected = rogan_gladen(np.round(images[:, None] * rates)).covariance(truth)
    np.testing.assert_allclose(np.cov(shares, rowvar=False), expected, rtol=0.12, atol=2e-5)


def test_the_projection_is_the_nearest_point_of_the_simplex():
    rng = np.random.default_rng(2)
    for _ in range(20):
        shares = rng.normal(size=4) * 0.6 + 0.25
        found = onto_simplex(shares)
        nearest = optimize.minimize(
            lambda point, shares=shares: np.square(point - shares).sum(),
            np.full(4, 0.25),
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda point: point.sum() - 1},
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(found, nearest.x, atol=1e-6)
    inside = np.array([0.1, 0.2, 0.7])
    np.testing.assert_allclose(onto_simplex(inside), inside, rtol=1e-15)


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        ([[1, 2, 3], [4, 5, 6]], "true by predicted"),
        ([[1]], "true by predicted"),
        ([[0.9, 0.1], [0.2, 0.8]], "counts of images, not rates"),
        ([[9, -1], [2, 8]], "counts of images"),
        ([[9, 1], [0, 0]], "no image whose true group is number 1"),
        ([[50, 50], [51, 49]], "does not tell the groups apart"),
    ],
)
def test_tables_that_cannot_correct_are_refused_with_a_reason(confusion, message):
    with pytest.raises(ValueError, match=message):
        rogan_gladen(np.array(confusion))
