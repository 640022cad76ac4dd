"""Tables of predictions and labels, cut into batches of columns; everything is checked before a row is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import ArrowException

from evenhand.errors import InvalidInput
from evenhand.monitoring.v1 import monitor_pb2, monitoring_service_pb2

BATCH_ROWS = 5_000
RECORD, PATIENT, TIME, VERSION = "record_id", "patient_id", "time", "model_version"
Rows: TypeAlias = pd.DataFrame | Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """One request, and the rows of the table that it holds."""

    request: Any
    first_row: int
    last_row: int
    rows: int


@dataclass(frozen=True)
class Arriving:
    """A table that is fit to be sent.

    Attributes:
        rows: of it.
        unused: columns that name nothing that the monitor watches.
        absent: labels and attributes of the monitor without a column; they count as missing.
    """

    rows: int
    unused: tuple[str, ...]
    absent: tuple[str, ...]
    batches: Iterator[Batch]


def read_predictions(monitor: monitor_pb2.Monitor, rows: Rows, model_version: str, size: int = BATCH_ROWS) -> Arriving:
    """Batches of predictions: record_id, patient_id, optional time and model_version, attributes and labels' scores.

    Raises:
        InvalidInput: BATCH_INVALID, LEVEL_UNKNOWN, SCORE_INVALID; the field is column[row].
    """
    frame = _framed(rows, (RECORD, PATIENT))
    spec = monitor.spec
    ids, patients = _ids(frame, RECORD), _ids(frame, PATIENT)
    times = _micros(frame) if TIME in frame else None
    codes = {a.attribute: _codes(frame, a) for a in spec.attributes if a.attribute in frame}
    scores = {one.label: _scores(frame, one.label) for one in spec.labels if one.label in frame}
    watched = [a.attribute for a in spec.attributes] + [one.label for one in spec.labels]
    _some(scores, [one.label for one in spec.labels], "score")
    levels = {a.attribute: list(a.levels) for a in spec.attributes}

    def batches() -> Iterator[Batch]:
        for version, places in _by_version(frame, model_version, size):
            request = monitoring_service_pb2.RecordPredictionsRequest(
                monitor=monitor.name,
                record_ids=ids[places].tolist(),
                patient_ids=patients[places].tolist(),
                time_micros=times[places].tolist() if times is not None else [],
                model_version=version,
            )
            for attribute, coded in codes.items():
                request.attributes.add(attribute=attribute, levels=levels[attribute], codes=coded[places].tolist())
            for label, scored in scores.items():
                request.scores.add(label=label, scores=scored[places].tolist())
            yield Batch(request, int(places[0]), int(places[-1]), len(places))

    known = {RECORD, PATIENT, TIME, VERSION, *watched}
    return Arriving(len(frame), *_columns(frame, known, watched), batches())


def read_labels(monitor: monitor_pb2.Monitor, rows: Rows, size: int = BATCH_ROWS) -> Arriving:
    """Batches of labels: record_id, and 1, 0 or missing (-1, empty) for each label.

    Raises:
        InvalidInput: BATCH_INVALID, LABEL_INVALID; the field is column[row].
    """
    frame = _framed(rows, (RECORD,))
    ids = _ids(frame, RECORD)
    watched = [one.label for one in monitor.spec.labels]
    values = {label: _truth(frame, label) for label in watched if label in frame}
    _some(values, watched, "label")

    def batches() -> Iterator[Batch]:
        for start in range(0, len(frame), size):
            part = slice(start, min(start + size, len(frame)))
            request = monitoring_service_pb2.RecordLabelsRequest(monitor=monitor.name, record_ids=ids[part].tolist())
            for label, column in values.items():
                request.labels.add(label=label, values=column[part].tolist())
            yield Batch(request, part.start, part.stop - 1, part.stop - part.start)

    return Arriving(len(frame), *_columns(frame, {RECORD, *watched}, watched), batches())


def read_table(path: str | Path, monitor: monitor_pb2.Monitor) -> pd.DataFrame:
    """A CSV or Parquet file. Of a CSV, ids and levels stay the text that they are: "007" is not 7.

    Raises:
        InvalidInput: it cannot be read, or is neither.
    """
    file = Path(path)
    text = dict.fromkeys((RECORD, PATIENT, VERSION, *(a.attribute for a in monitor.spec.attributes)), "str")
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        if file.suffix == ".csv":
            return pd.read_csv(file, dtype=text)
    except (OSError, ValueError, ArrowException) as error:  # a CSV that does not parse is a ValueError too
        raise InvalidInput(f"the table cannot be read: {' '.join(str(error).split())}", field=str(path)) from error
    raise InvalidInput("a table is a .csv or a .parquet file", field=str(path))


def _framed(rows: Rows, needed: tuple[str, ...]) -> pd.DataFrame:
    try:
        frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(dict(rows))
    except ValueError as error:
        raise InvalidInput(f"not a table: {error}", field="rows", reason="BATCH_INVALID") from error
    for column in needed:
        if column not in frame:
            named = ", ".join(map(str, frame.columns)) or "none"
            raise InvalidInput(f"a column {column} is needed; there is {named}", field=column, reason="BATCH_INVALID")
    return frame.reset_index(drop=True)


def _some(found: Mapping[str, Any], labels: list[str], kind: str) -> None:
    if not found:
        hint = f"name the columns as the labels: {', '.join(labels)}"
        raise InvalidInput(f"the table has no {kind} column", field="rows", reason="BATCH_INVALID", hint=hint)


def _columns(frame: pd.DataFrame, known: set[str], watched: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    unused = tuple(str(column) for column in frame.columns if column not in known)
    return unused, tuple(name for name in watched if name not in frame)


def _refuse(wrong: NDArray[np.bool_], column: str, message: str, reason: str = "BATCH_INVALID") -> None:
    """The first row that is wrong, if any is; its value is not repeated, since it may be an identifier."""
    if wrong.any():
        row, more = int(np.argmax(wrong)), int(wrong.sum()) - 1
        also = f" (and {more} more rows)" if more else ""
        raise InvalidInput(message + also, field=f"{column}[{row}]", reason=reason)


def _ids(frame: pd.DataFrame, column: str) -> NDArray[np.object_]:
    """(N) ids as text; 12.0, which a table makes of 12 beside a gap, is "12"."""
    text = _text(frame[column])
    _refuse(frame[column].isna().to_numpy() | (text == ""), column, f"every row needs a {column}")
    return text


def _text(values: pd.Series) -> NDArray[np.object_]:
    whole = pd.api.types.is_float_dtype(values) and bool((values.dropna() % 1 == 0).all())
    return np.array([str(value) for value in (values.astype("Int64") if whole else values).tolist()], dtype=object)


def _micros(frame: pd.DataFrame) -> NDArray[np.int64]:
    """(N) microseconds since 1970 (UTC) of datetimes or ISO texts; one without a zone is UTC."""
    column = frame[TIME]
    _refuse(column.isna().to_numpy(), TIME, "every row needs a time, or none: then it is now")
    if pd.api.types.is_numeric_dtype(column):
        hint = "pandas.to_datetime(numbers, unit=…) says what they count"
        raise InvalidInput("times are datetimes or ISO 8601", field=TIME, reason="BATCH_INVALID", hint=hint)
    parsed = pd.to_datetime(column, utc=True, errors="coerce", format=None if _is_time(column) else "ISO8601")
    _refuse(parsed.isna().to_numpy(), TIME, "times are datetimes or ISO 8601")
    return parsed.dt.as_unit("us").astype("int64").to_numpy().astype(np.int64)


def _is_time(column: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(column)


def _codes(frame: pd.DataFrame, watched: monitor_pb2.WatchedAttribute) -> NDArray[np.int16]:
    """(N) places in the attribute's levels; -1 where there is none."""
    column = frame[watched.attribute]
    places = {level: place for place, level in enumerate(watched.levels)}
    missing = column.isna().to_numpy()
    codes = np.array([places.get(level, -1) for level in _text(column)], np.int16)
    levels = ", ".join(watched.levels)
    _refuse((codes < 0) & ~missing, watched.attribute, f"the monitor's levels are {levels}", "LEVEL_UNKNOWN")
    codes[missing] = -1
    return codes


def _numbers(frame: pd.DataFrame, column: str, message: str, reason: str) -> NDArray[np.float64]:
    numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    _refuse(np.isnan(numbers) & frame[column].notna().to_numpy(), column, message, reason)
    return numbers


def _scores(frame: pd.DataFrame, label: str) -> NDArray[np.float32]:
    """(N) probabilities in [0, 1]; NaN is missing."""
    message, reason = "scores are probabilities in [0, 1], or missing", "SCORE_INVALID"
    numbers = _numbers(frame, label, message, reason)
    _refuse((numbers < 0) | (numbers > 1), label, message, reason)
    return numbers.astype(np.float32)


def _truth(frame: pd.DataFrame, label: str) -> NDArray[np.int8]:
    """(N) 1, 0, or -1 for unknown."""
    message, reason = "labels are 1, 0, or missing (-1)", "LABEL_INVALID"
    numbers = np.nan_to_num(_numbers(frame, label, message, reason), nan=-1.0, posinf=2.0, neginf=2.0)
    _refuse(~np.isin(numbers, (-1.0, 0.0, 1.0)), label, message, reason)
    return numbers.astype(np.int8)


def _by_version(frame: pd.DataFrame, version: str, size: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Versions with the places of at most ``size`` of their rows, since a request is of one version."""
    if version or VERSION not in frame:
        groups = {version: np.arange(len(frame), dtype=np.int64)}
    else:
        named = np.where(frame[VERSION].isna(), "", _text(frame[VERSION]))
        groups = {one: np.flatnonzero(named == one).astype(np.int64) for one in dict.fromkeys(named.tolist())}
    for one, places in groups.items():
        for start in range(0, len(places), size):
            yield one, places[start : start + size]
