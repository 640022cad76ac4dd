"""tritonclient, as it comes, against the gateway."""

import asyncio
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio

from services.gateway.open_inference import SERVER_VERSION


@pytest.fixture(params=["grpc", "http"])
def client(request, world):
    if request.param == "grpc":
        made = triton_grpc.InferenceServerClient(world.grpc)
        made.library = triton_grpc
    else:
        made = triton_http.InferenceServerClient(world.http.removeprefix("http://"))
        made.library = triton_http
    yield made
    made.close()


def tensor(library, pixels, *, datatype="FP32", **how):
    made = library.InferInput("image", pixels.shape, datatype)
    made.set_data_from_numpy(pixels, **how)
    return made


def as_dict(reply):
    from google.protobuf.json_format import MessageToDict

    return reply if isinstance(reply, dict) else MessageToDict(reply, preserving_proto_field_name=True)


def test_server_and_models_are_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("affine", "1")
    assert not client.is_model_ready("affine", "9")
    assert not client.is_model_ready("nothing")


def test_metadata_tells_names_shapes_and_versions(client):
    assert as_dict(client.get_server_metadata())["version"] == SERVER_VERSION
    model = as_dict(client.get_model_metadata("affine"))
    assert model["versions"] == ["1", "2"]
    assert [int(extent) for extent in model["inputs"][0]["shape"]] == [-1, 1, 64, 64]
    assert model["outputs"][0]["name"] == "image"
    assert model["inputs"][0]["datatype"] == "FP32"


def test_configuration_and_index_are_there(client):
    assert as_dict(client.get_model_config("affine"))
    index = client.get_model_repository_index()
    models = index if isinstance(index, list) else as_dict(index)["models"]
    assert [(m["name"], m["version"], m["state"]) for m in models] == [
        ("affine", "1", "READY"),
        ("affine", "2", "READY"),
    ]


@pytest.mark.parametrize("datatype", [np.float32, np.float16, np.float64])
def test_inference_computes_what_the_model_does(client, datatype, images, affine):
    pixels = images(3).astype(datatype)
    name = {"float32": "FP32", "float16": "FP16", "float64": "FP64"}[np.dtype(datatype).name]
    reply = client.infer("affine", [tensor(client.library, pixels, datatype=name)], request_id="r1")
    np.testing.assert_allclose(reply.as_numpy("image"), affine(pixels), atol=1e-6)
    response = as_dict(reply.get_response())
    assert (response["id"], response["model_version"]) == ("r1", "2")


def test_a_named_version_and_a_named_output_are_respected(client, images):
    reply = client.infer(
        "affine",
        [tensor(client.library, images())],
        model_version="1",
        outputs=[client.library.InferRequestedOutput("image")],
    )
    assert as_dict(reply.get_response())["model_version"] == "1"
    assert reply.as_numpy("image").shape == (1, 1, 64, 64)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_http_tensors_travel_as_bytes_or_as_numbers(world, binary_in, binary_out, images, affine):
    client = triton_http.InferenceServerClient(world.http.removeprefix("http://"))
    pixels = images()
    reply = client.infer(
        "affine",
        [tensor(triton_http, pixels, binary_data=binary_in)],
        outputs=[triton_http.InferRequestedOutput("image", binary_data=binary_out)],
    )
    np.testing.assert_allclose(reply.as_numpy("image"), affine(pixels), atol=1e-6)
    assert ("data" in reply.get_response()["outputs"][0]) is not binary_out
    client.close()


def test_grpc_tensors_may_come_as_typed_contents(world, channel, images, affine):
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    pixels = images()
    request = service_pb2.ModelInferRequest(model_name="affine")
    given = request.inputs.add(name="image", datatype="FP32", shape=pixels.shape)
    given.contents.fp32_contents.extend(pixels.ravel().tolist())
    reply = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    got = np.frombuffer(reply.raw_output_contents[0], np.float32).reshape(pixels.shape)
    np.testing.assert_allclose(got, affine(pixels), atol=1e-6)


async def test_the_asynchronous_clients_work_too(world, images, affine):
    pixels = images()
    async with triton_grpc_aio.InferenceServerClient(world.grpc) as client:
        replies = await asyncio.gather(*(client.infer("affine", [tensor(triton_grpc, pixels)]) for _ in range(8)))
    async with triton_http_aio.InferenceServerClient(world.http.removeprefix("http://")) as client:
        replies.append(await client.infer("affine", [tensor(triton_http, pixels)]))
    for reply in replies:
        np.testing.assert_allclose(reply.as_numpy("image"), affine(pixels), atol=1e-6)


def test_a_stream_answers_in_order_and_outlives_a_bad_request(world, images, affine):
    answers: queue.Queue = queue.Queue()
    client = triton_grpc.InferenceServerClient(world.grpc)
    client.start_stream(lambda result, error: answers.put((result, error)))
    for seed in range(3):
        client.async_stream_infer(
            "affine", [tensor(triton_grpc, images(seed=seed))], request_id=str(seed), enable_empty_final_response=True
        )
    client.async_stream_infer("nothing", [tensor(triton_grpc, images())], request_id="bad")
    client.async_stream_infer("affine", [tensor(triton_grpc, images())], request_id="last")
    got = [answers.get(timeout=10) for _ in range(5)]
    client.stop_stream()
    for seed in range(3):
        result, error = got[seed]
        assert error is None
        assert result.get_response().id == str(seed)
        assert result.get_response().parameters["triton_final_response"].bool_param
        np.testing.assert_allclose(result.as_numpy("image"), affine(images(seed=seed)), atol=1e-6)
    assert "nothing" in str(got[3][1])
    assert got[4][0].get_response().id == "last"
    client.close()
