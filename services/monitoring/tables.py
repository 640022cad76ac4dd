"""Tables of predictions and labels that lie in a monitor's folder: their columns as arrays, a batch at a time.

A fault names the row (a line of the file for CSV), the column and what is wrong. It never quotes a cell or the name of
a column that it does not know: those are ids of records and patients where columns are swapped or a header is missing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from services.monitoring.watched import Watched

Kind = Literal["predictions", "labels"]
RECORD, PATIENT, TIME, VERSION = "record_id", "patient_id", "time", "model_version"
SCORE_PREFIX, ATTRIBUTE_PREFIX, LABEL_PREFIX = "score.", "attribute.", "label."
BLOCK_BYTES = 8 * 1024 * 1024


class TableFault(Exception):
    """``row`` counts from 0 within the batch; None where the whole table is at fault."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class PredictionRows:
    """N rows: ids as text, ``time`` (N,) int64 µs, ``codes`` (A, N) int16, ``scores`` (L, N) float32, versions."""

    record_ids: list[str]
    patient_ids: list[str]
    time: np.ndarray
    codes: np.ndarray
    scores: np.ndarray
    versions: list[str]


@dataclass(frozen=True)
class LabelRows:
    """N rows: ids as text, ``values`` (L, N) int8, 1, 0 or -1 for unknown."""

    record_ids: list[str]
    values: np.ndarray


def kind_of(name: str) -> Kind | None:
    """What a file's name says that it holds; None for files that are none of a monitor's business."""
    if not name.endswith((".csv", ".parquet")):
        return None
    return next((kind for kind in ("predictions", "labels") if name.startswith(kind)), None)


def csv_header(file: BinaryIO) -> tuple[bytes, int]:
    """The first line without its mark of UTF-8, and how many bytes it takes; b"" while it is not complete."""
    file.seek(0)
    line = file.readline(BLOCK_BYTES)
    return (line.removeprefix(b"\xef\xbb\xbf"), len(line)) if line.endswith(b"\n") else (b"", 0)


def csv_block(file: BinaryIO, offset: int, *, whole: bool) -> bytes:
    """Complete lines from ``offset`` on, some megabytes of them; with ``whole`` the last line needs no end."""
    file.seek(offset)
    data = file.read(BLOCK_BYTES)
    if whole and len(data) < BLOCK_BYTES:
        return data
    end = data.rfind(b"\n") + 1
    if not end and len(data) == BLOCK_BYTES:
        raise TableFault(f"a line is longer than {BLOCK_BYTES} bytes", 0)
    return data[:end]


def csv_batch(header: bytes, block: bytes) -> pa.Table:
    """The rows of a block as text. Raises TableFault; its row is a place among the block's lines that are not empty."""
    bad: list[int] = []

    def note(row: pa_csv.InvalidRow) -> str:
        bad.append(row.number)
        return "error"

    names = pa_csv.read_csv(io.BytesIO(header + b"\n")).column_names
    if len(set(names)) < len(names):
        raise TableFault("two columns have one name")
    try:
        return pa_csv.read_csv(
            io.BytesIO(header + (b"" if header.endswith(b"\n") else b"\n") + block),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=len(header) + len(block) + 2),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=note),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid as error:
        # Arrow's text would quote the row.
        if bad:
            raise TableFault("another number of columns than the first line has", max(bad[0] - 2, 0)) from error
        raise TableFault("not UTF-8 text in columns") from error


def line_of(block: bytes, row: int) -> int:
    """The line of a block, from 0, on which its row stands: empty lines are no rows."""
    filled = (place for place, line in enumerate(block.split(b"\n")) if line.strip(b"\r"))
    return next((line for count, line in enumerate(filled) if count == row), 0)


def parquet_batches(file: BinaryIO, rows: int) -> Iterator[pa.Table]:
    """A Parquet file's rows, ``rows`` at a time. Raises TableFault."""
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=rows):
            yield pa.Table.from_batches([batch])
    except pa.ArrowException as error:
        raise TableFault("not a readable Parquet file") from error


def prediction_rows(table: pa.Table, watched: Watched) -> PredictionRows:
    """Columns of predictions, checked. Raises TableFault."""
    columns = _columns(
        table,
        required=(RECORD, PATIENT, TIME),
        optional=(VERSION,),
        attributes=[name for name, _ in watched.attributes],
        values={label: (label, f"{SCORE_PREFIX}{label}") for label in watched.labels},
    )
    rows = table.num_rows
    codes = np.full((len(watched.attributes), rows), -1, np.int16)
    for place, (name, levels) in enumerate(watched.attributes):
        if (found := columns.get(f"{ATTRIBUTE_PREFIX}{name}")) is not None:
            codes[place] = _codes(found, name, levels)
    scores = np.full((len(watched.labels), rows), np.nan, np.float32)
    for place, label in enumerate(watched.labels):
        if (found := columns.get(f"{SCORE_PREFIX}{label}")) is not None:
            scores[place] = _scores(found, label)
    versions = columns.get(VERSION)
    return PredictionRows(
        _ids(columns[RECORD], RECORD),
        _ids(columns[PATIENT], PATIENT),
        _times(columns[TIME]),
        codes,
        scores,
        [""] * rows if versions is None else [text or "" for text in _text(versions).to_pylist()],
    )


def label_rows(table: pa.Table, watched: Watched) -> LabelRows:
    """Columns of labels, checked. Raises TableFault."""
    columns = _columns(
        table,
        required=(RECORD,),
        optional=(),
        attributes=(),
        values={label: (label, f"{LABEL_PREFIX}{label}") for label in watched.labels},
    )
    values = np.full((len(watched.labels), table.num_rows), -1, np.int8)
    for place, label in enumerate(watched.labels):
        if (found := columns.get(f"{SCORE_PREFIX}{label}")) is not None:
            numbers = _numbers(found, label)
            _require(np.isnan(numbers) | np.isin(numbers, (-1, 0, 1)), f"{label} is not 1, 0, -1 or blank")
            values[place] = np.where(np.isnan(numbers), -1, numbers)
    return LabelRows(_ids(columns[RECORD], RECORD), values)


def _columns(
    table: pa.Table,
    *,
    required: Sequence[str],
    optional: Sequence[str],
    attributes: Sequence[str],
    values: dict[str, tuple[str, str]],
) -> dict[str, pa.ChunkedArray]:
    """By what they mean: values under "score.{label}", attributes under "attribute.{name}". A stranger is a fault."""
    meaning = {name: name for name in (*required, *optional)}
    for label, spellings in values.items():
        meaning |= dict.fromkeys(spellings, f"{SCORE_PREFIX}{label}")
    meaning |= {name: f"{ATTRIBUTE_PREFIX}{name}" for name in attributes if name not in meaning}
    meaning |= {f"{ATTRIBUTE_PREFIX}{name}": f"{ATTRIBUTE_PREFIX}{name}" for name in attributes}
    found: dict[str, pa.ChunkedArray] = {}
    for place, name in enumerate(table.column_names):
        if name not in meaning:
            raise TableFault(f"column {place + 1} has an unknown name; there may be {', '.join(meaning)}")
        if meaning[name] in found:
            raise TableFault(f"two columns for {meaning[name]!r}")
        found[meaning[name]] = table[name]
    for name in required:
        if name not in found:
            raise TableFault(f"there is no column {name!r}")
    if not any(name.startswith(SCORE_PREFIX) for name in found):
        raise TableFault(f"there is no column of any label; name them as the labels: {', '.join(values)}")
    return found


def _ids(column: pa.ChunkedArray, name: str) -> list[str]:
    texts = _text(column)
    _require(pc.fill_null(pc.greater(pc.utf8_length(texts), 0), False).to_numpy(), f"{name} is blank")
    found: list[str] = texts.to_pylist()
    return found


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())


def _codes(column: pa.ChunkedArray, name: str, levels: Sequence[str]) -> np.ndarray:
    texts = _text(column)
    places = pc.fill_null(pc.index_in(texts, pa.array(levels, pa.string())), -1).to_numpy()
    blank = pc.fill_null(pc.equal(texts, ""), True).to_numpy()
    strange = np.flatnonzero((places < 0) & ~blank)
    if len(strange):
        raise TableFault(f"{name} is none of its levels {', '.join(levels)}", int(strange[0]))
    return np.asarray(places)


def _scores(column: pa.ChunkedArray, label: str) -> np.ndarray:
    numbers = _numbers(column, label)
    _require(np.isnan(numbers) | ((numbers >= 0) & (numbers <= 1)), f"the score of {label} is not in [0, 1]")
    return numbers.astype(np.float32)


def _numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """(N,) float64, NaN where blank."""
    numbers = _cast(column, (pa.float64(),), f"{name} is not a number")
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def _times(column: pa.ChunkedArray) -> np.ndarray:
    """Whole microseconds since 1970 as numbers, or ISO 8601; without a zone it is UTC."""
    _require(pc.is_valid(column).to_numpy(), "time is blank")
    why = "time is neither ISO 8601 nor whole microseconds since 1970"
    kinds = (pa.int64(), pa.timestamp("us", "UTC"), pa.timestamp("us"))
    return np.asarray(pc.cast(_cast(column, kinds, why), pa.int64()).to_numpy(), np.int64)


def _cast(column: pa.ChunkedArray, kinds: Sequence[pa.DataType], why: str) -> pa.ChunkedArray:
    """The column as the first of the types that takes all its values; the first value that none takes is at fault."""
    fits = [_whether(column, kind) for kind in kinds]
    if True in fits:
        return pc.cast(column, kinds[fits.index(True)])
    for row in range(len(column)):
        if not any(_whether(column.slice(row, 1), kind) for kind in kinds):
            raise TableFault(why, row)
    raise TableFault(f"{why}, alike in all rows")


def _whether(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        pc.cast(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _require(good: np.ndarray, why: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise TableFault(why, int(bad[0]))
