"""The ledger's operations as google.longrunning.Operation messages.

The collection of the operation's resource decides the metadata type: ``audits/…``, ``cohorts/…``, ``trainings/…``.
Responses are stored as ``{"type": full message name, "value": JSON mapping}``, errors as ``ServiceError.to_dict()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from evenhand.training.v1 import training_pb2, training_service_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from services.adapters.ledger import Ledger, Operation
from services.adapters.status import status_from_error
from services.errors import Cancelled, error_from_dict

UNKNOWN_ETA = -1.0
RATE_WINDOW_S = 30.0  # commits come by the chunk, seconds apart; a shorter window would see none

_RESPONSES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind for kind in (audit_pb2.Audit, cohort_pb2.Cohort, training_pb2.Training)
}


def stored_response(message: Message) -> dict[str, Any]:
    """The form in which a finished operation keeps its response."""
    return {"type": message.DESCRIPTOR.full_name, "value": MessageToDict(message, preserving_proto_field_name=True)}


def response_message(stored: Mapping[str, Any]) -> Message:
    """The inverse of :func:`stored_response`. Fields that this release does not know are dropped."""
    message = _RESPONSES[stored["type"]]()
    return ParseDict(dict(stored["value"]), message, ignore_unknown_fields=True)


def operation_proto(operation: Operation, ledger: Ledger) -> operations_pb2.Operation:
    """The operation as callers see it. Reads the commit rate from ``ledger`` while the operation runs."""
    message = operations_pb2.Operation(name=operation.name, done=operation.done)
    message.metadata.Pack(_metadata(operation, ledger))
    if operation.state == "succeeded":
        message.response.Pack(response_message(operation.response or {}))
    elif operation.state == "failed":
        message.error.CopyFrom(status_from_error(error_from_dict(operation.error or {})))
    elif operation.state == "cancelled":
        message.error.CopyFrom(status_from_error(Cancelled("the operation was cancelled", field=operation.name)))
    return message


def _metadata(operation: Operation, ledger: Ledger) -> Message:
    collection = operation.resource.partition("/")[0]
    if collection == "audits":
        return _audit_metadata(operation, ledger)
    if collection == "cohorts":
        return _cohort_metadata(operation)
    if collection == "trainings":
        return _training_metadata(operation)
    raise ValueError(f"no metadata type for operations of {collection!r}")


def _audit_metadata(operation: Operation, ledger: Ledger) -> audit_service_pb2.CreateAuditMetadata:
    running = operation.state == "running"
    rate = ledger.recent_rate(operation.name, RATE_WINDOW_S) if running else 0.0
    stage = "queued" if operation.state == "pending" else str(operation.progress.get("stage") or "running")
    return audit_service_pb2.CreateAuditMetadata(
        stage=stage,
        rows_done=operation.rows_done,
        rows_total=operation.rows_total,
        rows_per_s=rate,
        eta_s=_eta_s(operation, operation.rows_done, operation.rows_total, rate),
        retries=operation.retries,
        audit=operation.resource,
    )


def _cohort_metadata(operation: Operation) -> cohort_service_pb2.CreateCohortMetadata:
    progress = operation.progress
    done, total = int(progress.get("rows_done", 0)), int(progress.get("rows_total", operation.rows_total))
    started = operation.start_time or operation.create_time
    elapsed = max((_until(operation) - started).total_seconds(), 1e-3)
    rate = done / elapsed
    return cohort_service_pb2.CreateCohortMetadata(
        stage=str(progress.get("stage") or "decoding"),
        rows_done=done,
        rows_total=total,
        rows_refused=int(progress.get("rows_refused", 0)),
        rows_per_s=rate,
        eta_s=_eta_s(operation, done, total, rate),
        attempt=operation.retries + 1,
        cohort=operation.resource,
    )


def _until(operation: Operation) -> datetime:
    return operation.update_time if operation.done else datetime.now(UTC)


def _training_metadata(operation: Operation) -> training_service_pb2.CreateTrainingMetadata:
    progress = operation.progress
    return training_service_pb2.CreateTrainingMetadata(
        stage=str(progress.get("stage") or "preparing"),
        epochs_done=int(progress.get("epochs_done", 0)),
        epochs_total=int(progress.get("epochs_total", 0)),
        loss=float(progress.get("loss", 0.0)),
        training=operation.resource,
    )


def _eta_s(operation: Operation, done: int, total: int, rate: float) -> float:
    """Seconds to go; 0 once finished, -1 while nothing is known to move."""
    if operation.done:
        return 0.0
    return (total - done) / rate if rate > 0 else UNKNOWN_ETA
