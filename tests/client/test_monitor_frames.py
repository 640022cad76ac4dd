import numpy as np
import pandas as pd
import pytest
from evenhand.errors import InvalidInput
from evenhand.monitor_frames import BATCH_ROWS, read_labels, read_predictions, read_table
from evenhand.monitor_spec import monitor_spec_proto
from evenhand.monitoring.v1 import monitor_pb2

from tests.client.monitoring import SPEC, predictions, truth

MONITOR = monitor_pb2.Monitor(name="monitors/1", spec=monitor_spec_proto(SPEC))


def requests_of(rows, version="", size=BATCH_ROWS):
    return [batch.request for batch in read_predictions(MONITOR, rows, version, size).batches]


@pytest.mark.parametrize("size", [1, 7, 300, 1000])
def test_batches_put_together_are_the_table(size):
    frame = predictions(300)
    requests = requests_of(frame, size=size)
    assert max(len(request.record_ids) for request in requests) <= size
    assert [record for request in requests for record in request.record_ids] == frame["record_id"].tolist()
    assert [patient for request in requests for patient in request.patient_ids] == frame["patient_id"].tolist()
    micros = [one for request in requests for one in request.time_micros]
    assert pd.to_datetime(micros, unit="us", utc=True).tolist() == frame["time"].tolist()
    levels = {a.attribute: [*a.levels, None] for a in MONITOR.spec.attributes}
    for place, attribute in enumerate(("sex", "ward")):
        codes = [code for request in requests for code in request.attributes[place].codes]
        assert {request.attributes[place].attribute for request in requests} == {attribute}
        expected = [None if pd.isna(value) else str(value) for value in frame[attribute]]
        assert [levels[attribute][code] for code in codes] == expected
    for place, label in enumerate(("Pneumonia", "Edema")):
        scores = [score for request in requests for score in request.scores[place].scores]
        np.testing.assert_array_equal(np.float32(scores), frame[label].to_numpy(np.float32))


def test_arrays_by_name_and_any_index_do_as_well_as_a_frame():
    frame = predictions(20)
    plain = requests_of(frame)
    assert requests_of(frame.set_index(np.arange(100, 120))) == plain
    assert requests_of({name: frame[name].tolist() for name in frame}) == plain
    assert requests_of({name: frame[name].to_numpy() for name in frame}) == plain


def test_levels_and_ids_that_are_numbers_are_their_text():
    frame = predictions(4).assign(record_id=[1, 2, 3, 4], ward=[1.0, np.nan, 10.0, 2.0])
    request = requests_of(frame)[0]
    assert list(request.record_ids) == ["1", "2", "3", "4"]
    assert list(request.attributes[1].codes) == [0, -1, 2, 1]


def test_a_request_has_one_version_of_the_model():
    frame = predictions(12).assign(model_version=["1", "2", None] * 4)
    requests = requests_of(frame, size=3)
    assert [(request.model_version, len(request.record_ids)) for request in requests] == [
        ("1", 3), ("1", 1), ("2", 3), ("2", 1), ("", 3), ("", 1)
    ]  # fmt: skip
    assert sorted(record for request in requests for record in request.record_ids) == frame["record_id"].tolist()
    assert {request.model_version for request in requests_of(frame, version="7")} == {"7"}


def test_columns_that_are_not_watched_and_those_that_are_not_there_are_told():
    frame = predictions(3).drop(columns=["Edema", "sex"]).assign(Age=40, edema=0.5)
    arriving = read_predictions(MONITOR, frame, "")
    assert (arriving.rows, set(arriving.unused), set(arriving.absent)) == (3, {"Age", "edema"}, {"Edema", "sex"})
    assert len(next(arriving.batches).request.scores) == 1


def test_times_without_a_zone_are_utc_and_none_means_now():
    frame = predictions(2).assign(time=["2026-01-05T08:00:00", "2026-01-05T10:00:00+01:00"])
    assert list(requests_of(frame)[0].time_micros) == [1767600000000000, 1767603600000000]
    naive = frame.assign(time=pd.to_datetime(["2026-01-05T08:00:00"] * 2))
    assert list(requests_of(naive)[0].time_micros) == [1767600000000000] * 2
    assert list(requests_of(frame.drop(columns="time"))[0].time_micros) == []


def spoilt(column, value):
    frame = predictions(40)
    frame[column] = frame[column].astype(object)
    frame.loc[[31, 35], column] = value
    return frame


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("record_id", None, "BATCH_INVALID"),
        ("record_id", "", "BATCH_INVALID"),
        ("patient_id", np.nan, "BATCH_INVALID"),
        ("time", None, "BATCH_INVALID"),
        ("time", "yesterday", "BATCH_INVALID"),
        ("sex", "female", "LEVEL_UNKNOWN"),
        ("ward", 3, "LEVEL_UNKNOWN"),
        ("Pneumonia", 1.001, "SCORE_INVALID"),
        ("Pneumonia", -0.001, "SCORE_INVALID"),
        ("Edema", np.inf, "SCORE_INVALID"),
        ("Edema", "high", "SCORE_INVALID"),
    ],
)
def test_the_first_wrong_value_is_named_before_anything_is_sent(column, value, reason):
    with pytest.raises(InvalidInput) as caught:
        read_predictions(MONITOR, spoilt(column, value), "")
    assert (caught.value.reason, caught.value.field) == (reason, f"{column}[31]")
    assert "1 more" in caught.value.message
    assert "p0000" not in caught.value.message


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (predictions(3).drop(columns="patient_id"), "patient_id"),
        (predictions(3).drop(columns="record_id"), "record_id"),
        (predictions(3).drop(columns=["Pneumonia", "Edema"]), "rows"),
        ({"record_id": ["a", "b"], "patient_id": ["p"]}, "rows"),
        (predictions(3).assign(time=[1, 2, 3]), "time"),
    ],
)
def test_a_table_that_cannot_be_predictions_is_refused(frame, field):
    with pytest.raises(InvalidInput) as caught:
        read_predictions(MONITOR, frame, "")
    assert (caught.value.reason, caught.value.field) == ("BATCH_INVALID", field)


def test_labels_are_one_zero_or_unknown():
    frame = truth(4).assign(Edema=[True, None, False, -1])
    batches = list(read_labels(MONITOR, frame, size=3).batches)
    assert [list(batch.request.record_ids) for batch in batches] == [["r000003", "r000002", "r000001"], ["r000000"]]
    edema = [list(column.values) for batch in batches for column in batch.request.labels if column.label == "Edema"]
    assert edema == [[1, -1, 0], [-1]]
    assert (batches[1].first_row, batches[1].last_row, batches[1].rows) == (3, 3, 1)


@pytest.mark.parametrize("value", [2, 0.5, "yes", np.inf])
def test_other_labels_are_refused(value):
    frame = truth(9)
    frame["Edema"] = frame["Edema"].astype(object)
    frame.loc[4, "Edema"] = value
    with pytest.raises(InvalidInput) as caught:
        read_labels(MONITOR, frame)
    assert (caught.value.reason, caught.value.field) == ("LABEL_INVALID", "Edema[4]")
    with pytest.raises(InvalidInput):
        read_labels(MONITOR, frame[["record_id"]])


def test_a_csv_keeps_ids_and_levels_as_they_are_written(tmp_path):
    frame = predictions(5).assign(record_id=["007", "8", "09", "1e3", "NaN0"], ward=["10", "1", "2", "2", ""])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    request = requests_of(read_table(tmp_path / "rows.csv", MONITOR))[0]
    assert list(request.record_ids) == ["007", "8", "09", "1e3", "NaN0"]
    assert list(request.attributes[1].codes) == [2, 0, 1, 1, -1]
    frame.to_parquet(tmp_path / "rows.parquet")
    again = frame.assign(ward=["10", "1", "2", "2", None])
    again.to_parquet(tmp_path / "rows.parquet")
    assert requests_of(read_table(tmp_path / "rows.parquet", MONITOR))[0] == request


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", b'"a\n'), ("a.csv", b""), ("a.parquet", b"PAR1"), ("a.xlsx", b"x")]
)
def test_files_that_are_no_tables_are_named(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    for path in (tmp_path / name, tmp_path / f"absent-{name}"):
        with pytest.raises(InvalidInput) as caught:
            read_table(path, MONITOR)
        assert caught.value.field == str(path)


def test_a_batch_of_the_widest_monitor_fits_a_message():
    """gRPC's servers take 4 MiB unless they say otherwise."""
    labels = {f"Finding number {number}": 0.5 for number in range(64)}
    monitor = monitor_pb2.Monitor(name="monitors/1", spec=monitor_spec_proto({**SPEC, "labels": labels}))
    ids = [f"{number:064x}" for number in range(BATCH_ROWS)]
    frame = {"record_id": ids, "patient_id": ids, **{label: np.full(BATCH_ROWS, 0.3) for label in labels}}
    batches = list(read_predictions(monitor, frame, "").batches)
    assert len(batches) == 1
    assert batches[0].request.ByteSize() < 4 * 2**20
