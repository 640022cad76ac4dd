"""The row files of an audit: predictions.parquet and quality.parquet. FORMATS.md holds the contract in words.

``prediction_rows`` and ``quality_rows`` bring a frame to its canonical form (checked, typed, sorted); everything else,
the report included, starts from that form, so neither the order of rows nor who computed them can be seen in a result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.errors import DuplicateRecord, InvalidInput, NonFinite, OutOfRange, UnknownLabel, UnsupportedFormat
from services.maths.canonical import canonical_json

PREDICTIONS_VERSION = "evenhand.predictions/1"
QUALITY_VERSION = "evenhand.quality/1"
ATTRIBUTE_PREFIX = "attribute_"

_PREDICTION_TEXT = ("record_id", "patient_id", "pipeline", "task", "label")
_PREDICTION_KEY = ("record_id", "pipeline", "task", "label")
_QUALITY_TEXT = ("record_id", "patient_id", "pipeline", "metric")
_QUALITY_KEY = ("record_id", "pipeline", "metric")
_VERSION_KEY = b"evenhand.schema"
_ROW_GROUP_ROWS = 131_072
_PLACES_SHOWN = 8


def prediction_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Canonical rows: text columns categorical with sorted categories, y_true Int8 (<NA> = missing), floats float64.

    One row per record, pipeline, task and label, sorted by these; attribute columns last, by name. A missing threshold
    is NaN. A frame without any column stands for no rows. Raises InvalidInput or a kind of it, with
    ``predictions.<column>`` as the field.
    """
    if frame.columns.empty:
        frame = pd.DataFrame(columns=[*_PREDICTION_TEXT, "y_true", "y_score", "threshold"])
    rows = _text_columns(frame, _PREDICTION_TEXT, "predictions")
    _require(frame, ("y_true", "y_score", "threshold"), "predictions")
    truth = pd.to_numeric(frame["y_true"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    given = frame["y_true"].notna().to_numpy()
    if not np.isin(truth[given], (0.0, 1.0)).all():
        raise UnknownLabel("y_true must be 0, 1 or missing", field="predictions.y_true")
    score = _numbers(frame, "y_score", "predictions")
    if not np.isfinite(score).all():
        raise NonFinite(
            "y_score must be a finite number in every row", field="predictions.y_score", reason="NON_FINITE_SCORE"
        )
    if not ((score >= 0.0) & (score <= 1.0)).all():
        raise OutOfRange("y_score must be a probability in [0, 1] in every row", field="predictions.y_score")
    threshold = _numbers(frame, "threshold", "predictions")
    if np.isinf(threshold).any():
        raise NonFinite(
            "threshold must be a finite number or missing", field="predictions.threshold", reason="NON_FINITE_THRESHOLD"
        )
    if ((threshold < 0.0) | (threshold > 1.0)).any():
        raise OutOfRange("threshold must lie in [0, 1] as scores do, or be missing", field="predictions.threshold")
    rows["y_true"] = pd.array(np.where(given, truth, np.nan), dtype="Int8")
    rows["y_score"] = score
    rows["threshold"] = threshold
    return _sorted(_with_attributes(rows, frame, "predictions"), _PREDICTION_KEY, "predictions")


def quality_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Canonical rows, one per record, pipeline and metric; ``value`` is float64, NaN where undefined, or infinite."""
    if frame.columns.empty:
        frame = pd.DataFrame(columns=[*_QUALITY_TEXT, "value"])
    rows = _text_columns(frame, _QUALITY_TEXT, "quality")
    _require(frame, ("value",), "quality")
    rows["value"] = _numbers(frame, "value", "quality")
    return _sorted(_with_attributes(rows, frame, "quality"), _QUALITY_KEY, "quality")


def predictions_table(frame: pd.DataFrame) -> bytes:
    """predictions.parquet. Same rows in any order, same bytes (for one version of the Parquet writer)."""
    return _write(prediction_rows(frame), PREDICTIONS_VERSION)


def quality_table(frame: pd.DataFrame) -> bytes:
    """quality.parquet. Same rows in any order, same bytes (for one version of the Parquet writer)."""
    return _write(quality_rows(frame), QUALITY_VERSION)


def read_predictions(*parts: bytes) -> pd.DataFrame:
    """The canonical rows of one or more predictions.parquet files. Raises UnsupportedFormat for another version."""
    return prediction_rows(_read(parts, PREDICTIONS_VERSION, "predictions"))


def read_quality(*parts: bytes) -> pd.DataFrame:
    """The canonical rows of one or more quality.parquet files. Raises UnsupportedFormat for another version."""
    return quality_rows(_read(parts, QUALITY_VERSION, "quality"))


def rows_digest(rows: pd.DataFrame) -> str:
    """sha256 over canonical rows, column by column: independent of Parquet, its version and its compression."""
    total = hashlib.sha256(canonical_json({"rows": len(rows)}))
    for name in rows.columns:
        column = rows[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            total.update(canonical_json([name, column.cat.categories.tolist()]))
            total.update(column.cat.codes.to_numpy().astype("<i4").tobytes())
        elif name == "y_true":
            total.update(canonical_json([name]))
            total.update(column.to_numpy(dtype=np.int8, na_value=-1).tobytes())
        else:
            values = column.to_numpy(dtype="<f8") + 0.0
            values[np.isnan(values)] = np.nan
            total.update(canonical_json([name]))
            total.update(values.tobytes())
    return total.hexdigest()


def first_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The first row of each record of canonical rows, which are sorted by record."""
    record = rows["record_id"].cat.codes.to_numpy()
    return rows[np.r_[True, record[1:] != record[:-1]]] if len(rows) else rows


def require_agreement(predictions: pd.DataFrame, quality: pd.DataFrame) -> None:
    """Raise InvalidInput where the two canonical tables name another patient or attribute for the same record."""
    if not len(predictions) or not len(quality):
        return
    one, other = (
        first_rows(rows).astype({"record_id": object}).set_index("record_id") for rows in (predictions, quality)
    )
    shared = one.index.intersection(other.index)
    known = set(attribute_columns(one)) & set(attribute_columns(other))
    for name in ("patient_id", *sorted(known)):
        ours, theirs = (table.loc[shared, name].astype(object).fillna("").to_numpy() for table in (one, other))
        differing = int((ours != theirs).sum())
        if differing:
            raise InvalidInput(
                f"{differing} of the records have another {name} in the quality rows than in the predictions",
                field=f"quality.{name}",
            )


def attribute_columns(frame: pd.DataFrame) -> list[str]:
    """Names of the ``attribute_<name>`` columns, sorted."""
    return sorted(str(name) for name in frame.columns if str(name).startswith(ATTRIBUTE_PREFIX))


def _require(frame: pd.DataFrame, names: Sequence[str], table: str) -> None:
    for name in names:
        if name not in frame.columns:
            raise InvalidInput(f"the {table} rows have no column {name!r}", field=f"{table}.{name}")


def _text_columns(frame: pd.DataFrame, names: Sequence[str], table: str) -> pd.DataFrame:
    _require(frame, names, table)
    rows = pd.DataFrame({name: _category(frame[name]) for name in names})
    for name in names:
        if rows[name].isna().any():
            raise InvalidInput(f"{name} must be given in every row", field=f"{table}.{name}")
    return rows


def _with_attributes(rows: pd.DataFrame, frame: pd.DataFrame, table: str) -> pd.DataFrame:
    for name in attribute_columns(frame):
        rows[name] = _category(frame[name])
    for name in ("patient_id", *attribute_columns(frame)):
        pairs = pd.DataFrame({"record": rows["record_id"].cat.codes, "value": rows[name].cat.codes}).drop_duplicates()
        twice = pairs["record"].duplicated()
        if twice.any():
            places = pairs.index[pairs["record"].duplicated(keep=False)]
            records = pairs["record"][twice].nunique()
            raise InvalidInput(
                f"{records} of the records have more than one {name}: see {_places(places)}", field=f"{table}.{name}"
            )
    return rows


def _category(column: pd.Series) -> pd.Categorical:
    """Text as a categorical whose categories are exactly the values that occur, in code-point order."""
    values = column.array if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column)
    texts = [str(category) for category in values.categories.tolist()]
    counts = np.bincount(values.codes.astype(np.int64) + 1, minlength=len(texts) + 1)[1:]
    used = sorted(np.flatnonzero(counts).tolist(), key=texts.__getitem__)
    # The last place serves code -1, the missing value.
    places = np.full(len(texts) + 1, -1)
    places[used] = np.arange(len(used))
    return pd.Categorical.from_codes(places[values.codes], categories=pd.Index([texts[i] for i in used], dtype="str"))


def _numbers(frame: pd.DataFrame, name: str, table: str) -> np.ndarray:
    try:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as fault:
        raise InvalidInput(f"{name} must hold numbers", field=f"{table}.{name}") from fault


def _sorted(rows: pd.DataFrame, key: Sequence[str], table: str) -> pd.DataFrame:
    codes = [rows[name].cat.codes.to_numpy() for name in key]
    order = np.lexsort(codes[::-1])
    ordered = [column[order] for column in codes]
    if len(rows) > 1:
        same = np.logical_and.reduce([column[1:] == column[:-1] for column in ordered])
        if same.any():
            places = order[np.r_[same, False] | np.r_[False, same]]
            raise DuplicateRecord(
                f"{int(same.sum())} of the {table} rows repeat another one's {', '.join(key)}: see {_places(places)}",
                field=f"{table}.record_id",
            )
    return rows.iloc[order].reset_index(drop=True)


def _places(positions: Iterable[int]) -> str:
    """Rows by their position. Never by record id: that may be the path of a patient's file."""
    ordered = sorted(map(int, positions))
    shown = ", ".join(map(str, ordered[:_PLACES_SHOWN]))
    return f"rows {shown}{', …' if len(ordered) > _PLACES_SHOWN else ''} (the first is 0)"


def _write(rows: pd.DataFrame, version: str) -> bytes:
    columns = []
    for name in rows.columns:
        column = rows[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes = column.cat.codes.to_numpy().astype(np.int32)
            categories = pa.array(column.cat.categories.tolist(), type=pa.string())
            columns.append(pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), categories))
        elif name == "y_true":
            columns.append(pa.array(column.to_numpy(dtype=np.int8, na_value=-1), mask=column.isna().to_numpy()))
        else:
            values = column.to_numpy(dtype=np.float64)
            columns.append(pa.array(values, mask=np.isnan(values)) if name == "threshold" else pa.array(values))
    table = pa.table(columns, names=list(rows.columns))
    sink = pa.BufferOutputStream()
    # store_schema would add Arrow's own description of the table; the Parquet schema says all there is to say.
    with pq.ParquetWriter(sink, table.schema, version="2.6", compression="zstd", store_schema=False) as writer:
        writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
        writer.add_key_value_metadata({_VERSION_KEY: version})
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _read(parts: Sequence[bytes], version: str, table: str) -> pd.DataFrame:
    tables = []
    for part in parts:
        try:
            file = pq.ParquetFile(pa.BufferReader(part))
            found = (file.metadata.metadata or {}).get(_VERSION_KEY, b"").decode()
            if found != version:
                raise UnsupportedFormat(f"expected {version}, found {found or 'no version'}", field=f"{table}.parquet")
            texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
            tables.append(pq.read_table(pa.BufferReader(part), read_dictionary=texts))
        except pa.ArrowException as fault:
            raise UnsupportedFormat("not a readable Parquet file", field=f"{table}.parquet") from fault
    frame: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    return frame
