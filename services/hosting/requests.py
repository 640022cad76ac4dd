"""Rules that every request keeps, whichever service it is for; each has one wording and one reason."""

from __future__ import annotations

import re
import uuid
from typing import TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from services.errors import InvalidInput, OutOfRange
from services.maths.canonical import digest

M = TypeVar("M", bound=Message)

DEFAULT_PAGE, LARGEST_PAGE = 50, 500
LONGEST_DISPLAY_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parsed(kind: type[M], data: bytes) -> M:
    """The message in ``data``; InvalidInput REQUEST_MALFORMED where it is none."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidInput(f"the bytes are no {kind.DESCRIPTOR.full_name}", reason="REQUEST_MALFORMED") from None


def request_id(text: str) -> str:
    """Empty, or a UUID4 in its canonical spelling (AIP-155)."""
    if not text:
        return ""
    try:
        known = uuid.UUID(text)
    except ValueError:
        known = None
    if known is None or known.version != 4 or text.lower() != str(known):
        raise InvalidInput(f"request_id must be a UUID4, got {text[:60]!r}", field="request_id")
    return str(known)


def body_digest(message: Message) -> str:
    """sha256 of the request without its request_id: what tells a repeat from another request under the same id."""
    body = MessageToDict(message, preserving_proto_field_name=True)
    body.pop("request_id", None)
    return digest(body)


def plain_text(text: str, at: str) -> str:
    """Text that a path, a PostgreSQL column and a terminal take as it is."""
    if _CONTROL.search(text):
        raise InvalidInput("must be text without control characters", field=at, reason="CONTROL_CHARACTER")
    return text


def display_name(text: str) -> str:
    """What people call a thing: at most 200 characters."""
    if len(text) > LONGEST_DISPLAY_NAME:
        raise InvalidInput(f"at most {LONGEST_DISPLAY_NAME} characters", field="display_name")
    return plain_text(text, "display_name")


def resource_name(text: str, collection: str, at: str) -> str:
    """``"cohorts/abc"``, or InvalidInput. Whether it exists is the ledger's to say."""
    head, _, rest = text.partition("/")
    if head != collection or not rest or "/" in rest:
        raise InvalidInput(f"expected '{collection}/…', got {text[:80]!r}", field=at, reason="NAME_MALFORMED")
    return plain_text(text, at)


def page_size(asked: int) -> int:
    """Items on one page: 0 means the default, more than the largest means the largest (AIP-158)."""
    if asked < 0:
        raise OutOfRange(f"page_size must not be negative, got {asked}", field="page_size")
    return min(asked or DEFAULT_PAGE, LARGEST_PAGE)
