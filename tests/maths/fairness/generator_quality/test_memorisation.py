"""Copies of training images are caught, blandness is told from copying, and new images are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.fairness.generator_quality import closeness, neighbours

WIDTH, PATIENTS = 12, 300
RNG = np.random.default_rng(1)
BODIES = RNG.normal(size=(PATIENTS, WIDTH))
TRAINING = np.repeat(BODIES, 2, axis=0) + 0.3 * RNG.normal(size=(2 * PATIENTS, WIDTH))
PATIENT = np.repeat(np.arange(PATIENTS), 2)


def new_images(seed: int, n: int, noise: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, WIDTH)) + noise * rng.normal(size=(n, WIDTH))


def closer(images: np.ndarray, measure: str, seed: int = 7):
    held_out = neighbours(new_images(seed, 300), TRAINING, PATIENT)
    return closeness(getattr(neighbours(images, TRAINING, PATIENT), measure), getattr(held_out, measure))


@pytest.mark.parametrize("measure", ["nearest", "ratio"])
def test_new_patients_are_no_finding_at_the_stated_rate(measure):
    p = [closer(new_images(100 + k, 100), measure, seed=500 + k).p_value for k in range(60)]
    assert np.mean(np.array(p) <= 0.05) <= 0.15


@pytest.mark.parametrize("measure", ["nearest", "ratio"])
def test_copies_with_a_little_noise_are_found(measure):
    images = new_images(2, 100)
    images[:15] = TRAINING[20:35] + 0.02 * np.random.default_rng(3).normal(size=(15, WIDTH))
    found = closer(images, measure)
    assert found.closer >= 15
    assert found.p_value < 1e-3
    assert found.limits[0] > found.expected


def test_bland_images_are_near_but_none_of_them_stands_out():
    bland = 0.5 * new_images(4, 200, noise=0.0)
    assert closer(bland, "nearest").p_value < 1e-3
    assert closer(bland, "ratio").p_value > 0.05


def test_the_nearest_image_is_found_exactly_and_the_next_is_another_patients():
    image = TRAINING[[10]] + 1e-7
    found = neighbours(image, TRAINING, PATIENT)
    apart = np.linalg.norm(TRAINING - image, axis=1)
    assert found.row[0] == 10
    assert found.nearest[0] == pytest.approx(1e-7 * np.sqrt(WIDTH), rel=1e-6)
    assert found.ratio[0] == pytest.approx(apart[10] / apart[PATIENT != 5].min(), rel=1e-4)


def test_the_p_value_is_the_chance_that_exchangeable_images_fall_below_so_often():
    rng = np.random.default_rng(6)
    images, held = rng.random((20000, 30)), rng.random((20000, 100))
    below = (images < np.sort(held, axis=1)[:, [1]]).sum(axis=1)
    measured = closeness(np.r_[np.zeros(3), np.ones(27)], np.linspace(0.1, 0.9, 100), share=0.02)
    assert measured.closer == 3
    assert measured.p_value == pytest.approx(np.mean(below >= 3), abs=0.004)


def test_nothing_to_compare_is_no_number_and_one_patient_is_no_training_set():
    assert closeness(np.empty(0), np.ones(3)) is None
    with pytest.raises(ValueError, match="two patients or more"):
        neighbours(TRAINING[:2], TRAINING[:2], PATIENT[:2])
