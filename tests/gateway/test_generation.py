"""Streams of images over both transports, and what generations leave behind."""

import base64
import json
import threading
import time

import grpc
import httpx
import numpy as np
import pytest
from evenhand.generation.v1 import generation_pb2, generation_service_pb2_grpc
from evenhand.generation.v1 import generation_service_pb2 as pb
from evenhand.resources.v1 import artifact_service_pb2, artifact_service_pb2_grpc, model_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import ParseDict

from services.adapters.status import error_from_status
from services.errors import DeadlineExceeded, Internal, Overloaded
from services.gateway.wire import model_message
from tests.gateway.generator_twin import ENTRIES, STEPS, GeneratorTwin


@pytest.fixture
def studio(make_world):
    return make_world(generator=GeneratorTwin)


@pytest.fixture
def stub(studio):
    with grpc.insecure_channel(studio.grpc) as channel:
        yield generation_service_pb2_grpc.GenerationServiceStub(channel)


def asked(previews_every=0, **spec):
    return pb.GenerateImagesRequest(spec={"model": "models/pelvis", **spec}, previews_every=previews_every)


def failure(call):
    """What a streaming call ends with, as the platform's own error."""
    from grpc_status import rpc_status

    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    return error_from_status(rpc_status.from_call(caught.value))


def wait_for(holds):
    end = time.monotonic() + 5
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def test_images_come_one_by_one_with_previews_and_records(stub):
    replies = list(stub.GenerateImages(asked(2, count=2, first_index=3, seed=7)))
    assert [(r.index, r.preview, r.step) for r in replies] == [(3, True, 2), (3, False, 4), (4, True, 2), (4, False, 4)]
    assert np.frombuffer(replies[1].image.data, "<f4")[0] == np.float32(3 / 16)
    record = ParseDict(json.loads(replies[1].record_json), generation_pb2.ImageRecord())
    assert record.synthetic and record.spec.seed == 7
    assert not replies[0].record_json


def test_the_first_image_is_there_before_the_second_is_begun(studio, stub):
    studio.generator.pause_s = 0.05
    call = stub.GenerateImages(asked(count=3))
    assert next(call).index == 0
    assert studio.generator.steps_begun <= STEPS + 2
    assert [reply.index for reply in call] == [1, 2]


@pytest.mark.parametrize("previews", [0, 1], ids=["before the first reply", "after replies"])
def test_a_caller_who_leaves_ends_the_work_within_a_step(studio, stub, previews):
    studio.generator.pause_s = 0.1
    call = stub.GenerateImages(asked(previews, count=100))
    if previews:
        next(call)
    else:
        assert wait_for(lambda: studio.generator.steps_begun)
    call.cancel()
    assert studio.generator.closed.wait(2)
    begun = studio.generator.steps_begun
    time.sleep(0.3)
    assert studio.generator.steps_begun == begun


def test_a_deadline_that_passes_ends_the_work_and_is_told_to_the_application(studio, stub):
    studio.generator.pause_s = 0.1
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.GenerateImages(asked(count=100), timeout=0.5))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert studio.generator.closed.wait(2)
    (context,) = studio.generator.contexts
    assert 0.2 < context["deadline_s"] <= 0.5


def test_an_error_of_the_application_is_rich_wherever_it_comes(stub):
    refused = failure(stub.GenerateImages(asked(attributes={"shoe size": "43"})))
    assert (refused.reason, refused.field) == ("ATTRIBUTE_UNKNOWN", "spec.attributes[shoe size]")
    call = stub.GenerateImages(asked(1, negative_prompt="fail"))
    assert next(call).preview
    broken = failure(call)
    assert isinstance(broken, Internal) and "Smith" not in broken.message


def test_streams_beyond_the_queue_are_told_when_to_come_back(make_world):
    studio = make_world(generator=GeneratorTwin, running_per_queue=1, waiting_per_queue=0)
    studio.generator.pause_s = 0.1
    with grpc.insecure_channel(studio.grpc) as channel:
        stub = generation_service_pb2_grpc.GenerationServiceStub(channel)
        first = stub.GenerateImages(asked(1, count=100))
        next(first)
        refused = failure(stub.GenerateImages(asked()))
        assert isinstance(refused, Overloaded) and refused.retry_after_s >= 1.0
        with pytest.raises(grpc.RpcError) as caught:  # streams do not keep others from looking
            stub.GetGeneration(pb.GetGenerationRequest(name="generations/none"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        first.cancel()
        assert studio.generator.closed.wait(2)
        assert wait_for(lambda: not sum(studio.edge.api._admission.depths()["generator-streams"]))
        assert len(list(stub.GenerateImages(asked()))) == 1


def body(previews_every=0, **spec):
    return {"spec": {"model": "models/pelvis", **spec}, "previewsEvery": previews_every}


def test_over_http_each_image_is_a_line_as_soon_as_it_is_there(studio):
    studio.generator.pause_s = 0.05
    with httpx.stream("POST", f"{studio.http}/v1/generations:stream", json=body(count=3)) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "application/x-ndjson"
        lines = reply.iter_lines()
        first = json.loads(next(lines))
        assert studio.generator.steps_begun <= STEPS + 2
        rest = [json.loads(line) for line in lines]
    assert [line["index"] for line in (first, *rest)] == [0, 1, 2]
    pixels = np.frombuffer(base64.b64decode(rest[0]["image"]["data"]), "<f4")
    assert pixels[0] == np.float32(1 / 16)
    assert json.loads(rest[1]["recordJson"])["synthetic"]


@pytest.mark.parametrize("previews", [0, 1], ids=["before the first line", "after lines"])
def test_closing_the_connection_ends_the_work(studio, previews):
    studio.generator.pause_s = 0.1
    timeout = httpx.Timeout(5, read=5 if previews else 0.2)
    request = {"json": body(previews, count=100), "timeout": timeout}
    try:
        with httpx.stream("POST", f"{studio.http}/v1/generations:stream", **request) as reply:
            next(reply.iter_lines())
            assert previews
    except httpx.ReadTimeout:
        assert not previews  # an image takes 0.4 s
    assert studio.generator.closed.wait(2)


def test_over_http_what_fails_first_is_a_problem_and_what_fails_later_a_line(studio, problem_of):
    url = f"{studio.http}/v1/generations:stream"
    problem = problem_of(httpx.post(url, json=body(attributes={"bmi": "30"})))
    assert (problem["status"], problem["reason"]) == (400, "ATTRIBUTE_UNKNOWN")
    assert problem_of(httpx.post(url, json={"spec": {"modle": "x"}}))["reason"] == "FIELD_UNKNOWN"
    assert problem_of(httpx.post(url, content=b"{"))["reason"] == "JSON_MALFORMED"
    assert problem_of(httpx.get(url))["status"] == 405
    lines = [json.loads(line) for line in httpx.post(url, json=body(1, negativePrompt="fail")).text.splitlines()]
    assert [line["preview"] for line in lines[:-1]] == [True] * (STEPS - 1)
    assert lines[-1]["error"]["reason"] == "INTERNAL"
    assert "Smith" not in str(lines)


def test_over_http_a_timeout_before_the_first_image_is_504_and_later_a_line(studio, problem_of):
    studio.generator.pause_s = 0.2
    url, header = f"{studio.http}/v1/generations:stream", {"X-Request-Timeout": "0.5"}
    assert problem_of(httpx.post(url, json=body(count=9), headers=header))["status"] == 504
    lines = httpx.post(url, json=body(1, count=9), headers=header).text.splitlines()
    assert json.loads(lines[-1])["error"]["reason"] == DeadlineExceeded.default_reason
    assert studio.generator.closed.is_set()


def test_keys_are_asked_for_before_a_stream_is_read(make_world, problem_of):
    studio = make_world(generator=GeneratorTwin, keys=["right"])
    url = f"{studio.http}/v1/generations:stream"
    assert problem_of(httpx.post(url, content=b"{"))["status"] == 401
    allowed = httpx.post(url, json=body(), headers={"Authorization": "Bearer right"})
    assert len(allowed.text.splitlines()) == 1


def test_a_generation_is_an_operation_with_its_own_metadata(studio, stub):
    with grpc.insecure_channel(studio.grpc) as channel:
        request = pb.CreateGenerationRequest(spec={"model": "models/pelvis", "count": 6})
        operation = stub.CreateGeneration(request)
        get = channel.unary_unary(
            "/google.longrunning.Operations/GetOperation",
            operations_pb2.GetOperationRequest.SerializeToString,
            operations_pb2.Operation.FromString,
        )
        seen = get(operations_pb2.GetOperationRequest(name=operation.name))
    metadata = pb.CreateGenerationMetadata()
    assert seen.metadata.Unpack(metadata)
    assert (metadata.stage, metadata.images_total, metadata.generation) == ("queued", 6, "generations/one")
    url = f"{studio.http}/v1/operations"
    listed = httpx.get(url, params={"filter": 'kind = "generation"'}).json()["operations"]
    assert [found["name"] for found in listed] == [operation.name]
    assert listed[0]["metadata"]["@type"].endswith("evenhand.generation.v1.CreateGenerationMetadata")
    assert httpx.get(url, params={"filter": "kind=upscaling"}).json()["operations"] == []


@pytest.mark.parametrize("collection", ["generations", "counterfactuals", "upscalings", "audits"])
def test_artifacts_of_every_collection_are_read_over_both_transports(studio, problem_of, collection):
    data = bytes(range(256)) * 5000
    stored = studio.store.put(data)
    artifact = {"filename": "image-0000.png", "key": stored.key, "sha256": stored.sha256, "media_type": "image/png"}
    kind = collection.removesuffix("s")
    studio.ledger.put_resource(f"{collection}/one", kind, {"state": "STATE_RUNNING", "artifacts": [artifact]})
    with grpc.insecure_channel(studio.grpc) as channel:
        read = artifact_service_pb2_grpc.ArtifactServiceStub(channel).ReadArtifact
        asked = artifact_service_pb2.ReadArtifactRequest(name=f"{collection}/one", filename="image-0000.png")
        replies = list(read(asked))
    assert b"".join(reply.data for reply in replies) == data
    assert replies[-1].sha256 == stored.sha256
    url = f"{studio.http}/v1/{collection}/one/artifacts"
    reply = httpx.get(f"{url}/image-0000.png")
    assert (reply.content, reply.headers["content-type"]) == (data, "image/png")
    assert reply.headers["etag"] == f'"{stored.sha256}"'
    assert httpx.get(f"{url}/image-0000.png", headers={"If-None-Match": reply.headers["etag"]}).status_code == 304
    assert problem_of(httpx.get(f"{url}/image-0001.png"))["reason"] == f"{kind.upper()}_NOT_DONE"
    missing = problem_of(httpx.get(f"{studio.http}/v1/{collection}/two/artifacts/x"))
    assert missing["reason"] == f"{kind.upper()}_NOT_FOUND"


def test_only_collections_with_artifacts_have_any(studio):
    with grpc.insecure_channel(studio.grpc) as channel:
        read = artifact_service_pb2_grpc.ArtifactServiceStub(channel).ReadArtifact
        for name in ("models/pelvis", "", "generations", "operations/1"):
            with pytest.raises(grpc.RpcError) as caught:
                list(read(artifact_service_pb2.ReadArtifactRequest(name=name, filename="x")))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_generators_model_shows_its_vocabulary(studio):
    shown = httpx.get(f"{studio.http}/v1/models/pelvis").json()
    assert shown["task"] == "TASK_CLASS_TO_IMAGE"
    assert [condition["name"] for condition in shown["conditions"]] == ["sex", "age"]
    assert shown["conditions"][0]["levels"] == ["Female", "Male"]
    assert (shown["conditions"][1]["low"], shown["conditions"][1]["high"]) == (18.0, 95.0)
    assert (shown["samplers"], shown["guidable"]) == (["dpmpp-2m", "ddim"], True)
    assert (shown["defaultGuidanceScale"], shown["defaultSteps"], shown["prediction"]) == (2.0, STEPS, "v")
    masked = model_message({**ENTRIES[2], "licence": ""})
    assert (masked.base, list(masked.mask_phases)) == ("models/words", ["ED", "ES"])
    tasks = {model_message(entry).task for entry in ENTRIES}
    assert model_pb2.TASK_UNSPECIFIED not in tasks and len(tasks) == len(ENTRIES)


def test_many_streams_at_once_all_end(studio, stub):
    counts = []

    def one(index):
        counts.append(len(list(stub.GenerateImages(asked(count=2, first_index=index % 8)))))

    threads = [threading.Thread(target=one, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert counts == [2] * 16
