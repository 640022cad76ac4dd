"""Row files: fixed schema, bytes that no row order changes, and refusals that name the column."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.audit.results.formats import (
    prediction_rows,
    predictions_table,
    quality_rows,
    quality_table,
    read_predictions,
    read_quality,
    rows_digest,
)
from services.errors import DuplicateRecord, InvalidInput, NonFinite, UnknownLabel, UnsupportedFormat


def test_predictions_schema_is_fixed(planted):
    schema = pq.ParquetFile(io.BytesIO(predictions_table(planted.predictions))).schema_arrow
    text = pa.string()
    assert [(field.name, field.type) for field in schema] == [
        ("record_id", text),
        ("patient_id", text),
        ("pipeline", text),
        ("task", text),
        ("label", text),
        ("y_true", pa.int8()),
        ("y_score", pa.float64()),
        ("threshold", pa.float64()),
        ("attribute_age", text),
        ("attribute_sex", text),
    ]


def test_quality_schema_is_fixed(planted):
    schema = pq.ParquetFile(io.BytesIO(quality_table(planted.quality))).schema_arrow
    assert schema.names == ["record_id", "patient_id", "pipeline", "metric", "value", "attribute_age", "attribute_sex"]
    assert schema.field("value").type == pa.float64()


@pytest.mark.parametrize(("table", "write"), [("predictions", predictions_table), ("quality", quality_table)])
def test_same_rows_in_any_order_give_the_same_bytes(planted, table, write):
    frame = getattr(planted, table)
    columns = list(frame.columns)[::-1]
    assert write(frame.sample(frac=1.0, random_state=2)[columns]) == write(frame)


def test_files_hold_no_pandas_metadata(planted):
    data = predictions_table(planted.predictions)
    assert set(pq.ParquetFile(io.BytesIO(data)).metadata.metadata) == {b"evenhand.schema"}


def test_reading_back_gives_the_canonical_rows(planted):
    predictions, quality = prediction_rows(planted.predictions), quality_rows(planted.quality)
    pd.testing.assert_frame_equal(read_predictions(predictions_table(planted.predictions)), predictions)
    pd.testing.assert_frame_equal(read_quality(quality_table(planted.quality)), quality)


def test_parts_read_together_are_the_whole(planted):
    parts = [predictions_table(part) for _, part in planted.predictions.groupby("pipeline")]
    assert rows_digest(read_predictions(*parts)) == rows_digest(prediction_rows(planted.predictions))


def test_null_label_threshold_and_attribute_stay_null_in_plain_pandas(planted):
    frame = planted.predictions.copy()
    frame.loc[0, "threshold"] = np.nan
    back = pd.read_parquet(io.BytesIO(predictions_table(frame)))
    assert back["y_true"].isna().sum() == frame["y_true"].isna().sum() > 0
    assert back["attribute_sex"].isna().sum() == frame["attribute_sex"].isna().sum() > 0
    assert back["threshold"].isna().sum() == 1


def test_undefined_and_infinite_quality_survive(planted):
    back = pd.read_parquet(io.BytesIO(quality_table(planted.quality)))
    assert back["value"].isna().sum() == 40
    assert np.isinf(back["value"]).sum() == 20


def test_rows_are_sorted_by_record_pipeline_and_label(planted):
    key = ["record_id", "pipeline", "task", "label"]
    back = pd.read_parquet(io.BytesIO(predictions_table(planted.predictions.sample(frac=1.0, random_state=1))))
    assert back[key].equals(back[key].sort_values(key).reset_index(drop=True))


def test_no_rows_make_a_file_with_all_columns():
    back = read_predictions(predictions_table(pd.DataFrame()))
    assert len(back) == 0
    assert "y_score" in back.columns


def test_rows_digest_sees_every_column(planted):
    frame = prediction_rows(planted.predictions)
    digests = {rows_digest(frame)}
    for column in ("y_true", "y_score", "threshold", "label", "attribute_sex"):
        digests.add(rows_digest(frame.drop(columns=column)))
    digests.add(rows_digest(frame.iloc[1:]))
    assert len(digests) == 7


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("y_true", -1, UnknownLabel),
        ("y_true", 0.5, UnknownLabel),
        ("y_true", "yes", UnknownLabel),
        ("y_score", np.nan, NonFinite),
        ("y_score", np.inf, NonFinite),
        ("y_score", "high", InvalidInput),
        ("threshold", "auto", InvalidInput),
        ("record_id", None, InvalidInput),
        ("pipeline", None, InvalidInput),
        ("patient_id", "somebody else", InvalidInput),
        ("attribute_age", "60-80", InvalidInput),
    ],
)
def test_bad_values_are_refused_by_column(planted, column, value, error):
    frame = planted.predictions.query("attribute_age == '0-60'").reset_index(drop=True).astype({column: object})
    frame.loc[0, column] = value
    with pytest.raises(error) as caught:
        prediction_rows(frame)
    assert caught.value.field == f"predictions.{column}"


def test_missing_column_is_named(planted):
    with pytest.raises(InvalidInput) as caught:
        quality_rows(planted.quality.drop(columns="value"))
    assert caught.value.field == "quality.value"


@pytest.mark.parametrize(("table", "write"), [("predictions", predictions_table), ("quality", quality_table)])
def test_the_same_row_twice_is_refused(planted, table, write):
    frame = getattr(planted, table)
    repeated = pd.concat([frame, frame.iloc[[3]]])
    with pytest.raises(DuplicateRecord, match=rf"^1 of the .* see rows 3, {len(frame)} \(the first is 0\)$") as caught:
        write(repeated)
    assert frame["record_id"].iloc[3] not in str(caught.value)


def test_contradictions_are_counted_and_placed_without_naming_a_record(planted):
    frame = planted.quality.reset_index(drop=True)
    records = frame["record_id"].unique()[:2]
    for record in records:
        frame.loc[frame.index[frame["record_id"] == record][-1], "patient_id"] = "somebody else"
    places = sorted(place for record in records for place in frame.index[frame["record_id"] == record][[0, -1]])
    with pytest.raises(InvalidInput, match=r"^2 of the records have more than one patient_id") as caught:
        quality_rows(frame)
    assert f"see rows {', '.join(map(str, places))} (" in str(caught.value)
    assert not any(record in str(caught.value) for record in records)


def test_many_repeated_rows_make_a_short_message(planted):
    with pytest.raises(DuplicateRecord, match=r"repeat .* see rows 0, 1, 2, 3, 4, 5, 6, 7, … \(") as caught:
        quality_rows(pd.concat([planted.quality, planted.quality]))
    assert str(caught.value).startswith(f"{len(planted.quality)} of the quality rows")


def test_other_files_are_refused(planted):
    with pytest.raises(UnsupportedFormat, match=r"expected evenhand.predictions/1, found evenhand.quality/1"):
        read_predictions(quality_table(planted.quality))
    with pytest.raises(UnsupportedFormat, match="not a readable Parquet file"):
        read_quality(b"PAR1 and then nothing")
