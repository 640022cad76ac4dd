"""Levels, and what the readers say of phantoms whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.phantoms import draw_cohort
from services.maths.pixels import PixelSpec
from services.platform.evaluation.conditions import describe, in_order, level_of
from services.platform.evaluation.generators import Generator
from services.platform.evaluation.reading import read_images
from services.training.generative.recipes import PELVIS_ATTRIBUTES, SEVERITY

ATTRIBUTES = (*PELVIS_ATTRIBUTES, SEVERITY)
PELVIS = Generator("p", "1", "", "class-to-image", PixelSpec(1, 64, 64), ATTRIBUTES)


def attribute(name: str):
    return next(one for one in ATTRIBUTES if one.name == name)


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("sex", "Male", "Male"),
        ("age", 39, "below 40"),
        ("age", 40, "40 to 59"),
        ("age", 80.0, "80 and above"),
        ("bmi", 18.4, "underweight"),
        ("bmi", 30.0, "obese"),
        ("osteoarthritis", 3, "3"),
        ("osteoarthritis", 3.0, "3"),
        ("race", None, None),
    ],
)
def test_a_value_is_grouped_under_its_level(name, value, level):
    assert level_of(attribute(name), value) == level


def test_levels_stand_from_low_to_high():
    assert in_order(["obese", "normal", "underweight"]) == ["underweight", "normal", "obese"]
    assert in_order(["60 to 79", "below 40"]) == ["below 40", "60 to 79"]
    assert in_order(["Male", "Female"]) == ["Female", "Male"]


def test_a_pelvis_is_asked_for_by_all_its_attributes_and_read_back():
    cohort = draw_cohort("pelvis", "null", 20, 3, 64)
    rows = cohort.table.to_dict("records")
    described = [describe(PELVIS, "pelvis", row) for row in rows]
    assert sum(one is None for one in described) == sum(row["race"] is None for row in rows)
    levels, request = next(one for one in described if one is not None)
    assert set(request["attributes"]) == set(levels) == {one.name for one in ATTRIBUTES}
    assert all(isinstance(value, str) for value in request["attributes"].values())

    seen = read_images("pelvis", "class-to-image", cohort.images, list(levels))
    for name, least in (("sex", 0.9), ("laterality", 0.95), ("projection", 0.9), ("osteoarthritis", 0.95)):
        wanted = [level_of(attribute(name), row[name]) for row in rows]
        assert np.mean(seen.levels[name].to_numpy() == np.array(wanted, object)) >= least, name
    assert set(seen.unread) == {"age", "race", "bmi"}
    assert {"neck_shaft_angle", "waist"} <= set(seen.features)


def test_a_patient_whom_the_model_has_no_level_for_is_not_asked_for():
    row = {"sex": "Male", "age": 60, "race": "White", "bmi": 25.0, "laterality": "left", "projection": "AP"}
    row |= {"osteoarthritis": 1}
    assert describe(PELVIS, "pelvis", row) is not None
    for changed in ({"race": "unknown"}, {"age": 17}, {"bmi": float("nan")}):
        assert describe(PELVIS, "pelvis", row | changed) is None


def test_images_that_no_reader_knows_are_said_to_be_unread():
    images = np.zeros((3, 1, 16, 16), np.float32)
    assert read_images("", "text-to-image", images, ["site"]).unread == {"site": "there is no reader for these images"}
    assert set(read_images("pelvis", "class-to-image", images, ["sex"]).unread) == {"sex"}
