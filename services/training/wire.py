"""Requests checked, and the messages that callers get. Protobuf on one side, plain values on the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from evenhand.training.v1 import training_pb2, training_service_pb2
from google.protobuf.json_format import ParseDict

from services.errors import InvalidInput, OutOfRange
from services.hosting.requests import body_digest, plain_text, request_id, resource_name
from services.maths.phantoms import WORLDS
from services.training.alignment_request import asked_alignment
from services.training.recipes import Recipe, find_recipe
from services.training.runs import SDAT, Run
from services.training.tuning import DEFAULT_TEMPERATURE, METHODS, MISSING, Asked, AskedAlignment, Mitigation

T = TypeVar("T", bound=str)

MOST_EPOCHS = 1000
MOST_PATIENTS = 100_000
LARGEST_SEED = 2**31 - 1
MOST_WEIGHTS = 20
MOST_ATTRIBUTES = 16


@dataclass(frozen=True)
class TrainingRequest:
    """CreateTrainingRequest, checked and with the recipe's own numbers where it says 0; ``run`` or ``alignment``.

    ``tuning`` is a fine-tuning by the request's own rules; whether what it names exists and fits is found out later.
    """

    run: Run | None
    seed: int
    request_id: str
    body_digest: str
    tuning: Asked | None = None
    alignment: AskedAlignment | None = None


def training_request(message: training_service_pb2.CreateTrainingRequest) -> TrainingRequest:
    """NotFound RECIPE_NOT_FOUND, OutOfRange or InvalidInput with the field."""
    aligned = message.HasField("alignment")
    if aligned and message.recipe not in ("", SDAT):
        raise InvalidInput(f"an alignment has the recipe {SDAT!r} or none", field="recipe", reason="TASK_MISMATCH")
    for field, most in (("epochs", MOST_EPOCHS), ("patients", MOST_PATIENTS), ("seed", LARGEST_SEED)):
        value = getattr(message, field)
        if not 0 <= value <= most:
            raise OutOfRange(f"{field} must be between 0 and {most}, got {value}", field=field)
    known, body = request_id(message.request_id), body_digest(message)
    if aligned:
        return TrainingRequest(None, message.seed, known, body, alignment=asked_alignment(message))
    recipe = find_recipe(message.recipe)
    tuning = _tuning(message, recipe)
    epochs = message.epochs or (recipe.epochs if tuning is None else max(1, recipe.epochs // 2))
    patients = message.patients or (0 if tuning is not None and tuning.cohort else recipe.patients)
    return TrainingRequest(
        run=Run(recipe, message.seed, epochs, patients),
        seed=message.seed,
        request_id=known,
        body_digest=body,
        tuning=tuning,
    )


def _tuning(message: training_service_pb2.CreateTrainingRequest, recipe: Recipe) -> Asked | None:
    if not message.base:
        for field in ("base_version", "mitigation", "data"):
            asked = message.HasField(field) if field != "base_version" else bool(message.base_version)
            if asked:
                raise InvalidInput(
                    f"{field} belongs to a fine-tuning; name the model to go on from",
                    field="base",
                    reason="BASE_MISSING",
                )
        return None
    if recipe.task != "reconstruction":
        raise InvalidInput(
            f"the recipe {recipe.name} is one of {recipe.task}; only reconstruction models are fine-tuned",
            field="recipe",
            reason="TASK_MISMATCH",
        )
    wanted, data = message.mitigation, message.data
    if data.cohort and data.world:
        raise InvalidInput("data are a cohort or phantoms of a world, not both", field="data.world")
    if data.allow_synthetic and not data.cohort:
        raise InvalidInput("there is no cohort that could be synthetic", field="data.allow_synthetic")
    return Asked(
        base=_model(message.base, "base"),
        base_version=plain_text(message.base_version, "base_version"),
        predictor=_model(wanted.predictor, "mitigation.predictor") if wanted.predictor else "",
        predictor_version=plain_text(wanted.predictor_version, "mitigation.predictor_version"),
        mitigation=_mitigation(wanted),
        cohort=resource_name(data.cohort, "cohorts", "data.cohort") if data.cohort else "",
        world=_one_of(data.world, tuple(WORLDS), "", "data.world"),
        audit_cohort=resource_name(data.audit_cohort, "cohorts", "data.audit_cohort") if data.audit_cohort else "",
        allow_synthetic=data.allow_synthetic,
    )


def _model(name: str, at: str) -> str:
    return resource_name(name, "models", at).removeprefix("models/")


def _mitigation(message: training_pb2.Mitigation) -> Mitigation:
    method = _one_of(message.method, METHODS, "none", "mitigation.method")
    attributes = tuple(plain_text(name, f"mitigation.attributes[{i}]") for i, name in enumerate(message.attributes))
    if method != "none" and not attributes:
        raise InvalidInput(f"{method} needs an attribute", field="mitigation.attributes", reason="ATTRIBUTES_MISSING")
    if len(attributes) > MOST_ATTRIBUTES or len(set(attributes)) < len(attributes):
        raise InvalidInput(f"at most {MOST_ATTRIBUTES} attributes, each once", field="mitigation.attributes")
    return Mitigation(
        method=method,
        attributes=attributes,
        weights=_weights(message, method),
        temperature=_temperature(message.temperature),
        label_conditional=message.label_conditional,
        missing=_one_of(message.missing, MISSING, "refuse", "mitigation.missing"),
        labels=tuple(plain_text(label, f"mitigation.labels[{i}]") for i, label in enumerate(message.labels)),
    )


def _weights(message: training_pb2.Mitigation, method: str) -> tuple[float, ...]:
    weights, at = tuple(message.weights) or (0.0 if method == "none" else 1.0,), "mitigation.weights"
    if method == "none" and weights != (0.0,):
        raise InvalidInput("without a method there is no term to weigh", field=at)
    most = 1.0 if method == "reweighting" else 1e6
    for index, weight in enumerate(weights):
        if not (math.isfinite(weight) and 0 <= weight <= most):
            raise OutOfRange(
                f"lambda must be between 0 and {most:g} for {method}, got {weight}", field=f"{at}[{index}]"
            )
    if len(weights) > MOST_WEIGHTS or len(set(weights)) < len(weights):
        raise InvalidInput(f"a sweep has at most {MOST_WEIGHTS} values of lambda, each once", field=at)
    return weights


def _temperature(value: float) -> float:
    if not (math.isfinite(value) and 0 <= value <= 1e3):
        raise OutOfRange(f"temperature must be above 0 and at most 1000, got {value}", field="mitigation.temperature")
    return value or DEFAULT_TEMPERATURE


def _one_of(text: str, known: tuple[T, ...], default: T | str, at: str) -> Any:
    if text and text not in known:
        raise InvalidInput(f"{at} must be one of {', '.join(known)}, got {text[:80]!r}", field=at)
    return text or default


def training_message(body: Mapping[str, Any]) -> training_pb2.Training:
    """The Training of a stored resource."""
    return ParseDict(dict(body), training_pb2.Training())
