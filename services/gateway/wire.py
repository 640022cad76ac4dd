"""The API's methods, read off the protos once: what each is called, who answers it, and how bytes become messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from evenhand.classification.v1 import classification_service_pb2
from evenhand.cohort.v1 import cohort_service_pb2
from evenhand.generation.v1 import generation_service_pb2
from evenhand.monitoring.v1 import monitoring_service_pb2
from evenhand.reconstruction.v1 import reconstruction_service_pb2
from evenhand.resources.v1 import artifact_service_pb2, model_pb2, model_service_pb2
from evenhand.training.v1 import training_service_pb2
from evenhand.upscaling.v1 import upscaling_service_pb2
from google.api import annotations_pb2, http_pb2
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from services.gateway.generator_cards import generator_card
from services.hosting.requests import parsed

# Which application answers a service. "" means the gateway itself, from the ledger, the object store or the catalogue.
APP_OF_SERVICE = {
    "evenhand.audit.v1.AuditService": "audit",
    "evenhand.classification.v1.ClassificationService": "classifiers",
    "evenhand.cohort.v1.CohortService": "audit",
    "evenhand.generation.v1.GenerationService": "generator",
    "evenhand.monitoring.v1.MonitoringService": "monitoring",
    "evenhand.reconstruction.v1.ReconstructionService": "reconstruction",
    "evenhand.resources.v1.ArtifactService": "",
    "evenhand.resources.v1.ModelService": "",
    "evenhand.training.v1.TrainingService": "training",
    "evenhand.upscaling.v1.UpscalingService": "upscaler",
    "google.longrunning.Operations": "",
}

_FILES = (
    artifact_service_pb2,
    audit_service_pb2,
    classification_service_pb2,
    cohort_service_pb2,
    generation_service_pb2,
    model_service_pb2,
    monitoring_service_pb2,
    reconstruction_service_pb2,
    training_service_pb2,
    upscaling_service_pb2,
    operations_pb2,
)

# WaitOperation has no HTTP rule of Google's; this one follows the pattern of the others.
_WAIT_RULE = http_pb2.HttpRule(post="/v1/{name=operations/**}:wait", body="*")


@dataclass(frozen=True)
class Method:
    """One method of the API. ``name`` is "<service's full name>/<method>", as in metrics and gRPC paths."""

    name: str
    service: str
    short: str
    app: str
    request: type[Message]
    reply: type[Message]
    rule: http_pb2.HttpRule
    read_only: bool
    streaming: bool

    def parse(self, payload: bytes) -> Message:
        """The request message, or InvalidInput where the bytes are none."""
        return parsed(self.request, payload)


def _read(method: MethodDescriptor) -> Method:
    service = method.containing_service.full_name
    options = method.GetOptions()
    rule = options.Extensions[annotations_pb2.http]
    return Method(
        name=f"{service}/{method.name}",
        service=service,
        short=method.name,
        app=APP_OF_SERVICE[service],
        request=message_factory.GetMessageClass(method.input_type),
        reply=message_factory.GetMessageClass(method.output_type),
        rule=_WAIT_RULE if method.name == "WaitOperation" else rule,
        read_only=options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
        or method.name in ("GetOperation", "ListOperations", "WaitOperation"),
        streaming=method.client_streaming or method.server_streaming,
    )


METHODS: dict[str, Method] = {
    method.name: method
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in map(_read, service.methods)
}


_TASKS = {
    "reconstruction": model_pb2.TASK_RECONSTRUCTION,
    "classification": model_pb2.TASK_CLASSIFICATION,
    "segmentation": model_pb2.TASK_SEGMENTATION,
    "attribute-classification": model_pb2.TASK_ATTRIBUTE_CLASSIFICATION,
    "text-to-image": model_pb2.TASK_TEXT_TO_IMAGE,
    "mask-to-image": model_pb2.TASK_MASK_TO_IMAGE,
    "class-to-image": model_pb2.TASK_CLASS_TO_IMAGE,
    "super-resolution": model_pb2.TASK_SUPER_RESOLUTION,
    "image-embedding": model_pb2.TASK_IMAGE_EMBEDDING,
}


def model_message(entry: Mapping[str, Any]) -> model_pb2.Model:
    """An entry of a catalogue (``model.yaml`` as plain data, with its digest) as the API's Model."""
    diffusion = entry.get("diffusion") or {}
    return model_pb2.Model(
        name=f"models/{entry['name']}",
        version=entry["version"],
        task=_TASKS.get(entry["task"], model_pb2.TASK_UNSPECIFIED),
        family=entry["family"],
        input=model_pb2.PixelSpec(**entry["input"]),
        output=model_pb2.PixelSpec(**entry["output"]) if entry.get("output") else None,
        labels=entry.get("labels") or (),
        thresholds=entry.get("thresholds") or {},
        digest=entry.get("digest", ""),
        licence=entry.get("licence", ""),
        training_digest=str((entry.get("training") or {}).get("digest", "")),
        backend=entry.get("backend", "torch"),
        scores=entry.get("scores") or {},
        conditions=map(_condition, entry.get("conditions") or ()),
        factor=entry.get("factor") or 0,
        mask_labels=entry.get("mask_labels") or (),
        mask_phases=entry.get("mask_phases") or (),
        prediction=diffusion.get("prediction", ""),
        samplers=entry.get("samplers") or (),
        guidable=bool(entry.get("guidable", diffusion.get("null_condition"))),
        default_guidance_scale=diffusion.get("guidance_scale", 0.0),
        default_steps=entry.get("default_steps", diffusion.get("default_steps", 0)),
        prompt_tokens=entry.get("prompt_tokens") or 0,
        base=f"models/{entry['base']['name']}" if entry.get("base") else "",
        degradation=_degradation(entry),
        lineage=_lineage(entry),
        generator_card=generator_card(entry),
    )


def _degradation(entry: Mapping[str, Any]) -> audit_pb2.Degradation | None:
    if not entry.get("degradation"):
        return None
    return ParseDict(entry["degradation"], audit_pb2.Degradation(), ignore_unknown_fields=True)


def _lineage(entry: Mapping[str, Any]) -> model_pb2.Lineage | None:
    """Of ``model.yaml``'s ``training``; None for a model that goes on from no other."""
    training = entry.get("training") or {}
    if not training.get("base"):
        return None
    term, data = training.get("mitigation") or _aligned(training), training.get("data") or {}
    return model_pb2.Lineage(
        base=_pinned(training["base"]),
        base_digest=training["base"]["digest"],
        method=term.get("method", ""),
        attributes=term.get("attributes") or (),
        weight=term.get("lambda", 0.0),
        predictor=_pinned(training["predictor"]) if training.get("predictor") else "",
        cohort=data.get("cohort", ""),
        world=data.get("world", ""),
        data_digest=data.get("digest", ""),
        learned_patients=(entry.get("learned_from") or {}).get("patients", 0),
        chosen=bool((training.get("selection") or {}).get("chosen")),
    )


def _aligned(training: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a mitigation for a generator that was aligned to shares of groups; its weight is on likeness."""
    alignment = training.get("alignment") or {}
    return {
        "method": alignment.get("method", ""),
        "attributes": [shares["attribute"] for shares in alignment.get("shares") or ()],
        "lambda": alignment.get("preservation", 0.0),
    }


def _pinned(model: Mapping[str, Any]) -> str:
    return f"models/{model['name']}@{model['version']}"


def _condition(entry: Mapping[str, Any]) -> model_pb2.Condition:
    """Of ``model.yaml``'s conditions: levels, or a range of numbers."""
    return model_pb2.Condition(
        name=entry["name"],
        levels=entry.get("levels") or (),
        low=entry.get("low") or 0.0,
        high=entry.get("high") or 0.0,
        optional=bool(entry.get("optional", True)),
    )
