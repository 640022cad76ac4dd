"""RecordPredictions and RecordLabels over both transports, answered by the gateway itself."""

import threading
import time

import grpc
import numpy as np
import pytest
from evenhand.monitoring.v1 import monitoring_service_pb2 as pb
from evenhand.monitoring.v1 import monitoring_service_pb2_grpc
from google.rpc import error_details_pb2, status_pb2

from services.adapters.arrivals import ArrivalLog, WatchSpec
from services.adapters.status import DETAILS_KEY
from services.errors import Unavailable

BODY = {
    "spec": {
        "labels": [{"label": "Edema", "threshold": 0.5}, {"label": "Mass", "threshold": 0.4}],
        "attributes": [
            {"attribute": "sex", "levels": ["Female", "Male"]},
            {"attribute": "age", "levels": ["young", "old"]},
        ],
        "window": {"length": "864000000s", "origin": "2020-01-01T00:00:00Z"},
    }
}
NOW_US = int(time.time() * 1e6) - 60_000_000


@pytest.fixture
def monitor(world, request):
    name = f"monitors/{request.node.name[:60]}"
    world.ledger.put_resource(name, "monitor", BODY | {"name": name})
    return name


@pytest.fixture
def stub(channel):
    return monitoring_service_pb2_grpc.MonitoringServiceStub(channel)


@pytest.fixture
def rows(world):
    """The rows of a monitor's first window."""
    return lambda monitor: ArrivalLog(world.ledger, world.store).read_window(monitor, WatchSpec.of(BODY), 0)


def predictions(monitor, count=4, **more):
    request = pb.RecordPredictionsRequest(
        monitor=monitor,
        record_ids=[f"r{number}" for number in range(count)],
        patient_ids=[f"p{number // 2}" for number in range(count)],
        time_micros=[NOW_US + number for number in range(count)],
        attributes=[pb.AttributeColumn(attribute="sex", levels=["Male", "Female"], codes=[0, 1, -1, 0][:count])],
        scores=[pb.ScoreColumn(label="Mass", scores=[0.25, float("nan"), 1.0, 0.0][:count])],
        model_version="3",
    )
    for name, value in more.items():
        request.ClearField(name)
        if isinstance(value, list):
            getattr(request, name).extend(value)
        else:
            setattr(request, name, value)
    return request


def refusal(call, request):
    """(status, reason, field, details) of a refused call."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    raw = dict(caught.value.trailing_metadata())[DETAILS_KEY]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info) or detail.Unpack(bad)
    field = bad.field_violations[0].field if bad.field_violations else info.metadata.get("field", "")
    return caught.value.code().name, info.reason, field, caught.value.details()


def test_predictions_and_labels_are_kept_and_joined(stub, monitor, rows):
    assert stub.RecordPredictions(predictions(monitor)) == pb.RecordPredictionsResponse(recorded=4)
    labels = pb.RecordLabelsRequest(
        monitor=monitor,
        record_ids=["r3", "elsewhere"],
        labels=[pb.LabelColumn(label="Mass", values=[1, 0])],
    )
    assert stub.RecordLabels(labels) == pb.RecordLabelsResponse(recorded=2, unknown=1)
    assert stub.RecordLabels(labels) == pb.RecordLabelsResponse(duplicates=2)
    found = rows(monitor)
    sex, age = found.codes
    mass = found.scores[1]
    told = {"missing" if np.isnan(score) else score: (code, label) for score, code, label in zip(
        mass.tolist(), sex.tolist(), found.labels[1].tolist(), strict=True)}  # fmt: skip
    assert told == {0.25: (1, -1), "missing": (0, -1), 1.0: (-1, -1), 0.0: (1, 1)}
    assert (age == -1).all()
    assert np.isnan(found.scores[0]).all()
    assert found.versions == {"3": 4}
    assert len(set(found.patients.tolist())) == 2


def test_no_identifier_is_kept(world, stub, monitor):
    stub.RecordPredictions(predictions(monitor, record_ids=["MRN-4711", "b", "c", "d"], patient_ids=["Anna"] * 4))
    segment = world.ledger.segments(monitor)[0]
    data = world.store.get(segment.key)
    assert b"MRN-4711" not in data
    assert b"Anna" not in data


def test_a_batch_that_is_sent_again_is_not_kept_again_even_without_times(stub, monitor):
    untimed = predictions(monitor, time_micros=[])
    assert stub.RecordPredictions(untimed).recorded == 4
    assert stub.RecordPredictions(untimed) == pb.RecordPredictionsResponse(duplicates=4)


def test_rest_takes_the_same_batches(web, monitor, problem_of):
    body = {
        "recordIds": ["a", "b"],
        "patientIds": ["p", "q"],
        "scores": [{"label": "Edema", "scores": [0.5, "NaN"]}],
        "attributes": [{"attribute": "age", "levels": ["old"], "codes": [0, -1]}],
    }
    reply = web.post(f"/v1/{monitor}:recordPredictions", json=body)
    assert (reply.status_code, reply.json()) == (200, {"recorded": "2", "duplicates": "0", "late": "0"})
    reply = web.post(
        f"/v1/{monitor}:recordLabels", json={"recordIds": ["a"], "labels": [{"label": "Edema", "values": [1]}]}
    )
    assert reply.json() == {"recorded": "1", "duplicates": "0", "unknown": "0", "late": "0"}
    body["scores"][0]["scores"] = [0.5, 0.6]
    problem = problem_of(web.post(f"/v1/{monitor}:recordPredictions", json=body))
    assert (problem["status"], problem["reason"]) == (409, "CONFLICTING_RECORD")
    problem = problem_of(web.post("/v1/monitors/none:recordPredictions", json=body))
    assert (problem["status"], problem["reason"]) == (404, "MONITOR_NOT_FOUND")


def scores(label, *values):
    return {"scores": [pb.ScoreColumn(label=label, scores=values)]}


def codes(attribute, levels, *values):
    return {"attributes": [pb.AttributeColumn(attribute=attribute, levels=levels, codes=values)]}


@pytest.mark.parametrize(("change", "refused"), [
    ({"record_ids": []}, ("BATCH_INVALID", "record_ids")),
    ({"record_ids": ["r0", "", "r2", "r3"]}, ("BATCH_INVALID", "record_ids[1]")),
    ({"record_ids": [f"r{number}" for number in range(100_001)]}, ("BATCH_INVALID", "record_ids")),
    ({"patient_ids": ["p"]}, ("BATCH_INVALID", "patient_ids")),
    ({"model_version": "v" * 101}, ("BATCH_INVALID", "model_version")),
    ({"time_micros": [NOW_US] * 3}, ("BATCH_INVALID", "time_micros")),
    ({"time_micros": [NOW_US, NOW_US, 2 * NOW_US, NOW_US]}, ("TIME_IN_FUTURE", "time_micros[2]")),
    ({"time_micros": [NOW_US, 0, NOW_US, NOW_US]}, ("TIME_BEFORE_ORIGIN", "time_micros[1]")),
    (scores("Mass", 0.1), ("BATCH_INVALID", "scores[0].scores")),
    (scores("Gout", 0.1, 0.1, 0.1, 0.1), ("BATCH_INVALID", "scores[0].label")),
    ({"scores": [pb.ScoreColumn(label="Mass", scores=[0.1] * 4)] * 2}, ("BATCH_INVALID", "scores[1].label")),
    (scores("Mass", 0.1, 0.2, 1.5, 0), ("SCORE_INVALID", "scores[1].scores[2]")),
    (scores("Mass", 0.1, float("inf"), 1, 0), ("SCORE_INVALID", "scores[1].scores[1]")),
    (codes("bmi", ["a"], 0, 0, 0, 0), ("BATCH_INVALID", "attributes[0]")),
    (codes("sex", ["Male"], 0, 0, 0, 1), ("BATCH_INVALID", "attributes[0].codes[3]")),
    (codes("sex", ["Male", "male"], 0, 0, 1, 0), ("LEVEL_UNKNOWN", "attributes[0].levels[1]")),
])  # fmt: skip
def test_a_wrong_batch_is_refused_by_name_and_nothing_of_it_is_kept(world, stub, monitor, change, refused):
    status, reason, field, message = refusal(stub.RecordPredictions, predictions(monitor, **change))
    assert status == "INVALID_ARGUMENT"
    assert (reason, field) == refused
    if reason == "LEVEL_UNKNOWN":
        assert "'male'" in message
    assert world.ledger.arrivals(monitor)["predictions"] == 0


def test_levels_that_no_row_has_need_not_be_known(stub, monitor):
    column = pb.AttributeColumn(attribute="sex", levels=["Male", "Unknown"], codes=[0, 0, -1, 0])
    assert stub.RecordPredictions(predictions(monitor, attributes=[column])).recorded == 4


def test_a_conflict_shows_both_digests_and_keeps_nothing(world, stub, monitor):
    stub.RecordPredictions(predictions(monitor, count=2))
    other = predictions(monitor, scores=[pb.ScoreColumn(label="Mass", scores=[0.25, 0.5, 1.0, 0.0])])
    status, reason, _, message = refusal(stub.RecordPredictions, other)
    assert (status, reason) == ("ALREADY_EXISTS", "CONFLICTING_RECORD")
    assert "digest" in message
    assert "r1" not in message
    assert world.ledger.arrivals(monitor)["predictions"] == 2


@pytest.mark.parametrize(("labels", "reason"), [
    ([pb.LabelColumn(label="Gout", values=[1])], "LABEL_UNKNOWN"),
    ([pb.LabelColumn(label="Mass", values=[2])], "LABEL_INVALID"),
    ([pb.LabelColumn(label="Mass", values=[1, 0])], "BATCH_INVALID"),
])  # fmt: skip
def test_wrong_labels_are_refused_by_name(stub, monitor, labels, reason):
    status, found, field, _ = refusal(
        stub.RecordLabels, pb.RecordLabelsRequest(monitor=monitor, record_ids=["a"], labels=labels)
    )
    assert (status, found) == ("INVALID_ARGUMENT", reason)
    assert field.startswith("labels[0].")


def test_conflicting_labels_are_refused(stub, monitor):
    def said(value):
        column = pb.LabelColumn(label="Mass", values=[value])
        return pb.RecordLabelsRequest(monitor=monitor, record_ids=["a"], labels=[column])

    stub.RecordLabels(said(1))
    assert refusal(stub.RecordLabels, said(0))[:2] == ("ALREADY_EXISTS", "CONFLICTING_LABEL")


def test_a_monitor_that_is_deleted_takes_nothing_more(world, stub, monitor):
    stub.RecordPredictions(predictions(monitor))
    world.ledger.delete_monitor(monitor)
    assert refusal(stub.RecordPredictions, predictions(monitor))[:2] == ("NOT_FOUND", "MONITOR_NOT_FOUND")
    world.ledger.put_resource("audits/a", "audit", {})
    assert refusal(stub.RecordPredictions, predictions("audits/a"))[:2] == ("NOT_FOUND", "MONITOR_NOT_FOUND")


def test_the_rest_of_the_service_is_the_monitoring_applications(stub, monitor):
    assert refusal(stub.GetMonitor, pb.GetMonitorRequest(name=monitor))[:2] == ("UNAVAILABLE", "APP_UNAVAILABLE")


def test_rows_are_counted_on_metrics(world, stub, web, monitor):
    def counted(kind, outcome):
        wanted = f'evenhand_gateway_arrival_rows_total{{kind="{kind}",outcome="{outcome}"}} '
        lines = [line for line in web.get("/metrics").text.splitlines() if line.startswith(wanted)]
        return float(lines[0].removeprefix(wanted)) if lines else 0.0

    before = counted("predictions", "recorded"), counted("predictions", "duplicates")
    stub.RecordPredictions(predictions(monitor))
    stub.RecordPredictions(predictions(monitor))
    assert (counted("predictions", "recorded"), counted("predictions", "duplicates")) == (before[0] + 4, before[1] + 4)


def test_a_store_that_is_away_acknowledges_nothing(make_world, monkeypatch):
    world = make_world()
    world.ledger.put_resource("monitors/m", "monitor", BODY)

    def away(*_, **__):
        raise Unavailable("away", reason="STORE_UNAVAILABLE")

    with grpc.insecure_channel(world.grpc) as channel:
        stub = monitoring_service_pb2_grpc.MonitoringServiceStub(channel)
        monkeypatch.setattr(world.store, "put", away)
        assert refusal(stub.RecordPredictions, predictions("monitors/m"))[:2] == ("UNAVAILABLE", "STORE_UNAVAILABLE")
        monkeypatch.undo()
        assert stub.RecordPredictions(predictions("monitors/m")).recorded == 4


def test_a_caller_who_leaves_keeps_its_place_until_its_rows_are_kept(make_world, monkeypatch):
    world = make_world()
    world.ledger.put_resource("monitors/m", "monitor", BODY)
    go_on, put = threading.Event(), world.store.put

    def slow(*given, **named):
        go_on.wait(20)
        return put(*given, **named)

    monkeypatch.setattr(world.store, "put", slow)
    with grpc.insecure_channel(world.grpc) as channel:
        stub = monitoring_service_pb2_grpc.MonitoringServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.RecordPredictions(predictions("monitors/m"), timeout=0.5)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(0.2)
        assert world.edge.api._admission.depths()["arrivals"] == (1, 0)
        go_on.set()
        assert stub.RecordPredictions(predictions("monitors/m")) == pb.RecordPredictionsResponse(duplicates=4)
        assert world.edge.api._admission.depths()["arrivals"] == (0, 0)
