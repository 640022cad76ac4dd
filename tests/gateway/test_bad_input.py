"""Each wrong request gets the same reason on gRPC and REST, a 4xx, and no traceback."""

import json

import grpc
import httpx
import numpy as np
import pytest
from evenhand.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from tritonclient.grpc import service_pb2, service_pb2_grpc

from services.adapters.status import DETAILS_KEY

PIXELS = np.full((1, 1, 64, 64), 0.5, np.float32)


def reason_of(error):
    """The reason in a gRPC error's rich status."""
    details = dict(error.trailing_metadata())[DETAILS_KEY]
    status = status_pb2.Status.FromString(details)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert status.code == error.code().value[0]
    assert "Traceback" not in error.details()
    return info.reason


def infer_request(
    *, model="affine", version="", name="image", datatype="FP32", shape=PIXELS.shape, raw=None, outputs=()
):
    request = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(PIXELS.tobytes() if raw is None else raw)
    for output in outputs:
        request.outputs.add(name=output)
    return request


def with_value(value):
    pixels = PIXELS.copy()
    pixels[0, 0, 3, 5] = value
    return pixels.tobytes()


INFERENCES = {
    "unknown model": (infer_request(model="nothing"), "MODEL_NOT_FOUND"),
    "unknown version": (infer_request(version="77"), "MODEL_NOT_FOUND"),
    "giant model name": (infer_request(model="x" * 100_000), "MODEL_NOT_FOUND"),
    "unknown input": (infer_request(name="picture"), "INPUT_NAME_UNKNOWN"),
    "unknown output": (infer_request(outputs=["logits"]), "OUTPUT_NAME_UNKNOWN"),
    "unsupported type": (infer_request(datatype="INT8"), "DATATYPE_UNSUPPORTED"),
    "text tensor": (infer_request(datatype="BYTES"), "DATATYPE_UNSUPPORTED"),
    "too few bytes": (infer_request(raw=PIXELS.tobytes()[:-1]), "SHAPE_MISMATCH"),
    "too many bytes": (infer_request(raw=PIXELS.tobytes() + b"x"), "SHAPE_MISMATCH"),
    "no bytes": (infer_request(raw=b""), "SHAPE_MISMATCH"),
    "other extents": (infer_request(shape=(1, 1, 32, 128)), "SHAPE_MISMATCH"),
    "fewer dimensions": (infer_request(shape=(64, 64)), "SHAPE_MISMATCH"),
    "no dimensions": (infer_request(shape=()), "SHAPE_MISMATCH"),
    "negative extent": (infer_request(shape=(-1, 1, 64, 64)), "SHAPE_MISMATCH"),
    "zero extent": (infer_request(shape=(0, 1, 64, 64)), "SHAPE_MISMATCH"),
    "a thousand dimensions": (infer_request(shape=(1,) * 1000), "SHAPE_MISMATCH"),
    "giant tensor": (infer_request(shape=(10**9, 1, 64, 64)), "TOO_LARGE"),
    "overflowing product": (infer_request(shape=(2**62, 1, 64, 64)), "TOO_LARGE"),
    "not a number": (infer_request(raw=with_value(np.nan)), "NON_FINITE_PIXELS"),
    "infinity": (infer_request(raw=with_value(np.inf)), "NON_FINITE_PIXELS"),
    "too large for float32": (
        infer_request(datatype="FP64", raw=np.full(PIXELS.shape, 1e300).tobytes()),
        "NON_FINITE_PIXELS",
    ),
    "out of range": (infer_request(raw=with_value(1.5)), "VALUE_OUT_OF_RANGE"),
    "two infinities": (infer_request(raw=np.full(PIXELS.shape, -np.inf, np.float32).tobytes()), "NON_FINITE_PIXELS"),
}


@pytest.mark.parametrize("case", INFERENCES)
def test_a_wrong_inference_has_one_reason_on_both_transports(channel, web, problem_of, case):
    request, reason = INFERENCES[case]
    with pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    assert reason_of(caught.value) == reason
    given = request.inputs[0]
    raw = request.raw_input_contents[0]
    header = {
        "inputs": [
            {
                "name": given.name,
                "datatype": given.datatype,
                "shape": list(given.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "outputs": [{"name": output.name} for output in request.outputs],
    }
    text = json.dumps(header).encode()
    version = f"/versions/{request.model_version}" if request.model_version else ""
    if len(request.model_name) < 1000:  # longer ones do not fit into a request line
        reply = web.post(
            f"/v2/models/{request.model_name}{version}/infer",
            content=text + raw,
            headers={"Inference-Header-Content-Length": str(len(text))},
        )
        problem = problem_of(reply)
        assert problem["reason"] == reason
        assert problem["error"] == problem["detail"]
        assert 400 <= reply.status_code < 500


def test_denormal_numbers_are_numbers(web):
    pixels = np.full(PIXELS.shape, 1e-42, np.float32)
    header = {
        "inputs": [{"name": "image", "datatype": "FP32", "shape": list(PIXELS.shape), "data": pixels.ravel().tolist()}]
    }
    assert web.post("/v2/models/affine/infer", json=header).status_code == 200


def entry(**changes):
    return {"name": "image", "datatype": "FP32", "shape": [1, 1, 64, 64], **changes}


HEADERS = {
    "no json": b"\xff\xfe",
    "a list": b"[]",
    "cut off": b'{"inputs": [',
    "very deep": b'{"a":' * 100_000,
    "repeated member": b'{"inputs": [], "inputs": []}',
    "a number beyond json": b'{"inputs": [{"data": [NaN]}]}',
    "an integer of ten thousand digits": b'{"id": ' + b"9" * 10_000 + b"}",
    "inputs no list": json.dumps({"inputs": 3}).encode(),
    "input no object": json.dumps({"inputs": [3]}).encode(),
    "no inputs": json.dumps({"inputs": []}).encode(),
    "empty": b"",
    "shape of texts": json.dumps({"inputs": [entry(shape=["1"])]}).encode(),
    "shape of fractions": json.dumps({"inputs": [entry(shape=[1.5])]}).encode(),
    "shape of truths": json.dumps({"inputs": [entry(shape=[True, 1, 64, 64])]}).encode(),
    "data of texts": json.dumps({"inputs": [entry(data=["1"] * 4096)]}).encode(),
    "ragged data": json.dumps({"inputs": [entry(data=[[1], [1, 2]])]}).encode(),
    "no data": json.dumps({"inputs": [entry()]}).encode(),
    "data of objects": json.dumps({"inputs": [entry(data={"a": 1})]}).encode(),
    "a null among the data": json.dumps({"inputs": [entry(data=[None] * 4096)]}).encode(),
    "numbers beyond float": json.dumps({"inputs": [entry(data=[10**400] * 4096)]}).encode(),
    "parameters no object": json.dumps({"inputs": [entry(parameters=[1])]}).encode(),
    "negative blob": json.dumps({"inputs": [entry(parameters={"binary_data_size": -1})]}).encode(),
    "blob beyond the body": json.dumps({"inputs": [entry(parameters={"binary_data_size": 2**62})]}).encode(),
    "name no text": json.dumps({"inputs": [entry(name=7)]}).encode(),
    "two of one input": json.dumps({"inputs": [entry(data=[0]), entry(data=[0])]}).encode(),
    "a sequence": json.dumps({"inputs": [entry(data=[0.5] * 4096)], "parameters": {"sequence_id": 4}}).encode(),
    "batch no number": json.dumps({"inputs": [entry(data=[0.5] * 4096)], "parameters": {"batch": "4"}}).encode(),
    "batch too large": json.dumps({"inputs": [entry(data=[0.5] * 4096)], "parameters": {"batch": 10**9}}).encode(),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_hostile_inference_body_is_a_problem_and_no_fault(web, problem_of, case):
    reply = web.post("/v2/models/affine/infer", content=HEADERS[case])
    assert 400 <= reply.status_code < 500
    assert problem_of(reply)["detail"]


@pytest.mark.parametrize("length", ["-1", "x", "99999999", "9" * 100, "0" * 5000, "0.5", "²"])
def test_a_lying_header_length_is_refused(web, problem_of, length):
    headers = {"Inference-Header-Content-Length": length.encode("utf-8")}
    reply = web.post("/v2/models/affine/infer", content=b"{}", headers=headers)
    assert problem_of(reply)["reason"] == "HEADER_LENGTH_INVALID"


def test_bytes_that_belong_to_no_input_are_refused(web, problem_of):
    text = json.dumps({"inputs": [entry(data=[0.5] * 4096)]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    reply = web.post("/v2/models/affine/infer", content=text + b"more", headers=headers)
    assert problem_of(reply)["reason"] == "SHAPE_MISMATCH"


def test_a_malformed_message_is_the_callers_fault(channel):
    for method in ("inference.GRPCInferenceService/ModelInfer", "evenhand.audit.v1.AuditService/CreateAudit"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{method}")(b"\xff\xff\xff\xff", timeout=10)
        assert reason_of(caught.value) == "REQUEST_MALFORMED"
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_method_is_unimplemented(channel):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


API_BODIES = {
    "no json": (b"{", "JSON_MALFORMED"),
    "a list": (b"[1]", "JSON_MALFORMED"),
    "unknown field": (b'{"spec": {"cohrt": "x"}}', "FIELD_UNKNOWN"),
    "wrong type": (b'{"spec": 3}', None),
    "wrong enum or number": (b'{"spec": {"seed": "many"}}', "FIELD_INVALID"),
    "number too large": (b'{"spec": {"seed": 99999999999999999999999}}', "FIELD_INVALID"),
    "list for a text": (b'{"displayName": []}', "FIELD_INVALID"),
    "two kinds of one choice": (
        b'{"spec": {"pipelines": [{"stages": [{"reconstruct": "a", "classify": "b"}]}]}}',
        None,
    ),
    "deep": (b'{"spec":' * 5_000 + b"1" + b"}" * 5_000, "JSON_MALFORMED"),
    "repeated": (b'{"spec": {}, "spec": {}}', "JSON_MALFORMED"),
    "surrogate": (b'{"displayName": "\\ud800"}', None),
}


@pytest.mark.parametrize("case", API_BODIES)
def test_a_wrong_api_body_names_the_field(web, problem_of, case):
    body, reason = API_BODIES[case]
    reply = web.post("/v1/audits", content=body)
    problem = problem_of(reply)
    assert reply.status_code == 400
    assert reason in (None, problem["reason"])


def test_an_unknown_field_is_pointed_at(web, problem_of):
    problem = problem_of(web.post("/v1/audits", json={"spec": {"cohrt": "x"}}))
    assert problem["errors"][0]["pointer"] == "/spec/cohrt"


def test_paths_and_verbs_that_do_not_exist_are_problems(web, problem_of):
    assert problem_of(web.get("/nowhere"))["status"] == 404
    assert problem_of(web.get("/v1/nowhere"))["reason"] == "PATH_NOT_FOUND"
    for path in ("/v1/audits/x", "/v2/models/affine/infer", "/openapi.json"):
        reply = web.request("PUT" if path != "/v2/models/affine/infer" else "GET", path)
        assert problem_of(reply)["reason"] == "METHOD_NOT_ALLOWED"
        assert reply.status_code == 405
        assert reply.headers["allow"]
    assert problem_of(web.get("/v1/audits?page_sise=3"))["reason"] == "PARAMETER_UNKNOWN"
    assert problem_of(web.get("/v1/audits?pageSize=many"))["reason"] == "FIELD_INVALID"


@pytest.mark.parametrize("value", ["0", "-3", "soon", "nan", "1e99"])
def test_a_senseless_timeout_header_is_refused(web, problem_of, value):
    problem = problem_of(web.get("/v1/models", headers={"X-Request-Timeout": value}))
    assert problem["reason"] == "TIMEOUT_INVALID"


def test_bodies_over_the_limit_are_refused_before_and_while_they_are_read(make_world, problem_of):
    world = make_world(max_message_bytes=2**16, max_json_bytes=2**16)
    declared = httpx.post(f"{world.http}/v1/audits", content=b"x" * (2**16 + 1))
    assert problem_of(declared)["reason"] == "TOO_LARGE"
    assert declared.status_code == 413

    def pieces():
        for _ in range(40):
            yield b" " * 2**12

    streamed = httpx.post(f"{world.http}/v1/audits", content=pieces())
    assert problem_of(streamed)["reason"] == "TOO_LARGE"
    with grpc.insecure_channel(world.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/evenhand.audit.v1.AuditService/CreateAudit")(b"x" * 2**17, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_compressed_bodies_are_refused_rather_than_inflated(web, problem_of):
    reply = web.post("/v1/audits", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, problem_of(reply)["reason"]) == (415, "ENCODING_UNSUPPORTED")


def test_a_thing_that_is_not_there_has_the_applications_own_reason(channel, web, problem_of):
    with pytest.raises(grpc.RpcError) as caught:
        audit_service_pb2_grpc.AuditServiceStub(channel).GetAudit(
            audit_service_pb2.GetAuditRequest(name="audits/none"), timeout=10
        )
    problem = problem_of(web.get("/v1/audits/none"))
    assert reason_of(caught.value) == problem["reason"] == "AUDIT_NOT_FOUND"
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert problem_of(web.get("/v1/cohorts/none"))["reason"] == "COHORT_NOT_FOUND"
    assert problem_of(web.get("/v1/models/none"))["reason"] == "MODEL_NOT_FOUND"
    assert problem_of(web.get("/v1/operations/none"))["reason"] == "OPERATION_NOT_FOUND"


def test_an_application_that_is_away_is_unavailable_and_says_when_to_come_back(web, problem_of):
    reply = web.post("/v1/trainings", json={"recipe": "chest-classifier"})
    assert (reply.status_code, problem_of(reply)["reason"]) == (503, "APP_UNAVAILABLE")
    assert int(reply.headers["retry-after"]) >= 1
