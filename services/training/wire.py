"""Requests checked, and the messages that callers get. Protobuf on one side, plain values on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenhand.training.v1 import training_pb2, training_service_pb2
from google.protobuf.json_format import ParseDict

from services.errors import OutOfRange
from services.hosting.requests import body_digest, request_id
from services.training.recipes import find_recipe
from services.training.runs import Run

MOST_EPOCHS = 1000
MOST_PATIENTS = 100_000
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class TrainingRequest:
    """CreateTrainingRequest, checked and with the recipe's own numbers where it says 0."""

    run: Run
    request_id: str
    body_digest: str


def training_request(message: training_service_pb2.CreateTrainingRequest) -> TrainingRequest:
    """NotFound RECIPE_NOT_FOUND, or OutOfRange with the field."""
    recipe = find_recipe(message.recipe)
    for field, most in (("epochs", MOST_EPOCHS), ("patients", MOST_PATIENTS), ("seed", LARGEST_SEED)):
        value = getattr(message, field)
        if not 0 <= value <= most:
            raise OutOfRange(f"{field} must be between 0 and {most}, got {value}", field=field)
    return TrainingRequest(
        run=Run(recipe, message.seed, message.epochs or recipe.epochs, message.patients or recipe.patients),
        request_id=request_id(message.request_id),
        body_digest=body_digest(message),
    )


def training_message(body: Mapping[str, Any]) -> training_pb2.Training:
    """The Training of a stored resource."""
    return ParseDict(dict(body), training_pb2.Training())
