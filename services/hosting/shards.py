"""Shards: up to 256 records as one safetensors object of pixels and masks and one Parquet of everything else.

Both are named by their sha256 and never change. The same records give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load, save

from services.adapters.object_store import ObjectRef, ObjectStore


@dataclass(frozen=True)
class Record:
    """One image with what is known about it."""

    record_id: str
    patient_id: str
    image: npt.NDArray[np.float32]
    """(C, H, W), canonical: in [0, 1]."""
    mask: npt.NDArray[np.uint8] | None
    """(H, W), 0 or 1. In cohorts with mask labels (P, H, W), a label in each pixel of each plane."""
    attributes: Mapping[str, str | None]
    """Level by attribute; None where it is not known."""
    labels: Mapping[str, int | None]
    """0, 1 or None by label."""
    split: str | None = None
    spacing: tuple[float, float] | None = None
    """Distance of rows and of columns in mm."""
    modality: str = ""

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + (0 if self.mask is None else self.mask.nbytes)


@dataclass(frozen=True)
class ShardRef:
    """Where a shard is, as the manifest lists it."""

    index: int
    rows: int
    pixels: ObjectRef
    table: ObjectRef

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ShardRef:
        return cls(plain["index"], plain["rows"], ObjectRef(**plain["pixels"]), ObjectRef(**plain["table"]))


@dataclass(frozen=True)
class Shard:
    """Records in order.

    ``records`` has the columns record_id, patient_id, split, modality, spacing_row_mm, spacing_column_mm,
    ``attribute_<name>`` (text) and ``label_<name>`` (Int8); what is not known is missing (NaN or NA).
    """

    records: pd.DataFrame
    images: list[npt.NDArray[np.float32]]
    masks: list[npt.NDArray[np.uint8] | None]


def write_shard(store: ObjectStore, rows: Sequence[Record], *, index: int = 0) -> ShardRef:
    """Store ``rows`` (at least one, all with the same attributes and labels) as shard number ``index``."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for number, row in enumerate(rows):
        tensors[f"image.{number}"] = np.ascontiguousarray(row.image)
        if row.mask is not None:
            tensors[f"mask.{number}"] = np.ascontiguousarray(row.mask)
    file = io.BytesIO()
    pq.write_table(_table(rows), file, compression="zstd")
    return ShardRef(
        index,
        len(rows),
        store.put(save(tensors)),
        store.put(file.getvalue(), media_type="application/vnd.apache.parquet"),
    )


def read_shard(store: ObjectStore, ref: ShardRef) -> Shard:
    """The records of a shard; their digests are verified. Raises NotFound, Unavailable or Internal from the store."""
    tensors = load(store.get(ref.pixels.key, sha256=ref.pixels.sha256))
    table = pq.read_table(io.BytesIO(store.get(ref.table.key, sha256=ref.table.sha256)))
    return Shard(
        table.to_pandas(types_mapper={pa.int8(): pd.Int8Dtype()}.get),
        [tensors[f"image.{number}"] for number in range(ref.rows)],
        [tensors.get(f"mask.{number}") for number in range(ref.rows)],
    )


def _table(rows: Sequence[Record]) -> pa.Table:
    spacings = [row.spacing or (None, None) for row in rows]
    columns: dict[str, pa.Array] = {
        "record_id": pa.array([row.record_id for row in rows], pa.string()),
        "patient_id": pa.array([row.patient_id for row in rows], pa.string()),
        "split": pa.array([row.split for row in rows], pa.string()),
        "modality": pa.array([row.modality for row in rows], pa.string()),
        "spacing_row_mm": pa.array([spacing[0] for spacing in spacings], pa.float64()),
        "spacing_column_mm": pa.array([spacing[1] for spacing in spacings], pa.float64()),
    }
    for name in rows[0].attributes:
        columns[f"attribute_{name}"] = pa.array([row.attributes[name] for row in rows], pa.string())
    for name in rows[0].labels:
        columns[f"label_{name}"] = pa.array([row.labels[name] for row in rows], pa.int8())
    return pa.table(columns)
