"""Nearness of generated images to the records whose masks they follow, where the truth is planted."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.fairness.generator_quality import source_nearness

PATIENTS, WIDTH = 200, 12


def world(seed: int = 0) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """A generator of numbers, features of one real image a patient, and whose they are."""
    rng = np.random.default_rng(seed)
    return rng, rng.normal(size=(PATIENTS, WIDTH)), np.array([f"p{number:03d}" for number in range(PATIENTS)])


def test_images_of_new_people_are_close_as_often_as_new_patients_are() -> None:
    rng, real, patient = world()
    source = rng.choice(patient, 2000)
    found = source_nearness(rng.normal(size=(2000, WIDTH)), source, real, patient, seed=1)
    assert found is not None
    assert found.expected == pytest.approx(0.05, abs=0.005)
    assert found.limits[0] < 0.05 < found.limits[1]
    assert found.own == pytest.approx(0.01, abs=0.01) and found.own_by_chance == pytest.approx(0.01)
    assert found.median == pytest.approx(found.new_median, rel=0.05)


def test_copies_are_found_and_traced_to_their_own_source() -> None:
    rng, real, patient = world()
    rows = rng.integers(0, PATIENTS, 600)
    made = np.where((rng.random(600) < 0.3)[:, None], real[rows], rng.normal(size=(600, WIDTH)))
    found = source_nearness(made, patient[rows], real, patient, seed=1)
    assert found is not None
    assert found.share == pytest.approx(0.3 + 0.7 * 0.05, abs=0.05)
    assert found.limits[0] > 0.2
    assert found.own == pytest.approx(0.3 + 0.7 * 0.01, abs=0.05)


def test_likeness_to_the_own_source_shows_though_nothing_is_closer_than_new_patients() -> None:
    rng, real, patient = world()
    rows = rng.integers(0, PATIENTS, 600)
    made = real[rows] + rng.normal(size=(600, WIDTH))  # as far from its source as strangers' nearest are from theirs
    found = source_nearness(made, patient[rows], real, patient, seed=1)
    assert found is not None
    assert found.own > 5 * found.own_by_chance


def test_limits_count_patients_and_not_images() -> None:
    rng, real, patient = world()
    few, many = (source_nearness(*_drawn(rng, real, patient, count), real, patient, seed=1) for count in (1, 50))
    assert few is not None and many is not None
    assert (few.patients, many.patients, many.images) == (PATIENTS, PATIENTS, 50 * PATIENTS)
    assert many.limits[1] - many.limits[0] > 0.04


def _drawn(rng: np.random.Generator, real: np.ndarray, patient: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray]:
    source = np.repeat(patient, each)
    return rng.normal(size=(len(source), WIDTH)), source


def test_several_real_images_of_a_patient_are_one_new_patient() -> None:
    rng, real, patient = world()
    twice, whose = np.concatenate([real, real + 1e-3]), np.concatenate([patient, patient])
    source = rng.choice(patient, 300)
    made = rng.normal(size=(300, WIDTH))
    once, doubled = (
        source_nearness(made, source, real, patient, seed=1),
        source_nearness(made, source, twice, whose, seed=1),
    )
    assert once is not None and doubled is not None
    assert doubled.new_patients == once.new_patients == len(np.unique(source))


def test_sources_that_have_no_real_image_take_no_part_and_few_patients_say_nothing() -> None:
    rng, real, patient = world()
    source = np.concatenate([rng.choice(patient, 300), np.full(50, "stranger")])
    found = source_nearness(rng.normal(size=(350, WIDTH)), source, real, patient, seed=1)
    assert found is not None and found.images == 300
    assert source_nearness(real[:19], patient[:19], real, patient, seed=1) is None
    assert source_nearness(real[:20], patient[:20], real, patient, seed=1) is not None
    with pytest.raises(ValueError, match="differ in number"):
        source_nearness(real, patient[1:], real, patient, seed=1)
