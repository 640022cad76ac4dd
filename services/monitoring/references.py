"""A finished audit as what a monitor is compared with: its predictions, through the same sums as every window's.

An audit's files are read by their published form (``services/audit/results/FORMATS.md``): report.json says levels and
baseline, predictions.parquet has a row per record and label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import FailedPrecondition, InvalidInput, NotFound, UnsupportedFormat
from services.maths.fairness.drift.windows import WindowCells, window_cells
from services.monitoring.watched import Watched

PREDICTIONS_VERSION = b"evenhand.predictions/1"
CLASSIFICATION = "classification"
ATTRIBUTE_PREFIX = "attribute_"
_AT = "spec.reference.audit"


@dataclass(frozen=True)
class AuditRows:
    """One pipeline of an audit. ``scores`` (L, N) float32, ``truth`` (L, N) int8 (-1 missing), ``patients`` (N,) int64.

    ``values`` holds for every attribute (N,) codes into its ``levels``, -1 for missing; ``levels`` are the cohort's.
    """

    audit: str
    pipeline: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    levels: dict[str, tuple[str, ...]]
    values: dict[str, np.ndarray]
    scores: np.ndarray
    truth: np.ndarray
    patients: np.ndarray

    def cells(self, watched: Watched) -> WindowCells:
        """The audit's records as one window: of the labels, thresholds and levels that the monitor watches."""
        places = [self.labels.index(label) for label in watched.labels]
        codes = np.stack([self._codes(name, levels) for name, levels in watched.attributes])
        return window_cells(
            self.scores[places],
            self.truth[places],
            watched.groups(codes),
            self.patients,
            np.array(watched.thresholds),
            label_names=watched.labels,
        )

    def _codes(self, attribute: str, levels: tuple[str, ...]) -> np.ndarray:
        """Places in the monitor's levels, whose order may be another."""
        places = [levels.index(level) for level in self.levels[attribute]]
        found: np.ndarray = np.array([*places, -1], np.int64)[self.values[attribute]]
        return found


def audit_rows(ledger: Ledger, store: ObjectStore, audit: str, pipeline: str) -> AuditRows:
    """The rows of a pipeline, by default of the baseline.

    Raises NotFound AUDIT_NOT_FOUND, FailedPrecondition AUDIT_NOT_FINISHED, InvalidInput PIPELINE_UNKNOWN, and
    InvalidInput LABEL_UNKNOWN where the pipeline calls no label.
    """
    body = ledger.get_resource(audit)
    if body is None:
        raise NotFound(f"there is no {audit}", field=_AT, reason="AUDIT_NOT_FOUND")
    files = {part["filename"]: part for part in body.get("artifacts", ())}
    if not {"report.json", "predictions.parquet"} <= files.keys():
        raise FailedPrecondition(
            f"{audit} has no report: wait until it has succeeded, or name another one",
            field=_AT,
            reason="AUDIT_NOT_FINISHED",
        )
    methods = json.loads(_get(store, files["report.json"]))["methods"]
    chosen = pipeline or methods["baseline"]
    if chosen not in (known := [methods["baseline"], *methods["candidates"]]):
        raise InvalidInput(
            f"the audit has no pipeline {chosen!r}; it has {', '.join(known)}",
            field="spec.reference.pipeline",
            reason="PIPELINE_UNKNOWN",
        )
    levels = {name: tuple(found) for name, found in methods["levels"].items()}
    return _rows(audit, chosen, levels, _table(_get(store, files["predictions.parquet"]), chosen))


def _get(store: ObjectStore, part: Mapping[str, Any]) -> bytes:
    return store.get(part["key"], sha256=part["sha256"])


def _table(data: bytes, pipeline: str) -> pa.Table:
    """The pipeline's rows of labels with a threshold; a label without one is never flagged."""
    if (pq.read_schema(pa.BufferReader(data)).metadata or {}).get(b"evenhand.schema") != PREDICTIONS_VERSION:
        raise UnsupportedFormat(f"the audit's predictions are not {PREDICTIONS_VERSION.decode()}", field=_AT)
    wanted = (
        (pc.field("pipeline") == pipeline) & (pc.field("task") == CLASSIFICATION) & pc.field("threshold").is_valid()
    )
    table: pa.Table = pq.read_table(pa.BufferReader(data), filters=wanted)
    if not table.num_rows:
        raise InvalidInput(
            f"pipeline {pipeline!r} of the audit calls no label by a threshold, so it has no gap to compare with",
            field="spec.reference.pipeline",
            reason="LABEL_UNKNOWN",
        )
    return table


def _rows(audit: str, pipeline: str, levels: dict[str, tuple[str, ...]], table: pa.Table) -> AuditRows:
    records, record = _numbered(table["record_id"])
    labels, label = _numbered(table["label"])
    _, patient = _numbered(table["patient_id"])
    shape = (len(labels), len(records))
    scores, truth = np.full(shape, np.nan, np.float32), np.full(shape, -1, np.int8)
    scores[label, record] = table["y_score"].to_numpy()
    truth[label, record] = pc.fill_null(table["y_true"], -1).to_numpy()
    thresholds = np.zeros(len(labels))
    thresholds[label] = table["threshold"].to_numpy()
    patients = np.zeros(len(records), np.int64)
    patients[record] = patient
    values = {}
    for name, known in levels.items():
        values[name] = np.full(len(records), -1, np.int64)
        values[name][record] = pc.fill_null(pc.index_in(table[ATTRIBUTE_PREFIX + name], pa.array(known)), -1).to_numpy()
    return AuditRows(audit, pipeline, labels, tuple(thresholds.tolist()), levels, values, scores, truth, patients)


def _numbered(column: pa.ChunkedArray) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct values in the order of their names, and (N,) each row's place among them."""
    distinct = sorted(pc.unique(column).to_pylist())
    places = pc.index_in(column, pa.array(distinct, pa.string())).to_numpy()
    return tuple(distinct), places.astype(np.int64)
