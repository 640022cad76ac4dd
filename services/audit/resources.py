"""What the ledger keeps of audits and cohorts, and the messages that callers get of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evenhand.audit.v1 import audit_pb2
from evenhand.cohort.v1 import cohort_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from services.adapters.ledger import Operation

LISTED_REFUSALS = 1000

STATE_OF_OPERATION = {
    "pending": "STATE_PENDING",
    "running": "STATE_RUNNING",
    "succeeded": "STATE_SUCCEEDED",
    "failed": "STATE_FAILED",
    "cancelled": "STATE_CANCELLED",
}


def audit_message(body: Mapping[str, Any], operation: Operation | None) -> audit_pb2.Audit:
    """The Audit of a stored resource. ``operation`` is None once it was forgotten; the stored state then stands."""
    shown = {key: body[key] for key in audit_pb2.Audit.DESCRIPTOR.fields_by_name if key in body}
    if operation is not None:
        shown["state"] = STATE_OF_OPERATION[operation.state]
    message = ParseDict(shown, audit_pb2.Audit())
    if operation is not None:
        message.update_time.FromDatetime(operation.update_time)
    return message


def audit_body(name: str, operation: Operation) -> dict[str, Any]:
    """What the ledger keeps of an audit before it has results.

    ``state`` is shown only once the operation was forgotten, and then an audit without results did not succeed.
    """
    request = operation.request
    return {
        "name": name,
        "display_name": request["display_name"],
        "spec": request["spec"],
        "cohort": request["plan"]["cohort"],
        "digest": request["plan"]["digest"],
        "operation": operation.name,
        "state": "STATE_FAILED",
        "create_time": _timestamp(operation.create_time),
    }


def _timestamp(moment: datetime) -> str:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp.ToJsonString()


def cohort_message(body: Mapping[str, Any]) -> cohort_pb2.Cohort:
    shown = {key: body[key] for key in cohort_pb2.Cohort.DESCRIPTOR.fields_by_name if key in body}
    return ParseDict(shown, cohort_pb2.Cohort())


def cohort_body(
    name: str, display_name: str, manifest: Mapping[str, Any], manifest_key: str, create_time: datetime
) -> dict[str, Any]:
    """What the ledger keeps of a cohort: the Cohort message's fields. The manifest has the rest.

    ``state`` is for whoever asks for files of it: there will be no more than there are.
    """
    refused = manifest["refused"]
    same = (
        "digest",
        "records",
        "patients",
        "attributes",
        "labels",
        "modality",
        "has_masks",
        "mask_labels",
        "mask_planes",
        "demographics",
        "synthetic",
    )
    return {
        "name": name,
        "display_name": display_name,
        **{key: manifest[key] for key in same if key in manifest},
        "refused": refused[:LISTED_REFUSALS],
        "refused_count": len(refused),
        "manifest_key": manifest_key,
        "state": "STATE_SUCCEEDED",
        "create_time": _timestamp(create_time),
    }
