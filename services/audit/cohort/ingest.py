"""Files and a table → shards and a manifest (:mod:`.tally`).

The same input gives the same digest, however many decoders work on it.
"""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.adapters.decoder import Decoded, Decoder, InFolder, Limits, Refused, Source
from services.adapters.object_store import ObjectStore
from services.audit.cohort.schema import CohortSchema
from services.audit.cohort.table import Row, Table, read_table
from services.audit.cohort.tally import Progress, Tally
from services.errors import Cancelled, InvalidInput, NotFound, TooLarge, Undecodable
from services.hosting.shards import Record, ShardRef, write_shard

MOST_SHARD_BYTES = 128 * 1024 * 1024
"""Pixels of one shard in memory; a worker holds a few shards at once."""
_MOST_TABLE_BYTES = 256 * 1024 * 1024
_CANCEL_POLL_S = 0.2


def ingest(
    source: Path,
    table_csv: str | None,
    schema: CohortSchema,
    store: ObjectStore,
    *,
    on_progress: Callable[[Progress], object] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
    rows_per_shard: int = 256,
    workers: int = 2,
    limits: Limits | None = None,
    demographics: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Decode every file that the table names, write the shards, and return the manifest.

    ``table_csv`` is the text of the table, or None to take the one in ``source`` that the schema's ``table`` names.
    ``demographics`` are the counts of the join that made the table.
    ``on_progress`` gets {stage, rows_done, rows_total, rows_refused}. Doing it again writes the same objects again.

    Raises what :func:`read_table` raises, InvalidInput (MASK_IN_TWO_SPLITS) if two splits have the same labels,
    Cancelled within a second of ``cancelled()``, FailedPrecondition (NO_RECORDS_INGESTED) if every row was refused,
    and Unavailable from the store.
    """
    table = read_table(table_text(source, schema) if table_csv is None else table_csv, schema)
    tally = Tally(schema, table)
    writer = _ShardWriter(store, rows_per_shard)
    with Decoder(limits, workers=workers) as decoder, _closed_when(cancelled, decoder):
        for row, outcome in _decoded(source, table, schema, decoder):
            if isinstance(outcome, Refused):
                tally.refuse(row, **outcome.to_dict())
            else:
                record = _record(row, outcome, schema)
                writer.add(record)
                tally.count(record, row)
            on_progress(tally.progress("decoding", row))
    tally.check_masks()
    on_progress(tally.progress("writing", table.rows[-1]))
    writer.finish()
    if cancelled():
        raise Cancelled("the ingest was cancelled")
    return tally.manifest(writer.shards, rows_per_shard, demographics)


def table_text(source: Path, schema: CohortSchema, path: str = "") -> str:
    """The table at ``path`` in the source folder; without a path, the one that the schema's ``table`` names."""
    return text_at(source, path or _table_name(source, schema), "table_path")


def text_at(source: Path, name: str, field: str) -> str:
    """The text of the file ``name`` in the source folder, which ``field`` of the request speaks of."""
    try:
        return InFolder(source, name).read(_MOST_TABLE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Undecodable("the table is not UTF-8 text", field=name, reason="TABLE_MALFORMED") from error
    except TooLarge:
        raise
    except InvalidInput as error:
        raise NotFound(f"there is no file {name!r} in the source", field=field, reason="TABLE_NOT_FOUND") from error


def _table_name(source: Path, schema: CohortSchema) -> str:
    pattern = schema.table or "*.csv"
    names = sorted(path.name for path in source.iterdir() if fnmatch.fnmatchcase(path.name, pattern))
    if len(names) != 1:
        raise InvalidInput(
            f"the source must hold one table named {pattern}, it holds {len(names)}; or send the table itself",
            field="table",
            reason="TABLE_NOT_FOUND",
        )
    return names[0]


def _decoded(
    source: Path, table: Table, schema: CohortSchema, decoder: Decoder
) -> Iterator[tuple[Row, Decoded | Refused]]:
    """Each row that names an image, with each of its images or its refusal, in order."""
    rows = [row for row in table.rows if row.refusal is None]
    for outcome in decoder.decode_many(_source(source, row, schema) for row in rows):
        yield rows[outcome.source], outcome


def _source(folder: Path, row: Row, schema: CohortSchema) -> Source:
    return Source(
        InFolder(folder, row.image),
        InFolder(folder, row.mask) if row.mask else None,
        schema.frame,
        schema.slices.to_slices(),
        schema.mask_form(),
        None if schema.cine is None else schema.cine.to_cine(row.phases, row.split, schema.mask_labels),
        InFolder(folder, row.es_mask) if row.es_mask else None,
    )


def _record(row: Row, image: Decoded, schema: CohortSchema) -> Record:
    return Record(
        _record_id(row, image, schema),
        row.patient_id,
        image.pixels,
        image.mask,
        {attribute.name: level for attribute, level in zip(schema.attributes, row.attributes, strict=True)},
        {label.name: value for label, value in zip(schema.labels, row.labels, strict=True)},
        row.split,
        image.spacing,
        schema.modality or image.modality,
    )


def _record_id(row: Row, image: Decoded, schema: CohortSchema) -> str:
    """The row's own; where a row becomes several images, with the slice and a cine's shift."""
    if schema.cine is not None and schema.cine.is_augmented(row.split):
        return f"{row.record_id}/slice-{image.slice_index:03d}/offset{image.frame_offset:+d}"
    several = schema.slices.which == "range" and image.slice_index is not None
    return f"{row.record_id}/slice-{image.slice_index:03d}" if several else row.record_id


class _ShardWriter:
    """Gathers records and writes a shard whenever enough are there. Holds at most one shard."""

    def __init__(self, store: ObjectStore, rows_per_shard: int) -> None:
        self._store = store
        self._rows_per_shard = rows_per_shard
        self._records: list[Record] = []
        self._bytes = 0
        self.shards: list[ShardRef] = []

    def add(self, record: Record) -> None:
        if self._bytes + record.nbytes > MOST_SHARD_BYTES:
            self.finish()
        self._records.append(record)
        self._bytes += record.nbytes
        if len(self._records) == self._rows_per_shard:
            self.finish()

    def finish(self) -> None:
        if self._records:
            self.shards.append(write_shard(self._store, self._records, index=len(self.shards)))
        self._records, self._bytes = [], 0


@contextmanager
def _closed_when(cancelled: Callable[[], bool], decoder: Decoder) -> Iterator[None]:
    """Close ``decoder`` soon after ``cancelled()``, so that even a file under way does not hold the ingest up."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_CANCEL_POLL_S):
            if cancelled():
                decoder.close()
                return

    watcher = threading.Thread(target=watch, name="ingest-cancel", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
