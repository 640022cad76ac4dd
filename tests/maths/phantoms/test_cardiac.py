"""The heart: what is planted comes back from the pixels, at the size of drawing and of generators, where planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from services.maths.phantoms import draw_cohort, read_features
from services.maths.phantoms.cardiac import BMI_CUTS, bmi_level
from services.maths.phantoms.cardiac_readers import segment_cardiac
from services.maths.phantoms.worlds import CONFOUNDED_PREVALENCE, PLANTED_CONTRAST
from services.maths.pixels import PixelSpec, to_model

LABELS = (1, 2, 3)


@pytest.fixture(scope="module")
def worlds():
    """(table, what was read) of the same 40 patients in every world, drawn at 128 pixels and read at 64."""
    found = {}
    for world in ("null", "planted", "confounded"):
        cohort = draw_cohort("cardiac", world, 40, 5)
        found[world] = cohort.table, read_features("cardiac", to_model(cohort.images, PixelSpec(3, 64, 64)))
    return found


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(("feature", "error"), [("lv_radius_ed", 0.005), ("lv_radius_es", 0.005), ("fat_ring", 0.025)])
def test_lengths_read_back_to_a_fraction_of_a_pixel(worlds, feature, error):
    table, read = worlds["null"]
    assert np.abs(read[feature] - table[feature]).max() < error
    assert np.corrcoef(read[feature], table[feature])[0, 1] > 0.99


def test_the_ejection_fraction_reads_back(worlds):
    table, read = worlds["null"]
    assert np.abs(read["ejection_fraction"] - table["ejection_fraction"]).max() < 0.02


@pytest.mark.parametrize("size", [64, 128])
def test_masks_are_what_the_pixels_show(size):
    cohort = draw_cohort("cardiac", "null", 12, 3, size)
    for frames, masks in ((cohort.images[:, 0], cohort.masks), (cohort.images[:, 1], cohort.es_masks)):
        scores = [[dice(segment_cardiac(f) == k, m == k) for k in LABELS] for f, m in zip(frames, masks, strict=True)]
        assert (np.mean(scores, axis=0) > 0.95).all()


def test_third_channel_is_end_diastole_again():
    cohort = draw_cohort("cardiac", "null", 3, 3, 32)
    assert np.array_equal(cohort.images[:, 0], cohort.images[:, 2])
    assert not np.array_equal(cohort.images[:, 0], cohort.images[:, 1])


def test_the_muscle_keeps_its_area():
    cohort = draw_cohort("cardiac", "null", 12, 3)
    ed, es = ((masks == 2).sum(axis=(1, 2)) for masks in (cohort.masks, cohort.es_masks))
    np.testing.assert_allclose(es / ed, 1.0, atol=0.06)


def test_levels_of_the_body_mass_index_and_sexes_do_not_overlap_in_pixels(worlds):
    table, read = worlds["null"]
    by_level = read["fat_ring"].groupby(table["bmi"].map(bmi_level)).agg(["min", "max"]).loc[list(BMI_CUTS)]
    assert (by_level["min"].to_numpy()[1:] > by_level["max"].to_numpy()[:-1]).all()
    hearts = read["heart_radius_ed"].groupby(table["sex"])
    assert hearts.max()["Female"] < hearts.min()["Male"]


def test_heart_failure_is_clear_in_the_null_world(worlds):
    table, read = worlds["null"]
    failing = table["strength_heart_failure"] > 0
    assert read["radius_ratio"][~failing].max() < read["radius_ratio"][failing].min() - 0.05


def test_heart_failure_of_women_shows_less_in_the_planted_world_only(worlds):
    excess = {}
    for world, (table, read) in worlds.items():
        failing = table["strength_heart_failure"] > 0
        means = read["radius_ratio"].groupby([table["sex"], failing]).mean()
        excess[world] = {sex: means[sex, True] - means[sex, False] for sex in ("Female", "Male")}
    assert excess["null"]["Female"] / excess["null"]["Male"] == pytest.approx(1.0, abs=0.12)
    assert excess["planted"]["Female"] / excess["null"]["Female"] == pytest.approx(PLANTED_CONTRAST, abs=0.06)
    assert excess["planted"]["Male"] == pytest.approx(excess["null"]["Male"])
    assert excess["confounded"]["Male"] == pytest.approx(excess["null"]["Male"])


def test_the_confounded_world_has_fewer_failing_women():
    shares = {}
    for world in ("null", "confounded"):
        table = draw_cohort("cardiac", world, 300, 5, 16).table
        failing = (table["strength_heart_failure"] > 0).groupby(table["sex"]).mean()
        shares[world] = failing
    assert shares["confounded"]["Female"] / shares["null"]["Female"] == pytest.approx(CONFOUNDED_PREVALENCE, abs=0.12)
    assert shares["confounded"]["Male"] == shares["null"]["Male"]


def test_in_the_shortcut_world_heart_failure_follows_the_body_mass_index_except_in_the_test_split():
    table = draw_cohort("cardiac", "shortcut", 400, 5, 16).table
    failing, level = table["strength_heart_failure"] > 0, table["bmi"].map(bmi_level)
    shares = failing.groupby([table["split"] == "test", level]).mean()
    assert shares[False, "normal"] < 0.06 and shares[False, "obese"] == 1.0
    null = draw_cohort("cardiac", "null", 400, 5, 16).table
    same = ["patient_id", "split", "sex", "age", "bmi", "fat_ring", "texture"]
    assert table[same].equals(null[same])
    tested = table["split"] == "test"
    assert failing[tested].equals(null.loc[tested, "strength_heart_failure"] > 0)


@pytest.mark.parametrize("feature", ["radius_ratio", "fat_ring", "texture"])
def test_race_cannot_be_read_from_a_heart(worlds, feature):
    table, read = worlds["null"]
    by_patient = read[feature].groupby(table["patient_id"]).mean()
    race = table.groupby("patient_id")["race"].first()
    white, other = by_patient[race == "White"], by_patient[race != "White"]
    error = np.sqrt(white.var() / len(white) + other.var() / len(other))
    assert abs(white.mean() - other.mean()) < 4 * error


def test_texture_grows_with_age(worlds):
    table, read = worlds["null"]
    assert np.corrcoef(read["texture"], table["age"])[0, 1] > 0.4


@pytest.mark.parametrize(
    ("bmi", "level"), [(18.4, "underweight"), (18.5, "normal"), (29.9, "overweight"), (30, "obese")]
)
def test_a_limit_belongs_to_the_level_above(bmi, level):
    assert bmi_level(bmi) == level


def test_an_image_without_a_heart_reads_as_nothing():
    read = read_features("cardiac", np.zeros((1, 3, 64, 64), np.float32))
    assert pd.isna(read["radius_ratio"][0])
    assert not segment_cardiac(np.zeros((64, 64), np.float32)).any()
