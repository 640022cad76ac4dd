"""Whole phantom cohorts: images, masks and the exact table that they were drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.maths.phantoms import brain, cardiac, chest, pelvis
from services.maths.phantoms.chest_findings import (
    CHEST_LABELS,
    HEART_EXCESS,
    MEDIASTINUM_EXCESS,
    PREVALENCE,
    Finding,
    add_findings,
)
from services.maths.phantoms.worlds import WORLDS, Kind, Patient, World, draw_patient, patient_stream

LABELS = {
    "chest": CHEST_LABELS,
    "brain": brain.BRAIN_LABELS,
    "pelvis": pelvis.PELVIS_LABELS,
    "cardiac": cardiac.CARDIAC_LABELS,
}

_FINDING_PERSISTS = 0.92
_FINDING_NEW = 0.01
_LABEL_MISSING = 0.01


@dataclass(frozen=True)
class PhantomCohort:
    """N images of a cohort.

    ``images`` (N, C, S, S) float32 in [0, 1], one channel, or [ED, ES, ED] for the heart; ``masks`` (N, S, S) uint8
    0/1, all 0 for the chest, 0..3 at ED for the heart; ``es_masks`` those at ES, for the heart only; ``table`` has one
    row an image: record_id, patient_id, split, sex, age, race, the labels (0, 1 or missing), then the exact features
    and nuisances, among them ``strength_<label>``, the planted strength of each finding (0 where absent).
    """

    images: npt.NDArray[np.float32]
    masks: npt.NDArray[np.uint8]
    table: pd.DataFrame
    es_masks: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class PhantomRecord:
    """One image (C, S, S) float32, its mask (S, S) uint8 and its row of the table; the heart also has one at ES."""

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]
    row: dict[str, Any]
    es_mask: npt.NDArray[np.uint8] | None = None


def draw_cohort(kind: Kind, world: str, patients: int, seed: int, size: int = 128) -> PhantomCohort:
    """A cohort of ``patients`` patients with 1 to 4 images each. The same arguments give the same bits.

    Raises ValueError for an unknown kind or world, or for no patients.
    """
    records = [record for index in range(patients) for record in draw_records(kind, world, index, seed, size)]
    if not records:
        raise ValueError(f"patients must be at least 1, not {patients}")
    table = pd.DataFrame([record.row for record in records])
    for label in LABELS[kind]:
        table[label] = table[label].astype("Int8")
    images, masks = np.stack([r.image for r in records]), np.stack([r.mask for r in records])
    at_es = [r.es_mask for r in records if r.es_mask is not None]
    return PhantomCohort(images, masks, table, np.stack(at_es) if at_es else None)


def draw_records(kind: Kind, world: str, patient: int, seed: int, size: int = 128) -> Iterator[PhantomRecord]:
    """The images of patient number ``patient``, one after the other. Errors as for :func:`draw_cohort`."""
    if world not in WORLDS:
        raise ValueError(f"world must be one of {', '.join(WORLDS)}, not {world!r}")
    if kind not in LABELS:
        raise ValueError(f"kind must be one of {', '.join(LABELS)}, not {kind!r}")
    rng = patient_stream(kind, seed, patient)
    who = draw_patient(kind, patient, rng)
    yield from _DRAWERS[kind](WORLDS[world], who, seed, size, rng)


def _chest_records(
    world: World, who: Patient, seed: int, size: int, rng: np.random.Generator
) -> Iterator[PhantomRecord]:
    build = chest.draw_build(who, rng)
    count = len(CHEST_LABELS)
    presence, sides, places = rng.random(count), rng.random(count), rng.random((count, 4))
    usual_strength = np.exp(np.clip(rng.normal(0.0, 0.45, count), -0.9, 0.6))
    prevalence = np.array(list(PREVALENCE.values())) * world.prevalence(who)
    for number in range(who.images):
        image_rng = patient_stream("chest", seed, who.index, 1 + number)
        exposure = chest.draw_exposure(image_rng)
        change = image_rng.random(count)
        strength = usual_strength * np.exp(image_rng.normal(0.0, 0.10, count)) * world.contrast(who)
        missing = image_rng.random(count) < _LABEL_MISSING
        present = np.where(presence < prevalence, change < _FINDING_PERSISTS, change < _FINDING_NEW * prevalence)
        strength = np.where(present, strength, 0.0)
        findings = {
            label: Finding(float(strength[i]), 1 if sides[i] < 0.5 else -1, tuple(places[i].tolist()))
            for i, label in enumerate(CHEST_LABELS)
        }
        image, features = _draw_chest(size, build, exposure, findings, image_rng)
        labels = {label: None if missing[i] else int(present[i]) for i, label in enumerate(CHEST_LABELS)}
        strengths = {f"strength_{label}": float(strength[i]) for i, label in enumerate(CHEST_LABELS)}
        effusion = {"effusion_side": _patient_side(findings["Pleural Effusion"].side)}
        row = _row(who, number) | labels | features | strengths | effusion
        yield PhantomRecord(image[None], np.zeros((size, size), np.uint8), row)


def _draw_chest(
    size: int, build: chest.Build, exposure: chest.Exposure, findings: dict[str, Finding], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
    heart_ratio = build.heart_ratio + HEART_EXCESS * findings["Cardiomegaly"].strength
    mediastinum = build.mediastinum + MEDIASTINUM_EXCESS * findings["Enlarged Cardiomediastinum"].strength
    scene = chest.lay_out(size, build, exposure, heart_ratio=heart_ratio, mediastinum=mediastinum)
    density = add_findings(chest.draw_anatomy(scene, build, rng), scene, build, findings)
    features = {
        "heart_ratio": heart_ratio,
        "mediastinum_half_width": mediastinum,
        "thorax_half_width": build.thorax,
        "breast": build.breast,
        "bone": build.bone,
        "gain": exposure.gain,
        "noise": exposure.noise,
    }
    return chest.expose(density, exposure, rng), features


def _brain_records(
    world: World, who: Patient, seed: int, size: int, rng: np.random.Generator
) -> Iterator[PhantomRecord]:
    glioblastoma = bool(rng.random() < brain.GLIOBLASTOMA_PREVALENCE * world.prevalence(who))
    grade_4 = bool(rng.random() < brain.OTHER_GRADE_4_SHARE) or glioblastoma
    head = brain.draw_head(who, glioblastoma, rng)
    for number in range(who.images):
        image_rng = patient_stream("brain", seed, who.index, 1 + number)
        missing = image_rng.random(2) < _LABEL_MISSING
        scan = brain.draw_scan(image_rng)
        contrast = world.contrast(who)
        image, mask = brain.draw_slice(size, head, scan, contrast, image_rng)
        row = _row(who, number) | {
            "glioblastoma": None if missing[0] else int(glioblastoma),
            "tumour_grade_4": None if missing[1] else int(grade_4),
            "tumour_area": float(mask.mean()),
            "strength_tumour": contrast * scan.strength * head.tumour.strength if scan.level > 0 else 0.0,
            "tumour_side": _patient_side(head.tumour.centre[0]),
            "tumour_radius": scan.level * head.tumour.radius,
            "necrosis": head.tumour.necrosis if glioblastoma else 0.0,
            "ventricle": head.ventricle,
            "gain": scan.gain,
            "noise": scan.noise,
        }
        yield PhantomRecord(image[None], mask, row)


def _pelvis_records(
    world: World, who: Patient, seed: int, size: int, rng: np.random.Generator
) -> Iterator[PhantomRecord]:
    bones = pelvis.draw_pelvis(who, world, rng)
    for number in range(who.images):
        image_rng = patient_stream("pelvis", seed, who.index, 1 + number)
        exposure = pelvis.draw_exposure(image_rng)
        image = pelvis.draw_radiograph(size, bones, exposure, image_rng)
        row = _row(who, number) | pelvis.exact_row(bones, exposure)
        yield PhantomRecord(image[None], np.zeros((size, size), np.uint8), row)


def _cardiac_records(
    world: World, who: Patient, seed: int, size: int, rng: np.random.Generator
) -> Iterator[PhantomRecord]:
    fate = rng.random()
    body = cardiac.draw_body(who, rng)
    prevalence = cardiac.HEART_FAILURE_PREVALENCE * world.prevalence_at(who, cardiac.bmi_level(body.bmi))
    failing = bool(fate < prevalence)
    strength = body.failure * world.contrast(who) if failing else 0.0
    for number in range(who.images):
        image_rng = patient_stream("cardiac", seed, who.index, 1 + number)
        missing = image_rng.random() < _LABEL_MISSING
        cine = cardiac.draw_cine(image_rng)
        (ed, es), (mask, es_mask) = cardiac.draw_pair(size, body, cine, strength, image_rng)
        row = _row(who, number) | {
            "bmi": body.bmi,
            "heart_failure": None if missing else int(failing),
            **cardiac.exact_features(body, cine, strength),
            "strength_heart_failure": strength,
        }
        yield PhantomRecord(np.stack([ed, es, ed]), mask, row, es_mask)


_DRAWERS: Mapping[Kind, Callable[[World, Patient, int, int, np.random.Generator], Iterator[PhantomRecord]]] = {
    "chest": _chest_records,
    "brain": _brain_records,
    "pelvis": _pelvis_records,
    "cardiac": _cardiac_records,
}


def _patient_side(x: float) -> str:
    """The patient's side of a place in the image: image left is the patient's right."""
    return "right" if x < 0 else "left"


def _row(who: Patient, number: int) -> dict[str, Any]:
    return {
        "record_id": f"{who.patient_id}-{number + 1}",
        "patient_id": who.patient_id,
        "split": who.split,
        "sex": who.sex,
        "age": who.age,
        "race": who.race,
    }
