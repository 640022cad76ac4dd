"""Every error the client raises, as one tree. It mirrors the platform's own, class by class.

    EvenhandError
    ├── InvalidInput            the request itself is wrong; repeating it unchanged cannot help
    │   ├── ShapeMismatch       an array has another shape or dtype than its model or header says
    │   ├── OutOfRange          a number lies outside its declared range
    │   ├── NonFinite           NaN or infinity where a finite number is needed
    │   ├── Undecodable         a file is truncated, lies about itself, or is not what its name says
    │   ├── UnsupportedFormat   a well-formed file of a kind that is not read (or refused: pickle)
    │   ├── TooLarge            over a size limit, declared or after decompression
    │   ├── UnknownAttribute    an attribute that the cohort does not have
    │   ├── UnknownLabel        a label or a label value that the schema does not have
    │   ├── DuplicateRecord     two rows claim the same record id
    │   └── PageTokenMismatch   a page token that was made for another query
    ├── NotFound                the named resource does not exist
    ├── Conflict                the request id or a record came before with other content, or the resource is in use
    ├── FailedPrecondition      the request is well formed, but the state does not allow it yet
    ├── Unauthenticated         no valid credentials
    ├── Overloaded              no room now; the client has already waited as long as it was told
    ├── Unavailable             the platform or a part of it is away for the moment
    ├── DeadlineExceeded        the time ran out before the work was done
    ├── Cancelled               the caller or an operator cancelled the work
    ├── Internal                the platform's fault
    ├── OperationFailed         an operation ended with an error; ``__cause__`` is that error
    └── IncompleteStream        an artifact did not arrive whole, or not with the bytes its sha256 promises

``reason`` is the stable UPPER_SNAKE word that gRPC and REST share, ``field`` the path of the offending field or file,
``hint`` what to do next.
"""

from __future__ import annotations

from typing import Any, ClassVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


class EvenhandError(Exception):
    """Root of the tree."""

    status: ClassVar[str] = "UNKNOWN"
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        reason: str = "",
        hint: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.reason = reason or self.default_reason
        self.hint = hint or HINTS.get(self.reason, "")
        self.retry_after_s = retry_after_s

    def to_dict(self) -> dict[str, str]:
        """The plain form that ``--json`` prints."""
        return {
            "class": type(self).__name__,
            "reason": self.reason,
            "message": self.message,
            "field": self.field,
            "hint": self.hint,
        }


class InvalidInput(EvenhandError):
    status, default_reason = "INVALID_ARGUMENT", "INVALID_INPUT"


class ShapeMismatch(InvalidInput):
    default_reason = "SHAPE_MISMATCH"


class OutOfRange(InvalidInput):
    default_reason = "VALUE_OUT_OF_RANGE"


class NonFinite(InvalidInput):
    default_reason = "NON_FINITE_PIXELS"


class Undecodable(InvalidInput):
    default_reason = "FILE_UNDECODABLE"


class UnsupportedFormat(InvalidInput):
    default_reason = "FORMAT_UNSUPPORTED"


class TooLarge(InvalidInput):
    default_reason = "TOO_LARGE"


class UnknownAttribute(InvalidInput):
    default_reason = "ATTRIBUTE_NOT_IN_COHORT"


class UnknownLabel(InvalidInput):
    default_reason = "LABEL_NOT_IN_SCHEMA"


class DuplicateRecord(InvalidInput):
    default_reason = "DUPLICATE_RECORD_ID"


class PageTokenMismatch(InvalidInput):
    default_reason = "PAGE_TOKEN_OF_ANOTHER_QUERY"


class NotFound(EvenhandError):
    status, default_reason = "NOT_FOUND", "NOT_FOUND"


class Conflict(EvenhandError):
    status, default_reason = "ALREADY_EXISTS", "REQUEST_ID_REUSED"


class FailedPrecondition(EvenhandError):
    status, default_reason = "FAILED_PRECONDITION", "FAILED_PRECONDITION"


class Unauthenticated(EvenhandError):
    status, default_reason = "UNAUTHENTICATED", "UNAUTHENTICATED"


class Overloaded(EvenhandError):
    status, default_reason = "RESOURCE_EXHAUSTED", "OVERLOADED"


class Unavailable(EvenhandError):
    status, default_reason = "UNAVAILABLE", "UNAVAILABLE"


class DeadlineExceeded(EvenhandError):
    status, default_reason = "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"


class Cancelled(EvenhandError):
    status, default_reason = "CANCELLED", "CANCELLED"


class Internal(EvenhandError):
    status, default_reason = "INTERNAL", "INTERNAL"


class OperationFailed(EvenhandError):
    default_reason = "OPERATION_FAILED"


class IncompleteStream(EvenhandError):
    default_reason = "INCOMPLETE_STREAM"


HINTS = {
    "MODEL_NOT_FOUND": "`evenhand models list` names the models that are served",
    "COHORT_NOT_FOUND": "`evenhand cohorts list` names the cohorts",
    "AUDIT_NOT_FOUND": "`evenhand audits list` names the audits",
    "OPERATION_NOT_FOUND": "`evenhand operations list` names the operations",
    "OPERATION_NOT_DONE": "wait for it, or cancel it first",
    "GENERATION_NOT_FOUND": "`evenhand generations list` names the generations",
    "COUNTERFACTUAL_NOT_FOUND": "`evenhand counterfactuals list` names the counterfactuals",
    "UPSCALING_NOT_FOUND": "`evenhand upscalings list` names the upscalings",
    "MONITOR_NOT_FOUND": "`evenhand monitors list` names the monitors",
    "WINDOW_NOT_FOUND": "`evenhand monitors windows` lists those that are closed",
    "CONFLICTING_RECORD": "a record is what it was when it first came; give another prediction an id of its own",
    "CONFLICTING_LABEL": "a label is what it was when it first came; leave it out, or send the same",
    "TIME_IN_FUTURE": "look at the clock and the time zone of whatever made the predictions",
    "TIME_BEFORE_ORIGIN": "`evenhand monitors show` says where window 0 begins; a new monitor may begin earlier",
    "AUDIT_NOT_FINISHED": "wait for it: `evenhand audits watch`",
    "ATTRIBUTE_UNKNOWN": "`evenhand models show` and `evenhand monitors show` name the attributes that they know",
    "LEVEL_UNKNOWN": "`evenhand models show` and `evenhand monitors show` name each attribute's levels",
    "MODEL_TASK_MISMATCH": "`evenhand models list` says what each model does",
    "MODEL_DIGEST_MISMATCH": "another package is served under this name now; the same image needs the same package",
    "GUIDANCE_UNSUPPORTED": "leave the guidance scale out, or set it to 1",
    "PROMPT_TOO_LONG": "shorten the prompt; nothing is cut silently",
    "RECORD_INVALID": "PNG files of the platform carry a record, and so does records.jsonl, one a line",
    "ATTRIBUTE_NOT_IN_COHORT": "`evenhand cohorts show` names the cohort's attributes",
    "GROUP_UNKNOWN": "`evenhand cohorts show` names the levels; groups of sex,age join them: Male, 40 to 59",
    "THRESHOLDS_FITTED_ON_TEST": "choose thresholds on validation data, or set allow_test_thresholds: true in the spec",
    "LPIPS_WEIGHTS_ABSENT": "have EVENHAND_LPIPS_WEIGHTS set on the server, or leave LPIPS out of quality_metrics",
    "LABEL_NOT_IN_SCHEMA": "`evenhand cohorts show` names the cohort's labels",
    "REQUEST_ID_REUSED": "use a fresh request id, or none: the client makes one",
    "UNAUTHENTICATED": "set EVENHAND_API_KEY, or pass api_key",
    "UNREACHABLE": "is the platform running there? `evenhand doctor` looks, EVENHAND_ADDRESS says where",
    "INCOMPLETE_STREAM": "ask for the artifact again",
    "OVERLOADED": "try again later, or with fewer calls at once",
}

_BY_STATUS: dict[str, type[EvenhandError]] = {
    "INVALID_ARGUMENT": InvalidInput,
    "OUT_OF_RANGE": OutOfRange,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": Conflict,
    "ABORTED": Conflict,
    "FAILED_PRECONDITION": FailedPrecondition,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": Unauthenticated,
    "RESOURCE_EXHAUSTED": Overloaded,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "INTERNAL": Internal,
}
_STATUS_BY_NUMBER: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


def all_errors(root: type[EvenhandError] = EvenhandError) -> dict[str, type[EvenhandError]]:
    """Every class of the tree by its name."""
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= all_errors(child)
    return found


def error_from_status(status: status_pb2.Status) -> EvenhandError:
    """The typed error of a ``google.rpc.Status``: of a call, or stored with a failed operation."""
    info = error_details_pb2.ErrorInfo()
    violations = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for kind in (info, violations, retry):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    field = info.metadata.get("field", "") or next((v.field for v in violations.field_violations), "")
    return _error_class(status.code, info)(
        status.message,
        field=field,
        reason=info.reason,
        hint=info.metadata.get("hint", ""),
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() if _present(retry) else None,
    )


def error_from_rpc(error: grpc.RpcError) -> EvenhandError:
    """The typed error of a failed call."""
    rich = _rich_status(error)
    if rich is not None:
        return error_from_status(rich)
    code = error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else grpc.StatusCode.UNKNOWN
    text = str(error.details() or "") if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else str(error)
    if code is grpc.StatusCode.UNAVAILABLE:  # no details: the transport speaks, not the platform
        return Unavailable(f"no connection: {text.rpartition(': ')[2]}", reason="UNREACHABLE")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:  # likewise: gRPC itself counts the bytes of a message
        return TooLarge(text)
    return _BY_STATUS.get(code.name, EvenhandError)(text or code.name)


def _rich_status(error: grpc.RpcError) -> status_pb2.Status | None:
    """The rich status of either kind of call; None where the server sent none or contradicts its own code."""
    if isinstance(error, grpc.aio.AioRpcError):
        trailers: Any = error.trailing_metadata()  # aio.Metadata iterates over pairs, its stubs do not say so
        for key, value in trailers or ():
            if key == "grpc-status-details-bin":
                return status_pb2.Status.FromString(value)
        return None
    if not isinstance(error, grpc.Call):
        return None
    try:
        return rpc_status.from_call(error)
    except ValueError:
        return None


def _error_class(code: int, info: error_details_pb2.ErrorInfo) -> type[EvenhandError]:
    status = _STATUS_BY_NUMBER.get(code, "UNKNOWN")
    for kind in all_errors().values():
        if kind.default_reason == info.reason and kind.status == status:
            return kind
    return _BY_STATUS.get(status, EvenhandError)


def _present(detail: Message) -> bool:
    return bool(detail.ListFields())
