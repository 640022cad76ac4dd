"""Phantom cohorts: who is in them, that they can be drawn again, and what the worlds plant."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from services.maths.phantoms import LABELS, draw_cohort, draw_records
from services.maths.phantoms.worlds import CONFOUNDED_PREVALENCE, PLANTED_CONTRAST, draw_patient, patient_stream

SIZE = 32  # truth does not depend on the number of pixels


@pytest.fixture(scope="module", params=["chest", "brain", "cardiac"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def worlds(kind):
    return {world: draw_cohort(kind, world, 400, 11, SIZE) for world in ("null", "planted", "confounded")}


def strength_columns(kind):
    return [f"strength_{name}" for name in (["tumour"] if kind == "brain" else LABELS[kind])]


def test_images_and_masks_have_the_promised_form(kind, worlds):
    cohort = worlds["null"]
    assert cohort.images.shape == (len(cohort.table), 3 if kind == "cardiac" else 1, SIZE, SIZE)
    assert cohort.images.dtype == np.float32
    assert cohort.images.min() >= 0
    assert cohort.images.max() <= 1
    assert cohort.masks.shape == (len(cohort.table), SIZE, SIZE)
    assert cohort.masks.dtype == np.uint8
    assert set(np.unique(cohort.masks)) == {"chest": {0}, "brain": {0, 1}, "cardiac": {0, 1, 2, 3}}[kind]
    assert (cohort.es_masks is not None) == (kind == "cardiac")


def test_the_same_arguments_give_the_same_bits(kind):
    digests = {hashlib.sha256(draw_cohort(kind, "planted", 5, 3).images.tobytes()).hexdigest() for _ in range(2)}
    assert len(digests) == 1
    assert not np.array_equal(
        draw_cohort(kind, "planted", 1, 3).images[0], draw_cohort(kind, "planted", 1, 4).images[0]
    )


def test_a_patient_is_the_same_however_many_others_are_drawn(kind):
    few, many = draw_cohort(kind, "null", 3, 7, SIZE), draw_cohort(kind, "null", 6, 7, SIZE)
    assert np.array_equal(few.images, many.images[: len(few.images)])
    alone = next(draw_records(kind, "null", 2, 7, SIZE))
    row = few.table.index[few.table["patient_id"] == alone.row["patient_id"]][0]
    assert np.array_equal(alone.image, few.images[row])


def test_records_are_unique_and_patients_have_one_set_of_attributes(worlds):
    table = worlds["null"].table
    assert table["record_id"].is_unique
    per_patient = table.groupby("patient_id")[["split", "sex", "age", "race"]].nunique(dropna=False)
    assert (per_patient == 1).all(axis=None)
    counts = table.groupby("patient_id").size()
    assert counts.min() == 1
    assert counts.max() == 4
    assert set(table["split"]) == {"train", "validation", "test"}


def test_images_of_one_patient_resemble_each_other_more_than_others(kind, worlds):
    cohort = worlds["null"]
    flat = cohort.images.reshape(len(cohort.images), -1)[:200].astype(np.float64)
    flat -= flat.mean(axis=0)
    patient = cohort.table["patient_id"].to_numpy()[:200]
    likeness = np.corrcoef(flat)
    same = (patient[:, None] == patient) & ~np.eye(200, dtype=bool)
    assert likeness[same].mean() > likeness[patient[:, None] != patient].mean() + 0.3


def test_findings_mostly_persist_between_the_images_of_a_patient():
    table = draw_cohort("chest", "null", 150, 11, SIZE).table
    patient_mean = table.groupby("patient_id")["strength_Pleural Effusion"].transform(lambda s: (s > 0).mean())
    present = table["strength_Pleural Effusion"] > 0
    assert patient_mean[present].mean() > 0.85


def test_the_null_world_plants_nothing(kind, worlds):
    table = worlds["null"].table
    for column in strength_columns(kind):
        present = table[table[column] > 0]
        by_patient = np.log(present[column]).groupby(present["patient_id"]).mean()
        sex = present.groupby("patient_id")["sex"].first()
        women, men = by_patient[sex == "Female"], by_patient[sex == "Male"]
        error = np.sqrt(women.var() / len(women) + men.var() / len(men))
        assert abs(women.mean() - men.mean()) < 4 * error, column


def test_the_planted_world_scales_the_contrast_of_women_by_the_stated_factor_and_nothing_else(kind, worlds):
    null, planted = worlds["null"].table, worlds["planted"].table
    women = null["sex"] == "Female"
    for column in strength_columns(kind):
        np.testing.assert_allclose(planted[column][women], PLANTED_CONTRAST * null[column][women])
        np.testing.assert_allclose(planted[column][~women], null[column][~women])
    for label in LABELS[kind]:
        assert planted[label].equals(null[label])


def test_the_confounded_world_changes_prevalence_and_not_contrast(kind, worlds):
    null, confounded = worlds["null"].table, worlds["confounded"].table
    labels = ["glioblastoma"] if kind == "brain" else list(LABELS[kind])
    women = null["sex"] == "Female"
    ratio = confounded[labels][women].mean().mean() / null[labels][women].mean().mean()
    assert ratio == pytest.approx(CONFOUNDED_PREVALENCE, abs=0.1)
    assert confounded[labels][~women].equals(null[labels][~women])
    for column in strength_columns(kind):
        both = (confounded[column] > 0) & (null[column] > 0)
        np.testing.assert_allclose(confounded[column][both], null[column][both])


@pytest.mark.parametrize("kind", ["brain"], indirect=True, scope="module")
def test_every_glioblastoma_is_grade_4_and_a_few_other_tumours_are(worlds):
    table = worlds["null"].table.dropna(subset=["glioblastoma", "tumour_grade_4"])
    grade_4 = table["tumour_grade_4"].astype(bool)
    assert grade_4[table["glioblastoma"] == 1].all()
    others = grade_4[table["glioblastoma"] == 0]
    assert 0.05 < others.mean() < 0.2
    assert (table.groupby("patient_id")["tumour_grade_4"].nunique() == 1).all()


def test_men_look_the_same_in_every_world(worlds):
    men = (worlds["null"].table["sex"] == "Male").to_numpy()
    assert np.array_equal(worlds["null"].images[men], worlds["planted"].images[men])
    assert not np.array_equal(worlds["null"].images[~men], worlds["planted"].images[~men])


def test_some_labels_and_races_are_missing_but_few(kind, worlds):
    table = worlds["null"].table
    missing = table[list(LABELS[kind])].isna().mean().mean()
    assert 0.002 < missing < 0.03
    assert 0 < table["race"].isna().mean() < 0.06


def test_groups_are_large_enough_to_audit():
    patients = [draw_patient("chest", k, patient_stream("chest", 7, k)) for k in range(600)]
    assert min(sum(p.sex == sex for p in patients) for sex in ("Female", "Male")) > 240
    assert min(sum(p.race == race for p in patients) for race in ("White", "Black", "Asian", "Other")) > 30
    assert sum(p.age >= 80 for p in patients) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("spine", "null", 1, 1), "kind must be one of chest, brain"),
        (("chest", "fair", 1, 1), "world must be one of null, planted, confounded"),
        (("chest", "null", 0, 1), "patients must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_cohort(*arguments)
