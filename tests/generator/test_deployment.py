"""Generator and upscaler on a real Ray Serve: streams over the handle, and a counterfactual that outlives a replica."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from typing import Any

import pytest
import ray
from evenhand.generation.v1 import counterfactual_pb2, generation_pb2, generation_service_pb2
from google.longrunning import operations_pb2
from ray import serve

from services.adapters.ledger import Operation, open_ledger
from services.errors import InvalidInput
from services.generator.app import build as build_generator
from services.generator.settings import Settings
from services.hosting.envelope import unseal
from services.upscaler.app import build as build_upscaler
from services.upscaler.settings import Settings as UpscalerSettings
from tests.generator.world import write_zoo

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

MODEL = "models/pelvis-diffusion"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("data")
    write_zoo(folder / "zoo")
    quick = {"lease_ttl_s": 2.0, "renew_every_s": 0.5, "frames_per_chunk": 2}
    return Settings(data_dir=folder, registries=(folder / "zoo",), device="cpu", **quick)


@pytest.fixture(scope="module")
def handle(settings: Settings) -> Any:
    upscaler = UpscalerSettings(data_dir=settings.data_dir, registries=settings.registries, device="cpu")
    with tempfile.TemporaryDirectory(prefix="eh") as folder:  # short, for the paths of Ray's sockets
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        serve.start(proxy_location="Disabled")
        serve.run(build_upscaler(upscaler), name="upscaler", route_prefix=None)
        yield serve.run(build_generator(settings), name="generator", route_prefix=None)
        serve.shutdown()
        ray.shutdown()


def call(handle: Any, method: str, request: Any) -> bytes:
    reply = handle.options(method_name=method).remote(request.SerializeToString(), {"deadline_s": 60}).result()
    return bytes(unseal(reply))


def streamed(handle: Any, spec: generation_pb2.GenerationSpec) -> list[generation_service_pb2.GenerateImagesResponse]:
    request = generation_service_pb2.GenerateImagesRequest(spec=spec).SerializeToString()
    replies = handle.options(method_name="GenerateImages", stream=True).remote(request, {"deadline_s": 60})
    return [generation_service_pb2.GenerateImagesResponse.FromString(unseal(reply)) for reply in replies]


def test_images_are_streamed_over_the_handle(handle: Any) -> None:
    spec = generation_pb2.GenerationSpec(
        model=MODEL, attributes={"sex": "Male"}, count=3, steps=3, upscale_model="models/pelvis-upscaler"
    )
    responses = streamed(handle, spec)
    assert sorted(response.index for response in responses) == [0, 1, 2]
    assert all(list(response.image.shape) == [1, 32, 32] for response in responses)


def test_an_error_keeps_its_class_over_the_stream(handle: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        streamed(handle, generation_pb2.GenerationSpec(model=MODEL, attributes={"sex": "Unknown"}))
    assert refused.value.reason == "LEVEL_UNKNOWN"


def test_a_counterfactual_survives_its_replica(handle: Any, settings: Settings) -> None:
    spec = counterfactual_pb2.CounterfactualSpec(
        model=MODEL,
        source_attributes={"race": "White"},
        target_attributes={"race": "Black"},
        frames=24,
        steps=40,
        upscale_model="models/pelvis-upscaler",
        upscale_steps=3,
    )
    request = generation_service_pb2.CreateCounterfactualRequest(spec=spec)
    name = operations_pb2.Operation.FromString(call(handle, "CreateCounterfactual", request)).name
    ledger = open_ledger(settings.ledger)
    _wait(lambda: ledger.get_operation(name).rows_done >= 4)
    committed = ledger.chunk_results(name)
    os.kill(_pid_of(ledger.history(name)), signal.SIGKILL)
    _wait(lambda: ledger.get_operation(name).done)
    operation: Operation = ledger.get_operation(name)
    assert operation.state == "succeeded", operation.error
    assert ledger.chunk_results(name)[: len(committed)] == committed
    assert operation.rows_done == 24
    ledger.close()


def _pid_of(history: list[dict[str, Any]]) -> int:
    """The process that leased last: a worker's name is host/pid/number."""
    worker = [event["details"]["worker"] for event in history if event["event"] in ("leased", "taken_over")][-1]
    return int(worker.split("/")[1])


def _wait(done: Any, limit_s: float = 400.0) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)
