"""Distances in worlds where it is known whether there is anything to find."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.fairness.generator_quality import distance

WIDTH = 8


def sample(seed: int, n: int = 80, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (n, WIDTH))


def test_a_second_draw_of_the_same_world_is_no_finding_at_the_stated_rate():
    p = [
        distance(sample(3 * k), sample(3 * k + 1), sample(3 * k + 2), permutations=199, seed=k).kid_p
        for k in range(100)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.12  # 5 of 100 expected; 12 has a chance of 0.1 %
    assert np.median(p) > 0.3


def test_a_shift_is_found_and_stands_above_both_floors():
    found = distance(sample(1, shift=0.5), sample(2), sample(3), permutations=199, seed=1)
    assert found.kid_p == 1 / 200
    assert found.kid_limits[0] > found.kid_floor
    assert found.frechet > found.frechet_floor_limits[1]
    assert abs(found.kid_floor) < found.kid / 4


def test_an_image_that_resembles_its_own_patient_for_its_condition_is_no_finding():
    """Condition and image share a mean; the pair's likeness must not pass for closeness or distance of the samples."""
    condition = 2.0 * sample(5)
    made, true, other = condition + sample(6), condition + sample(7), 2.0 * sample(8) + sample(9)
    found = distance(made, true, other, permutations=499, seed=2)
    assert found.kid_p > 0.05
    assert found.kid_limits[0] < 0 < found.kid_limits[1]


def test_all_numbers_are_of_the_smaller_sample():
    assert distance(sample(1, 60), sample(2, 60), sample(3, 33), permutations=19, seed=1).n == 33


def test_too_few_images_give_no_number():
    assert distance(sample(1, 19), sample(2, 19), sample(3, 60), seed=1) is None


def test_the_frechet_floor_falls_with_n_while_kid_stays_at_zero():
    few, many = (
        distance(sample(1, n), sample(2, n), sample(3, n), permutations=19, draws=10, seed=1) for n in (25, 200)
    )
    assert few.frechet_floor > 4 * many.frechet_floor
    assert few.kid_floor_limits[0] < 0 < few.kid_floor_limits[1]


def test_the_same_seed_gives_the_same_numbers():
    first, second = (distance(sample(1), sample(2), sample(3), permutations=49, seed=4) for _ in range(2))
    assert first == second


def test_rows_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="goes with a real one"):
        distance(sample(1, 30), sample(2, 31), sample(3), seed=1)
