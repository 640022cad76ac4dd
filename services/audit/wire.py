"""From request messages to the room's own dataclasses: every rule that an audit's request must keep by itself, once.

Rules that need the cohort or the served models are checked in :mod:`services.audit.resolution`, those of a cohort's
request in :mod:`services.audit.cohort.request`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from google.protobuf.json_format import MessageToDict

from services.audit.pipeline import (
    DEFAULT_QUALITY_METRICS,
    PERCEPTUAL,
    QUALITY_METRICS,
    AuditSpec,
    Degrade,
    Pipeline,
    Sampling,
    UseModel,
    encoder_of,
)
from services.errors import InvalidInput, OutOfRange
from services.hosting.requests import body_digest, display_name, plain_text, request_id, resource_name
from services.maths.imaging.degradation import ParameterError, ParameterRangeError, checked, preset

MOST_PIPELINES = 32
MOST_STAGES = 16
LONGEST_NAME = 100
_VERSION = re.compile("[0-9]{1,6}")
DEFAULT_MIN_PATIENTS, DEFAULT_MIN_CASES = 5, 10


@dataclass(frozen=True)
class AuditRequest:
    """CreateAuditRequest, checked. ``document`` is the spec in the proto's JSON mapping, as stored and shown."""

    spec: AuditSpec
    document: dict[str, Any]
    display_name: str
    request_id: str
    body_digest: str


def audit_request(message: audit_service_pb2.CreateAuditRequest) -> AuditRequest:
    return AuditRequest(
        spec=audit_spec(message.spec),
        document=MessageToDict(message.spec, preserving_proto_field_name=True),
        display_name=display_name(message.display_name),
        request_id=request_id(message.request_id),
        body_digest=body_digest(message),
    )


def plan_request(message: audit_service_pb2.PlanAuditRequest) -> AuditSpec:
    return audit_spec(message.spec)


def audit_spec(message: audit_pb2.AuditSpec) -> AuditSpec:
    pipelines = _pipelines(message)
    names = [pipeline.name for pipeline in pipelines]
    baseline = message.baseline or names[0]
    if baseline not in names:
        raise InvalidInput(
            f"baseline {baseline!r} is not one of the pipelines {', '.join(names)}",
            field="spec.baseline",
            reason="BASELINE_UNKNOWN",
        )
    return AuditSpec(
        cohort=resource_name(message.cohort, "cohorts", "spec.cohort"),
        pipelines=pipelines,
        baseline=baseline,
        attributes=_attributes(message),
        labels=_unique(message.labels, "spec.labels"),
        seed=_seed(message.seed),
        min_patients=_minimum(message.min_patients, DEFAULT_MIN_PATIENTS, "spec.min_patients"),
        min_cases=_minimum(message.min_cases, DEFAULT_MIN_CASES, "spec.min_cases"),
        reference_groups=_reference_groups(message),
        quality_metrics=_quality_metrics(message),
        allow_test_thresholds=message.allow_test_thresholds,
    )


def _pipelines(message: audit_pb2.AuditSpec) -> tuple[Pipeline, ...]:
    if not 1 <= len(message.pipelines) <= MOST_PIPELINES:
        raise InvalidInput(
            f"an audit has 1 to {MOST_PIPELINES} pipelines, got {len(message.pipelines)}",
            field="spec.pipelines",
            reason="PIPELINE_COUNT",
        )
    pipelines = tuple(_pipeline(part, f"spec.pipelines[{index}]") for index, part in enumerate(message.pipelines))
    for index, pipeline in enumerate(pipelines):
        if pipeline.name in [earlier.name for earlier in pipelines[:index]]:
            raise InvalidInput(
                f"a second pipeline is named {pipeline.name!r}; names must differ",
                field=f"spec.pipelines[{index}].name",
                reason="PIPELINE_NAME_DUPLICATE",
            )
    return pipelines


def _pipeline(message: audit_pb2.Pipeline, at: str) -> Pipeline:
    name = plain_text(message.name.strip(), f"{at}.name")
    if not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidInput(f"give the pipeline a name of 1 to {LONGEST_NAME} characters", field=f"{at}.name")
    if len(message.stages) > MOST_STAGES:
        raise InvalidInput(f"a pipeline has at most {MOST_STAGES} stages", field=f"{at}.stages")
    stages = tuple(_stage(stage, f"{at}.stages[{index}]") for index, stage in enumerate(message.stages))
    _check_order([stage.kind for stage in stages], at)
    return Pipeline(name, stages)


def _check_order(kinds: list[str], at: str) -> None:
    """Image stages first, then at least one that reads; one degradation, one segmentation."""
    reading = [kind in ("classify", "segment") for kind in kinds]
    if not any(reading):
        raise InvalidInput(
            "the pipeline reads nothing; end it with a classify or segment stage",
            field=f"{at}.stages",
            reason="NO_READING_STAGE",
        )
    if False in reading[reading.index(True) :]:
        index = len(reading) - 1 - reading[::-1].index(False)
        raise InvalidInput(
            "image stages (degrade, reconstruct) come before the reading stages",
            field=f"{at}.stages[{index}]",
            reason="STAGE_ORDER",
        )
    for kind in ("degrade", "segment"):
        if kinds.count(kind) > 1:
            raise InvalidInput(
                f"a pipeline has at most one {kind} stage", field=f"{at}.stages", reason="STAGE_REPEATED"
            )


def _stage(message: audit_pb2.Stage, at: str) -> Degrade | UseModel:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidInput(
            "the stage is empty; it is one of degrade, reconstruct, classify, segment", field=at, reason="STAGE_EMPTY"
        )
    sampling = _sampling(message.sampling, f"{at}.sampling")
    if sampling and kind != "reconstruct":
        raise InvalidInput(
            f"a {kind} stage does not sample; sampling belongs to a reconstruct stage",
            field=f"{at}.sampling",
            reason="MODEL_DOES_NOT_SAMPLE",
        )
    if kind == "degrade":
        return _degrade(message.degrade, f"{at}.degrade")
    model, version = _model(getattr(message, kind), kind, f"{at}.{kind}")
    return UseModel(kind, model, version, sampling)


def _sampling(message: audit_pb2.Sampling, at: str) -> Sampling | None:
    """None where nothing is asked for."""
    if message.steps < 0:
        raise OutOfRange(f"must not be negative, got {message.steps}; 0 means the model's own", field=f"{at}.steps")
    asked = Sampling(message.sampler, message.steps, message.seed if message.HasField("seed") else None)
    return asked if asked != Sampling() else None


def _model(text: str, kind: str, at: str) -> tuple[str, str]:
    """Name and version of "models/unet@2"; the version is empty where none is named."""
    model, named, version = text.removeprefix("models/").partition("@")
    if not model:
        raise InvalidInput(f"name the model of the {kind} stage", field=at)
    if named and not _VERSION.fullmatch(version):
        raise InvalidInput(
            f"expected MODEL or MODEL@VERSION with a number as the version, got {text[:80]!r}",
            field=at,
            reason="NAME_MALFORMED",
        )
    return model, version


def _degrade(message: audit_pb2.Degradation, at: str) -> Degrade:
    given = {field.name: value for field, value in message.ListFields()}
    try:
        operator, given = _without_preset(given, at)
        complete = checked(operator, given)
    except ParameterRangeError as error:
        raise OutOfRange(str(error), field=f"{at}.{error.parameter}") from error
    except ParameterError as error:
        reason = {"operator": "OPERATOR_UNKNOWN", "preset": "PRESET_UNKNOWN"}.get(error.parameter, "")
        raise InvalidInput(str(error), field=f"{at}.{error.parameter}", reason=reason) from error
    # What a plan did not always say stays out unless it was asked for: the digest of a plan is that of its numbers.
    said = {*given, "published_bowtie"}
    return Degrade({"operator": operator, **{name: value for name, value in complete.items() if name in said}})


def _without_preset(given: dict[str, Any], at: str) -> tuple[str, dict[str, Any]]:
    """The operator and its parameters; what a preset sets may not be set beside it."""
    name, operator = given.pop("preset", ""), given.pop("operator", "")
    if not name:
        return operator, given
    chosen = preset(name)
    for twice in ("operator",) if operator else chosen.parameters.keys() & given.keys():
        raise InvalidInput(f"preset {name} sets {twice}; leave one of the two out", field=f"{at}.{twice}")
    return chosen.operator, {**given, **chosen.parameters}


def _attributes(message: audit_pb2.AuditSpec) -> tuple[str, ...]:
    if not message.attributes:
        raise InvalidInput(
            "name at least one attribute to form groups on", field="spec.attributes", reason="ATTRIBUTES_EMPTY"
        )
    found = []
    for index, text in enumerate(message.attributes):
        found.append(_grouping(text, f"spec.attributes[{index}]"))
    return _unique(found, "spec.attributes")


def _grouping(text: str, at: str) -> str:
    """One attribute or two different ones, without the blanks around them."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(names) > 2 or len(set(names)) < len(names):
        raise InvalidInput(
            f"{text!r} is neither an attribute nor two different ones joined by a comma",
            field=at,
            reason="ATTRIBUTE_MALFORMED",
        )
    return ",".join(names)


def _reference_groups(message: audit_pb2.AuditSpec) -> dict[str, str]:
    """In the order of their attributes' names: a map has none of its own."""
    found: dict[str, str] = {}
    for attribute in sorted(message.reference_groups):
        at = f"spec.reference_groups[{attribute}]"
        name = _grouping(attribute, at)
        if name in found:
            raise InvalidInput(f"{name!r} has two reference groups", field=at, reason="NAMED_TWICE")
        found[name] = message.reference_groups[attribute]
    return found


def _quality_metrics(message: audit_pb2.AuditSpec) -> tuple[str, ...]:
    """What was asked for, in one order whichever order it was asked for in: distances in encoders last, by name."""
    asked = _unique(message.quality_metrics, "spec.quality_metrics") or DEFAULT_QUALITY_METRICS
    for index, name in enumerate(asked):
        if name not in QUALITY_METRICS and not encoder_of(name):
            raise InvalidInput(
                f"there is no quality metric {name[:64]!r}; there are {', '.join(QUALITY_METRICS)} and "
                f"{PERCEPTUAL}/ENCODER, such as {PERCEPTUAL}/phantom-clip",
                field=f"spec.quality_metrics[{index}]",
                reason="METRIC_UNKNOWN",
            )
    known = [name for name in QUALITY_METRICS if name in asked]
    return (*known, *sorted(set(asked) - set(known)))


def _unique(names: Iterable[str], at: str) -> tuple[str, ...]:
    found: list[str] = []
    for index, name in enumerate(names):
        if name in found:
            raise InvalidInput(f"{name!r} is named twice", field=f"{at}[{index}]", reason="NAMED_TWICE")
        found.append(name)
    return tuple(found)


def _seed(value: int) -> int:
    if value < 0:
        raise OutOfRange(f"must not be negative, got {value}", field="spec.seed")
    return value


def _minimum(value: int, default: int, at: str) -> int:
    if value < 0:
        raise OutOfRange(f"must not be negative, got {value}; 0 means {default}", field=at)
    return value or default
