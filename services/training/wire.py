"""Requests checked, and the messages that callers get. Protobuf on one side, plain values on the other."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from evenhand.training.v1 import training_pb2, training_service_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import DecodeError, Message

from services.errors import InvalidInput, OutOfRange
from services.maths.canonical import digest
from services.training.recipes import find_recipe
from services.training.runs import Run

M = TypeVar("M", bound=Message)

MOST_EPOCHS = 1000
MOST_PATIENTS = 100_000
LARGEST_SEED = 2**31 - 1
DEFAULT_PAGE, LARGEST_PAGE = 50, 500


@dataclass(frozen=True)
class TrainingRequest:
    """CreateTrainingRequest, checked and with the recipe's own numbers where it says 0."""

    run: Run
    request_id: str
    body_digest: str


def parsed(kind: type[M], data: bytes) -> M:
    """The message in ``data``; InvalidInput where it is none."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"not a {kind.DESCRIPTOR.full_name}", reason="REQUEST_MALFORMED") from error


def training_request(message: training_service_pb2.CreateTrainingRequest) -> TrainingRequest:
    """NotFound RECIPE_NOT_FOUND, or OutOfRange with the field."""
    recipe = find_recipe(message.recipe)
    for field, most in (("epochs", MOST_EPOCHS), ("patients", MOST_PATIENTS), ("seed", LARGEST_SEED)):
        value = getattr(message, field)
        if not 0 <= value <= most:
            raise OutOfRange(f"{field} must be between 0 and {most}, got {value}", field=field)
    body = MessageToDict(message, preserving_proto_field_name=True)
    body.pop("request_id", None)
    return TrainingRequest(
        run=Run(recipe, message.seed, message.epochs or recipe.epochs, message.patients or recipe.patients),
        request_id=_request_id(message.request_id),
        body_digest=digest(body),
    )


def _request_id(text: str) -> str:
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


def training_name(text: str) -> str:
    """``"trainings/abc"``, or InvalidInput."""
    head, _, rest = text.partition("/")
    if head != "trainings" or not rest or "/" in rest:
        raise InvalidInput(f"expected 'trainings/…', got {text[:80]!r}", field="name", reason="NAME_MALFORMED")
    return text


def page_size(asked: int) -> int:
    if asked < 0:
        raise OutOfRange(f"page_size must not be negative, got {asked}", field="page_size")
    return min(asked or DEFAULT_PAGE, LARGEST_PAGE)


def training_message(body: Mapping[str, Any]) -> training_pb2.Training:
    """The Training of a stored resource."""
    return ParseDict(dict(body), training_pb2.Training())
