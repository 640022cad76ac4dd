"""Phantom hearts as records of a study, and the oracle: images that are drawn, not generated, in balance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from services.maths.phantoms import PhantomRecord, draw_records
from services.maths.phantoms.cardiac import bmi_level
from services.maths.phantoms.worlds import draw_patient, patient_name, patient_stream
from services.maths.pixels import PixelSpec, resize_masks, to_model
from services.platform.augmentation.records import TEST, Records

LABEL = "heart_failure"
LEVELS: Mapping[str, Sequence[str]] = {
    "sex": ("Female", "Male"),
    "age": ("under 60", "60 to 70", "over 70"),
    "bmi": ("underweight", "normal", "overweight", "obese"),
}
DRAWN_AT = 128
_MOST_TRIES = 400  # patients drawn for each one that a group still lacks


def drawn_records(
    world: str,
    patients: int,
    seed: int,
    size: int,
    *,
    drawn_at: int = DRAWN_AT,
    on_patient: Callable[[], None] = lambda: None,
) -> Records:
    """All labelled records of a cardiac phantom cohort at ``size`` pixels a side, masks at ED and ES included.

    They are drawn at ``drawn_at`` pixels and made smaller.
    """
    drawn: list[tuple[str, PhantomRecord]] = []
    for patient in range(patients):
        name = patient_name("cardiac", seed, patient)
        drawn += [(name, record) for record in draw_records("cardiac", world, patient, seed, drawn_at)]
        on_patient()
    return as_records([pair for pair in drawn if pair[1].row[LABEL] is not None], size)


def as_records(drawn: Sequence[tuple[str, PhantomRecord]], size: int) -> Records:
    """Records of (patient's name, phantom) pairs; all must have a label."""
    rows = [record.row for _, record in drawn]
    masks = [np.stack([record.mask, record.es_mask]) for _, record in drawn if record.es_mask is not None]
    return Records(
        to_model(np.stack([record.image for _, record in drawn]), PixelSpec(3, size, size)),
        np.array([row[LABEL] for row in rows], np.int64),
        np.array([name for name, _ in drawn]),
        np.array([f"{name}-{row['record_id'].rsplit('-', 1)[1]}" for (name, _), row in zip(drawn, rows, strict=True)]),
        np.array([row["split"] for row in rows]),
        pd.DataFrame([levels_of(row) for row in rows], dtype=object),
        np.stack([resize_masks(planes, size, size) for planes in masks]),
    )


def levels_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Levels of a phantom's attributes, age cut as in Skorupko et al. 2024."""
    age = row["age"]
    return {
        "sex": row["sex"],
        "age": "under 60" if age < 60 else "60 to 70" if age <= 70 else "over 70",
        "bmi": bmi_level(row["bmi"]),
    }


def oracle_records(
    world: str,
    images: int,
    seed: int,
    size: int,
    *,
    balance: Sequence[str] = ("sex", "bmi"),
    drawn_at: int = DRAWN_AT,
) -> Records:
    """``images`` phantoms of other patients with every intersection of ``balance`` and the label equally often.

    They are drawn from the split whose heart failure follows no shortcut, and stand for what a faultless generator
    would make. Group by group in turn, so that any first n of a multiple of the groups are in balance too.
    """
    cells = _cells(balance)
    wanted = {cell: -(-images // len(cells)) for cell in cells}
    drawn: dict[tuple[str, ...], list[tuple[str, PhantomRecord]]] = {cell: [] for cell in cells}
    patient = 0
    while any(len(drawn[cell]) < wanted[cell] for cell in cells):
        if patient > _MOST_TRIES * images:
            raise ValueError(f"the world {world} has no patients in some of the groups; balance over fewer attributes")
        name = patient_name("cardiac", seed, patient)
        for record in _tested(world, patient, seed, drawn_at):
            levels = levels_of(record.row)
            cell = (*(levels[part] for part in balance), str(record.row[LABEL]))
            if len(drawn[cell]) < wanted[cell]:
                drawn[cell].append((name, record))
        patient += 1
    dealt = [drawn[cell][turn] for turn in range(max(wanted.values())) for cell in cells][:images]
    records = as_records(dealt, size)
    return Records(
        records.pixels,
        records.label,
        records.patient,
        np.array([f"oracle-{name}" for name in records.record]),
        np.full(len(records), ""),
        records.levels,
        records.masks,
    )


def _tested(world: str, patient: int, seed: int, drawn_at: int) -> Iterator[PhantomRecord]:
    """The labelled records of a patient of the test split; nothing is drawn of any other."""
    if draw_patient("cardiac", patient, patient_stream("cardiac", seed, patient)).split != TEST:
        return
    for record in draw_records("cardiac", world, patient, seed, drawn_at):
        if record.row[LABEL] is not None:
            yield record


def _cells(balance: Sequence[str]) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = [()]
    for part in [LEVELS[name] for name in balance] + [("0", "1")]:
        cells = [(*cell, level) for cell in cells for level in part]
    return cells
