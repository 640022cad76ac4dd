"""Soft targets are the expectation of the cheapest assignment; what public code assigns for 30 % is caught here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from services.maths.alignment import (
    aligned_targets,
    binomial_targets,
    checked_target,
    expected_targets,
    fixed_targets,
    pseudo_labels,
)
from tests.maths.alignment.brute_force import binomial_cdf, cheapest, expectation, public_rule, two_classes

SHARES = (0.05, 0.1, 0.25, 0.3, 0.5, 0.7, 0.75, 0.9, 0.95)


def probabilities(count, classes, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.6), count)


def generator(seed=1):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_two_classes_have_the_expectation_over_every_outcome_of_the_targets(count, share):
    p = probabilities(count, 2)
    np.testing.assert_allclose(binomial_targets(p, share), expectation(p, [1 - share, share]), atol=1e-12)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", [3, 24, 101])
def test_two_classes_have_the_binomial_distribution_by_rank_and_the_targets_share_on_average(count, share):
    p = probabilities(count, 2)
    q = binomial_targets(p, share)
    by_rank = q[np.argsort(p[:, 1]), 1]
    np.testing.assert_allclose(by_rank, [binomial_cdf(r, count, 1 - share) for r in range(count)], atol=1e-10)
    np.testing.assert_allclose(q.mean(axis=0), [1 - share, share], atol=1e-12)
    np.testing.assert_allclose(q.sum(axis=1), 1)


@pytest.mark.parametrize("share", SHARES)
def test_two_classes_agree_with_draws_that_are_assigned_by_linear_programming(share):
    p = probabilities(24, 2)
    drawn = expected_targets(p, [1 - share, share], generator(), 4000)
    assert np.abs(drawn - binomial_targets(p, share)).max() < 5 * np.sqrt(0.25 / 4000)


def assigned_shares(rule, share, count=24) -> tuple[float, float]:
    """The share of class 1 among all labels and among confident ones, of a classifier that knows nothing."""
    labels, confident = rule(two_classes(np.random.default_rng(2).random(count)), share)
    return float(labels.mean()), float(labels[confident].mean())


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_labels_and_the_confident_among_them_have_the_share_that_was_asked_for(share):
    ours = assigned_shares(lambda p, share: pseudo_labels(binomial_targets(p, share), 0.8), share)
    assert ours == pytest.approx((share, share), abs=0.06)


def test_the_rule_of_public_code_fails_that_for_30_and_for_70_percent_and_is_right_for_a_half_only():
    assert assigned_shares(public_rule, 0.5) == pytest.approx((0.5, 0.5), abs=0.05)
    assert assigned_shares(public_rule, 0.3) == pytest.approx((0.67, 0.50), abs=0.01)
    assert assigned_shares(public_rule, 0.7) == pytest.approx((0.29, 0.32), abs=0.01)


def test_of_24_images_and_a_half_the_threshold_of_80_percent_leaves_out_four():
    _, confident = pseudo_labels(binomial_targets(probabilities(24, 2), 0.5), 0.8)
    assert confident.sum() == 20  # 83 %, as published


def test_images_that_tie_keep_their_order():
    q = binomial_targets(two_classes([0.5, 0.5, 0.5, 0.5]), 0.5)
    assert (np.diff(q[:, 1]) > 0).all()


@pytest.mark.parametrize("count", [2, 5])
def test_three_classes_approach_the_expectation_over_every_outcome(count):
    p, target = probabilities(count, 3), [0.5, 0.3, 0.2]
    drawn = expected_targets(p, target, generator(), 20_000)
    assert np.abs(drawn - expectation(p, target)).max() < 5 * np.sqrt(0.25 / 20_000)


def test_three_classes_have_the_targets_shares_and_no_more_draws_than_asked_for():
    p, target = probabilities(60, 3), np.array([0.6, 0.25, 0.15])
    q = aligned_targets(p, target, rng=generator(), draws=400)
    np.testing.assert_allclose(q.sum(axis=1), 1)
    assert np.abs(q.mean(axis=0) - target).max() < 0.02
    np.testing.assert_allclose(q * 400, np.round(q * 400), atol=1e-9)
    assert (aligned_targets(p, [1, 0, 0], rng=generator()) == [1, 0, 0]).all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("count", range(1, 8))
def test_sorting_and_linear_assignment_and_every_permutation_give_the_same_fixed_targets(count, classes):
    p, u = probabilities(count, classes), probabilities(count, classes, seed=5)
    cost = ((p[:, None] - u[None]) ** 2).sum(axis=2)
    rows, columns = linear_sum_assignment(cost)
    brute = cheapest(p, u)
    assert (columns[np.argsort(rows)] == brute).all()
    np.testing.assert_array_equal(fixed_targets(p, u), u[brute])


@pytest.mark.parametrize("classes", [2, 3])
def test_one_fixed_set_of_one_hots_is_sure_of_every_image_whatever_the_threshold(classes):
    p = probabilities(30, classes)
    q = aligned_targets(p, None, fixed=np.eye(classes)[np.arange(30) % classes], rng=generator())
    assert (q.max(axis=1) == 1).all()
    assert pseudo_labels(q, 0.999)[1].all()
    assert not pseudo_labels(aligned_targets(p, np.full(classes, 1 / classes), rng=generator()), 0.999)[1].all()


def test_draws_from_a_larger_fixed_set_are_unsure_near_the_cut_and_have_its_share():
    p, u = probabilities(40, 2), np.eye(2)[np.repeat([0, 1], [90, 210])]
    q = aligned_targets(p, None, fixed=u, rng=generator(), draws=2000)
    ones = q[np.argsort(p[:, 1]), 1]
    assert q[:, 1].mean() == pytest.approx(0.7, abs=0.01)
    assert (np.diff(ones) >= 0).all()
    assert ((ones > 0.05) & (ones < 0.95)).any()


def test_images_without_a_subject_are_in_no_ranking_and_never_confident():
    p = probabilities(20, 2)
    found = np.arange(20) % 4 != 0
    p[~found] = np.nan
    q = aligned_targets(p, [0.7, 0.3], rng=generator())
    np.testing.assert_array_equal(q[found], binomial_targets(p[found], 0.3))
    assert np.isnan(q[~found]).all()
    assert not pseudo_labels(q, 0.5)[1][~found].any()


def test_a_mask_leaves_images_out_as_nan_does():
    p = probabilities(20, 3)
    found = np.arange(20) % 4 != 0
    blank = np.where(found[:, None], p, np.nan)
    masked = aligned_targets(p, [0.5, 0.3, 0.2], rng=generator(), valid=found)
    np.testing.assert_array_equal(masked, aligned_targets(blank, [0.5, 0.3, 0.2], rng=generator()))


def test_labels_are_the_likeliest_class_and_confident_from_the_threshold_on():
    labels, confident = pseudo_labels(np.array([[0.8, 0.2], [0.3, 0.7], [0.1, 0.9]]), 0.8)
    assert labels.tolist() == [0, 1, 1]
    assert confident.tolist() == [True, False, True]


@pytest.mark.parametrize("tau", [0.0, 1.0, -0.1, 1.2, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(tau):
    with pytest.raises(ValueError, match="tau"):
        pseudo_labels(np.array([[1.0, 0.0]]), tau)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ([0.5, 0.4], "add up to 0.9"),
        ([1.2, -0.2], "at least 0"),
        ([float("nan"), 1.0], "at least 0"),
        ([0.2, 0.3, 0.5], "classifier's 2 classes"),
        ([1.0], "classifier's 2 classes"),
        ([[0.5, 0.5]], "classifier's 2 classes"),
    ],
)
def test_a_target_that_is_no_distribution_over_the_classifiers_classes_is_refused(target, says):
    with pytest.raises(ValueError, match=says):
        aligned_targets(probabilities(8, 2), target, rng=generator())


def test_shares_that_were_typed_with_few_digits_are_taken_and_made_exact():
    assert checked_target([0.33333, 0.33333, 0.33333], 3).sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("p", "says"),
    [
        ([[np.nan, np.nan], [np.nan, np.nan]], "nothing to align"),
        ([[2.0, -1.0]], "not logits"),
        ([[3.0, 1.0]], "not logits"),
        ([[1.0], [1.0]], "K of at least 2"),
        ([0.5, 0.5], "K of at least 2"),
        (np.zeros((0, 2)), "nothing to align"),
    ],
)
def test_what_is_no_probability_of_any_image_is_refused(p, says):
    with pytest.raises(ValueError, match=says):
        aligned_targets(np.asarray(p), [0.5, 0.5], rng=generator())


def test_what_does_not_fit_together_is_refused():
    p = probabilities(6, 2)
    with pytest.raises(ValueError, match="not both"):
        aligned_targets(p, [0.5, 0.5], fixed=p, rng=generator())
    with pytest.raises(ValueError, match="is needed"):
        aligned_targets(p, None, rng=generator())
    with pytest.raises(ValueError, match="4 targets for 6 images"):
        fixed_targets(p, p[:4])
    with pytest.raises(ValueError, match="rng is needed"):
        fixed_targets(p[:4], p)
    with pytest.raises(ValueError, match="3 classes"):
        fixed_targets(p, probabilities(6, 3))
    with pytest.raises(ValueError, match="valid must be"):
        aligned_targets(p, [0.5, 0.5], valid=np.ones(5, dtype=bool), rng=generator())
    with pytest.raises(ValueError, match="valid must be"):
        aligned_targets(p, [0.5, 0.5], valid=np.ones(6), rng=generator())
    with pytest.raises(ValueError, match="cannot be ranked"):
        binomial_targets(np.array([[np.nan, np.nan], [0.5, 0.5]]), 0.5)
    with pytest.raises(ValueError, match="of two classes"):
        binomial_targets(probabilities(6, 3), 0.5)
    with pytest.raises(ValueError, match="share of class 1"):
        binomial_targets(p, 1.1)
    with pytest.raises(ValueError, match="draws"):
        expected_targets(p, [0.5, 0.5], generator(), 0)
