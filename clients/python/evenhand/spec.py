"""What to audit, as Python objects, a dict or a YAML file; all become the proto's AuditSpec.

AuditSpec(
    cohort="cohorts/…",
    pipelines=[
        Pipeline("original", [classify("chest-classifier")]),
        Pipeline("reconstructed", [degrade("low-dose-xray", photons=1000), reconstruct("xray-unet"),
                                   classify("chest-classifier")]),
    ],
    attributes=["sex", "age", "sex,age"],
)

A model is named as "xray-unet", which means its highest version that is served, or as "xray-unet@2".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from google.protobuf import json_format

from evenhand.audit.v1 import audit_pb2
from evenhand.calls import resource_name
from evenhand.errors import InvalidInput

Stage: TypeAlias = Mapping[str, Any]


def degrade(operator: str = "", **parameters: float | bool | str) -> Stage:
    """An acquisition: ``degrade("low-dose-xray", photons=1000)`` or ``degrade("radial-kspace", acceleration=8)``.

    ``degrade(preset="xray-low-dose")`` takes a named setting. More parameters: ``angles`` of spokes; ``noise_model``,
    ``bowtie`` and ``published_bowtie`` of a tomography. An unknown name is answered with those that there are.
    """
    return {"degrade": {"operator": operator, **parameters}}


def reconstruct(model: str, *, sampler: str = "", steps: int = 0, seed: int | None = None) -> Stage:
    """Restore the image with a reconstruction model.

    ``sampler``, ``steps`` and ``seed`` are for models that sample; "", 0 and None leave the choice to the model. YAML
    has them beside the model: ``{reconstruct: xray-irsde, sampling: {sampler: ode, steps: 20}}``.
    """
    asked = {"sampler": sampler or None, "steps": steps or None, "seed": seed}
    sampling = {name: value for name, value in asked.items() if value is not None}
    return {"reconstruct": resource_name("models", model), **({"sampling": sampling} if sampling else {})}


def classify(model: str) -> Stage:
    """Read label probabilities off the image."""
    return {"classify": resource_name("models", model)}


def segment(model: str) -> Stage:
    """Read a mask off the image; the cohort needs masks."""
    return {"segment": resource_name("models", model)}


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of stages, with a name that is unique in its audit."""

    name: str
    stages: Sequence[Stage]


@dataclass(frozen=True)
class AuditSpec:
    """Cohort × pipelines × attributes.

    Args:
        cohort: "cohorts/…".
        pipelines: at least one.
        attributes: to form groups on; "sex,age" forms the intersections.
        baseline: name of the baseline pipeline; empty means the first.
        labels: to audit; empty means all that model and cohort share.
        seed: of the degradations' noise, together with the record ids.
        min_patients, min_cases: the smallest cell that is more than "insufficient"; 0 means the platform's defaults,
            5 patients that decide the metric and 10 cases.
        reference_groups: attribute → the group to compare the others with besides, {"sex": "Male"}.
        quality_metrics: "psnr", "ssim_gaussian11", "lpips_alex", "lpips_vgg", "perceptual/phantom-clip" (or another
            image encoder of the server's registries); empty means the first two.
        allow_test_thresholds: audit models whose thresholds were fitted on test data or on this cohort, and say so.
    """

    cohort: str
    pipelines: Sequence[Pipeline]
    attributes: Sequence[str]
    baseline: str = ""
    labels: Sequence[str] = field(default_factory=tuple)
    seed: int = 0
    min_patients: int = 0
    min_cases: int = 0
    reference_groups: Mapping[str, str] = field(default_factory=dict)
    quality_metrics: Sequence[str] = field(default_factory=tuple)
    allow_test_thresholds: bool = False


SpecLike: TypeAlias = AuditSpec | audit_pb2.AuditSpec | Mapping[str, Any] | str | Path


def spec_proto(spec: SpecLike, *, cohort: str = "") -> audit_pb2.AuditSpec:
    """The proto of any form of a spec; ``cohort`` replaces the one it names.

    Raises:
        InvalidInput: the YAML file does not parse, or has a field that an AuditSpec has not.
    """
    if isinstance(spec, audit_pb2.AuditSpec):
        proto = audit_pb2.AuditSpec()
        proto.CopyFrom(spec)
    elif isinstance(spec, AuditSpec):
        proto = _parsed(asdict(spec), "spec")
    elif isinstance(spec, Mapping):
        proto = _parsed(spec, "spec")
    else:
        proto = _parsed(yaml_mapping(Path(spec), "audit", "cohort, pipelines and attributes"), str(spec))
    proto.cohort = resource_name("cohorts", cohort or proto.cohort) if cohort or proto.cohort else ""
    for stage in (stage for pipeline in proto.pipelines for stage in pipeline.stages):
        kind = stage.WhichOneof("kind")
        if kind in {"reconstruct", "classify", "segment"}:
            setattr(stage, kind, resource_name("models", getattr(stage, kind)))
    return proto


def yaml_mapping(path: Path, what: str, holds: str) -> Mapping[str, Any]:
    """The mapping in a YAML file; ``what`` it is and what it ``holds`` are named where it is none.

    Raises:
        InvalidInput: it cannot be read, does not parse, or is no mapping.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the {what} spec: {error}", field=str(path)) from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"not YAML: {' '.join(str(error).split())}", field=str(path)) from error
    if not isinstance(plain, Mapping):
        raise InvalidInput(f"the {what} spec is a mapping with {holds}", field=str(path))
    return plain


def _parsed(plain: Mapping[str, Any], field_name: str) -> audit_pb2.AuditSpec:
    try:
        return json_format.ParseDict(dict(plain), audit_pb2.AuditSpec())
    except (json_format.ParseError, TypeError, ValueError) as error:
        hint = f"fields: {', '.join(audit_pb2.AuditSpec.DESCRIPTOR.fields_by_name)}; a pipeline has name and stages"
        raise InvalidInput(f"not an audit spec: {' '.join(str(error).split())}", field=field_name, hint=hint) from error
