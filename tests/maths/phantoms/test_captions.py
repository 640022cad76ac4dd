"""Captions say what is in the picture, in several ways, and can be understood again."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.phantoms import draw_records
from services.maths.phantoms.captions import (
    attributes_of,
    caption,
    caption_attributes,
    compose,
    is_clear,
    parse,
    random_attributes,
)

KINDS = ("chest", "brain", "pelvis", "cardiac")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_every_prompt_is_understood_as_it_was_meant(kind):
    rng = np.random.default_rng(0)
    for _ in range(300):
        meant = random_attributes(kind, rng)
        assert parse(compose(kind, meant)) == (kind, meant)
        assert parse(compose(kind, meant, rng)) == (kind, meant)


def test_an_attribute_that_is_not_given_is_not_said(kind):
    rng = np.random.default_rng(1)
    for left_out in caption_attributes(kind):
        meant = random_attributes(kind, rng)
        meant[left_out] = None
        assert parse(compose(kind, meant)) == (kind, {name: level for name, level in meant.items() if level})
    assert parse(compose(kind, {})) == (kind, {})


def test_paraphrases_differ_and_mean_the_same(kind):
    meant = random_attributes(kind, np.random.default_rng(2))
    said = {compose(kind, meant, np.random.default_rng(seed)) for seed in range(40)}
    assert len(said) > 4
    assert all(parse(prompt) == (kind, meant) for prompt in said)


def test_random_attributes_meet_every_level(kind):
    rng = np.random.default_rng(3)
    seen = [random_attributes(kind, rng) for _ in range(200)]
    for name, levels in caption_attributes(kind).items():
        assert {attributes[name] for attributes in seen} == set(levels)


@pytest.mark.parametrize(
    ("kind", "meant", "prompt"),
    [
        (
            "cardiac",
            {"sex": "Female", "age": "60s", "bmi": "obese", "diagnosis": "heart failure"},
            "Short-axis cardiac MRI. Female, age in 60s, obese BMI, heart failure",
        ),
        (
            "brain",
            {"lesion": "necrotic", "hemisphere": "left"},
            "Axial FLAIR image of a glioma patient showing a lesion with a necrotic core in the left hemisphere",
        ),
        (
            "chest",
            {"sex": "Female", "cardiomegaly": "present", "pleural_effusion": "right"},
            "Frontal chest radiograph. Female, with cardiomegaly, right pleural effusion",
        ),
        (
            "pelvis",
            {"sex": "Female", "osteoarthritis": "severe", "laterality": "left"},
            "Pelvis radiograph. Female, severe osteoarthritis, left marker",
        ),
    ],
)
def test_the_usual_prompts_follow_the_papers(kind, meant, prompt):
    assert compose(kind, meant) == prompt
    assert parse(prompt.upper() + ", best quality") == (kind, meant)


def test_a_row_is_captioned_by_what_its_picture_shows(kind):
    clear = 0
    for patient in range(25):
        for record in draw_records(kind, "null", patient, 9, 16):
            attributes = attributes_of(kind, record.row)
            assert set(attributes) == set(caption_attributes(kind))
            assert parse(caption(kind, record.row))[1] == {k: v for k, v in attributes.items() if v is not None}
            clear += is_clear(attributes)
    assert clear > 10


def test_a_necrosis_that_hardly_shows_is_not_named():
    row = {"strength_tumour": 1.0, "necrosis": 0.25, "tumour_side": "left", "tumour_radius": 0.15}
    assert attributes_of("brain", row) == {"lesion": None, "hemisphere": "left"}
    assert caption("brain", row).endswith("showing a lesion in the left hemisphere")
    assert attributes_of("brain", row | {"necrosis": 0.9})["lesion"] == "necrotic"
    assert attributes_of("brain", row | {"necrosis": 0.9, "tumour_radius": 0.1})["lesion"] is None
    assert attributes_of("brain", row | {"strength_tumour": 0.0}) == {"lesion": None, "hemisphere": None}


def test_weak_heart_failure_of_the_planted_world_is_not_named():
    row = {"sex": "Female", "age": 61, "bmi": 31.0, "radius_ratio": 0.73}
    assert attributes_of("cardiac", row)["diagnosis"] is None
    assert caption("cardiac", row) == "Short-axis cardiac MRI. Female, age in 60s, obese BMI"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compose("spine", {}), "kind must be one of chest, brain, pelvis, cardiac"),
        (lambda: compose("chest", {"bmi": "obese"}), "a caption of chest names sex, cardiomegaly, pleural_effusion"),
        (lambda: compose("chest", {"sex": "female"}), "sex must be one of Female, Male"),
        (lambda: parse("a photograph of a cat"), "a prompt opens with one of"),
        (lambda: parse("Pelvis radiograph. Female, a man"), "a prompt names one sex"),
    ],
)
def test_what_cannot_be_said_or_understood_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
