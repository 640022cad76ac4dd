"""Generators and super-resolution through tritonclient, as it comes."""

import json

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from services.errors import InvalidInput, OutOfRange
from services.gateway.parameters import passed_on
from tests.gateway.generator_twin import SIDE, GeneratorTwin


@pytest.fixture
def studio(make_world):
    return make_world(generator=GeneratorTwin)


@pytest.fixture(params=["grpc", "http"])
def client(request, studio):
    library = triton_grpc if request.param == "grpc" else triton_http
    address = studio.grpc if request.param == "grpc" else studio.http.removeprefix("http://")
    made = library.InferenceServerClient(address)
    made.library = library
    yield made
    made.close()


def given(library, name, array, datatype="FP32", **how):
    made = library.InferInput(name, array.shape, datatype)
    made.set_data_from_numpy(array, **how)
    return made


def texts(*prompts):
    return np.array(prompts, object).reshape(-1, 1)


def test_a_prompt_is_bytes_and_its_parameters_arrive(client, studio):
    prompt = texts("Frontal chest radiograph, ♀, age in 60s", "normal")
    parameters = {"seed": 2**63 - 1, "steps": 12, "guidance_scale": 2.5, "sampler": "ddim", "priority_of_mine": 3}
    reply = client.infer("words", [given(client.library, "prompt", prompt, "BYTES")], parameters=parameters)
    assert reply.as_numpy("image").shape == (2, 1, SIDE, SIDE)
    model, inputs, passed = studio.generator.inferred[-1]
    assert model == "words"
    assert inputs["prompt"].tolist() == prompt.tolist()
    assert 0 < passed.pop("deadline_s") <= 60
    assert passed == {"seed": 2**63 - 1, "steps": 12, "guidance_scale": 2.5, "sampler": "ddim"}


def test_attributes_are_a_vector_in_which_nan_leaves_one_open(client, studio):
    vector = np.array([[1, 0, np.nan], [np.nan, np.nan, 0.25]], np.float32)
    client.infer("pelvis", [given(client.library, "attributes", vector)], parameters={"seed": 1})
    np.testing.assert_array_equal(studio.generator.inferred[-1][1]["attributes"], vector)


def test_a_mask_travels_beside_its_prompt(client, studio):
    mask = np.ones((2, 2, SIDE, SIDE), np.float32)
    inputs = [given(client.library, "mask", mask), given(client.library, "prompt", texts("a", "b"), "BYTES")]
    assert client.infer("masked", inputs).as_numpy("image").shape == (2, 1, SIDE, SIDE)
    assert set(studio.generator.inferred[-1][1]) == {"prompt", "mask"}
    with pytest.raises(InferenceServerException, match="different numbers of rows"):
        client.infer("masked", [inputs[0], given(client.library, "prompt", texts("a"), "BYTES")])
    with pytest.raises(InferenceServerException, match="'prompt' exactly once"):
        client.infer("masked", [inputs[0]])


def test_super_resolution_takes_images_of_any_size(client):
    metadata = client.get_model_metadata("larger")
    if not isinstance(metadata, dict):
        metadata = MessageToDict(metadata)
    assert [int(extent) for extent in metadata["inputs"][0]["shape"]] == [-1, 1, -1, -1]
    pixels = np.zeros((3, 1, SIDE, 2 * SIDE), np.float32)
    reply = client.infer("larger", [given(client.library, "image", pixels)], parameters={"seed": 5})
    assert reply.as_numpy("image").shape[:2] == (3, 1)
    with pytest.raises(InferenceServerException, match="shape"):
        client.infer("larger", [given(client.library, "image", pixels[:, [0, 0]])])


def test_metadata_and_configuration_name_the_datatypes(studio):
    metadata = httpx.get(f"{studio.http}/v2/models/masked").json()
    assert metadata["inputs"] == [
        {"name": "prompt", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "mask", "datatype": "FP32", "shape": [-1, 2, SIDE, SIDE]},
    ]
    config = httpx.get(f"{studio.http}/v2/models/masked/config").json()
    assert [(tensor["name"], tensor["data_type"]) for tensor in config["input"]] == [
        ("prompt", "TYPE_STRING"),
        ("mask", "TYPE_FP32"),
    ]


def test_a_prompt_may_be_plain_json(studio):
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}
    request = {"inputs": [tensor], "parameters": {"guidance_scale": "3", "seed": 4}}
    assert httpx.post(f"{studio.http}/v2/models/words/infer", json=request).status_code == 200
    assert studio.generator.inferred[-1][2]["guidance_scale"] == 3.0


@pytest.mark.parametrize(
    ("tensor", "reason", "field"),
    [
        ({"datatype": "FP32", "data": [1.0]}, "DATATYPE_UNSUPPORTED", "inputs.prompt.datatype"),
        ({"data": [1.0]}, "TENSOR_DATA_INVALID", "inputs.prompt.data"),
        ({"data": ["a", "b"]}, "SHAPE_MISMATCH", "inputs.prompt.data"),
        ({"data": ["\ud800"]}, "TENSOR_DATA_INVALID", "inputs.prompt.data"),
        ({"data": None}, "TENSOR_DATA_INVALID", "inputs.prompt.data"),
        ({"shape": [1], "data": ["a"]}, "SHAPE_MISMATCH", "inputs.prompt.shape"),
        ({"shape": [2**40, 1], "data": ["a"]}, "TOO_LARGE", "inputs.prompt.shape"),
        ({"shape": [0, 1], "data": []}, "SHAPE_MISMATCH", "inputs.prompt.shape"),
        ({"name": "image", "data": ["a"]}, "INPUT_NAME_UNKNOWN", "inputs.image"),
    ],
)
def test_what_is_no_prompt_is_named(studio, problem_of, tensor, reason, field):
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1, 1], **tensor}
    content = json.dumps({"inputs": [tensor]})
    problem = problem_of(httpx.post(f"{studio.http}/v2/models/words/infer", content=content))
    assert problem["reason"] == reason
    assert problem["errors"][0]["pointer"] == "/" + field.replace(".", "/")


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x01\x00\x00", b"\x05\x00\x00\x00abc", b"\x01\x00\x00\x00a\x00", b"\xff\xff\xff\xffa", b"\x01\0\0\0\xff"],
)
def test_lengths_that_lie_are_refused(studio, raw):
    request = service_pb2.ModelInferRequest(model_name="words", raw_input_contents=[raw])
    request.inputs.add(name="prompt", datatype="BYTES", shape=[1, 1])
    with grpc.insecure_channel(studio.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_sampler_is_the_applications_to_refuse(client):
    inputs = [given(client.library, "attributes", np.zeros((1, 3), np.float32))]
    with pytest.raises(InferenceServerException, match="no such sampler"):
        client.infer("pelvis", inputs, parameters={"sampler": "euler"})


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"seed": -1}, "parameters.seed"),
        ({"seed": 2**63}, "parameters.seed"),
        ({"seed": 1.5}, "parameters.seed"),
        ({"seed": True}, "parameters.seed"),
        ({"steps": "many"}, "parameters.steps"),
        ({"guidance_scale": "strong"}, "parameters.guidance_scale"),
        ({"guidance_scale": float("inf")}, "parameters.guidance_scale"),
        ({"sampler": 3}, "parameters.sampler"),
        ({"negative_prompt": ["a"]}, "parameters.negative_prompt"),
    ],
)
def test_a_parameter_of_the_wrong_kind_is_named(parameters, field):
    with pytest.raises(InvalidInput) as caught:
        passed_on("text-to-image", parameters, 1.0)
    assert caught.value.field == field
    assert isinstance(caught.value, OutOfRange) or caught.value.reason == "PARAMETER_INVALID"


def test_each_task_is_told_only_what_it_understands():
    everything = {"batch": 8, "seed": 1, "steps": 2, "sampler": "ddim", "unknown": 1}
    assert passed_on("segmentation", everything, 1.0) == {"batch": 8}
    assert passed_on("reconstruction", everything, 1.0) == {"batch": 8, "seed": 1, "steps": 2, "sampler": "ddim"}
    assert passed_on("super-resolution", everything, float("inf")) == {"seed": 1, "steps": 2, "sampler": "ddim"}
