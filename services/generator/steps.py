"""From a request to one that leaves nothing open: every default filled in, every digest given, all of it checked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from evenhand.generation.v1 import counterfactual_pb2, generation_pb2

from services.adapters.weights import Condition, Diffusion, ModelRecord
from services.errors import InvalidInput, OutOfRange, ShapeMismatch
from services.generator.neighbours import Entry, find
from services.generator.settings import Settings
from services.hosting.diffusion.files import checked_formats
from services.hosting.diffusion.host import DiffusionHost, check_task
from services.hosting.diffusion.sampling import (
    checked_digest,
    checked_guidance,
    checked_sampler,
    checked_seed,
    checked_steps,
    diffusion_of,
)
from services.hosting.requests import plain_text
from services.maths.diffusion.guidance import Guidance
from services.maths.diffusion.paths import PATHS

TASKS = ("text-to-image", "mask-to-image", "class-to-image")
LARGEST_INDEX = 2**31 - 1

GenerationSpec = generation_pb2.GenerationSpec
CounterfactualSpec = counterfactual_pb2.CounterfactualSpec
_Spec = GenerationSpec | CounterfactualSpec


def resolve_generation(
    asked: GenerationSpec, host: DiffusionHost, others: Mapping[str, Entry], settings: Settings
) -> GenerationSpec:
    """``asked`` with every default filled in; errors name fields under ``spec``. The mask is not looked at here."""
    spec = GenerationSpec()
    spec.CopyFrom(asked)
    record = _resolve_model(spec, host, TASKS)
    _check_conditions(spec, record)
    guidance = _resolve_sampling(spec, record, settings)
    if spec.negative_prompt and (record.task == "class-to-image" or guidance.scale <= 1):
        raise InvalidInput(
            "a negative prompt needs a prompt and a guidance scale above 1",
            field="spec.negative_prompt",
            reason="NEGATIVE_PROMPT_UNUSED",
        )
    _resolve_upscaling(spec, record, others, settings)
    spec.count = _within(spec.count or 1, 1, settings.most_images, "spec.count")
    _within(spec.first_index, 0, LARGEST_INDEX - spec.count, "spec.first_index")
    _resolve_formats(spec)
    return spec


def resolve_counterfactual(
    asked: CounterfactualSpec, host: DiffusionHost, others: Mapping[str, Entry], settings: Settings
) -> CounterfactualSpec:
    """``asked`` with every default filled in; errors name fields under ``spec``."""
    spec = CounterfactualSpec()
    spec.CopyFrom(asked)
    record = _resolve_model(spec, host, ("class-to-image",))
    _check_path(spec, record)
    _resolve_sampling(spec, record, settings)
    _resolve_upscaling(spec, record, others, settings)
    if spec.classifier_model:
        _resolve_classifier(spec, record, others)
    spec.frames = _within(spec.frames or settings.default_frames, 2, settings.most_frames, "spec.frames")
    spec.path = spec.path or PATHS[0]
    if spec.path not in PATHS:
        raise InvalidInput(f"path must be one of {', '.join(PATHS)}", field="spec.path", reason="PATH_UNKNOWN")
    _resolve_formats(spec)
    return spec


def guidance_of(spec: _Spec) -> Guidance:
    """The guidance of a resolved request."""
    asked = spec.guidance
    return Guidance(asked.scale, (asked.low, asked.high or 1.0), asked.rescale)


def check_attributes(record: ModelRecord, given: Mapping[str, str], field: str) -> None:
    """Every value must be one that the model's attribute has. ATTRIBUTE_UNKNOWN, LEVEL_UNKNOWN, VALUE_OUT_OF_RANGE."""
    known = {condition.name: condition for condition in record.conditions}
    for name, value in given.items():
        if name not in known:
            raise InvalidInput(
                f"{record.name} knows no attribute {name[:40]!r}; it knows {', '.join(known)}",
                field=f"{field}.{plain_text(name, field)[:40]}",
                reason="ATTRIBUTE_UNKNOWN",
            )
        _check_value(known[name], value, f"{field}.{name}")


def _check_value(condition: Condition, value: str, field: str) -> None:
    if condition.levels:
        if value not in condition.levels:
            raise InvalidInput(
                f"{condition.name} must be one of {', '.join(condition.levels)}", field=field, reason="LEVEL_UNKNOWN"
            )
        return
    assert condition.low is not None and condition.high is not None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not condition.low <= number <= condition.high:
        raise OutOfRange(f"{condition.name} must be a number in {condition.low:g}..{condition.high:g}", field=field)


def _check_given(record: ModelRecord, given: Collection[str], field: str) -> None:
    for condition in record.conditions:
        if not condition.optional and condition.name not in given:
            raise InvalidInput(
                f"{record.name} has never seen an image without {condition.name}; give it",
                field=f"{field}.{condition.name}",
                reason="ATTRIBUTE_MISSING",
            )


def _resolve_model(spec: _Spec, host: DiffusionHost, tasks: Collection[str]) -> ModelRecord:
    record = host.find(spec.model, digest=spec.model_digest, field="spec.model")
    check_task(record, tasks, field="spec.model")
    checked_digest(record.digest, spec.model_digest, field="spec.model_digest")
    spec.model, spec.model_digest = f"models/{record.name}", record.digest
    return record


def _resolve_sampling(spec: _Spec, record: ModelRecord, settings: Settings) -> Guidance:
    asked = spec.guidance
    guidance = checked_guidance(record, asked.scale, asked.low, asked.high, asked.rescale, field="spec.guidance")
    spec.guidance.scale, spec.guidance.rescale = guidance.scale, guidance.rescale
    spec.guidance.low, spec.guidance.high = guidance.interval
    spec.sampler = checked_sampler(spec.sampler, field="spec.sampler")
    spec.steps = checked_steps(diffusion_of(record), spec.steps, settings.most_steps, field="spec.steps")
    checked_seed(spec.seed, field="spec.seed")
    return guidance


def _check_conditions(spec: GenerationSpec, record: ModelRecord) -> None:
    """Words for models of words, attributes for models of attributes, a mask for models that take one."""
    if record.task == "class-to-image":
        _refuse(bool(spec.prompt), record, "prompt", "attributes")
        check_attributes(record, spec.attributes, "spec.attributes")
        _check_given(record, spec.attributes, "spec.attributes")
    else:
        _refuse(bool(spec.attributes), record, "attributes", "a prompt")
        if not spec.prompt and record.task == "text-to-image":
            raise InvalidInput("say what the image shall show", field="spec.prompt", reason="PROMPT_MISSING")
    has_mask = spec.HasField("mask")
    if has_mask and record.task != "mask-to-image":
        _refuse(True, record, "mask", "no mask")
    if not has_mask and record.task == "mask-to-image":
        raise InvalidInput(f"{record.name} needs a mask", field="spec.mask", reason="MASK_MISSING")


def _refuse(given: bool, record: ModelRecord, what: str, instead: str) -> None:
    if given:
        raise InvalidInput(
            f"{record.name} is a {record.task} model and takes {instead}",
            field=f"spec.{what}",
            reason="CONDITION_MISMATCH",
        )


def _resolve_upscaling(spec: _Spec, record: ModelRecord, others: Mapping[str, Entry], settings: Settings) -> None:
    if not spec.upscale_model:
        for field in ("upscale_model_digest", "upscale_steps", "upscale_sampler"):
            if getattr(spec, field):
                raise InvalidInput(
                    f"{field} without an upscale_model has no use", field=f"spec.{field}", reason="UPSCALING_UNUSED"
                )
        return
    entry = find(others, spec.upscale_model, "spec.upscale_model")
    _check_entry_task(entry, "super-resolution", "spec.upscale_model")
    _check_channels(record, entry, "spec.upscale_model")
    checked_digest(entry["digest"], spec.upscale_model_digest, field="spec.upscale_model_digest")
    spec.upscale_model, spec.upscale_model_digest = f"models/{entry['name']}", entry["digest"]
    diffusion = Diffusion.model_validate(entry["diffusion"])
    spec.upscale_steps = checked_steps(diffusion, spec.upscale_steps, settings.most_steps, field="spec.upscale_steps")
    spec.upscale_sampler = checked_sampler(spec.upscale_sampler, field="spec.upscale_sampler")


def _resolve_classifier(spec: CounterfactualSpec, record: ModelRecord, others: Mapping[str, Entry]) -> None:
    entry = find(others, spec.classifier_model, "spec.classifier_model")
    _check_entry_task(entry, "attribute-classification", "spec.classifier_model")
    _check_channels(record, entry, "spec.classifier_model")
    spec.classifier_model = f"models/{entry['name']}"


def _check_entry_task(entry: Entry, task: str, field: str) -> None:
    if entry["task"] != task:
        raise InvalidInput(
            f"{entry['name']} is a {entry['task']} model; {field} takes {task}",
            field=field,
            reason="MODEL_TASK_MISMATCH",
        )


def _check_channels(record: ModelRecord, entry: Entry, field: str) -> None:
    assert record.output is not None
    taken, given = entry["input"]["channels"], record.output.channels
    if taken != given:
        raise ShapeMismatch(f"{entry['name']} takes {taken} channel(s), {record.name} gives {given}", field=field)


def _check_path(spec: CounterfactualSpec, record: ModelRecord) -> None:
    ends: tuple[tuple[str, Any], ...] = (
        ("spec.source_attributes", spec.source_attributes),
        ("spec.target_attributes", spec.target_attributes),
    )
    for field, given in (*ends, ("spec.held_attributes", spec.held_attributes)):
        check_attributes(record, given, field)
    if not spec.source_attributes or set(spec.source_attributes) != set(spec.target_attributes):
        raise InvalidInput(
            "source_attributes and target_attributes name the same attributes, at least one",
            field="spec.target_attributes",
            reason="ATTRIBUTES_NOT_ALIKE",
        )
    if dict(spec.source_attributes) == dict(spec.target_attributes):
        raise InvalidInput(
            "the path must lead somewhere else than where it begins",
            field="spec.target_attributes",
            reason="ATTRIBUTES_UNCHANGED",
        )
    for name in spec.held_attributes:
        if name in spec.source_attributes:
            raise InvalidInput(
                f"{name} cannot change and be held", field=f"spec.held_attributes.{name}", reason="ATTRIBUTE_TWICE"
            )
    _check_given(record, {*spec.source_attributes, *spec.held_attributes}, "spec.held_attributes")


def _resolve_formats(spec: _Spec) -> None:
    wanted = checked_formats(spec.formats)
    del spec.formats[:]
    spec.formats.extend(wanted)


def _within(value: int, least: int, most: int, field: str) -> int:
    if not least <= value <= most:
        raise OutOfRange(f"{field.rpartition('.')[2]} must lie in {least}..{most}, got {value}", field=field)
    return value
