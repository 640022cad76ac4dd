"""Served traffic as a source of monitors, sent by tritonclient as it comes."""

import json
import logging
import time
import uuid

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from services.adapters.arrivals import ArrivalLog, WatchSpec, digest_ids
from services.adapters.ledger import utc_now
from services.adapters.telemetry import NullTelemetry
from services.gateway.backends import LocalBackends
from services.gateway.tap import Answered, Tap, predictions_of, sampled
from tests.gateway.conftest import World
from tests.packages import write_classifier

LABELS = ("Edema", "Mass")


class ListeningBackends(LocalBackends):
    """Remembers what models are told."""

    told = ()

    async def infer(self, app, model, version, inputs, parameters):
        self.told = (*self.told, dict(parameters))
        return await super().infer(app, model, version, inputs, parameters)


def body(name, rate=1.0, **spec):
    return {
        "name": name,
        "spec": {
            "model": "models/classifier",
            "labels": [{"label": "Mass", "threshold": 0.4}, {"label": "Gout", "threshold": 0.5}],
            "attributes": [{"attribute": "sex", "levels": ["Female", "Male"]}],
            "window": {"length": "864000000s", "origin": "2020-01-01T00:00:00Z"},
            "source": {"tap": {"sampling_rate": rate}},
            **spec,
        },
    }


SPEC = WatchSpec.of(body(""))


@pytest.fixture(scope="module")
def tapped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tapped")
    write_classifier(folder / "models", labels=LABELS)
    world = World(folder, drain_s=1.0)
    world.backends = ListeningBackends({"reconstruction": world.host})
    yield world.start()
    world.stop()


@pytest.fixture
def monitor(tapped):
    """A monitor of its own; the tap learns of it at once."""
    name = f"monitors/{uuid.uuid4()}"

    def make(**how):
        tapped.ledger.put_resource(name, "monitor", body(name, **how))
        tapped.edge.tap._read_at = -float("inf")
        return name

    yield make
    if tapped.ledger.get_resource(name):
        tapped.ledger.delete_monitor(name)


@pytest.fixture(params=["grpc", "http"])
def client(request, tapped):
    if request.param == "grpc":
        made = triton_grpc.InferenceServerClient(tapped.grpc)
        made.library = triton_grpc
    else:
        made = triton_http.InferenceServerClient(tapped.http.removeprefix("http://"))
        made.library = triton_http
    yield made
    made.close()


def ask(client, count=1, **parameters):
    pixels = np.random.default_rng(count).random((count, 1, 8, 8), np.float32)
    image = client.library.InferInput("image", pixels.shape, "FP32")
    image.set_data_from_numpy(pixels)
    return client.infer("classifier", [image], parameters=parameters).as_numpy("probabilities")


def arrived(world, name, wanted, within_s=10.0):
    """Predictions of a monitor once there are ``wanted``."""
    until = time.monotonic() + within_s
    while world.ledger.arrivals(name)["predictions"] < wanted and time.monotonic() < until:
        time.sleep(0.02)
    return world.ledger.arrivals(name)["predictions"]


def counted(world, outcome):
    wanted = f'evenhand_gateway_arrival_rows_total{{kind="tapped",outcome="{outcome}"}} '
    lines = [line for line in world.telemetry.exposition().decode().splitlines() if line.startswith(wanted)]
    return float(lines[0].removeprefix(wanted)) if lines else 0.0


def read(world, name):
    return ArrivalLog(world.ledger, world.store).read_window(name, SPEC, 0)


def test_a_request_that_names_patient_and_record_is_recorded(tapped, client, monitor):
    name = monitor()
    first = ask(client, patient_id="p1", record_id="r1", **{"attribute.sex": "Male"})
    ask(client, patient_id="p2", record_id="r2", **{"attribute.race": "unwatched"})
    ask(client)
    assert arrived(tapped, name, 2) == 2
    found = read(tapped, name)
    order = np.argsort([bytes(digest) for digest in digest_ids(["r1", "r2"])])
    assert [found.codes[0, place] for place in np.argsort(order)] == [1, -1]
    assert found.scores[0, list(order).index(0)] == first[0, LABELS.index("Mass")]
    assert np.isnan(found.scores[1]).all(), "the model has no such label"
    assert found.versions == {"1": 2}


def test_many_rows_take_lists(tapped, client, monitor):
    name = monitor()
    scores = ask(client, 3, patient_id='["p", "p", "q"]', record_id='["a", "b", "c"]', **{
        "attribute.sex": '["Male", null, "Female"]'})  # fmt: skip
    assert arrived(tapped, name, 3) == 3
    found = read(tapped, name)
    assert sorted(found.scores[0].tolist()) == sorted(scores[:, 1].tolist())
    assert sorted(found.codes[0].tolist()) == [-1, 0, 1]
    assert sorted(np.bincount(found.patients).tolist()) == [1, 2]


def test_a_request_that_is_sent_again_is_recorded_once(tapped, client, monitor):
    name = monitor()
    for _ in range(3):
        ask(client, patient_id="p", record_id="r")
    ask(client, patient_id="p", record_id="last")
    assert arrived(tapped, name, 2) == 2
    assert tapped.ledger.arrivals(name)["duplicates"] == 2


@pytest.mark.parametrize("parameters", [
    {"record_id": "r"},
    {"record_id": "r", "patient_id": ""},
    {"record_id": "r", "patient_id": "p", "attribute.sex": "male"},
])  # fmt: skip
def test_what_cannot_be_read_is_answered_and_counted(tapped, client, monitor, parameters):
    name, before = monitor(), counted(tapped, "invalid")
    assert ask(client, **parameters).shape == (1, 2)
    ask(client, patient_id="p", record_id="good")
    assert arrived(tapped, name, 1) == 1
    assert counted(tapped, "invalid") == before + 1


@pytest.mark.parametrize("value", ["a", "[", '["a"]', '{"a": 1}', "[" * 100_000])
def test_lists_of_another_length_are_answered_and_counted(tapped, client, monitor, value):
    name, before = monitor(), counted(tapped, "invalid")
    assert ask(client, 2, patient_id='["p", "q"]', record_id=value).shape == (2, 2)
    ask(client, patient_id="p", record_id="good")
    assert arrived(tapped, name, 1) == 1
    assert counted(tapped, "invalid") == before + 2


def test_without_a_monitor_that_taps_the_model_nothing_is_recorded(tapped, client, monitor):
    posted = monitor(source={})
    assert ask(client, patient_id="p", record_id="r").shape == (1, 2)
    until = time.monotonic() + 10
    while tapped.edge.tap._read_at < 0 and time.monotonic() < until:  # then the request was looked at
        time.sleep(0.02)
    time.sleep(0.1)
    tapped.ledger.put_resource("monitors/control", "monitor", body("monitors/control"))
    tapped.edge.tap._read_at = -float("inf")
    ask(client, patient_id="p", record_id="later")
    assert arrived(tapped, "monitors/control", 1) == 1
    assert tapped.ledger.arrivals(posted)["predictions"] == 0
    tapped.ledger.delete_monitor("monitors/control")


def test_parameters_reach_neither_the_model_nor_a_log(tapped, client, monitor, caplog):
    name = monitor()
    with caplog.at_level(logging.DEBUG):
        ask(client, patient_id="MRN-4711", record_id="ACC-0815", **{"attribute.sex": "Male"})
        ask(client, patient_id="MRN-4712", record_id="ACC-0816", **{"attribute.sex": "SECRET-LEVEL"})
        assert arrived(tapped, name, 1) == 1
    assert all(not told for told in tapped.backends.told)
    for secret in ("4711", "0815", "SECRET-LEVEL"):
        assert secret not in caplog.text
    segment = tapped.ledger.segments(name)[0]
    assert b"4711" not in tapped.store.get(segment.key)


def test_a_share_of_records_is_drawn_the_same_everywhere():
    records = digest_ids(str(number) for number in range(20_000))
    drawn = sampled(records, 0.3)
    assert abs(drawn.mean() - 0.3) < 0.02
    assert (drawn <= sampled(records, 0.6)).all(), "a larger share draws the records of a smaller one"
    assert sampled(records, 1.0).all()
    assert (sampled(records[::-1], 0.3) == drawn[::-1]).all()


def test_a_full_queue_drops_and_counts_and_answers(tapped):
    class Counting(NullTelemetry):
        dropped = 0

        def rows(self, *, kind, outcome, count):
            self.dropped += count if outcome == "dropped" else 0

    telemetry = Counting()
    tap = Tap(tapped.ledger, ArrivalLog(tapped.ledger, tapped.store), telemetry, most_waiting=3)
    tap._thread = object()  # nobody takes anything out
    for number in range(5):
        entry = {"task": "classification", "labels": LABELS}
        tap.offer("classifier", "1", entry, np.zeros((2, 2), np.float32), {"record_id": str(number)})
    assert telemetry.dropped == 4
    tap.offer("unet", "1", {"task": "reconstruction"}, np.zeros((9, 1, 8, 8)), {"record_id": "r"})
    assert telemetry.dropped == 4, "a model without scores has nothing to record"


def test_what_waits_is_recorded_when_the_gateway_ends(tapped, monitor):
    name = monitor()
    tap = Tap(tapped.ledger, ArrivalLog(tapped.ledger, tapped.store), NullTelemetry())
    for number in range(50):
        parameters = {"record_id": str(number), "patient_id": "p"}
        tap.offer("classifier", "1", {"task": "classification", "labels": LABELS}, np.full((1, 2), 0.5), parameters)
    tap.close()
    assert tapped.ledger.arrivals(name)["predictions"] == 50


def test_a_single_row_takes_its_texts_as_they_are():
    answered = Answered("m", "1", LABELS, np.zeros((1, 2)), {"record_id": '["x"]', "patient_id": 7}, utc_now())
    found = predictions_of(answered, SPEC)
    assert (found.records == digest_ids(['["x"]'])).all()
    assert (found.patients == digest_ids([json.dumps(7)])).all()
