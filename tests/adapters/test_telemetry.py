import inspect
import os
import subprocess
import sys

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from services.adapters.telemetry import NullTelemetry, PrometheusTelemetry, Telemetry


def samples(text: bytes) -> dict:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_requests_and_batches_are_counted_under_their_labels():
    telemetry = PrometheusTelemetry()
    for seconds in (0.001, 0.3):
        telemetry.request(transport="grpc", method="ModelInfer", status="OK", seconds=seconds)
    telemetry.batch(app="classifiers", model="m", size=3, padded=4, seconds=0.01)
    telemetry.queue(queue="m", running=2, waiting=5)
    telemetry.inference(model="m", status="OK")
    telemetry.ready(app="gateway", ready=True)
    found = samples(telemetry.exposition())
    assert found["evenhand_gateway_requests_total", "ModelInfer", "OK", "grpc"] == 2
    assert found["evenhand_gateway_request_seconds_count", "ModelInfer", "grpc"] == 2
    assert found["evenhand_batch_rows_sum", "classifiers", "m"] == 3
    assert found["evenhand_batch_padding_rows_total", "classifiers", "m"] == 1
    assert found["evenhand_gateway_waiting", "m"] == 5
    assert found["evenhand_gateway_inferences_total", "OK", "m"] == 1
    assert found["evenhand_ready", "gateway"] == 1
    telemetry.ready(app="gateway", ready=False)
    assert samples(telemetry.exposition())["evenhand_ready", "gateway"] == 0


def test_a_hostile_label_value_cannot_forge_a_sample():
    class Hostile:
        def collect(self):
            family = GaugeMetricFamily("evenhand_subgroup_n", "n", labels=["group"])
            family.add_metric(['x"} 1\nforged_metric 7\n\\'], 3)
            yield family

    found = samples(PrometheusTelemetry().exposition([Hostile()]))
    assert not any(key[0] == "forged_metric" for key in found)
    assert found["evenhand_subgroup_n", 'x"} 1\nforged_metric 7\n\\'] == 3


FOLDER_VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "EVENHAND_DATA_DIR")
PROCESS = """
import prometheus_client  # as Ray may have done, before the folder was known
from services.adapters.telemetry import open_telemetry
telemetry = open_telemetry()
telemetry.request(transport="rest", method="GetAudit", status="OK", seconds=0.1)
telemetry.queue(queue="m", running=1, waiting=1)
if __import__("sys").argv[1:]:
    telemetry.ready(app="gateway", ready=True)
print(telemetry.exposition().decode())
"""


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "EVENHAND_DATA_DIR"])
def test_processes_share_counters_and_the_gauges_of_the_dead_are_forgotten(tmp_path, variable):
    folder = tmp_path / "metrics"
    folder.mkdir()
    unset = {key: value for key, value in os.environ.items() if key not in FOLDER_VARIABLES}
    environment = {**unset, variable: str(folder if variable.startswith("PROM") else tmp_path)}
    for arguments in ([], ["ready"]):
        command = [sys.executable, "-c", PROCESS, *arguments]
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
    found = samples(done.stdout)
    assert found["evenhand_ready", "gateway"] == 1  # the process that never said so does not count
    assert found["evenhand_gateway_requests_total", "GetAudit", "OK", "rest"] == 2
    assert found["evenhand_gateway_running", "m"] == 1


def test_the_null_twin_has_the_same_methods():
    for name, method in inspect.getmembers(Telemetry, inspect.isfunction):
        if not name.startswith("_"):
            for twin in (NullTelemetry, PrometheusTelemetry):
                assert inspect.signature(getattr(twin, name)) == inspect.signature(method)
    assert NullTelemetry().exposition() == b""
