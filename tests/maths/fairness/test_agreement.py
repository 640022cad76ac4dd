"""Gwet's AC1 and AC2 against irrCAC's values, brute force, and readers whose habits are planted."""

from __future__ import annotations

import json
from itertools import permutations as orders
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.maths.fairness.agreement import agreement_weights, gwet

CASES = json.loads((Path(__file__).parent / "agreement_oracle.json").read_text())
NAN = float("nan")
# The example of 12 subjects and 4 raters that Gwet's book and irrCAC print.
PRINTED = np.array(
    [
        [1, 1, NAN, 1],
        [2, 2, 3, 2],
        [3, 3, 3, 3],
        [3, 3, 3, 3],
        [2, 2, 2, 2],
        [1, 2, 3, 4],
        [4, 4, 4, 4],
        [1, 1, 2, 1],
        [2, 2, 2, 2],
        [NAN, 5, 5, 5],
        [NAN, NAN, 1, 1],
        [NAN, NAN, 3, NAN],
    ]
)


def test_the_printed_example_gives_the_printed_values():
    plain = gwet(PRINTED, categories=[1, 2, 3, 4, 5], seed=0)
    found = (plain.percent_agreement, plain.chance_agreement, plain.value, plain.standard_error, plain.p_two_sided)
    assert found == pytest.approx((0.818, 0.190, 0.775, 0.143, 0.00021), abs=5e-4)
    assert plain.coefficient == "AC1" and plain.ci_high == 1.0
    assert plain.p_one_sided == pytest.approx(plain.p_two_sided / 2)
    linear = gwet(PRINTED, categories=[1, 2, 3, 4, 5], weights="linear", seed=0)
    found = (linear.percent_agreement, linear.chance_agreement, linear.value, linear.standard_error)
    assert found == pytest.approx((0.939, 0.571, 0.859, 0.117), abs=5e-4)
    assert linear.coefficient == "AC2" and (linear.subjects, linear.pairs_on, linear.raters) == (12, 11, 4)


@pytest.mark.parametrize("case", CASES, ids=[f"table{place}" for place in range(len(CASES))])
def test_it_is_irrcac(case):
    ours = gwet(
        np.array(case["ratings"], dtype=object),
        categories=case["categories"],
        weights=case["weights"],
        permutations=1,
        seed=0,
    )
    theirs = case["irrcac"]
    assert ours.coefficient == theirs["coefficient_name"]
    assert ours.value == pytest.approx(theirs["coefficient_value"], abs=1e-12)
    assert ours.standard_error == pytest.approx(theirs["se"], abs=1e-12)
    assert ours.percent_agreement == pytest.approx(theirs["pa"], abs=1e-12)
    assert ours.chance_agreement == pytest.approx(theirs["pe"], abs=1e-12)
    assert ours.p_two_sided == pytest.approx(theirs["p_value"], abs=1e-12)
    # irrCAC's older scipy has its t quantile to 1e-9
    assert (ours.ci_low, ours.ci_high) == pytest.approx(theirs["confidence_interval"], abs=2e-9)


def test_the_oracle_covers_every_weighting_rater_count_and_missing_ratings():
    seen = {(case["weights"], len(case["ratings"][0])) for case in CASES}
    assert len(CASES) >= 100 and seen >= set(product(("identity", "linear", "quadratic", "ordinal"), (2, 3, 4, 5)))
    assert {len(case["categories"]) for case in CASES} == {3, 4, 5}
    assert sum(any(None in row for row in case["ratings"]) for case in CASES) > 40


def test_a_given_matrix_is_the_scheme_it_spells_out_and_schemes_have_their_published_values():
    scale = [1, 2, 3, 4, 5]
    assert agreement_weights(scale, "linear")[0].tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert agreement_weights(scale, "quadratic")[0].tolist() == [1, 0.9375, 0.75, 0.4375, 0]
    np.testing.assert_allclose(agreement_weights(scale, "ordinal")[0], [1, 0.9, 0.7, 0.4, 0])
    given = gwet(PRINTED, categories=scale, weights=agreement_weights(scale, "linear"), seed=1)
    assert given == gwet(PRINTED, categories=scale, weights="linear", seed=1)


def test_unused_categories_count():
    used = [1, 2, 3]
    ratings = np.array([[1, 1], [1, 2], [2, 2], [3, 1], [1, 1], [1, 1]])
    whole = gwet(ratings, categories=[1, 2, 3, 4, 5], seed=0)
    assert whole.value > gwet(ratings, categories=used, seed=0).value + 0.01


def test_perfect_agreement_has_no_standard_error_but_a_permutation_p():
    ratings = np.repeat(np.array([[1], [2], [1], [3], [2], [1]]), 3, axis=1)
    found = gwet(ratings, categories=[1, 2, 3], seed=2)
    assert found.value == 1.0 and found.state == "no_variance"
    assert (found.standard_error, found.ci_low, found.ci_high, found.p_one_sided, found.p_two_sided) == (None,) * 5
    assert found.p_permutation < 0.01
    always = gwet(np.ones((6, 3)), categories=[1, 2, 3], seed=2)
    assert always.value == 1.0 and always.p_permutation == 1.0 and always.independent_value == 1.0


def test_independent_readers_with_skewed_habits_reach_what_is_expected_of_them():
    """66/28/5/1 %: AC1 near .45 and linear AC2 near .77 without any reader looking at an image."""
    habit, reached = [0.66, 0.28, 0.05, 0.01, 0.0], {"identity": [], "linear": []}
    for world in range(60):
        ratings = np.random.default_rng(world).choice([1, 2, 3, 4, 5], (30, 4), p=habit)
        for weights, values in reached.items():
            found = gwet(ratings, categories=[1, 2, 3, 4, 5], weights=weights, permutations=1, seed=0)
            values.append((found.value, found.independent_value, found.p_two_sided))
    for weights, expected in (("identity", 0.45), ("linear", 0.77)):
        value, independent, p_two_sided = np.array(reached[weights]).T
        assert value.mean() == pytest.approx(expected, abs=0.02)
        assert independent.mean() == pytest.approx(value.mean(), abs=0.02)
        assert (p_two_sided < 0.05).mean() > 0.95, "the test against 0 is fooled; hence the permutation"


def test_the_expected_value_is_the_mean_over_reshufflings_also_with_missing_ratings():
    rng = np.random.default_rng(4)
    ratings = rng.choice([1.0, 2.0, 3.0], (25, 3), p=[0.6, 0.3, 0.1])
    ratings[rng.random(ratings.shape) < 0.2] = NAN
    ratings = ratings[~np.isnan(ratings).all(axis=1)]
    found = gwet(ratings, categories=[1, 2, 3], weights="ordinal", permutations=1, seed=0)
    values = []
    for _ in range(600):
        dealt = ratings.copy()
        for column in dealt.T:
            rows = np.flatnonzero(~np.isnan(column))
            column[rows] = rng.permutation(column[rows])
        values.append(gwet(dealt, categories=[1, 2, 3], weights="ordinal", permutations=1, seed=0).value)
    assert np.mean(values) == pytest.approx(found.independent_value, abs=0.01)


def test_the_permutation_p_is_the_share_of_all_reshufflings():
    """Five subjects, two raters: all 120 orders of the second rater by brute force."""
    ratings = np.array([[1, 1], [2, 2], [3, 3], [1, 2], [2, 1]])
    observed = gwet(ratings, categories=[1, 2, 3], permutations=1, seed=0).value
    values = [
        gwet(np.column_stack([ratings[:, 0], order]), categories=[1, 2, 3], permutations=1, seed=0).value
        for order in orders(ratings[:, 1])
    ]
    exact = np.mean(np.array(values) >= observed - 1e-12)
    assert gwet(ratings, categories=[1, 2, 3], permutations=20_000, seed=1).p_permutation == pytest.approx(
        exact, abs=0.01
    )


def test_the_permutation_test_holds_its_size_where_the_test_against_zero_does_not():
    p_values = [
        gwet(
            np.random.default_rng(world).choice([1, 2, 3], (25, 3), p=[0.8, 0.15, 0.05]),
            categories=[1, 2, 3],
            permutations=199,
            seed=world,
        ).p_permutation
        for world in range(200)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.08


def test_readers_who_look_are_found_and_order_of_subjects_and_readers_does_not_matter():
    rng = np.random.default_rng(5)
    truth = rng.choice([1, 2, 3, 4, 5], (40, 1))
    ratings = np.where(rng.random((40, 4)) < 0.6, truth, rng.choice([1, 2, 3, 4, 5], (40, 4)))
    found = gwet(ratings, categories=[1, 2, 3, 4, 5], weights="quadratic", seed=3)
    assert found.p_permutation == 1 / 2000 and found.value > found.independent_value + 0.2
    turned = gwet(ratings[::-1, ::-1], categories=[1, 2, 3, 4, 5], weights="quadratic", seed=3)
    assert (turned.value, turned.standard_error) == pytest.approx((found.value, found.standard_error), rel=1e-12)


def test_missing_ratings_may_be_none_nan_na_or_empty():
    words = [["mild", "mild"], ["severe", "mild"], ["severe", "severe"], ["mild", None]]
    found = set()
    for missing in (None, NAN, pd.NA, ""):
        words[3][1] = missing
        found.add(gwet(np.array(words, dtype=object), categories=["mild", "severe"], permutations=9, seed=0))
    assert len(found) == 1 and found.pop().pairs_on == 3


def test_subjects_nobody_rated_are_left_out_and_counted():
    ratings = np.vstack([PRINTED, np.full((2, 4), NAN)])
    found = gwet(ratings, categories=[1, 2, 3, 4, 5], seed=0)
    assert found.unrated_subjects == 2
    assert found.value == gwet(PRINTED, categories=[1, 2, 3, 4, 5], seed=0).value


@pytest.mark.parametrize(
    ("ratings", "settings", "message"),
    [
        ([[1, 9], [1, 1]], {}, "row 0, column 1 is none of the categories"),
        ([[1], [2]], {}, "at least 2 raters"),
        ([[1, 1]], {}, "at least 2 rated subjects"),
        ([[1, NAN], [NAN, 2]], {}, "one that two raters rated"),
        ([[1, 1], [2, 2]], {"categories": [1]}, "whole scale"),
        ([[1, 1], [2, 2]], {"categories": [1, 2, 2]}, "each once"),
        ([[1, 1], [2, 2]], {"weights": "cubic"}, "identity, linear, quadratic, ordinal"),
        ([[1, 1], [2, 2]], {"weights": np.ones((2, 2))}, "symmetric"),
        ([[1, 1], [2, 2]], {"weights": np.full((3, 3), 0.5)}, "ones on the diagonal"),
        ([[1, 1], [2, 2]], {"weights": np.ones((3, 3))}, "not all 1"),
        ([[1, 1], [2, 2]], {"permutations": 0}, "permutations must be"),
    ],
)
def test_bad_ratings_are_refused_with_a_reason(ratings, settings, message):
    with pytest.raises(ValueError, match=message):
        gwet(np.array(ratings), **({"categories": [1, 2, 3], "seed": 0} | settings))
