"""The kernel distance against brute force and torchmetrics, its permutation test, and its jackknife."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from services.maths.fairness.distributions import kid, kid_matrix
from services.maths.fairness.groups import Grouping


def normal(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def brute_force(x, y, x_ids, y_ids) -> float:
    """Means over pairs of different patients, one pair at a time."""

    def mean(a, b, a_ids, b_ids):
        kernel = (a @ b.T / a.shape[1] + 1) ** 3
        return kernel[a_ids[:, None] != b_ids[None, :]].mean()

    return mean(x, x, x_ids, x_ids) + mean(y, y, y_ids, y_ids) - 2 * mean(x, y, x_ids, y_ids)


def test_with_one_record_a_patient_it_is_torchmetrics_unbiased_estimator():
    x, y = normal(60, 8, 1), normal(60, 8, 2, 0.3)
    ours = kid(x, y, first_cluster=np.arange(60), second_cluster=np.arange(60) + 60, permutations=9, seed=0)
    theirs = poly_mmd(torch.as_tensor(x), torch.as_tensor(y), degree=3, gamma=None, coef=1.0).item()
    assert ours.value == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("shared", [False, True])
def test_with_several_records_and_shared_patients_it_is_brute_force(shared):
    rng = np.random.default_rng(3)
    x, y = normal(1100, 5, 4), normal(90, 5, 5, 0.2)
    x_ids, y_ids = rng.integers(0, 300, 1100), rng.integers(0, 30, 90) + (0 if shared else 1000)
    ours = kid(x, y, first_cluster=x_ids, second_cluster=y_ids, permutations=9, seed=0)
    assert ours.value == pytest.approx(brute_force(x, y, x_ids, y_ids), rel=1e-9)
    assert ours.patients == (len(np.unique(x_ids)), len(np.unique(y_ids)))


def test_the_standard_error_is_the_delete_one_patient_jackknife():
    rng = np.random.default_rng(6)
    x, y = normal(60, 4, 7), normal(80, 4, 8, 0.5)
    x_ids, y_ids = rng.integers(0, 20, 60), rng.integers(20, 50, 80)
    variance = 0.0
    for ids in (x_ids, y_ids):
        values = np.array(
            [brute_force(x[x_ids != k], y[y_ids != k], x_ids[x_ids != k], y_ids[y_ids != k]) for k in np.unique(ids)]
        )
        variance += (len(values) - 1) / len(values) * np.square(values - values.mean()).sum()
    ours = kid(x, y, first_cluster=x_ids, second_cluster=y_ids, permutations=9, seed=0)
    assert ours.standard_error == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_the_p_value_is_the_share_of_relabelled_patients_with_at_least_this_distance():
    """All arrangements of 5 + 5 patients by brute force; the test draws from them."""
    from itertools import combinations

    x, y = normal(5, 3, 9), normal(5, 3, 10, 0.8)
    both, ids = np.concatenate([x, y]), np.arange(10)
    values = []
    for chosen in combinations(range(10), 5):
        mask = np.isin(ids, chosen)
        values.append(brute_force(both[mask], both[~mask], ids[mask], ids[~mask]))
    exact = np.mean(np.array(values) >= brute_force(x, y, ids[:5], ids[5:]) - 1e-12)
    ours = kid(x, y, first_cluster=ids[:5], second_cluster=ids[5:], permutations=20_000, seed=1)
    assert ours.p_value == pytest.approx(exact, abs=0.012)


def test_a_planted_shift_is_found_and_its_population_value_is_near():
    """E (x·y/d + 1)³ for Gaussians with means 0 and δ in d dimensions: see the expansion in the comments."""
    d, delta = 16, 0.4
    x, y = normal(400, d, 11), normal(300, d, 12, delta)
    ours = kid(x, y, first_cluster=np.arange(400), second_cluster=np.arange(300) + 400, permutations=199, seed=2)

    # x·y/d given independent x ~ N(a, I), y ~ N(b, I): mean a·b/d =: m, variance s² = (|a|² + |b|² + d)/d², and its
    # third central moment 6 a·b / d³. E (u + 1)³ = (m + 1)³ + 3 (m + 1) s² + third.
    def expected(a, b):
        m, s2, third = a * b, (a * a + b * b + 1) / d, 6 * a * b / d**2
        return (m + 1) ** 3 + 3 * (m + 1) * s2 + third

    truth = expected(0, 0) + expected(delta, delta) - 2 * expected(0, delta)
    assert abs(ours.value - truth) < 3 * ours.standard_error
    assert ours.p_value == 1 / 200


def test_under_the_null_the_value_lies_within_its_error_and_p_values_are_uniform():
    """Three images of one patient resemble each other; a test over records would reject far too often."""
    rejected, inside = 0, 0
    for world in range(200):
        rng = np.random.default_rng(1000 + world)
        patients = rng.normal(size=(40, 1, 6)) + 0.3 * rng.normal(size=(40, 3, 6))
        x, y = patients[:18].reshape(-1, 6), patients[18:].reshape(-1, 6)
        found = kid(
            x,
            y,
            first_cluster=np.repeat(np.arange(18), 3),
            second_cluster=np.repeat(np.arange(18, 40), 3),
            permutations=99,
            seed=world,
        )
        rejected += found.p_value <= 0.05
        inside += abs(found.value) < 2 * found.standard_error
    assert rejected <= 19, "size .05 within Monte Carlo error"
    assert inside >= 180


def test_paired_samples_are_tested_by_swapping_within_the_patient():
    """Synthetic copies of the same patients: with a small shift the pairing has power, without one it has size."""
    rng = np.random.default_rng(13)
    base = rng.normal(size=(60, 5))
    ids = np.arange(60)
    shifted = kid(base, base + 0.5, first_cluster=ids, second_cluster=ids, permutations=199, seed=3)
    assert shifted.p_value == 1 / 200
    rejected = 0
    for world in range(100):
        rng = np.random.default_rng(world)
        base = rng.normal(size=(30, 5))
        copies = [base + 0.2 * rng.normal(size=base.shape) for _ in range(2)]
        found = kid(*copies, first_cluster=ids[:30], second_cluster=ids[:30], permutations=99, seed=world)
        rejected += found.p_value <= 0.05
    assert rejected <= 12


def test_the_matrix_holds_every_pair_states_small_groups_and_adjusts_p():
    sizes = {"a": 60, "b": 50, "c": 4, "d": 40}
    codes = np.repeat(np.arange(4), list(sizes.values()))
    features = normal(len(codes), 6, 14) + np.where(codes == 3, 0.7, 0.0)[:, None]
    matrix = kid_matrix(
        features, Grouping("age", tuple(sizes), codes), cluster=np.arange(len(codes)), permutations=499, seed=4
    )
    assert matrix.states == ("ok", "ok", "insufficient", "ok")
    assert matrix.records.tolist() == [60, 50, 4, 40]
    assert np.isnan(matrix.value[2]).all() and np.isnan(np.diag(matrix.value)).all()
    assert matrix.p_value[0, 3] == 1 / 500 and matrix.p_value[0, 1] > 0.05
    np.testing.assert_array_equal(matrix.p_adjusted, matrix.p_adjusted.T)
    assert matrix.p_adjusted[0, 3] == pytest.approx(3 / 500) and matrix.p_adjusted[0, 1] == matrix.p_value[0, 1]
    a, b = features[codes == 0], features[codes == 3]
    alone = brute_force(a, b, np.arange(60), np.arange(60, 100))
    assert matrix.value[3, 0] == pytest.approx(alone, rel=1e-10)


def test_order_of_groups_and_of_samples_does_not_matter():
    codes = np.repeat(np.arange(3), 20)
    features = normal(60, 4, 15)
    first = kid_matrix(features, Grouping("g", ("a", "b", "c"), codes), cluster=np.arange(60), permutations=99, seed=5)
    turned = kid_matrix(
        features, Grouping("g", ("c", "b", "a"), 2 - codes), cluster=np.arange(60), permutations=99, seed=5
    )
    np.testing.assert_allclose(turned.value[::-1, ::-1], first.value, rtol=1e-12)
    np.testing.assert_array_equal(turned.p_value[::-1, ::-1], first.p_value)


@pytest.mark.parametrize(
    ("x", "y", "ids", "message"),
    [
        (np.zeros((4, 2)), np.zeros((9, 2)), np.arange(9), "needs 5 patients"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), np.arange(9), "first holds NaN"),
        (np.zeros((9, 3)), np.zeros((9, 2)), np.arange(9), "same features"),
        (np.zeros((9, 2)), np.zeros((9, 2)), np.arange(8), "differ in length"),
    ],
)
def test_bad_samples_are_refused_with_a_reason(x, y, ids, message):
    with pytest.raises(ValueError, match=message):
        kid(x, y, first_cluster=np.arange(len(x)), second_cluster=ids + 100, permutations=9, seed=0)
