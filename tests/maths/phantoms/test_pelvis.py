"""The pelvis: what is planted comes back from the pixels, at every size, and only where it was planted."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.phantoms import draw_cohort
from services.maths.phantoms.pelvis import PELVIS_SPREADS, PLANTED_SHIFTS
from services.maths.phantoms.pelvis_reader import PELVIS_FEATURES, read_pelvis


@pytest.fixture(scope="module")
def worlds():
    """(table, what was read) of the same 200 patients in every world, at 64 pixels."""
    return {world: _read(world) for world in ("null", "planted", "confounded")}


def _read(world):
    cohort = draw_cohort("pelvis", world, 200, 11, size=64)
    return cohort.table, read_pelvis(cohort.images)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_every_feature_reads_back_without_bias_at_every_size(size):
    cohort = draw_cohort("pelvis", "planted", 60, 3, size=128)
    fold = 128 // size
    images = cohort.images.reshape(-1, 1, size, fold, size, fold).mean(axis=(3, 5)).astype(np.float32)
    read = read_pelvis(images)
    for feature, spread in PELVIS_SPREADS.items():
        error = read[feature] - cohort.table[feature]
        # A foramen is four pixels wide at 32: its shape comes back with an offset that all groups share.
        slack = 2.0 if (size, feature) == (32, "foramen_eccentricity") else 1.0
        assert abs(error.mean()) < 0.4 * slack * spread, feature
        assert error.std() < 0.5 * slack * spread, feature
    assert (read["osteoarthritis"].round() == cohort.table["osteoarthritis"]).mean() > 0.97
    for level in ("laterality", "projection"):
        assert (read[level] == cohort.table[level]).all()
    assert (read["sex"] == cohort.table["sex"]).mean() > 0.97


def test_exposure_does_not_move_a_feature():
    image = draw_cohort("pelvis", "null", 1, 0, size=128).images[:1]
    plain, darker = read_pelvis(image), read_pelvis((0.8 * image).astype(np.float32))
    for feature in PELVIS_FEATURES:
        assert darker[feature][0] == pytest.approx(plain[feature][0], rel=1e-4)


def test_the_planted_world_shifts_three_features_of_one_race_and_leaves_two(worlds):
    for feature, spread in PELVIS_SPREADS.items():
        shift = PLANTED_SHIFTS.get(feature, 0.0)
        assert _gap(*worlds["planted"], feature) == pytest.approx(shift, abs=0.45 * spread), feature
        for world in ("null", "confounded"):
            assert abs(_gap(*worlds[world], feature)) < 0.45 * spread, (world, feature)


def test_the_confounder_differs_by_race_in_prevalence_only(worlds):
    assert abs(_gap(*worlds["null"], "osteoarthritis")) < 0.4
    for world in ("planted", "confounded"):
        assert _gap(*worlds[world], "osteoarthritis") > 0.8
    table, read = worlds["confounded"]
    for grade in (1, 2):
        same = table["osteoarthritis"] == grade
        assert abs(_gap(table[same], read[same], "osteoarthritis")) < 0.15


def test_the_same_arguments_give_the_same_bits():
    first, again = (draw_cohort("pelvis", "planted", 3, 8, size=32).images for _ in range(2))
    assert first.tobytes() == again.tobytes()


def _gap(table, read, feature):
    """Black less White within each sex, each patient once: their images share the bones."""
    means = read[feature].groupby(table["patient_id"]).mean()
    who = table.groupby("patient_id")[["race", "sex"]].first()
    gaps = [
        means[(who["race"] == "Black") & (who["sex"] == sex)].mean()
        - means[(who["race"] == "White") & (who["sex"] == sex)].mean()
        for sex in ("Female", "Male")
    ]
    return float(np.mean(gaps))
