"""Every error a caller can meet, as one tree.

    ServiceError
    ├── InvalidInput            the request itself is wrong; repeating it unchanged cannot help
    │   ├── ShapeMismatch       an array has another shape or dtype than its model or header says
    │   ├── OutOfRange          a number lies outside its declared range
    │   ├── NonFinite           NaN or infinity where a finite number is needed
    │   ├── Undecodable         a file is truncated, lies about itself, or is not what its name says
    │   ├── UnsupportedFormat   a well-formed file of a kind this product does not read (or refuses: pickle)
    │   ├── TooLarge            over a size limit, declared or after decompression
    │   ├── UnknownAttribute    an attribute that the cohort does not have
    │   ├── UnknownLabel        a label or a label value that the schema does not have
    │   ├── DuplicateRecord     two rows claim the same record id
    │   └── PageTokenMismatch   a page token that was made for another query
    ├── NotFound                the named resource does not exist
    ├── Conflict                the request id was used before with another body, or the resource is in use
    ├── FailedPrecondition      the request is well formed, but the state does not allow it yet
    ├── Unauthenticated         no valid credentials
    ├── Overloaded              no room now; says when to come back
    ├── Unavailable             a part of the platform is away for the moment; safe to retry
    ├── DeadlineExceeded        the caller's time ran out before the work was done
    ├── Cancelled               the caller or an operator cancelled the work
    └── Internal                our fault; the text never carries a traceback

Each class has a canonical gRPC status name, an HTTP status and a default ``reason``: the stable UPPER_SNAKE word
that is the same on gRPC (``ErrorInfo.reason``) and REST (the last part of the problem ``type``).
Messages name the field or file and what was expected; they never hold pixel data, prompts or patient names.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, ClassVar


class ServiceError(Exception):
    """Root of the tree. ``field`` is the path of the offending field or file, in the caller's own words."""

    status: ClassVar[str] = "UNKNOWN"
    http: ClassVar[int] = 500
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        reason: str = "",
        retry_after_s: float | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.reason = reason or self.default_reason
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})

    def to_dict(self) -> dict[str, Any]:
        """A plain form that crosses process borders and is stored with failed operations."""
        return {
            "class": type(self).__name__,
            "message": self.message,
            "field": self.field,
            "reason": self.reason,
            "retry_after_s": self.retry_after_s,
            "details": self.details,
        }

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        return error_from_dict, (self.to_dict(),)


class InvalidInput(ServiceError):
    status, http, default_reason = "INVALID_ARGUMENT", 400, "INVALID_INPUT"


class ShapeMismatch(InvalidInput):
    default_reason = "SHAPE_MISMATCH"


class OutOfRange(InvalidInput):
    default_reason = "VALUE_OUT_OF_RANGE"


class NonFinite(InvalidInput):
    default_reason = "NON_FINITE_PIXELS"


class Undecodable(InvalidInput):
    http = 422
    default_reason = "FILE_UNDECODABLE"


class UnsupportedFormat(InvalidInput):
    http = 415
    default_reason = "FORMAT_UNSUPPORTED"


class TooLarge(InvalidInput):
    http = 413
    default_reason = "TOO_LARGE"


class UnknownAttribute(InvalidInput):
    default_reason = "ATTRIBUTE_NOT_IN_COHORT"


class UnknownLabel(InvalidInput):
    default_reason = "LABEL_NOT_IN_SCHEMA"


class DuplicateRecord(InvalidInput):
    default_reason = "DUPLICATE_RECORD_ID"


class PageTokenMismatch(InvalidInput):
    default_reason = "PAGE_TOKEN_OF_ANOTHER_QUERY"


class NotFound(ServiceError):
    """``NotFound("no such cohort", field=name, reason="COHORT_NOT_FOUND")``."""

    status, http, default_reason = "NOT_FOUND", 404, "NOT_FOUND"


class Conflict(ServiceError):
    status, http, default_reason = "ALREADY_EXISTS", 409, "REQUEST_ID_REUSED"


class FailedPrecondition(ServiceError):
    status, http, default_reason = "FAILED_PRECONDITION", 409, "FAILED_PRECONDITION"


class Unauthenticated(ServiceError):
    status, http, default_reason = "UNAUTHENTICATED", 401, "UNAUTHENTICATED"


class Overloaded(ServiceError):
    status, http, default_reason = "RESOURCE_EXHAUSTED", 429, "OVERLOADED"


class Unavailable(ServiceError):
    status, http, default_reason = "UNAVAILABLE", 503, "UNAVAILABLE"


class DeadlineExceeded(ServiceError):
    status, http, default_reason = "DEADLINE_EXCEEDED", 504, "DEADLINE_EXCEEDED"


class Cancelled(ServiceError):
    status, http, default_reason = "CANCELLED", 499, "CANCELLED"


class Internal(ServiceError):
    status, http, default_reason = "INTERNAL", 500, "INTERNAL"


def error_classes() -> list[type[ServiceError]]:
    """Every class of the tree, ancestors before their descendants."""
    found: list[type[ServiceError]] = [ServiceError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


def error_from_dict(plain: Mapping[str, Any]) -> ServiceError:
    """The inverse of :meth:`ServiceError.to_dict`; an unknown class name becomes :class:`Internal`."""
    kind = {known.__name__: known for known in error_classes()}.get(str(plain.get("class", "")), Internal)
    return kind(
        str(plain.get("message", "")),
        field=str(plain.get("field", "")),
        reason=str(plain.get("reason", "")),
        retry_after_s=plain.get("retry_after_s"),
        details=plain.get("details") or {},
    )


def whereabouts(error: BaseException) -> str:
    """For logs, what an error that nobody foresaw is and where it arose: types, files and lines, its causes' too.

    Its text stays out, because it may quote what a caller sent: a file name, a patient's id.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    here = f"{type(error).__name__} at {places or 'no frame'}"
    return here if cause is None else f"{here}, caused by {whereabouts(cause)}"
