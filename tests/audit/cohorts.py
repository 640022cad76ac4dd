"""Cohorts made of records in memory, written as ingest writes them: for tests and load tests of what comes after it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.audit.resources import cohort_body
from services.hosting.shards import Record, write_shard
from services.maths.canonical import canonical_json, digest


def put_cohort(
    ledger: Ledger,
    store: ObjectStore,
    name: str,
    records: Iterable[Record],
    *,
    levels: Mapping[str, Sequence[str]],
    rows_per_shard: int = 256,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write shards, manifest (with ``more`` in it) and resource. One shard of records is in memory at a time."""
    counts = _Counts()
    shards = [
        write_shard(store, rows, index=index).to_dict()
        for index, rows in enumerate(_groups(counts.counted(records), rows_per_shard))
    ]
    manifest: dict[str, Any] = {
        "schema_version": 1,
        "records": counts.records,
        "patients": len(counts.patients),
        "modality": "DX",
        "has_masks": counts.masks == counts.records,
        "rows_per_shard": rows_per_shard,
        "shards": shards,
        "attributes": [counts.attribute(attribute, known) for attribute, known in levels.items()],
        "labels": [counts.label(label) for label in counts.labels],
        "refused": [],
        **(more or {}),
    }
    manifest["digest"] = digest(manifest)
    key = store.put(canonical_json(manifest)).key
    ledger.put_resource(name, "cohort", cohort_body(name, "", manifest, key, datetime.now(UTC)))


def _groups(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while group := list(islice(records, size)):
        yield group


class _Counts:
    def __init__(self) -> None:
        self.records = self.masks = 0
        self.patients: set[str] = set()
        self.levels: dict[str, Counter[str | None]] = defaultdict(Counter)
        self.members: dict[tuple[str, str | None], set[str]] = defaultdict(set)
        self.labels: dict[str, Counter[int | None]] = defaultdict(Counter)

    def counted(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.records += 1
            self.masks += record.mask is not None
            self.patients.add(record.patient_id)
            for attribute, level in record.attributes.items():
                self.levels[attribute][level] += 1
                self.members[attribute, level].add(record.patient_id)
            for label, value in record.labels.items():
                self.labels[label][value] += 1
            yield record

    def attribute(self, name: str, known: Sequence[str]) -> dict[str, Any]:
        levels = [
            {"level": level, "records": self.levels[name][level], "patients": len(self.members[name, level])}
            for level in known
        ]
        return {"name": name, "levels": levels, "missing": self.levels[name][None], "assigned_by": "record"}

    def label(self, name: str) -> dict[str, Any]:
        counts = self.labels[name]
        return {"name": name, "positives": counts[1], "negatives": counts[0], "missing": counts[None]}
