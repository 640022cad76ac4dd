"""ServiceError ↔ google.rpc.Status ↔ RFC 9457 problem: one table for both transports.

The same ``reason`` travels as ``ErrorInfo.reason`` (domain ``evenhand``) and as the last part of the problem's type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from services import errors
from services.errors import ServiceError, error_classes

DOMAIN = "evenhand"
DETAILS_KEY = "grpc-status-details-bin"
LONGEST_TEXT = 500  # a caller's own words come back in messages, and all of gRPC's trailers must fit into 8 KiB

TITLES: dict[str, str] = {
    "ServiceError": "Something went wrong",
    "InvalidInput": "The request is not valid",
    "ShapeMismatch": "An array has another shape or type than expected",
    "OutOfRange": "A value lies outside its range",
    "NonFinite": "There are values that are not finite numbers",
    "Undecodable": "A file cannot be decoded",
    "UnsupportedFormat": "This format is not supported",
    "TooLarge": "The request is over a size limit",
    "UnknownAttribute": "The cohort does not have this attribute",
    "UnknownLabel": "The schema does not have this label or value",
    "DuplicateRecord": "A record appears twice",
    "PageTokenMismatch": "The page token belongs to another query",
    "NotFound": "There is no such resource",
    "Conflict": "The request conflicts with an earlier one",
    "FailedPrecondition": "The resource's state does not allow this now",
    "Unauthenticated": "Valid credentials are needed",
    "Overloaded": "There is no room for this request now",
    "Unavailable": "A part of the platform is away for the moment",
    "DeadlineExceeded": "The time allowed for the request ran out",
    "Cancelled": "The request was cancelled",
    "Internal": "The platform made a mistake",
}

RETRYABLE = {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
DEFAULT_RETRY_S = 1.0


def grpc_code(error: ServiceError) -> grpc.StatusCode:
    return grpc.StatusCode[error.status]


def retry_after_s(error: ServiceError) -> float | None:
    """When to come back; always a number for errors that are worth repeating."""
    if error.retry_after_s is None and error.status in RETRYABLE:
        return DEFAULT_RETRY_S
    return error.retry_after_s


def status_from_error(error: ServiceError) -> status_pb2.Status:
    """google.rpc.Status with ErrorInfo and, where they say something, BadRequest and RetryInfo."""
    message = _shortened(error.message)
    status = status_pb2.Status(code=grpc_code(error).value[0], message=message)
    metadata = {key: _shortened(value) for key, value in error.details.items()}
    if error.field:
        metadata.setdefault("field", _shortened(error.field))
    _attach(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if error.field and error.status == "INVALID_ARGUMENT":
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_shortened(error.field), description=message, reason=error.reason
        )
        _attach(status, error_details_pb2.BadRequest(field_violations=[violation]))
    wait = retry_after_s(error)
    if wait is not None:
        delay = Duration()
        delay.FromMilliseconds(math.ceil(wait * 1000))
        _attach(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def error_from_status(status: status_pb2.Status) -> ServiceError:
    """The inverse of :func:`status_from_error`; a status without our ErrorInfo keeps its code and message."""
    reason, field, retry, details = "", "", None, {}
    for packed in status.details:
        info, retry_info = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if packed.Unpack(info) and info.domain == DOMAIN:
            reason, details = info.reason, dict(info.metadata)
            field = details.pop("field", "")
        elif packed.Unpack(retry_info):
            retry = retry_info.retry_delay.ToMilliseconds() / 1000
    name = next((code.name for code in grpc.StatusCode if code.value[0] == status.code), "UNKNOWN")
    return error_class(name, reason)(status.message, field=field, reason=reason, retry_after_s=retry, details=details)


def error_class(status: str, reason: str) -> type[ServiceError]:
    """The class of a status whose default reason is ``reason``; failing that, the status's most general class."""
    candidates = [kind for kind in error_classes() if kind.status == status]
    exact = [kind for kind in candidates if kind.default_reason == reason]
    return (exact or candidates or [errors.Internal])[0]


def trailing_metadata(error: ServiceError) -> tuple[tuple[str, bytes], ...]:
    """The rich status as gRPC trailers carry it."""
    return ((DETAILS_KEY, status_from_error(error).SerializeToString()),)


def problem_from_error(error: ServiceError, *, instance: str = "") -> dict[str, Any]:
    """RFC 9457 problem details. ``errors`` points at the offending member of the request body."""
    message = _shortened(error.message)
    problem: dict[str, Any] = {
        "type": f"urn:{DOMAIN}:problem:{error.reason}",
        "title": TITLES[type(error).__name__],
        "status": error.http,
        "detail": message,
        "reason": error.reason,
    }
    if instance:
        problem["instance"] = _shortened(instance)
    if error.field:
        problem["errors"] = [{"pointer": json_pointer(_shortened(error.field)), "detail": message}]
    if error.details:
        problem["metadata"] = {key: _shortened(value) for key, value in error.details.items()}
    return problem


def problem_headers(error: ServiceError) -> dict[str, str]:
    """Retry-After in whole seconds, and the challenge that a 401 must carry."""
    headers = {}
    wait = retry_after_s(error)
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    if error.http == errors.Unauthenticated.http:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def error_from_problem(problem: Mapping[str, Any]) -> ServiceError:
    """A ServiceError of the class that has this HTTP status and reason. ``field`` keeps the JSON pointer's form."""
    http, reason = int(problem.get("status", 500)), str(problem.get("reason", ""))
    candidates = [kind for kind in error_classes() if kind.http == http and kind is not ServiceError]
    exact = [kind for kind in candidates if kind.default_reason == reason]
    pointers = problem.get("errors") or [{}]
    kind = (exact or candidates or [errors.Internal])[0]
    return kind(str(problem.get("detail", "")), reason=reason, field=str(pointers[0].get("pointer", "")))


_FIELD_PATH = re.compile(r"[A-Za-z_]\w*(\.\w+|\[\d+\])*(\[[\w, ]+\])?")  # a map's key stands last


def json_pointer(field: str) -> str:
    """``spec.pipelines[0].name`` → ``/spec/pipelines/0/name``; a file's name stays one token."""
    if not _FIELD_PATH.fullmatch(field):
        return "/" + field.replace("~", "~0").replace("/", "~1")
    return "/" + re.sub(r"\[([\w, ]+)\]", r".\1", field).replace(".", "/")


def _attach(status: status_pb2.Status, detail: Any) -> None:
    status.details.add().Pack(detail)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
