"""Audits on the real platform while parts of it are killed, and cancelled through the edge."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import psutil
import pytest
import yaml
from evenhand.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.json_format import ParseDict
from google.rpc import code_pb2

from tests.e2e.conftest import SPEC, MainJob, Platform
from tests.processes import command_line

pytestmark = pytest.mark.ray

AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def patiently(call: Callable[[], Any], limit_s: float = 90.0) -> Any:
    """``call()`` again while the gateway is away; every call here is safe to repeat."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in AWAY or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


class Audits:
    def __init__(self, platform: Platform) -> None:
        self._channel = grpc.insecure_channel(platform.grpc)
        self._audits = audit_service_pb2_grpc.AuditServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)

    def create(self, cohort: str, **changes: Any) -> operations_pb2.Operation:
        spec = {**yaml.safe_load(SPEC), "cohort": cohort, **changes}
        request = ParseDict({"spec": spec, "request_id": str(uuid.uuid4())}, audit_service_pb2.CreateAuditRequest())
        return patiently(lambda: self._audits.CreateAudit(request, timeout=30))

    def operation(self, name: str) -> operations_pb2.Operation:
        return patiently(
            lambda: self._operations.GetOperation(operations_pb2.GetOperationRequest(name=name), timeout=30)
        )

    def cancel(self, name: str) -> None:
        request = operations_pb2.CancelOperationRequest(name=name)
        patiently(lambda: self._operations.CancelOperation(request, timeout=30))

    def until(self, name: str, reached: Callable[[Any], bool], limit_s: float = 240.0) -> Any:
        """(operation, metadata) once ``reached(metadata)`` or the operation is done."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            operation = self.operation(name)
            metadata = audit_service_pb2.CreateAuditMetadata()
            operation.metadata.Unpack(metadata)
            if operation.done or reached(metadata):
                return operation, metadata
            time.sleep(0.05)
        pytest.fail(f"{name} did not get there in {limit_s} s")

    def report_digest(self, metadata: Any) -> str:
        request = audit_service_pb2.GetAuditRequest(name=metadata.audit)
        return patiently(lambda: self._audits.GetAudit(request, timeout=30)).report_digest


@pytest.fixture
def audits(platform: Platform) -> Audits:
    return Audits(platform)


def kill_replica(platform: Platform, title: str) -> None:
    """kill -9 one Serve replica of this platform, and of no other on this machine."""
    supervisor = json.loads((platform.data_dir / "platform.json").read_text())["pid"]
    ours = psutil.Process(supervisor).children(recursive=True)
    victims = [process for process in ours if f"ServeReplica:{title}" in " ".join(command_line(process))]
    assert victims, title
    victims[0].kill()


@pytest.mark.parametrize("title", ["audit:AuditWorker", "classifiers:", "gateway:"])
def test_a_killed_part_changes_no_bit_of_the_report(
    platform: Platform, main_job: MainJob, audits: Audits, title: str
) -> None:
    operation = audits.create(main_job.cohort["name"])
    audits.until(operation.name, lambda metadata: metadata.stage == "running")
    kill_replica(platform, title)
    done, metadata = audits.until(operation.name, lambda metadata: False)
    assert done.HasField("response"), done.error
    undisturbed = json.loads((main_job.artifacts / "report.json").read_text())["digest"]
    assert audits.report_digest(metadata) == undisturbed
    assert metadata.rows_done == metadata.rows_total


def test_an_audit_can_be_cancelled_through_the_edge(main_job: MainJob, audits: Audits) -> None:
    operation = audits.create(main_job.cohort["name"], seed=77)
    audits.cancel(operation.name)
    done, metadata = audits.until(operation.name, lambda metadata: False)
    assert done.done
    if done.HasField("error"):  # it may have been quicker than we were
        assert done.error.code == code_pb2.CANCELLED
        assert audits.report_digest(metadata) == ""


def test_cancelling_a_finished_audit_changes_nothing(main_job: MainJob, audits: Audits) -> None:
    operation = main_job.audit["operation"]
    audits.cancel(operation)
    assert audits.operation(operation).HasField("response")
