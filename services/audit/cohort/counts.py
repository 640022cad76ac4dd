"""Who is in a cohort, read from the shards' tables alone: a few bytes a record, and no pixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.object_store import ObjectStore
from services.maths.fairness.groups import Codes, Grouping, patients_per_group

T = TypeVar("T")
READERS = 4
"""Tables on their way at once: an object store answers in milliseconds, and a large cohort has a thousand tables."""


@dataclass(frozen=True)
class Counts:
    """Per group of one grouping, (G,) each: what one label has there.

    ``records`` carry the label. Without a label everybody counts, and of the cases there are none.
    """

    records: Codes
    patients: Codes
    patients_with_positives: Codes
    patients_with_negatives: Codes
    positives: Codes
    negatives: Codes


def read_people(store: ObjectStore, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """One row a record, in record order: ``patient`` (int64 number), ``attribute_*`` categorical, ``label_*`` int8.

    A label that is missing is -1. Raises NotFound, Unavailable or Internal from the store.
    """
    table = pa.concat_tables(of_tables(store, manifest, _people_of)).unify_dictionaries()
    people = {"patient": _codes(table, "patient_id").astype(np.int64)}
    columns: dict[str, Any] = {}
    for name in table.column_names:
        if name.startswith("attribute_"):
            columns[name] = table.column(name).combine_chunks().to_pandas()
        elif name.startswith("label_"):
            columns[name] = table.column(name).fill_null(-1).to_numpy().astype(np.int8)
    return pd.DataFrame({**people, **columns})


def read_patients(store: ObjectStore, manifest: Mapping[str, Any]) -> set[str]:
    """The ids of all patients; errors as :func:`read_people`'s."""
    return set().union(*of_tables(store, manifest, _patients_of))


def of_tables(store: ObjectStore, manifest: Mapping[str, Any], read: Callable[[io.BytesIO], T]) -> list[T]:
    """What ``read`` makes of each shard's table, in order."""

    def of(shard: Mapping[str, Any]) -> T:
        return read(io.BytesIO(store.get(shard["table"]["key"], sha256=shard["table"]["sha256"])))

    with ThreadPoolExecutor(READERS, thread_name_prefix="tables") as readers:
        return list(readers.map(of, manifest["shards"]))


def _patients_of(data: io.BytesIO) -> list[str]:
    found: list[str] = pq.read_table(data, columns=["patient_id"], use_threads=False)["patient_id"].to_pylist()
    return found


def _people_of(data: io.BytesIO) -> pa.Table:
    names = pq.read_schema(data).names
    texts = ["patient_id", *(name for name in names if name.startswith("attribute_"))]
    wanted = [*texts, *(name for name in names if name.startswith("label_"))]
    data.seek(0)
    return pq.read_table(data, columns=wanted, read_dictionary=texts, use_threads=False)


def _codes(table: pa.Table, name: str) -> np.ndarray:
    return np.concatenate([chunk.indices.to_numpy() for chunk in table.column(name).chunks])


def count_groups(grouping: Grouping, patients: Codes, truth: np.ndarray | None) -> Counts:
    """Counts in each of the grouping's groups. ``truth`` is (N,) 1, 0 or -1 for missing; None without a label."""
    groups = len(grouping.groups)
    known = grouping.codes >= 0 if truth is None else (grouping.codes >= 0) & (truth >= 0)

    def records(chosen: np.ndarray) -> Codes:
        return np.bincount(grouping.codes[chosen], minlength=groups).astype(np.int64)

    def people(chosen: np.ndarray) -> Codes:
        return patients_per_group(grouping.codes[chosen], groups, patients[chosen])

    nobody = np.zeros(len(patients), dtype=bool)
    positive = nobody if truth is None else known & (truth == 1)
    negative = nobody if truth is None else known & (truth == 0)
    return Counts(
        records(known), people(known), people(positive), people(negative), records(positive), records(negative)
    )
