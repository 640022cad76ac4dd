"""The Fréchet distance against matrix square roots, torchmetrics and closed forms; its floor, and who is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from torchmetrics.image.fid import _compute_fid

from services.maths.fairness.distributions import frechet, frechet_distance, frechet_matrix
from services.maths.fairness.groups import Grouping


def sample(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d) + np.eye(d)
    return scale * rng.normal(size=(n, d)) @ mixing + shift


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(axis=0), np.cov(features, rowvar=False)


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    (m1, s1), (m2, s2) = moments(x), moments(y)
    return float(np.square(m1 - m2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real))


@pytest.mark.parametrize(("n", "d"), [(400, 12), (60, 59), (64, 64)])
@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_it_is_scipys_matrix_square_root_where_that_is_well_conditioned(n, d, scale):
    x, y = sample(n, d, 1), sample(n, d, 2, shift=0.3, scale=scale)
    assert frechet_distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(300, 20), (40, 100)])
def test_it_is_torchmetrics(n, d):
    x, y = sample(n, d, 3), sample(n, d, 4, shift=0.2, scale=1.3)
    theirs = _compute_fid(*(torch.as_tensor(part) for part in (*moments(x), *moments(y)))).item()
    assert frechet_distance(x, y) == pytest.approx(theirs, rel=1e-5)


def test_low_rank_and_covariance_forms_agree_to_rounding():
    """Padding with constant features changes n ≥ d into n < d and must not change the distance."""
    x, y = sample(50, 30, 5), sample(50, 30, 6, shift=0.1)
    padded = [np.pad(part, ((0, 0), (0, 40)), constant_values=2.0) for part in (x, y)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(x, y), rel=1e-10)


def test_a_planted_shift_is_its_square_and_a_planted_scale_its_closed_form():
    x = sample(80, 200, 7)
    assert frechet_distance(x, x + 0.25) == pytest.approx(200 * 0.25**2, rel=1e-9)
    trace = np.trace(np.cov(x, rowvar=False))
    assert frechet_distance(x, 3.0 * (x - x.mean(0)) + x.mean(0)) == pytest.approx(4.0 * trace, rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)


def test_gaussians_with_a_known_shift_and_many_rows_give_the_population_value():
    rng = np.random.default_rng(8)
    delta = np.array([0.5, 0.0, -1.0, 0.25])
    x, y = rng.normal(size=(40_000, 4)), rng.normal(size=(40_000, 4)) + delta
    assert frechet_distance(x, y) == pytest.approx(float(delta @ delta), abs=0.03)


@pytest.mark.parametrize("n", [30, 200])
def test_singular_covariances_give_a_finite_distance(n):
    """Dead and repeated features, as pooled networks have them."""
    x, y = sample(n, 50, 9), sample(n, 50, 10)
    for part in (x, y):
        part[:, :10] = 0.0
        part[:, 10:20] = part[:, 20:30]
    assert np.isfinite(frechet_distance(x, y))
    alive = [np.concatenate([part[:, 20:30] * np.sqrt(2), part[:, 30:]], axis=1) for part in (x, y)]
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(*alive), rel=1e-5)


def test_a_cholesky_that_fails_falls_back_to_eigenvalues(monkeypatch):
    x, y = sample(100, 20, 11), sample(100, 20, 12)
    expected = frechet_distance(x, y)

    def fails(*_args, **_kwargs):
        raise linalg.LinAlgError

    monkeypatch.setattr(frechet.linalg, "cholesky", fails)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(frechet.linalg, "svdvals", fails)
    assert frechet_distance(sample(15, 20, 1), sample(15, 20, 2)) > 0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((5, 3)), np.zeros((6, 3)), "depends on sample size"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "same features"),
        (np.zeros((1, 3)), np.zeros((1, 3)), "at least 2 records"),
        (np.zeros(5), np.zeros(5), "at least 2 records"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "first holds NaN"),
        (np.zeros((5, 3)), np.full((5, 3), np.inf), "second holds NaN or infinite"),
    ],
)
def test_bad_samples_are_refused_with_a_reason(x, y, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(x, y)


def cohort(sizes: dict[str, int], images: int, shifts: dict[str, float], seed: int = 0, d: int = 40):
    """``images`` correlated records of each patient; a group's mean is shifted in the first feature."""
    rng = np.random.default_rng(seed)
    names = tuple(sizes)
    codes = np.repeat(np.arange(len(names)), [sizes[name] for name in names])
    patients = np.arange(len(codes))
    features = rng.normal(size=(len(codes), 1, d)) + 0.5 * rng.normal(size=(len(codes), images, d))
    features[:, :, 0] += np.array([shifts.get(name, 0.0) for name in names])[codes][:, None]
    grouping = Grouping("sex", names, np.repeat(codes, images))
    return features.reshape(-1, d).astype(np.float32), grouping, np.repeat(patients, images)


def test_the_matrix_shows_a_planted_difference_above_the_floor_and_none_where_there_is_none():
    features, groups, patients = cohort({"a": 300, "b": 260, "c": 240}, 1, {"c": 2.0})
    matrix = frechet_matrix(features, groups, cluster=patients, n=100, draws=4, seed=1)
    assert matrix.states == ("ok", "ok", "ok")
    assert np.abs(matrix.excess[0, 1]) < 4 * matrix.spread[0, 1] + 0.5
    assert matrix.excess[0, 2] == pytest.approx(4.0, abs=1.0)
    np.testing.assert_array_equal(matrix.distance, matrix.distance.T)
    np.testing.assert_allclose(np.diag(matrix.excess), 0.0)
    assert (np.diag(matrix.distance) > 3.0).all(), "a floor is estimator bias, far from 0"


def test_the_floor_is_the_distance_expected_under_the_null_also_with_several_images_a_patient():
    features, groups, patients = cohort({"a": 120, "b": 150}, 3, {})
    matrix = frechet_matrix(features, groups, cluster=patients, n=150, draws=12, seed=2)
    assert matrix.distance[0, 1] == pytest.approx(matrix.floor[0, 1], rel=0.1)


def test_no_patient_is_on_both_sides_even_with_records_in_two_groups(monkeypatch):
    """A shared patient would make two groups look nearer than their floor."""
    features, groups, patients = cohort({"a": 90, "b": 90}, 2, {})
    moved = Grouping("age", groups.groups, np.where(np.arange(len(patients)) % 4 == 1, 1 - groups.codes, groups.codes))
    seen = []
    module = frechet_matrix.__globals__
    original = module["_two_sides"]

    def watched(grouping, patient, n, rng):
        sides = original(grouping, patient, n, rng)
        seen.append(([patient[pair[0]] for pair in sides], [patient[pair[1]] for pair in sides]))
        return sides

    monkeypatch.setitem(module, "_two_sides", watched)
    matrix = frechet_matrix(features, moved, cluster=patients, n=40, draws=3, seed=3)
    assert matrix.states == ("ok", "ok") and len(seen) == 3
    for first, second in seen:
        assert all(len(rows) == 40 for rows in (*first, *second))
        assert not set(np.concatenate(first)) & set(np.concatenate(second))


def test_a_group_too_small_for_two_sides_is_stated_and_kept():
    features, groups, patients = cohort({"a": 100, "b": 59, "c": 60}, 1, {})
    matrix = frechet_matrix(features, groups, cluster=patients, n=30, seed=4)
    assert matrix.states == ("ok", "insufficient", "ok")
    assert matrix.groups == ("a", "b", "c") and matrix.patients.tolist() == [100, 59, 60]
    assert np.isnan(matrix.distance[1]).all() and np.isfinite(matrix.distance[0, 2])


def test_the_same_seed_gives_the_same_bits_and_another_group_changes_nothing():
    features, groups, patients = cohort({"a": 80, "b": 80, "c": 80}, 1, {})
    every = frechet_matrix(features, groups, cluster=patients, n=30, seed=5)
    again = frechet_matrix(features, groups, cluster=patients, n=30, seed=5)
    np.testing.assert_array_equal(every.distance, again.distance)
    turned = Grouping("sex", ("c", "b", "a"), 2 - groups.codes)
    np.testing.assert_array_equal(
        frechet_matrix(features, turned, cluster=patients, n=30, seed=5).distance[::-1, ::-1], every.distance
    )
    assert not np.array_equal(frechet_matrix(features, groups, cluster=patients, n=30, seed=6).distance, every.distance)


@pytest.mark.parametrize(("change", "message"), [({"n": 1}, "n must be"), ({"draws": 0}, "n must be")])
def test_the_matrix_refuses_bad_settings(change, message):
    features, groups, patients = cohort({"a": 10, "b": 10}, 1, {})
    with pytest.raises(ValueError, match=message):
        frechet_matrix(features, groups, cluster=patients, **({"n": 5, "seed": 0} | change))
    with pytest.raises(ValueError, match="differ in length"):
        frechet_matrix(features, groups, cluster=patients[:-1], n=5, seed=0)
