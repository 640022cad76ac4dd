"""The API proper over both transports: forwarding, operations, models, artifacts, health, reflection, keys."""

import time
import uuid

import grpc
import httpx
import pytest
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, audit_service_pb2_grpc
from evenhand.resources.v1 import model_service_pb2, model_service_pb2_grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.adapters.status import DETAILS_KEY
from services.gateway.wire import APP_OF_SERVICE, METHODS


def test_a_request_reaches_its_application_with_deadline_and_caller(world, channel):
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)
    operation = stub.CreateAudit(audit_service_pb2.CreateAuditRequest(display_name="x"), timeout=7.0)
    assert operation.name.startswith("operations/")
    context = world.audit.contexts[-1]
    assert 6.0 < context["deadline_s"] <= 7.02  # gRPC sends seconds rounded up to hundredths
    assert context["caller"] == "127.0.0.1"


def test_an_audit_is_planned_over_both_transports(channel, web, problem_of):
    spec = audit_pb2.AuditSpec(attributes=["sex"], reference_groups={"sex": "Male"})
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)
    plan = stub.PlanAudit(audit_service_pb2.PlanAuditRequest(spec=spec))
    assert (plan.tests, plan.cells[0].minimum_detectable_gap) == (7, 0.25)
    reply = web.post("/v1/audits:plan", json={"spec": {"attributes": ["sex"], "referenceGroups": {"sex": "Male"}}})
    assert reply.status_code == 200
    known, unknown = reply.json()["cells"]
    assert (known["minimumDetectableGap"], known["state"]) == (0.25, "STATE_OK")
    assert "minimumDetectableGap" not in unknown  # absent, never 0, where no test will be made
    refused = web.post("/v1/audits:plan", json={"spec": {"attributes": ["bmi"]}})
    assert problem_of(refused)["reason"] == "ATTRIBUTE_NOT_IN_COHORT"
    assert problem_of(refused)["errors"][0]["pointer"] == "/spec/attributes/0"


def test_only_a_plan_may_be_asked_of_another_replica():
    assert METHODS["evenhand.audit.v1.AuditService/PlanAudit"].read_only
    assert not METHODS["evenhand.audit.v1.AuditService/CreateAudit"].read_only


def test_rest_creates_with_202_and_repeats_by_idempotency_key(web, problem_of):
    headers = {"Idempotency-Key": "my key 1"}
    first = web.post("/v1/audits", json={"displayName": "a"}, headers=headers)
    again = web.post("/v1/audits", json={"display_name": "a"}, headers=headers)
    other = web.post("/v1/audits", json={"displayName": "b"}, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["name"] == again.json()["name"]
    assert first.json()["done"] is False
    assert (other.status_code, problem_of(other)["reason"]) == (409, "REQUEST_ID_REUSED")


def test_a_request_id_in_the_body_wins_over_the_header(web):
    body = {"displayName": "c", "requestId": str(uuid.uuid4())}
    one = web.post("/v1/audits", json=body, headers={"Idempotency-Key": "h1"}).json()["name"]
    two = web.post("/v1/audits", json=body, headers={"Idempotency-Key": "h2"}).json()["name"]
    assert one == two


def test_operations_are_read_waited_for_cancelled_and_deleted(world, channel, web, problem_of):
    stub = operations_pb2_grpc.OperationsStub(channel)
    name = web.post("/v1/audits", json={"displayName": "d"}).json()["name"]
    assert web.get(f"/v1/{name}").json()["metadata"]["rowsTotal"] == "10"
    started = time.monotonic()
    waited = stub.WaitOperation(operations_pb2.WaitOperationRequest(name=name, timeout=Duration(nanos=200_000_000)))
    assert not waited.done
    assert 0.1 < time.monotonic() - started < 5
    unfinished = web.delete(f"/v1/{name}")
    assert (unfinished.status_code, problem_of(unfinished)["reason"]) == (409, "OPERATION_NOT_DONE")
    assert web.post(f"/v1/{name}:cancel").status_code == 204
    done = web.post(f"/v1/{name}:wait", json={"timeout": "5s"}).json()
    assert done["done"]
    assert done["error"]["code"] == grpc.StatusCode.CANCELLED.value[0]
    assert web.delete(f"/v1/{name}").status_code == 204
    assert problem_of(web.get(f"/v1/{name}"))["reason"] == "OPERATION_NOT_FOUND"


def test_a_wait_ends_soon_after_the_operation_does(world, web):
    name = web.post("/v1/audits", json={"displayName": "e"}).json()["name"]

    def finish(seen):
        while (lease := world.ledger.lease_chunk("w", 30, ["rows"])) is not None:
            audit = {"type": "evenhand.audit.v1.Audit", "value": {"name": "audits/one"}}
            world.ledger.commit_chunk(lease, {}, response=audit)
        seen.append(time.monotonic())

    import threading

    seen = []
    threading.Timer(0.6, finish, [seen]).start()
    reply = web.post(f"/v1/{name}:wait", json={"timeout": "20s"}, timeout=30).json()
    assert time.monotonic() - seen[0] < 2.0
    assert reply["response"]["name"] == "audits/one"


def test_a_wait_returns_the_state_before_the_callers_deadline(channel, web):
    name = web.post("/v1/audits", json={"displayName": "f"}).json()["name"]
    stub = operations_pb2_grpc.OperationsStub(channel)
    assert not stub.WaitOperation(operations_pb2.WaitOperationRequest(name=name), timeout=1.0).done


def test_operations_are_listed_by_page_and_by_kind(web, problem_of):
    for at in range(3):
        web.post("/v1/audits", json={"displayName": f"page {at}"})
    page = web.get("/v1/operations", params={"pageSize": 2, "filter": 'kind = "audit"'}).json()
    assert len(page["operations"]) == 2
    rest = web.get(
        "/v1/operations", params={"pageSize": 2, "filter": 'kind = "audit"', "pageToken": page["nextPageToken"]}
    ).json()
    names = {operation["name"] for operation in page["operations"]}
    assert not names & {operation["name"] for operation in rest["operations"]}
    other = web.get("/v1/operations", params={"pageToken": page["nextPageToken"]})
    assert problem_of(other)["reason"] == "PAGE_TOKEN_OF_ANOTHER_QUERY"
    assert problem_of(web.get("/v1/operations", params={"filter": "colour = red"}))["reason"] == "FILTER_INVALID"


def test_models_are_the_same_on_both_transports(channel, web, problem_of):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    model = stub.GetModel(model_service_pb2.GetModelRequest(name="models/affine"))
    listed = web.get("/v1/models").json()["models"]
    assert [m["name"] for m in listed] == ["models/affine"]
    assert listed[0]["digest"] == model.digest != ""
    assert (model.version, model.input.height, model.scores["psnr"]) == ("2", 64, 30.5)
    assert listed[0]["task"] == "TASK_RECONSTRUCTION"
    token = problem_of(web.get("/v1/models", params={"pageToken": "bm8"}))
    assert token["reason"] == "PAGE_TOKEN_OF_ANOTHER_QUERY"


@pytest.fixture
def artifact(world):
    data = bytes(range(256)) * 10_000
    ref = world.store.put(data)
    artifact = {"filename": "report.json", "key": ref.key, "sha256": ref.sha256, "bytes": str(ref.bytes)}
    world.ledger.put_resource("audits/done", "audit", {"state": "STATE_SUCCEEDED", "artifacts": [artifact]})
    world.ledger.put_resource("audits/young", "audit", {"state": "STATE_RUNNING"})
    return data, ref.sha256


def test_an_artifact_streams_with_its_digest_last(artifact, channel):
    data, digest = artifact
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)
    messages = list(
        stub.ReadArtifact(audit_service_pb2.ReadArtifactRequest(name="audits/done", filename="report.json"))
    )
    assert b"".join(message.data for message in messages) == data
    assert [message.sha256 for message in messages] == [""] * (len(messages) - 1) + [digest]
    assert len(messages) > 2


def test_an_artifact_over_http_carries_its_digest_as_etag(artifact, web, problem_of):
    data, digest = artifact
    reply = web.get("/v1/audits/done/artifacts/report.json")
    assert reply.content == data
    assert reply.headers["etag"] == f'"{digest}"'
    assert reply.headers["content-type"] == "application/json"
    again = web.get("/v1/audits/done/artifacts/report.json", headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert problem_of(web.get("/v1/audits/done/artifacts/other"))["reason"] == "ARTIFACT_NOT_FOUND"
    assert problem_of(web.get("/v1/audits/young/artifacts/report.json"))["reason"] == "AUDIT_NOT_DONE"
    assert problem_of(web.get("/v1/audits/none/artifacts/report.json"))["reason"] == "AUDIT_NOT_FOUND"


def test_health_is_known_per_service(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", *APP_OF_SERVICE, "inference.GRPCInferenceService"):
        reply = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_every_service_and_describes_it(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {*APP_OF_SERVICE, "inference.GRPCInferenceService", "grpc.health.v1.Health"} <= services
    assert database.FindFileContainingSymbol("inference.GRPCInferenceService").package == "inference"
    assert database.FindFileContainingSymbol("evenhand.audit.v1.AuditService").package == "evenhand.audit.v1"


def test_the_openapi_description_is_valid_and_names_what_is_served(web):
    description = web.get("/openapi.json").json()
    OpenAPIV31SpecValidator(description).validate()
    assert "/v1/audits/{audit}" in description["paths"]
    assert "/v1/operations/{operation}:cancel" in description["paths"]
    assert set(description["paths"]["/v1/audits:plan"]) == {"post"}
    streamed = description["paths"]["/v1/generations:stream"]["post"]["responses"]["200"]
    assert set(streamed["content"]) == {"application/x-ndjson"} and "a line" in streamed["description"]
    for collection in ("audits", "counterfactuals", "generations", "upscalings"):
        assert f"/v1/{collection}/{{{collection[:-1]}}}/artifacts/{{filename}}" in description["paths"]
    spec = description["components"]["schemas"]["evenhand.audit.v1.AuditSpec"]["properties"]
    assert set(spec) == {field.camelcase_name for field in audit_pb2.AuditSpec.DESCRIPTOR.fields}


def test_the_first_page_says_what_is_where(web):
    reply = web.get("/")
    assert reply.headers["content-type"].startswith("text/html")
    for path in ("/openapi.json", "/v1/models", "/metrics"):
        assert f'href="{path}"' in reply.text
        assert web.get(path).status_code == 200


def test_without_a_key_only_health_answers(make_world, problem_of):
    world = make_world(keys=("secret-one", "secret-two"))
    assert httpx.get(f"{world.http}/v2/health/ready").status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret-one"}):
        reply = httpx.get(f"{world.http}/v1/models", headers=headers)
        assert (reply.status_code, problem_of(reply)["reason"]) == (401, "UNAUTHENTICATED")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert httpx.get(f"{world.http}/metrics", headers=headers).status_code == 401
        assert httpx.get(f"{world.http}/v2/models/affine", headers=headers).status_code == 401
    accepted = httpx.get(f"{world.http}/v1/models", headers={"Authorization": "Bearer secret-two"})
    assert accepted.status_code == 200
    with grpc.insecure_channel(world.grpc) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status == 1
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListModels(model_service_pb2.ListModelsRequest())
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        stub.ListModels(model_service_pb2.ListModelsRequest(), metadata=[("authorization", "Bearer secret-one")])


def test_a_deadline_that_passes_is_named_on_both_transports(world, channel, web, problem_of, slow_audits):
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetAudit(audit_service_pb2.GetAuditRequest(name="audits/slow"), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    reply = web.get("/v1/audits/slow", headers={"X-Request-Timeout": "0.2"})
    assert (reply.status_code, problem_of(reply)["reason"]) == (504, "DEADLINE_EXCEEDED")


def test_a_caller_who_leaves_cancels_the_work(world, channel, slow_audits):
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)
    call = stub.GetAudit.future(audit_service_pb2.GetAuditRequest(name="audits/slow"))
    slow_audits.wait_until("begun", 1)
    call.cancel()
    slow_audits.wait_until("cancelled", 1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{world.http}/v1/audits/slow", timeout=0.5)
    slow_audits.wait_until("cancelled", 2)


def test_beyond_the_queue_callers_are_told_when_to_come_back(make_world, problem_of):
    world = make_world(running_per_queue=1, waiting_per_queue=1)
    slow = SlowAudits(world)
    with grpc.insecure_channel(world.grpc) as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        request = audit_service_pb2.GetAuditRequest(name="audits/slow")
        calls = [stub.GetAudit.future(request) for _ in range(2)]
        slow.wait_until("begun", 1)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and world.edge.readiness._admission.depths().get("audit") != (1, 1):
            time.sleep(0.01)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetAudit(request, timeout=5)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())[DETAILS_KEY])
        retry = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(retry) for detail in status.details)
        assert retry.retry_delay.seconds >= 1
        reply = httpx.get(f"{world.http}/v1/audits/slow")
        assert (reply.status_code, problem_of(reply)["reason"]) == (429, "OVERLOADED")
        assert int(reply.headers["retry-after"]) >= 1
        assert httpx.get(f"{world.http}/v1/models").status_code == 200  # another queue
        for call in calls:
            call.cancel()


class SlowAudits:
    """Makes GetAudit of a world's audit twin hang, and counts what happens to it."""

    def __init__(self, world):
        import asyncio

        self.counts = {"begun": 0, "cancelled": 0}

        async def hang(payload, context):
            self.counts["begun"] += 1
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.counts["cancelled"] += 1
                raise

        world.audit.GetAudit = hang

    def wait_until(self, what, count):
        deadline = time.monotonic() + 10
        while self.counts[what] < count:
            assert time.monotonic() < deadline, self.counts
            time.sleep(0.02)


@pytest.fixture
def slow_audits(world):
    yield SlowAudits(world)
    del world.audit.GetAudit
