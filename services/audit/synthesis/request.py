"""From CreateSyntheticCohortRequest to the room's own dataclass: what such a request must keep by itself."""

from __future__ import annotations

from dataclasses import dataclass

from evenhand.cohort.v1 import cohort_service_pb2, synthetic_pb2

from services.errors import InvalidInput, OutOfRange
from services.hosting.requests import body_digest, display_name, plain_text, request_id, resource_name
from services.maths.diffusion.noise import LARGEST_SEED
from services.maths.synthesis.prompts import template_fields

MOST_IMAGES = 1_000_000
LARGEST_CAP = 1_000_000
LONGEST_TEMPLATE = 2000
TRAIN, ALL = "train", "all"


@dataclass(frozen=True)
class SyntheticRequest:
    """CreateSyntheticCohortRequest, checked. ``spec`` has its own defaults filled in; the model's are still open."""

    spec: synthetic_pb2.SyntheticSpec
    fields: tuple[str, ...]
    display_name: str
    request_id: str
    body_digest: str


def synthetic_request(message: cohort_service_pb2.CreateSyntheticCohortRequest) -> SyntheticRequest:
    """The request, or InvalidInput and OutOfRange with the field under ``spec``."""
    spec = synthetic_pb2.SyntheticSpec()
    spec.CopyFrom(message.spec)
    resource_name(spec.cohort, "cohorts", "spec.cohort")
    if not spec.model:
        raise InvalidInput("name the model that draws the images", field="spec.model", reason="MODEL_MISSING")
    spec.model = f"models/{plain_text(spec.model, 'spec.model').removeprefix('models/')}"
    _check_names(spec)
    _check_numbers(spec)
    spec.split = plain_text(spec.split, "spec.split") or TRAIN
    return SyntheticRequest(
        spec=spec,
        fields=_fields(spec),
        display_name=display_name(message.display_name),
        request_id=request_id(message.request_id),
        body_digest=body_digest(message),
    )


def _check_names(spec: synthetic_pb2.SyntheticSpec) -> None:
    if not spec.attributes and not spec.labels:
        raise InvalidInput(
            "name at least one attribute or label to balance on", field="spec.attributes", reason="ATTRIBUTES_MISSING"
        )
    names = [*spec.attributes, *spec.labels]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidInput(f"{name[:60]!r} is named twice", field="spec.attributes", reason="NAMED_TWICE")


def _check_numbers(spec: synthetic_pb2.SyntheticSpec) -> None:
    for field, value, least, most in (
        ("images", spec.images, 1, MOST_IMAGES),
        ("cap", spec.cap if spec.HasField("cap") else 1, 1, LARGEST_CAP),
        ("seed", spec.seed, 0, LARGEST_SEED),
    ):
        if not least <= value <= most:
            hint = "; leave it out for no cap" if field == "cap" else ""
            raise OutOfRange(f"{field} must lie in {least}..{most}, got {value}{hint}", field=f"spec.{field}")


def _fields(spec: synthetic_pb2.SyntheticSpec) -> tuple[str, ...]:
    if not spec.template.strip():
        raise InvalidInput("say what the images shall show", field="spec.template", reason="TEMPLATE_MISSING")
    if len(spec.template) > LONGEST_TEMPLATE:
        raise InvalidInput(f"at most {LONGEST_TEMPLATE} characters", field="spec.template", reason="TEMPLATE_INVALID")
    try:
        return template_fields(plain_text(spec.template, "spec.template"))
    except ValueError as error:
        raise InvalidInput(str(error), field="spec.template", reason="TEMPLATE_INVALID") from error
