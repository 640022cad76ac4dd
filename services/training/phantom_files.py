"""Phantom cohorts as files that look like a hospital's: DICOM or NIfTI images, one CSV and the schema to read it.

``DIR/images/*.dcm`` (chest and pelvis: Computed Radiography, 16-bit MONOCHROME2) or ``*.nii.gz`` with
``*-mask.nii.gz`` (brain: one-slice FLAIR volumes; cardiac: one slice of a cine with two frames, at end-diastole and at
end-systole, and the labels of both), ``DIR/rows.csv``, ``DIR/schema.yaml`` for ``evenhand cohorts create``, and
``DIR/truth.parquet``: the planted strengths and exact features, for whoever checks a method. The same arguments write
the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import yaml
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from services.maths.phantoms import LABELS, PhantomRecord, draw_records
from services.maths.phantoms.cardiac import BMI_CUTS, MASK_LABELS
from services.maths.phantoms.worlds import RACES, Kind, patient_name

FULL_SCALE = 65535
_FIELD_OF_VIEW_MM: Mapping[Kind, float] = {"chest": 350.0, "brain": 240.0, "pelvis": 430.0, "cardiac": 360.0}
_VIEWS: Mapping[str, tuple[str, str]] = {"chest": ("CHEST", "PA"), "pelvis": ("PELVIS", "AP")}
_TOLD = ("record_id", "patient_id", "image", "mask", "split", "sex", "age", "race")
_TOLD_OF_KIND: Mapping[str, tuple[str, ...]] = {"pelvis": ("bmi", "laterality", "projection"), "cardiac": ("bmi",)}
_BMI_CUTS = [cut for cut in BMI_CUTS.values() if math.isfinite(cut)]


def write_phantoms(
    kind: Kind,
    world: str,
    patients: int,
    seed: int,
    folder: Path,
    *,
    on_patient: Callable[[], None] = lambda: None,
) -> int:
    """Write a cohort into ``folder`` and return its number of images. ValueError for an unknown kind or world."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for patient in range(patients):
        named = {"patient_id": patient_name(kind, seed, patient)}  # whoever another seed draws is somebody else
        drawn = [replace(record, row=record.row | named) for record in draw_records(kind, world, patient, seed)]
        rows.extend(_write_images(kind, record, f"{world}/{seed}", images) | record.row for record in drawn)
        on_patient()
    table = pd.DataFrame(rows)
    for label in LABELS[kind]:
        table[label] = table[label].astype("Int8")
    told = [name for name in table if not _is_truth(str(name), kind)]
    table[told].to_csv(folder / "rows.csv", index=False, lineterminator="\n")
    truth = [name for name in table if _is_truth(str(name), kind)]
    table[["record_id", *truth]].to_parquet(folder / "truth.parquet", index=False)
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema(kind), sort_keys=False), "utf-8")
    return len(rows)


def schema(kind: Kind) -> dict[str, Any]:
    """The cohort schema of the written table."""
    masks: dict[str, Any] = {} if kind in _VIEWS else {"mask": "mask", "modality": "MR"}
    if kind == "cardiac":
        cine = {"frames": ["ed", "es", "ed"], "ed": 0, "es": 1, "window": [0, FULL_SCALE]}
        masks |= {"mask_labels": list(MASK_LABELS), "cine": cine}
    bmi = {"name": "bmi", "column": "bmi", "cuts": _BMI_CUTS, "names": list(BMI_CUTS), "assigned_by": "phantom"}
    return {
        "record": "record_id",
        "patient": "patient_id",
        "image": "image",
        **masks,
        "split": "split",
        "attributes": [
            {"name": "sex", "column": "sex", "levels": ["Female", "Male"], "assigned_by": "phantom"},
            {"name": "age", "column": "age", "cuts": [40, 60, 80], "assigned_by": "phantom"},
            {"name": "race", "column": "race", "levels": list(RACES), "assigned_by": "phantom"},
            *([bmi] if "bmi" in _TOLD_OF_KIND.get(kind, ()) else []),
        ],
        "labels": list(LABELS[kind]),
    }


def _is_truth(column: str, kind: Kind) -> bool:
    return column not in (*_TOLD, *_TOLD_OF_KIND.get(kind, ()), *LABELS[kind])


def _write_images(kind: Kind, record: PhantomRecord, cohort: str, images: Path) -> dict[str, str]:
    """Columns and the files that they name, relative to the cohort's folder."""
    return _write_radiograph(kind, record, cohort, images) if kind in _VIEWS else _write_slices(kind, record, images)


def _write_radiograph(kind: Kind, record: PhantomRecord, cohort: str, images: Path) -> dict[str, str]:
    path = images / f"{record.row['record_id']}.dcm"
    data = io.BytesIO()
    radiograph_dicom(kind, record, cohort).save_as(data, enforce_file_format=True)
    path.write_bytes(data.getvalue())
    return {"image": f"images/{path.name}"}


def radiograph_dicom(kind: Kind, record: PhantomRecord, cohort: str) -> Dataset:
    """A Computed Radiography object whose full 16-bit range is its display window, so that reading it gives it back."""
    row, pixels = record.row, _sixteen_bits(record.image[0])
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(cohort, "image", row["record_id"])
    found = Dataset()
    found.file_meta = meta
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    found.StudyInstanceUID = _uid(cohort, "study", row["record_id"])
    found.SeriesInstanceUID = _uid(cohort, "series", row["record_id"])
    found.StudyDate = found.StudyTime = found.AccessionNumber = found.ReferringPhysicianName = ""
    found.StudyID, found.SeriesNumber, found.InstanceNumber = "", 1, 1
    found.PatientName = f"Phantom^{row['patient_id']}"
    found.PatientID = row["patient_id"]
    found.PatientBirthDate = ""
    found.PatientSex = row["sex"][0]
    found.PatientAge = f"{row['age']:03d}Y"
    found.Modality, (found.BodyPartExamined, found.ViewPosition) = "CR", _VIEWS[kind]
    found.Manufacturer, found.ImageType = "Evenhand phantoms", ["DERIVED", "PRIMARY"]
    found.PatientOrientation = ["L", "F"]
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.Rows, found.Columns = pixels.shape
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 16, 15, 0
    found.ImagerPixelSpacing = [_FIELD_OF_VIEW_MM[kind] / len(pixels)] * 2
    found.RescaleIntercept, found.RescaleSlope, found.RescaleType = 0, 1, "US"
    found.WindowCenter, found.WindowWidth = (FULL_SCALE + 1) / 2, FULL_SCALE + 1
    found.PixelData = pixels.astype("<u2").tobytes()
    return found


def _write_slices(kind: Kind, record: PhantomRecord, images: Path) -> dict[str, str]:
    voxels = {"image": _sixteen_bits(record.image[0]), "mask": record.mask}
    if record.es_mask is not None:
        voxels = {"image": _sixteen_bits(record.image[:2]), "mask": np.stack([record.mask, record.es_mask])}
    endings = {"image": "", "mask": "-mask"}
    files = {part: f"{record.row['record_id']}{endings[part]}.nii.gz" for part in voxels}
    for part, filename in files.items():
        nifti = slice_nifti(voxels[part], _FIELD_OF_VIEW_MM[kind])
        (images / filename).write_bytes(gzip.compress(nifti.to_bytes(), mtime=0))
    return {part: f"images/{filename}" for part, filename in files.items()}


def slice_nifti(pixels: np.ndarray, field_of_view: float) -> nibabel.Nifti1Image:
    """One slice (S, S), rows from anterior to posterior and columns from right to left, as an RAS volume.

    Frames (T, S, S) become the last axis of (S, S, 1, T).
    """
    size = pixels.shape[-1]
    spacing = field_of_view / size
    affine = np.diag([spacing, spacing, 1.5, 1.0])
    affine[:2, 3] = -spacing * (size - 1) / 2
    voxels = np.ascontiguousarray(np.expand_dims(pixels[..., ::-1, ::-1].T, 2))
    return nibabel.Nifti1Image(voxels, affine)  # type: ignore[no-untyped-call]


def _sixteen_bits(image: np.ndarray) -> np.ndarray:
    return np.rint(image.astype(np.float64) * FULL_SCALE).astype(np.uint16)


def _uid(*parts: str) -> UID:
    """A UUID-derived UID (PS3.5 B.2) that depends on nothing but its arguments."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16])}")
