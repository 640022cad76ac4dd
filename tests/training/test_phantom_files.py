"""Phantom files are real DICOM and NIfTI, say the same as the table, and come out the same every time."""

from __future__ import annotations

import hashlib

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import yaml

from services.maths.phantoms import draw_cohort
from services.maths.pixels import axial_slice, canonical_from_stored, canonical_from_volume
from services.training.phantom_files import write_phantoms

PATIENTS = 4


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chest")
    write_phantoms("chest", "planted", PATIENTS, 7, folder)
    return folder


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brain")
    write_phantoms("brain", "null", PATIENTS, 7, folder)
    return folder


@pytest.fixture(scope="module")
def cardiac(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cardiac")
    write_phantoms("cardiac", "null", PATIENTS, 7, folder)
    return folder


@pytest.fixture(scope="module")
def pelvis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pelvis")
    write_phantoms("pelvis", "null", 1, 7, folder)
    return folder


def tree_digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", ["chest", "brain", "pelvis", "cardiac"])
def test_the_same_seed_writes_the_same_bytes(kind, tmp_path):
    for name in ("a", "b"):
        write_phantoms(kind, "confounded", 2, 5, tmp_path / name)
    write_phantoms(kind, "confounded", 2, 6, tmp_path / "c")
    assert tree_digests(tmp_path / "a") == tree_digests(tmp_path / "b") != tree_digests(tmp_path / "c")


def test_reading_a_chest_file_gives_back_the_drawn_pixels(chest):
    cohort = draw_cohort("chest", "planted", PATIENTS, 7)
    table = pd.read_csv(chest / "rows.csv")
    for drawn, image in zip(cohort.images, table["image"], strict=True):
        file = pydicom.dcmread(chest / image)
        window = (float(file.WindowCenter), float(file.WindowWidth))
        np.testing.assert_allclose(canonical_from_stored(file.pixel_array, window=window), drawn[0], atol=1e-5)


def test_a_chest_file_says_what_the_table_says(chest):
    table = pd.read_csv(chest / "rows.csv")
    uids = set()
    for row in table.to_dict("records"):
        file = pydicom.dcmread(chest / row["image"])
        assert file.file_meta.MediaStorageSOPClassUID.name == "Computed Radiography Image Storage"
        assert (file.PatientID, file.PatientSex) == (row["patient_id"], row["sex"][0])
        assert file.PatientAge == f"{row['age']:03d}Y"
        assert (file.PhotometricInterpretation, file.BitsStored, file.Modality) == ("MONOCHROME2", 16, "CR")
        assert file.SOPInstanceUID.is_valid
        uids.add(file.SOPInstanceUID)
    assert len(uids) == len(table)


def test_reading_a_brain_file_gives_back_the_drawn_slice_and_mask(brain):
    cohort = draw_cohort("brain", "null", PATIENTS, 7)
    table = pd.read_csv(brain / "rows.csv")
    for drawn, mask, row in zip(cohort.images, cohort.masks, table.to_dict("records"), strict=True):
        image = nibabel.load(brain / row["image"])
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        read = canonical_from_volume(np.asanyarray(image.dataobj), image.affine)
        np.testing.assert_allclose(read, drawn[0], atol=1e-5)
        labels = nibabel.load(brain / row["mask"])
        assert np.array_equal(axial_slice(np.asanyarray(labels.dataobj), labels.affine), mask)


def test_both_phases_of_a_heart_and_their_masks_are_written(cardiac):
    cohort = draw_cohort("cardiac", "null", PATIENTS, 7)
    for number, row in enumerate(pd.read_csv(cardiac / "rows.csv").to_dict("records")):
        cine, labels = nibabel.load(cardiac / row["image"]), nibabel.load(cardiac / row["mask"])
        assert cine.shape == labels.shape == (128, 128, 1, 2)
        for phase, masks in enumerate((cohort.masks, cohort.es_masks)):
            stored = axial_slice(np.asanyarray(cine.dataobj)[..., phase], cine.affine)
            np.testing.assert_allclose(stored / 65535, cohort.images[number, phase], atol=1e-5)
            assert np.array_equal(axial_slice(np.asanyarray(labels.dataobj)[..., phase], labels.affine), masks[number])


def test_a_pelvis_file_is_a_radiograph_of_the_pelvis(pelvis):
    row = pd.read_csv(pelvis / "rows.csv").iloc[0]
    file = pydicom.dcmread(pelvis / row["image"])
    assert (file.BodyPartExamined, file.ViewPosition, file.Modality) == ("PELVIS", "AP", "CR")
    drawn = draw_cohort("pelvis", "null", 1, 7).images[0, 0]
    window = (float(file.WindowCenter), float(file.WindowWidth))
    np.testing.assert_allclose(canonical_from_stored(file.pixel_array, window=window), drawn, atol=1e-5)
    assert {"bmi", "laterality", "projection"} <= set(row.index)


def test_the_table_holds_no_planted_truth_and_the_truth_file_does(chest):
    table = pd.read_csv(chest / "rows.csv")
    truth = pd.read_parquet(chest / "truth.parquet")
    assert not [name for name in table if name.startswith("strength") or name == "heart_ratio"]
    assert list(truth["record_id"]) == list(table["record_id"])
    assert {"strength_Fracture", "heart_ratio"} <= set(truth)


@pytest.mark.parametrize("kind", ["chest", "brain", "pelvis", "cardiac"])
def test_the_schema_names_columns_of_the_table(kind, request):
    folder = request.getfixturevalue(kind)
    columns = set(pd.read_csv(folder / "rows.csv"))
    schema = yaml.safe_load((folder / "schema.yaml").read_text())
    named = {schema[key] for key in ("record", "patient", "image", "split")} | set(schema["labels"])
    named |= {attribute["column"] for attribute in schema["attributes"]}
    assert named <= columns
    assert ("mask" in schema) == (kind in ("brain", "cardiac"))
    assert any(attribute["name"] == "bmi" for attribute in schema["attributes"]) == (kind in ("pelvis", "cardiac"))
