"""Operations as callers see them: states, metadata, responses and errors, out of a real ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from evenhand.generation.v1 import generation_service_pb2
from evenhand.training.v1 import training_service_pb2
from evenhand.upscaling.v1 import upscaling_service_pb2
from google.longrunning import operations_pb2
from google.rpc import code_pb2, error_details_pb2

from services.adapters.ledger import ChunkSpec, Lease, Ledger, Operation, open_ledger
from services.errors import UnknownAttribute
from services.hosting.operations import operation_proto, response_message, stored_response
from tests.clock import ManualClock


@pytest.fixture
def local(tmp_path: Path, clock: ManualClock) -> Ledger:
    """One embedded ledger: what the messages say does not depend on the database."""
    return open_ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock, skew_s=0)


def start(ledger: Ledger, collection: str, rows: tuple[int, ...] = (30, 10)) -> tuple[Operation, Lease]:
    chunks = [ChunkSpec("work", {}, rows=count) for count in rows]
    operation, _ = ledger.create_operation(collection, f"{collection}/one", {}, chunks)
    lease = ledger.lease_chunk("worker", 10, ["work"])
    assert lease is not None
    return operation, lease


def shown(ledger: Ledger, operation: Operation, metadata: Any) -> tuple[operations_pb2.Operation, Any]:
    message = operation_proto(ledger.get_operation(operation.name), ledger)
    assert message.metadata.Unpack(metadata)
    return message, metadata


def test_a_waiting_audit_is_queued_without_an_eta(local: Ledger) -> None:
    operation, _ = local.create_operation("audit", "audits/one", {}, [ChunkSpec("work", {}, rows=40)])
    message, metadata = shown(local, operation, audit_service_pb2.CreateAuditMetadata())
    assert not message.done
    assert (metadata.stage, metadata.rows_done, metadata.rows_total) == ("queued", 0, 40)
    assert (metadata.eta_s, metadata.audit) == (-1, "audits/one")


def test_a_running_audit_tells_its_rate_and_its_eta(local: Ledger, clock: ManualClock) -> None:
    operation, lease = start(local, "audits")
    clock.advance(3)
    local.commit_chunk(lease, {})
    _, metadata = shown(local, operation, audit_service_pb2.CreateAuditMetadata())
    assert (metadata.stage, metadata.rows_done) == ("running", 30)
    assert metadata.rows_per_s == pytest.approx(10)
    assert metadata.eta_s == pytest.approx(1)


def test_a_stage_that_the_worker_reported_is_shown(local: Ledger) -> None:
    operation, lease = start(local, "audits")
    local.report_progress(lease, {"stage": "reducing"})
    assert shown(local, operation, audit_service_pb2.CreateAuditMetadata())[1].stage == "reducing"


def test_a_success_carries_the_response_in_its_own_type(local: Ledger) -> None:
    operation, lease = start(local, "audits", rows=(1,))
    audit = audit_pb2.Audit(name="audits/one", report_digest="d", state=audit_pb2.Audit.STATE_SUCCEEDED)
    local.commit_chunk(lease, {}, response=stored_response(audit))
    message, metadata = shown(local, operation, audit_service_pb2.CreateAuditMetadata())
    answer = audit_pb2.Audit()
    assert message.done and message.response.Unpack(answer)
    assert answer == audit
    assert metadata.eta_s == 0


def test_a_failure_carries_status_reason_and_field(local: Ledger) -> None:
    operation, lease = start(local, "audits")
    local.fail_operation(lease, UnknownAttribute("no such attribute", field="spec.attributes[0]").to_dict())
    message, _ = shown(local, operation, audit_service_pb2.CreateAuditMetadata())
    info = error_details_pb2.ErrorInfo()
    assert message.done and message.error.code == code_pb2.INVALID_ARGUMENT
    assert message.error.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("ATTRIBUTE_NOT_IN_COHORT", "evenhand")
    assert info.metadata["field"] == "spec.attributes[0]"


def test_a_cancelled_operation_is_done_with_code_cancelled(local: Ledger) -> None:
    operation, lease = start(local, "audits")
    local.request_cancel(operation.name)
    local.finish_cancelled(lease)
    message, _ = shown(local, operation, audit_service_pb2.CreateAuditMetadata())
    assert message.done and message.error.code == code_pb2.CANCELLED


def test_an_ingest_tells_rows_and_refusals(local: Ledger) -> None:
    operation, lease = start(local, "cohorts", rows=(0,))
    local.report_progress(lease, {"stage": "writing", "rows_done": 9, "rows_total": 12, "rows_refused": 2})
    _, metadata = shown(local, operation, cohort_service_pb2.CreateCohortMetadata())
    assert (metadata.stage, metadata.rows_done, metadata.rows_total) == ("writing", 9, 12)
    assert (metadata.rows_refused, metadata.attempt, metadata.cohort) == (2, 1, "cohorts/one")


def test_a_training_run_tells_its_epochs(local: Ledger) -> None:
    operation, lease = start(local, "trainings", rows=(0,))
    local.report_progress(lease, {"stage": "training", "epochs_done": 2, "epochs_total": 8, "loss": 0.25})
    _, metadata = shown(local, operation, training_service_pb2.CreateTrainingMetadata())
    assert (metadata.stage, metadata.epochs_done, metadata.epochs_total) == ("training", 2, 8)
    assert (metadata.loss, metadata.training) == (0.25, "trainings/one")
    assert metadata.weights_total == 0


def test_a_sweep_tells_how_many_of_its_weights_are_done(local: Ledger) -> None:
    operation, lease = start(local, "trainings", rows=(0,))
    told = {"stage": "training", "epochs_done": 9, "epochs_total": 24, "weights_done": 1, "weights_total": 3}
    local.report_progress(lease, told)
    _, metadata = shown(local, operation, training_service_pb2.CreateTrainingMetadata())
    assert (metadata.weights_done, metadata.weights_total) == (1, 3)


SAMPLED = {
    "generations": ("images", generation_service_pb2.CreateGenerationMetadata),
    "counterfactuals": ("frames", generation_service_pb2.CreateCounterfactualMetadata),
    "upscalings": ("tiles", upscaling_service_pb2.CreateUpscalingMetadata),
}


@pytest.mark.parametrize("collection", SAMPLED)
def test_sampling_tells_its_own_units_and_its_steps(local: Ledger, collection: str) -> None:
    unit, kind = SAMPLED[collection]
    operation, lease = start(local, collection)
    _, metadata = shown(local, operation, kind())
    assert (metadata.stage, getattr(metadata, f"{unit}_total"), metadata.eta_s) == ("sampling", 40, -1)
    told = {"stage": "upscaling", f"{unit}_done": 3, f"{unit}_total": 12, "steps_done": 60, "steps_total": 240}
    local.report_progress(lease, told)
    _, metadata = shown(local, operation, kind())
    assert (metadata.stage, metadata.steps_done, metadata.steps_total) == ("upscaling", 60, 240)
    assert (getattr(metadata, f"{unit}_done"), getattr(metadata, f"{unit}_total")) == (3, 12)
    assert metadata.eta_s > 0
    assert getattr(metadata, collection.removesuffix("s")) == f"{collection}/one"


def test_a_lost_lease_counts_as_a_retry(local: Ledger, clock: ManualClock) -> None:
    operation, _ = start(local, "audits")
    clock.advance(60)
    assert local.lease_chunk("another", 10, ["work"]) is not None
    assert shown(local, operation, audit_service_pb2.CreateAuditMetadata())[1].retries == 1


def test_a_stored_response_of_a_later_release_is_still_read() -> None:
    stored = stored_response(cohort_pb2.Cohort(name="cohorts/one", records=3))
    stored["value"]["field_of_a_later_release"] = 1
    assert response_message(stored) == cohort_pb2.Cohort(name="cohorts/one", records=3)


def test_every_numeric_field_survives_storage() -> None:
    artifact = audit_pb2.Artifact(filename="report.json", bytes=2**40)
    audit = audit_pb2.Audit(name="audits/one", artifacts=[artifact], spec=audit_pb2.AuditSpec(seed=-(2**62)))
    assert response_message(stored_response(audit)) == audit
