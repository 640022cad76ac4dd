"""Folders laid out as CheXpert and UCSF-PDGM are published, with their columns, spellings and oddities. Drawn anew."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
FRONTAL, LATERAL = "view1_frontal", "view2_lateral"
CHEXPERT_VIEWS = (
    # patient, study, view, sex, age, AP or PA
    (64541, 1, FRONTAL, "Male", 73, "AP"),
    (64542, 1, FRONTAL, "Male", 70, "PA"),
    (64542, 1, LATERAL, "Male", 70, ""),
    (64543, 1, FRONTAL, "Female", 85, "AP"),
    (64543, 2, FRONTAL, "Female", 85, "AP"),
    (64544, 1, FRONTAL, "Female", 42, "AP"),
    (64545, 1, FRONTAL, "Unknown", 0, "LL"),
    (64546, 1, LATERAL, "Female", 50, ""),
)
CHEXPERT_RACES = (
    ("patient64541", "Male", 73, "White, non-Hispanic", "Non-Hispanic/Non-Latino"),
    ("patient64542", "Male", 70, "Black or African American", "Non-Hispanic/Non-Latino"),
    ("patient64543", "Female", 85, "Patient Refused", "Patient Refused"),
    ("patient64544", "Female", 42, "Asian", "Unknown"),
    ("patient64544", "Female", 44, "Asian, non-Hispanic", "Unknown"),
    ("patient64546", "Female", 50, "Asian", "Unknown"),
    ("patient00001", "Female", 68, "Other", "Hispanic/Latino"),
)
UCSF_HEADER = (
    "ID,Sex,Age at MRI,WHO CNS Grade,Final pathologic diagnosis (WHO 2021),MGMT status,MGMT index,1p/19q,IDH,"
    "1-dead 0-alive,OS,EOR,Biopsy prior to imaging,BraTS21 ID,BraTS21 Segmentation Cohort,BraTS21 MGMT Cohort"
)
UCSF_SCANS = (
    ("UCSF-PDGM-004", "M", 66, 4, "Glioblastoma  IDH-wildtype", "negative", 0, "unknown", "wildtype", 1, 1303, "STR"),
    ("UCSF-PDGM-005", "F", 80, 4, "Glioblastoma  IDH-wildtype", "indeterminate", "", "unknown", "wildtype", 1, 274, ""),
    ("UCSF-PDGM-138_FU006d", "F", 35, 2, "Oligodendroglioma  IDH-mutant 1p/19q-codeleted", "", "", "", "", 0, 20, ""),
    ("UCSF-PDGM-541", "M", 57, 3, "Astrocytoma  IDH-mutant", "positive", 9, "intact", "IDH1 p.R132H", 0, 731, "GTR"),
)
UCSF_VOLUMES = ("ADC", "FLAIR", "FLAIR_bias", "T1", "T1c", "T2", "brain_segmentation", "tumor_segmentation")


def write_chexpert(folder: Path, *, patients: int = 0) -> None:
    """``CheXpert-v1.0-small/`` with its images and valid.csv, and beside it CHEXPERT DEMO.csv, a sheet saved as CSV.

    ``patients`` adds as many frontal views of others, of both sexes and three races.
    """
    rng = np.random.default_rng(5)
    views, races = [*CHEXPERT_VIEWS], [*CHEXPERT_RACES]
    for number in range(70001, 70001 + patients):
        sex, race = ("Female", "Male")[number % 2], ("White", "Black, non-Hispanic", "Asian")[number % 3]
        views.append((number, 1, FRONTAL, sex, 60, "AP"))
        races.append((f"patient{number}", sex, 60, race, "Unknown"))
    rows = []
    for patient, study, view, sex, age, projection in views:
        path = f"CheXpert-v1.0-small/valid/patient{patient}/study{study}/{view}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (80, 97), np.uint8)).save(folder / path)
        labels = rng.choice(["1.0", "0.0", "-1.0", ""], 14, p=[0.4, 0.4, 0.1, 0.1])
        side = "Lateral" if view == LATERAL else "Frontal"
        rows.append([path, sex, age, side, projection, *labels])
    _write(folder / "CheXpert-v1.0-small" / "valid.csv", CHEXPERT_HEADER, rows)
    (folder / "CheXpert-v1.0-small" / "train.csv").write_text(CHEXPERT_HEADER + "\n")
    _write(folder / "CHEXPERT DEMO.csv", "PATIENT,GENDER,AGE_AT_CXR,PRIMARY_RACE,ETHNICITY", races, "utf-8-sig")


def write_ucsf_pdgm(folder: Path) -> None:
    """The metadata, and of each scan a folder of volumes. The last scan was not downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[*scan, *[""] * (UCSF_HEADER.count(",") + 1 - len(scan))] for scan in UCSF_SCANS]
    _write(folder / "UCSF-PDGM-metadata_v2.csv", UCSF_HEADER, rows)
    for number, (scan, *_) in enumerate(UCSF_SCANS[:-1]):
        digits, _, follow_up = scan.removeprefix("UCSF-PDGM-").partition("_")
        name = f"UCSF-PDGM-{digits.zfill(4)}" + (f"_{follow_up}" if follow_up else "")
        (folder / f"{name}_nifti").mkdir()
        for part in UCSF_VOLUMES:
            data = nibabel.Nifti1Image(_voxels(number, part), np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes()
            (folder / f"{name}_nifti" / f"{name}_{part}.nii.gz").write_bytes(gzip.compress(data))


def _voxels(number: int, part: str) -> np.ndarray:
    if part != "tumor_segmentation":
        return np.random.default_rng(number).integers(0, 900, (48, 48, 12)).astype(np.int16)
    tumour = np.zeros((48, 48, 12), np.uint8)
    tumour[10:30, 12:28, 4 + number] = 4  # enhancing; 1 is necrosis, 2 oedema
    tumour[12:16, 14:18, 4 + number] = 1
    tumour[12:20, 14:20, 3 + number] = 2
    return tumour


def _write(path: Path, header: str, rows: Iterable[Sequence[object]], encoding: str = "utf-8") -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        file.write(header + "\r\n")
        csv.writer(file).writerows(rows)
