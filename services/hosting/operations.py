"""The ledger's operations as google.longrunning.Operation messages.

The collection of the operation's resource decides the metadata type: ``audits/…``, ``cohorts/…``, ``trainings/…``,
``generations/…``, ``counterfactuals/…``, ``upscalings/…``, ``monitors/…/windows/…``.
Responses are stored as ``{"type": full message name, "value": JSON mapping}``, errors as ``ServiceError.to_dict()``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from evenhand.generation.v1 import counterfactual_pb2, generation_pb2, generation_service_pb2
from evenhand.monitoring.v1 import drift_pb2, monitoring_service_pb2
from evenhand.training.v1 import training_pb2, training_service_pb2
from evenhand.upscaling.v1 import upscaling_pb2, upscaling_service_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from services.adapters.ledger import Ledger, Operation
from services.adapters.status import status_from_error
from services.errors import Cancelled, error_from_dict

UNKNOWN_ETA = -1.0
SYNTHETIC_COHORT = "synthetic-cohort"
"""Kind of the operations that make synthetic cohorts; their resources are cohorts as those of an ingest are."""
RATE_WINDOW_S = 30.0  # commits come by the chunk, seconds apart; a shorter window would see none

_RESPONSES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        audit_pb2.Audit,
        cohort_pb2.Cohort,
        counterfactual_pb2.Counterfactual,
        drift_pb2.MonitorWindow,
        generation_pb2.Generation,
        training_pb2.Training,
        upscaling_pb2.Upscaling,
    )
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
    if collection not in _METADATA:
        raise ValueError(f"no metadata type for operations of {collection!r}")
    return _METADATA[collection](operation)


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


def _cohort_metadata(operation: Operation) -> Message:
    if operation.kind == SYNTHETIC_COHORT:
        return _synthetic_cohort_metadata(operation)
    progress = operation.progress
    done, total = int(progress.get("rows_done", 0)), int(progress.get("rows_total", operation.rows_total))
    rate = done / _elapsed_s(operation)
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


def _synthetic_cohort_metadata(operation: Operation) -> cohort_service_pb2.CreateSyntheticCohortMetadata:
    done, total = _counted(operation, "images")
    rate = done / _elapsed_s(operation)
    return cohort_service_pb2.CreateSyntheticCohortMetadata(
        stage="queued" if operation.state == "pending" else str(operation.progress.get("stage") or "sampling"),
        images_done=done,
        images_total=total,
        images_per_s=rate,
        eta_s=_eta_s(operation, done, total, rate),
        retries=operation.retries,
        cohort=operation.resource,
    )


def _elapsed_s(operation: Operation) -> float:
    """Since its work began, until now or until it ended; never 0."""
    until = operation.update_time if operation.done else datetime.now(UTC)
    return max((until - (operation.start_time or operation.create_time)).total_seconds(), 1e-3)


def _training_metadata(operation: Operation) -> training_service_pb2.CreateTrainingMetadata:
    progress = operation.progress
    return training_service_pb2.CreateTrainingMetadata(
        stage=str(progress.get("stage") or "preparing"),
        epochs_done=int(progress.get("epochs_done", 0)),
        epochs_total=int(progress.get("epochs_total", 0)),
        loss=float(progress.get("loss", 0.0)),
        training=operation.resource,
        weights_done=int(progress.get("weights_done", 0)),
        weights_total=int(progress.get("weights_total", 0)),
    )


def _generation_metadata(operation: Operation) -> generation_service_pb2.CreateGenerationMetadata:
    done, total = _counted(operation, "images")
    return generation_service_pb2.CreateGenerationMetadata(
        images_done=done,
        images_total=total,
        images_per_s=done / _elapsed_s(operation),
        generation=operation.resource,
        **_sampling(operation, done, total),
    )


def _counterfactual_metadata(operation: Operation) -> generation_service_pb2.CreateCounterfactualMetadata:
    done, total = _counted(operation, "frames")
    return generation_service_pb2.CreateCounterfactualMetadata(
        frames_done=done,
        frames_total=total,
        frames_per_s=done / _elapsed_s(operation),
        counterfactual=operation.resource,
        **_sampling(operation, done, total),
    )


def _upscaling_metadata(operation: Operation) -> upscaling_service_pb2.CreateUpscalingMetadata:
    done, total = _counted(operation, "tiles")
    return upscaling_service_pb2.CreateUpscalingMetadata(
        tiles_done=done, tiles_total=total, upscaling=operation.resource, **_sampling(operation, done, total)
    )


def _window_metadata(operation: Operation) -> monitoring_service_pb2.RederiveWindowMetadata:
    return monitoring_service_pb2.RederiveWindowMetadata(
        stage="queued" if operation.state == "pending" else "deriving",
        retries=operation.retries,
        window=operation.resource,
    )


def _counted(operation: Operation, unit: str) -> tuple[int, int]:
    """(done, in all) of images, frames or tiles; where the worker has told nothing yet, the ledger's rows."""
    progress = operation.progress
    done = int(progress.get(f"{unit}_done", operation.rows_done))
    return done, int(progress.get(f"{unit}_total", operation.rows_total))


def _sampling(operation: Operation, done: int, total: int) -> dict[str, Any]:
    """What the metadata of all three have in common. Steps move evenly, so they tell best how long it will take."""
    progress = operation.progress
    steps_done, steps_total = int(progress.get("steps_done", 0)), int(progress.get("steps_total", 0))
    moved, in_all = (steps_done, steps_total) if steps_total else (done, total)
    return {
        "stage": "queued" if operation.state == "pending" else str(progress.get("stage") or "sampling"),
        "steps_done": steps_done,
        "steps_total": steps_total,
        "eta_s": _eta_s(operation, moved, in_all, moved / _elapsed_s(operation)),
        "retries": operation.retries,
    }


_METADATA: dict[str, Callable[[Operation], Message]] = {
    "cohorts": _cohort_metadata,
    "counterfactuals": _counterfactual_metadata,
    "generations": _generation_metadata,
    "monitors": _window_metadata,
    "trainings": _training_metadata,
    "upscalings": _upscaling_metadata,
}


def _eta_s(operation: Operation, done: int, total: int, rate: float) -> float:
    """Seconds to go; 0 once finished, -1 while nothing is known to move."""
    if operation.done:
        return 0.0
    return (total - done) / rate if rate > 0 else UNKNOWN_ETA
