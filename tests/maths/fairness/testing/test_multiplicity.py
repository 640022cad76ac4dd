"""Step-down and false discovery against their definitions, written out slowly."""

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.testing.multiplicity import (
    PooledNull,
    benjamini_hochberg,
    permutation_p,
    westfall_young,
)


def _by_the_book(observed, permuted):
    """Westfall and Young's algorithm, one test and one permutation at a time."""
    order = sorted(range(len(observed)), key=lambda m: -observed[m])
    adjusted, largest = [0.0] * len(observed), 0.0
    for step, test in enumerate(order):
        exceed = 1
        for row in permuted:
            maximum = max(row[m] for m in order[step:])
            exceed += maximum >= observed[test] * (1 - 1e-9)
        largest = max(largest, exceed / (len(permuted) + 1))
        adjusted[test] = largest
    return adjusted


@pytest.mark.parametrize("seed", range(5))
def test_step_down_equals_the_algorithm_by_hand(seed):
    rng = np.random.default_rng(seed)
    observed = np.abs(rng.standard_normal(12) * 2)
    permuted = np.abs(rng.standard_normal((99, 12)))
    permuted[:5] = observed  # ties
    np.testing.assert_allclose(westfall_young(observed, permuted), _by_the_book(observed, permuted))


def test_step_down_is_never_above_single_step_and_never_below_the_raw_p():
    rng = np.random.default_rng(9)
    observed, permuted = np.abs(rng.standard_normal(40) * 2.5), np.abs(rng.standard_normal((199, 40)))
    adjusted = westfall_young(observed, permuted)
    single = permutation_p(observed, np.repeat(permuted.max(axis=1)[:, None], 40, axis=1))
    assert (adjusted <= single + 1e-12).all()
    assert (adjusted >= permutation_p(observed, permuted) - 1e-12).all()
    assert (adjusted < single - 1e-12).any()


def test_equal_tests_cost_as_much_as_one():
    rng = np.random.default_rng(3)
    one = np.abs(rng.standard_normal((199, 1)))
    assert (
        westfall_young(np.full(50, 2.0), np.repeat(one, 50, axis=1)) == permutation_p(np.array([2.0]), one)[0]
    ).all()


def test_what_is_not_tested_gets_no_p_and_counts_for_nothing():
    rng = np.random.default_rng(4)
    observed, permuted = np.array([3.0, np.nan, 1.0]), np.abs(rng.standard_normal((99, 3)))
    permuted[:, 1] = 100.0
    adjusted = westfall_young(observed, permuted)
    assert np.isnan(adjusted[1])
    np.testing.assert_allclose(adjusted[[0, 2]], westfall_young(observed[[0, 2]], permuted[:, [0, 2]]))
    assert westfall_young(np.array([np.nan]), permuted[:, :1]).tolist() == pytest.approx([np.nan], nan_ok=True)


def test_last_bits_are_ties():
    permuted = np.array([[2.0 * (1 - 1e-12)]] * 9)
    assert permutation_p(np.array([2.0]), permuted)[0] == 1.0
    assert permutation_p(np.array([2.0]), permuted * (1 - 1e-6))[0] == 0.1


def test_the_smallest_p_counts_the_data_themselves():
    assert westfall_young(np.array([9.0]), np.zeros((1999, 1)))[0] == 1 / 2000


def test_step_down_refuses_other_shapes():
    with pytest.raises(ValueError, match="one column for each of 2"):
        westfall_young(np.zeros(2), np.zeros((5, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_false_discovery_equals_scipy(seed):
    p = np.random.default_rng(seed).uniform(size=30) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    with_gap = np.insert(p, 4, np.nan)
    np.testing.assert_allclose(np.delete(benjamini_hochberg(with_gap), 4), benjamini_hochberg(p))
    assert np.isnan(benjamini_hochberg(with_gap)[4])


def test_pooled_tails_sharpen_only_what_permutations_cannot_resolve():
    permuted = np.abs(np.random.default_rng(3).standard_normal((199, 500)))
    pooled = PooledNull()
    pooled.add(permuted[:, :200])
    pooled.add(permuted[:, 200:])
    observed = np.array([2.0, -3.9, 30.0])
    p = permutation_p(np.abs(observed), permuted[:, :3])
    sharpened = pooled.sharpened(p, observed, 199)
    assert p[1:] == pytest.approx([1 / 200, 1 / 200])
    assert sharpened[0] == p[0]
    share = (1 + (permuted >= 3.9).sum()) / (1 + permuted.size)
    assert share <= sharpened[1] <= share * 1.1  # a bin's lower edge counts
    assert sharpened[2] == pytest.approx(1 / (1 + permuted.size))
