"""Leaking generators are caught by what the readers see in their images; a faithful one passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.errors import FailedPrecondition, InvalidInput
from services.maths.phantoms import PhantomRecord
from services.maths.phantoms.cardiac import FAT_RING, draw_body, draw_cine, draw_pair
from services.maths.phantoms.worlds import draw_patient, patient_stream
from services.platform.augmentation.cohorts import refuse_infidelity
from services.platform.augmentation.fidelity import fidelity
from services.platform.augmentation.phantoms import as_records

pytestmark = pytest.mark.timeout(900)

SIDE = 64
LEVELS = {"underweight": 17.0, "normal": 22.0, "overweight": 27.0, "obese": 33.0}


def hearts(seed, *, ring=0.0, ratio=0.0, each=5, contrast=1.0):
    """``each`` images of every level and class. A leak adds ``ring`` to the fat of failing hearts' bodies, or ``ratio``
    to how little the hearts of obese bodies empty, above what was asked for."""
    drawn = []
    for index in range(8 * each):
        level, failing = list(LEVELS)[index // 2 % 4], bool(index % 2)
        rng = patient_stream("cardiac", seed, index)
        who = draw_patient("cardiac", index, rng)
        body = draw_body(who, rng)
        fat = FAT_RING[level] + (ring if failing else 0.0)
        body = replace(body, bmi=LEVELS[level], ring=fat, ratio=body.ratio + (ratio if level == "obese" else 0.0))
        strength = contrast * body.failure if failing else 0.0
        (ed, es), (mask, es_mask) = draw_pair(SIDE, body, draw_cine(rng), strength, rng)
        row = {"record_id": f"{who.patient_id}-1", "split": "train", "sex": who.sex, "age": who.age, "bmi": body.bmi}
        row |= {"heart_failure": int(failing)}
        drawn.append((f"cardiac-{seed}-{index:05d}", PhantomRecord(np.stack([ed, es, ed]), mask, row, es_mask)))
    return as_records(drawn, SIDE)


@pytest.fixture(scope="module")
def real():
    return hearts(21)


@pytest.fixture(scope="module")
def faithful():
    return hearts(22)


def test_a_faithful_generator_passes(real, faithful):
    found = fidelity(faithful, real)
    assert found["problems"] == []
    assert found["slope"]["overall"] == pytest.approx(1.0, abs=0.15) and found["dice"] > 0.9
    assert {row["state"] for row in found["groups"]} == {"ok"}


def test_a_leak_either_way_is_caught(real):
    """Obese hearts that empty less, and failing ones in thicker fat: as much at every level, so the slope is right."""
    problems = fidelity(hearts(22, ratio=0.12, ring=0.04), real)["problems"]
    assert any("healthy with obese BMI shows a ratio" in problem for problem in problems)
    assert not any("healthy with normal BMI" in problem for problem in problems)
    assert any("heart failure thickens the ring of fat" in problem for problem in problems)


def test_exaggerated_heart_failure_and_masks_that_are_not_followed_are_caught_in_every_group(faithful):
    elsewhere = replace(faithful, masks=np.roll(faithful.masks, 9, axis=-1))
    problems = fidelity(elsewhere, hearts(23, contrast=0.5))["problems"]
    assert sum("heart failure with" in problem for problem in problems) == 4
    assert any("Dice" in problem for problem in problems)


def test_a_leak_is_refused_or_flagged_as_the_study_says():
    leaking = {"problems": ["the ring leaks"]}
    with pytest.raises(FailedPrecondition, match="made does not show what was asked for: the ring leaks"):
        refuse_infidelity("made", leaking, "refuse")
    refuse_infidelity("made", leaking, "flag")
    with pytest.raises(InvalidInput, match="refuse or flag"):
        refuse_infidelity("made", leaking, "ignore")
