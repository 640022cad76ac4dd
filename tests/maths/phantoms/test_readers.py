"""The circle from planting to reading: what was drawn comes back from the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.phantoms import draw_cohort, read_features
from services.maths.phantoms.worlds import PLANTED_CONTRAST

# Densities beside the heart or at the costophrenic angles hide what the geometric readers look for, as they do in life.
HIDES_HEART = ("Lung Opacity", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pleural Effusion")


@pytest.fixture(scope="module")
def chests():
    """(table, features) of the same 250 patients in the null and the planted world."""
    return {world: _read("chest", world) for world in ("null", "planted")}


@pytest.fixture(scope="module")
def brains():
    return {world: _read("brain", world) for world in ("null", "planted")}


def _read(kind, world):
    cohort = draw_cohort(kind, world, 250, 5)
    return cohort.table, read_features(kind, cohort.images, cohort.masks)


def test_heart_width_reads_back(chests):
    table, features = chests["null"]
    clear = (table[[f"strength_{name}" for name in HIDES_HEART]] == 0).all(axis=1)
    assert clear.sum() > 60
    assert np.corrcoef(features["heart_ratio"][clear], table["heart_ratio"][clear])[0, 1] > 0.75
    assert (features["heart_ratio"] - table["heart_ratio"])[clear].std() < 0.035


def test_mediastinum_reads_back(chests):
    table, features = chests["null"]
    read, planted = features["mediastinum_half_width"], table["mediastinum_half_width"]
    assert np.corrcoef(read, planted)[0, 1] > 0.9
    assert abs(read - planted).median() < 0.02


@pytest.mark.parametrize(
    ("feature", "finding"),
    [
        ("base_asymmetry", "Pleural Effusion"),
        ("heart_ratio", "Cardiomegaly"),
    ],
)
def test_the_contrast_of_a_finding_falls_by_the_planted_factor_in_women(chests, feature, finding):
    """The same women in both worlds: their measured contrast shrinks; the readers saturate, so the band is wide."""
    contrast = {}
    for world, (table, features) in chests.items():
        women = table["sex"] == "Female"
        present = table[f"strength_{finding}"] > 0
        contrast[world] = features[feature][women & present].mean() - features[feature][women & ~present].mean()
    assert contrast["null"] > 0
    assert contrast["planted"] / contrast["null"] == pytest.approx(PLANTED_CONTRAST, abs=0.2)


def test_a_pneumothorax_reads_back_as_a_dark_rim(chests):
    table, features = chests["null"]
    assert np.corrcoef(features["rim_density"], table["strength_Pneumothorax"])[0, 1] < -0.6


@pytest.mark.parametrize("feature", ["base_asymmetry", "rim_density", "heart_ratio", "mediastinum_half_width"])
def test_race_cannot_be_read_from_a_chest(chests, feature):
    table, features = chests["null"]
    by_patient = features[feature].groupby(table["patient_id"]).mean()
    race = table.groupby("patient_id")["race"].first()
    white, black = by_patient[race == "White"], by_patient[race == "Black"]
    error = np.sqrt(white.var() / len(white) + black.var() / len(black))
    assert abs(white.mean() - black.mean()) < 4 * error


def test_tumour_contrast_follows_the_planted_strength(brains):
    table, features = brains["null"]
    seen = features["tumour_contrast"].notna()
    assert np.corrcoef(features["tumour_contrast"][seen], table["strength_tumour"][seen])[0, 1] > 0.75
    assert seen.mean() == pytest.approx(0.95, abs=0.04)


def test_tumour_contrast_is_the_same_for_both_sexes_in_the_null_world_and_falls_in_the_planted_one(brains):
    ratio = {}
    for world, (table, features) in brains.items():
        means = features["tumour_contrast"].groupby(table["sex"]).mean()
        ratio[world] = means["Female"] / means["Male"]
    assert ratio["null"] == pytest.approx(1.0, abs=0.12)
    assert ratio["planted"] == pytest.approx(PLANTED_CONTRAST, abs=0.12)


def test_a_glioblastoma_has_a_darker_core(brains):
    table, features = brains["null"]
    core = features["core_contrast"].groupby(table["glioblastoma"]).mean()
    assert core[1] < core[0] - 0.1


def test_tumour_area_is_that_of_the_mask(brains):
    table, features = brains["null"]
    np.testing.assert_allclose(features["tumour_area"], table["tumour_area"])


def test_reading_a_brain_without_masks_says_what_is_missing():
    with pytest.raises(ValueError, match="needs one mask an image"):
        read_features("brain", np.zeros((1, 1, 32, 32), np.float32))
