"""An unmodified tritonclient reaches every served model, over gRPC and HTTP, blocking and asyncio."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient.utils import InferenceServerException

from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.hosting.calls import NETWORK_TASKS, LocalModelCalls
from tests.e2e.conftest import ROOT, Platform

pytestmark = pytest.mark.ray

REGISTRY = DirectoryRegistry([ROOT / "deploy" / "zoo"])
SERVED = REGISTRY.models()
MODELS = [record for record in SERVED if record.task in NETWORK_TASKS]
"""Those that answer with one pass of a network; what samples is in tests/gateway/test_sampled_models.py."""


def images(record: ModelRecord, rows: int = 2) -> np.ndarray:
    shape = (rows, record.input.channels, record.input.height, record.input.width)
    low, high = record.input.low, record.input.high
    return low + (high - low) * np.random.default_rng(3).random(shape, np.float32)


@pytest.fixture(scope="module")
def local() -> LocalModelCalls:
    return LocalModelCalls(REGISTRY)


def inputs(module, given: np.ndarray):  # type: ignore[no-untyped-def]
    tensor = module.InferInput("image", list(given.shape), "FP32")
    tensor.set_data_from_numpy(given)
    return [tensor]


@pytest.mark.parametrize("record", MODELS, ids=lambda record: record.name)
async def test_all_four_clients_get_what_the_network_computes(
    record: ModelRecord, platform: Platform, local: LocalModelCalls
) -> None:
    given = images(record)
    expected = await local.infer(record.name, given, batch=2)
    http = platform.http.removeprefix("http://")
    asked = (record.name, inputs(triton_grpc, given), record.version)  # another test trains a version more
    answers = [
        triton_grpc.InferenceServerClient(platform.grpc).infer(*asked),
        triton_http.InferenceServerClient(http).infer(record.name, inputs(triton_http, given), record.version),
    ]
    async with triton_grpc_aio.InferenceServerClient(platform.grpc) as client:
        answers.append(await client.infer(*asked))
    async with triton_http_aio.InferenceServerClient(http) as client:
        answers.append(await client.infer(record.name, inputs(triton_http, given), record.version))
    for answer in answers:
        response = answer.get_response()
        outputs = response["outputs"] if isinstance(response, dict) else response.outputs
        name = outputs[0]["name"] if isinstance(response, dict) else outputs[0].name
        np.testing.assert_allclose(answer.as_numpy(name), expected, atol=1e-5)


def test_the_zoo_is_what_is_served(platform: Platform) -> None:
    client = triton_grpc.InferenceServerClient(platform.grpc)
    assert client.is_server_live() and client.is_server_ready()
    for record in SERVED:
        assert client.is_model_ready(record.name)
    for record in MODELS:
        metadata = client.get_model_metadata(record.name)
        assert [list(i.shape) for i in metadata.inputs] == [
            [-1, record.input.channels, record.input.height, record.input.width]
        ]


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("fault", ["model", "shape", "nan", "range", "name"])
def test_bad_tensors_are_the_callers_error_on_both_transports(platform: Platform, transport: str, fault: str) -> None:
    module = triton_grpc if transport == "grpc" else triton_http
    address = platform.grpc if transport == "grpc" else platform.http.removeprefix("http://")
    record = MODELS[0]
    given = images(record)
    model = "nothing" if fault == "model" else record.name
    if fault == "shape":
        given = given[..., :-1].copy()
    if fault == "nan":
        given[0, 0, 0, 0] = np.nan
    if fault == "range":
        given = given + 5
    tensors = inputs(module, given)
    if fault == "name":
        tensors = [module.InferInput("picture", list(given.shape), "FP32")]
        tensors[0].set_data_from_numpy(given)
    with pytest.raises(InferenceServerException) as caught:
        module.InferenceServerClient(address).infer(model, tensors)
    status = str(caught.value.status() or "")
    assert status in {"StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND", "400", "404"}, status
    assert "Traceback" not in str(caught.value)
