"""Spread within a condition: collapse is caught, another draw is not, and the signs are the exchange they stand for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.maths.fairness.generator_quality import distinct_images, manifold, spread

CONDITION = np.repeat(np.arange(6), 10)
CENTRES = 3.0 * np.random.default_rng(0).normal(size=(6, 5))


def drawn(seed: int, scale: float = 1.0) -> np.ndarray:
    return CENTRES[CONDITION] + scale * np.random.default_rng(seed).normal(size=(60, 5))


def test_another_draw_of_the_same_conditions_is_no_finding_at_the_stated_rate():
    p = [spread(drawn(2 * k), drawn(2 * k + 1), CONDITION, permutations=199, seed=k).p_value for k in range(100)]
    assert np.mean(np.array(p) <= 0.05) <= 0.12


def test_mode_collapse_is_found_with_its_size():
    found = spread(drawn(1, 0.5), drawn(2), CONDITION, permutations=999, seed=1)
    assert found.p_value == 1 / 1000
    assert found.ratio == pytest.approx(0.5, abs=0.06)
    assert found.limits[0] < 0.5 < found.limits[1] < 0.6


def test_one_image_for_each_condition_is_a_ratio_of_zero():
    found = spread(CENTRES[CONDITION], drawn(2), CONDITION, permutations=99, seed=1)
    assert (found.ratio, found.limits, found.p_value) == (0.0, (0.0, 0.0), 0.01)


def test_differences_between_conditions_are_no_diversity():
    """A collapsed generator has as much spread over all conditions as before; only that within them is measured."""
    found = spread(drawn(1, 0.1), drawn(2, 0.1), CONDITION, permutations=99, seed=1)
    assert found.real < 0.5 < np.linalg.norm(CENTRES[0] - CENTRES[1])


def test_signed_scores_are_the_exchange_of_images_with_their_patients_own():
    rng = np.random.default_rng(3)
    made, true = rng.normal(size=(2, 5, 3))
    condition = np.zeros(5, int)

    def difference(flip: tuple[int, ...]) -> float:
        swap = np.array(flip, bool)[:, None]
        first, second = np.where(swap, true, made), np.where(swap, made, true)
        pairs = list(itertools.combinations(range(5), 2))
        return sum(np.linalg.norm(first[a] - first[b]) - np.linalg.norm(second[a] - second[b]) for a, b in pairs)

    every = np.array([difference(flip) for flip in itertools.product((0, 1), repeat=5)])
    exact = np.mean(np.abs(every) >= abs(every[0]) - 1e-9)
    many = np.repeat(condition, 1)
    found = spread(np.tile(made, (1, 1)), true, many, permutations=1, seed=0)
    assert found is None  # 10 pairs are too few to say anything
    from services.maths.fairness.generator_quality import diversity

    diversity_minimum, diversity.MINIMUM_PAIRS = diversity.MINIMUM_PAIRS, 1
    try:
        sampled = spread(made, true, many, permutations=20000, seed=0).p_value
    finally:
        diversity.MINIMUM_PAIRS = diversity_minimum
    assert sampled == pytest.approx(exact, abs=0.02)


def test_precision_falls_for_images_outside_and_recall_for_modes_left_out():
    rng = np.random.default_rng(5)
    real = np.concatenate([rng.normal(0, 1, (100, 4)), rng.normal(8, 1, (100, 4))])
    again = np.concatenate([rng.normal(0, 1, (100, 4)), rng.normal(8, 1, (100, 4))])
    one_mode, outside = rng.normal(0, 1, (200, 4)), rng.normal(30, 1, (200, 4))
    usual = manifold(again, real)
    assert min(usual.precision, usual.recall) > 0.7
    assert manifold(one_mode, real).recall < 0.55 * usual.recall + 0.1
    assert manifold(outside, real).precision == 0.0
    assert manifold(real[:4], real[:4]) is None


def test_images_that_differ_below_eight_bits_are_one_image():
    images = np.zeros((4, 1, 2, 2), np.float32)
    images[1], images[2] = 1e-4, 0.5
    assert distinct_images(images) == 2
