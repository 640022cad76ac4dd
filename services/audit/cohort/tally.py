"""The counts of a manifest, kept while records go by.

The manifest is a plain JSON object:

    schema_version   1
    digest           sha256 of the canonical JSON of all the other fields
    records, patients, modality ("mixed" for several), has_masks (true if every record has one)
    rows_per_shard   the most; a shard of large images has fewer (see ``MOST_SHARD_BYTES`` of ingest)
    shards           [{index, rows, pixels: {key, sha256, bytes}, table: {key, sha256, bytes}}], in record order
    schema           the cohort schema as it was applied
    attributes       [{name, levels: [{level, records, patients}], missing, assigned_by}]
    labels           [{name, positives, negatives, missing}]
    refused          [{row, file, reason, message}], every row of the table that gave no record
    filtered         rows that the schema's ``keep`` left out
    mask_labels, mask_planes    their names, in cohorts with mask labels only; unnamed planes are one, "mask"
    demographics     {matched, unmatched, conflicting} patients, only if a second table was joined
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from services.audit.cohort.schema import CohortSchema
from services.audit.cohort.splits import SplitsApart
from services.audit.cohort.table import Row, Table
from services.errors import FailedPrecondition
from services.hosting.shards import Record, ShardRef
from services.maths.canonical import digest

SCHEMA_VERSION = 1

Progress = dict[str, Any]


class Tally:
    """Of one cohort: what its table and its records hold, and what was refused."""

    def __init__(self, schema: CohortSchema, table: Table) -> None:
        self._schema = schema
        self._table = table
        self._records = 0
        self._masks = 0
        self._patients: set[str] = set()
        self._modalities: set[str] = set()
        self._levels: Counter[tuple[str, str | None]] = Counter()
        self._patients_of: dict[tuple[str, str | None], set[str]] = {}
        self._labels: Counter[tuple[str, int | None]] = Counter()
        self._refused: list[dict[str, Any]] = []
        self._mask_contents = SplitsApart("mask, the same label in every pixel,")
        for row in table.rows:
            if row.refusal is not None:
                self.refuse(row, row.image, *row.refusal)

    def refuse(self, row: Row, file: str, reason: str, message: str) -> None:
        self._refused.append({"row": row.number, "file": file, "reason": reason, "message": message})

    def count(self, record: Record, row: Row) -> None:
        if record.mask is not None and self._schema.mask_labels and record.mask.any():
            self._mask_contents.note(hashlib.sha256(record.mask.tobytes()).hexdigest(), row.number, record.split)
        self._records += 1
        self._masks += record.mask is not None
        self._patients.add(record.patient_id)
        self._modalities.add(record.modality)
        for level in record.attributes.items():
            self._levels[level] += 1
            self._patients_of.setdefault(level, set()).add(record.patient_id)
        self._labels.update(record.labels.items())

    def check_masks(self) -> None:
        """A copy of a mask under another name crosses splits too. Of labels only: a binary mask may be a mere frame."""
        if self._schema.split is not None:
            self._mask_contents.check(self._schema.split.column, "MASK_IN_TWO_SPLITS")

    def progress(self, stage: str, row: Row) -> Progress:
        return {
            "stage": stage,
            "rows_done": row.number,
            "rows_total": self._table.rows[-1].number,
            "rows_refused": len(self._refused),
        }

    def manifest(
        self, shards: list[ShardRef], rows_per_shard: int, demographics: Mapping[str, int] | None
    ) -> dict[str, Any]:
        refused = sorted(self._refused, key=lambda entry: int(entry["row"]))
        if not self._records:
            first = refused[0]
            raise FailedPrecondition(
                f"all {len(refused)} rows were refused; row {first['row']}: {first['reason']}, {first['message']}",
                field="table",
                reason="NO_RECORDS_INGESTED",
            )
        manifest: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "records": self._records,
            "patients": len(self._patients),
            "modality": self._modalities.pop() if len(self._modalities) == 1 else "mixed",
            "has_masks": self._masks == self._records,
            "rows_per_shard": rows_per_shard,
            "shards": [shard.to_dict() for shard in shards],
            "schema": self._schema.model_dump(mode="json"),
            "attributes": [self._attribute(a.name, a.assigned_by) for a in self._schema.attributes],
            "labels": [self._label(label.name) for label in self._schema.labels],
            "refused": refused,
            "filtered": self._table.filtered,
            **self._mask_names(),
            **({} if demographics is None else {"demographics": dict(demographics)}),
        }
        return {**manifest, "digest": digest(manifest)}

    def _attribute(self, name: str, assigned_by: str) -> dict[str, Any]:
        levels = [
            {
                "level": level,
                "records": self._levels[name, level],
                "patients": len(self._patients_of.get((name, level), ())),
            }
            for level in self._table.levels[name]
        ]
        return {"name": name, "levels": levels, "missing": self._levels[name, None], "assigned_by": assigned_by}

    def _mask_names(self) -> dict[str, list[str]]:
        if not self._schema.mask_labels:
            return {}
        return {
            "mask_labels": list(self._schema.mask_labels),
            "mask_planes": list(self._schema.plane_names()),
        }

    def _label(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "positives": self._labels[name, 1],
            "negatives": self._labels[name, 0],
            "missing": self._labels[name, None],
        }
