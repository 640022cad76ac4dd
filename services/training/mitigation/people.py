"""Who is in the data of a fine-tuning, and in which role: one row an image, without its pixels.

Columns: record_id, patient_id, role, ``attribute_<name>`` (text; missing where nobody recorded it) and
``label_<name>`` (0, 1 or missing).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.object_store import ObjectStore
from services.errors import FailedPrecondition
from services.maths.phantoms import LABELS
from services.maths.phantoms.worlds import Kind, draw_patient, patient_name, patient_stream
from services.training.examples import HELD_OUT, TRAINING, VALIDATION, phantom_seed

ROLES = (TRAINING, VALIDATION, HELD_OUT)
_ROLE_OF_SPLIT = {
    "train": TRAINING,
    "training": TRAINING,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": HELD_OUT,
}
_SHARES = (0.7, 0.85, 1.0)
_AGES = (40, 60, 80)
_AGE_GROUPS = ("under 40", "40 to 59", "60 to 79", "80 and over")
PHANTOM_ATTRIBUTES = ("sex", "age", "race")


def phantom_attributes(row: Mapping[str, Any]) -> dict[str, str | None]:
    """The attributes of a phantom's row of the exact table; ages in groups."""
    age_group = _AGE_GROUPS[int(np.digitize(row["age"], _AGES))]
    return {"attribute_sex": row["sex"], "attribute_age": age_group, "attribute_race": row["race"]}


def phantom_people(kind: Kind, patients: Mapping[int, int], seed: int) -> pd.DataFrame:
    """One row a patient, with labels left open: enough to say who is there, and nothing is drawn. ``patients``: role →
    how many."""
    rows = []
    for role, count in patients.items():
        for index in range(count):
            drawn = phantom_seed(seed, role)
            who = draw_patient(kind, index, patient_stream(kind, drawn, index))
            attributes = phantom_attributes({"sex": who.sex, "age": who.age, "race": who.race})
            name = patient_name(kind, drawn, index)
            rows.append({"record_id": who.patient_id, "patient_id": name, "role": role} | attributes)
    return pd.DataFrame(rows).assign(**{f"label_{label}": None for label in LABELS[kind]})


def cohort_people(store: ObjectStore, manifest: Mapping[str, Any], *, patients: int, seed: int) -> pd.DataFrame:
    """The records of a cohort with their roles, in record order; at most ``patients`` training patients, 0 means all.

    The cohort's own splits decide; where it has none, patients are dealt out 70 : 15 : 15 by their id and ``seed``.
    Raises FailedPrecondition (SPLIT_UNKNOWN, SPLIT_EMPTY) for other splits, or without training or validation records.
    """
    tables = [_read_table(store, shard["table"]) for shard in manifest["shards"]]
    people = pa.concat_tables(tables).to_pandas(types_mapper={pa.int8(): pd.Int8Dtype()}.get)
    people["role"] = _roles(people, seed)
    people = _fewer(people, patients, seed) if patients else people
    for role, name in ((TRAINING, "training"), (VALIDATION, "validation")):
        if not (people["role"] == role).any():
            raise FailedPrecondition(
                f"the cohort has no {name} records; its splits must be train, validation and, if any, test",
                field="data.cohort",
                reason="SPLIT_EMPTY",
            )
    return people


def cohort_patients(store: ObjectStore, manifest: Mapping[str, Any]) -> set[str]:
    """All patients of a cohort."""
    tables = [_read_table(store, shard["table"]) for shard in manifest["shards"]]
    return {patient for table in tables for patient in table.column("patient_id").to_pylist()}


def learned_patients(people: pd.DataFrame) -> set[str]:
    """Those that decide the weights: training and validation."""
    return set(people.loc[people["role"] != HELD_OUT, "patient_id"])


def _roles(people: pd.DataFrame, seed: int) -> pd.Series:
    if people["split"].isna().all():
        return people["patient_id"].map(lambda patient: _dealt(patient, seed))
    roles = people["split"].str.lower().map(_ROLE_OF_SPLIT)
    strange = int(roles.isna().sum())
    if strange:
        raise FailedPrecondition(
            f"{strange} records of the cohort have a split other than {', '.join(sorted(_ROLE_OF_SPLIT))}",
            field="data.cohort",
            reason="SPLIT_UNKNOWN",
        )
    return roles.astype(int)


def _dealt(patient: str, seed: int) -> int:
    drawn = int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8]) / 2**64
    return next(role for role, share in zip(ROLES, _SHARES, strict=True) if drawn < share)


def _fewer(people: pd.DataFrame, patients: int, seed: int) -> pd.DataFrame:
    training = np.unique(people.loc[people["role"] == TRAINING, "patient_id"])
    chosen = np.random.default_rng(seed).permutation(training)[:patients]
    return people[(people["role"] != TRAINING) | people["patient_id"].isin(chosen)].reset_index(drop=True)


def _read_table(store: ObjectStore, ref: Mapping[str, Any]) -> pa.Table:
    return pq.read_table(io.BytesIO(store.get(ref["key"], sha256=ref["sha256"])))
