"""A batch as an object: an Arrow IPC stream of one record batch, whose metadata says what it is.

Columns of predictions: record, patient (16 bytes), time (µs), row (its digest), attribute_{name} (int16),
score_{label} (float32); of labels: record, label_{label} (int8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .columns import ID_BYTES, Labels, Predictions
from .watch import WatchSpec

_DIGEST = pa.binary(ID_BYTES)


@dataclass(frozen=True)
class StoredPredictions:
    """A segment's predictions, their row digests (N,) uint64."""

    batch: Predictions
    rows: np.ndarray


@dataclass(frozen=True)
class StoredLabels:
    """A segment's labels and when they came, µs since 1970."""

    batch: Labels
    received: int


def encode_predictions(monitor: str, spec: WatchSpec, batch: Predictions, rows: np.ndarray, received: int) -> bytes:
    columns = {"record": _digests(batch.records), "patient": _digests(batch.patients)}
    columns["time"], columns["row"] = pa.array(batch.time, pa.int64()), pa.array(rows, pa.uint64())
    for (attribute, _), codes in zip(spec.attributes, batch.codes, strict=True):
        columns[f"attribute_{attribute}"] = pa.array(codes, pa.int16())
    for label, scores in zip(spec.labels, batch.scores, strict=True):
        columns[f"score_{label}"] = pa.array(scores, pa.float32(), from_pandas=False)
    return _write(
        columns, {"kind": "predictions", "monitor": monitor, "received": str(received), "version": batch.version}
    )


def encode_labels(monitor: str, spec: WatchSpec, batch: Labels, received: int) -> bytes:
    columns = {"record": _digests(batch.records)}
    for label, values in zip(spec.labels, batch.values, strict=True):
        columns[f"label_{label}"] = pa.array(values, pa.int8())
    return _write(columns, {"kind": "labels", "monitor": monitor, "received": str(received)})


def decode_predictions(spec: WatchSpec, data: bytes) -> StoredPredictions:
    """Views on ``data`` where Arrow allows; ``codes`` and ``scores`` are copies."""
    table, metadata = _read(data)
    batch = Predictions(
        records=_bytes(table["record"]),
        patients=_bytes(table["patient"]),
        time=_numbers(table["time"]),
        codes=_stack([table[f"attribute_{attribute}"] for attribute, _ in spec.attributes], len(table), np.int16),
        scores=_stack([table[f"score_{label}"] for label in spec.labels], len(table), np.float32),
        version=metadata["version"],
    )
    return StoredPredictions(batch, _numbers(table["row"]))


def decode_labels(spec: WatchSpec, data: bytes) -> StoredLabels:
    table, metadata = _read(data)
    values = _stack([table[f"label_{label}"] for label in spec.labels], len(table), np.int8)
    return StoredLabels(Labels(_bytes(table["record"]), values), int(metadata["received"]))


def _write(columns: dict[str, pa.Array], metadata: dict[str, str]) -> bytes:
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _read(data: bytes) -> tuple[pa.RecordBatch, dict[str, str]]:
    with pa.ipc.open_stream(data) as reader:
        batch = reader.read_next_batch()
    return batch, {key.decode(): value.decode() for key, value in (batch.schema.metadata or {}).items()}


def _digests(digests: np.ndarray) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(_DIGEST, len(digests), [None, pa.py_buffer(digests.tobytes())])


def _bytes(column: pa.Array) -> np.ndarray:
    raw = np.frombuffer(column.buffers()[1], np.uint8)
    return raw[: len(column) * ID_BYTES].reshape(-1, ID_BYTES)


def _numbers(column: pa.Array) -> np.ndarray:
    values: np.ndarray = column.to_numpy(zero_copy_only=True)
    return values


def _stack(columns: list[pa.Array], rows: int, dtype: type) -> np.ndarray:
    stacked: np.ndarray = np.empty((len(columns), rows), dtype)
    for place, column in enumerate(columns):
        stacked[place] = _numbers(column)
    return stacked
