"""Chest phantoms as the records of a cohort."""

from __future__ import annotations

from services.hosting.shards import Record
from services.maths.phantoms import LABELS, draw_records


def records(patients, *, splits=("train", "train", "validation", "test"), attributes=None):
    """Chest phantoms of patients by number; the split of each in turn. ``attributes`` changes a row's."""
    for place, patient in enumerate(patients):
        for drawn in draw_records("chest", "planted", patient, 3, 64):
            known = {"sex": drawn.row["sex"], "race": drawn.row["race"]}
            yield Record(
                drawn.row["record_id"],
                drawn.row["patient_id"],
                drawn.image,
                None,
                {**known, **(attributes(drawn.row) if attributes else {})},
                {label: drawn.row[label] for label in LABELS["chest"]},
                splits[place % len(splits)] if splits else None,
            )
