"""What may be asked of a generator, and how it is spelt in the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from evenhand.calls import Flow, resource_name
from evenhand.errors import InvalidInput, NotFound, OutOfRange, ShapeMismatch
from evenhand.generation.v1 import counterfactual_pb2, generation_pb2
from evenhand.models import ModelCalls
from evenhand.resources.v1 import model_pb2
from evenhand.upscaling.v1 import upscaling_pb2

M = TypeVar("M", bound=Message)
Attributes: TypeAlias = Mapping[str, object]
MaskLike: TypeAlias = NDArray[np.integer] | str | Path


class Sampling(TypedDict, total=False):
    """How to sample; what is left out is the server's default.

    model: name of the model; may be left out where only one fits. sampler: "ddim", "ddpm", "dpmpp-2m", "unipc" or
    "heun". seed: seeds all noise. guidance_scale: 1 is none. guidance_interval: shares of the noise levels, 0 clean to
    1 noise. guidance_rescale: share by which guided contrast is brought back. upscale_model: a super-resolution model
    that the images go through. formats: files to leave, of "png", "npy" and "dicom".
    """

    model: str
    sampler: str
    steps: int
    seed: int
    guidance_scale: float
    guidance_interval: tuple[float, float]
    guidance_rescale: float
    upscale_model: str
    upscale_steps: int
    upscale_sampler: str
    formats: Sequence[str]


class Generating(Sampling, total=False):
    """What to generate, besides the prompt.

    attributes: {"sex": "Female", "age": 63}; one that is left out is left open. mask: label numbers (H, W) or
    (P, H, W), or an NPY, PNG or NIfTI file. negative_prompt: what guidance leads away from. count: how many images.
    first_index: an image depends on seed and index, so image 3 is made again alone with count 1 and first_index 3.
    """

    attributes: Attributes
    mask: MaskLike
    negative_prompt: str
    count: int
    first_index: int


class Changing(Sampling, total=False):
    """How a counterfactual is made.

    held: attributes that all frames share. frames: both ends included; 180 unless given. path: "linear" or
    "spherical". both_directions: a second video from target to source. classifier_model: its probabilities are traced.
    """

    held: Attributes
    frames: int
    path: str
    both_directions: bool
    classifier_model: str


def generation_spec(prompt: str, settings: Generating) -> generation_pb2.GenerationSpec:
    """The spec of a generation; an unknown setting, a wrong type or a number beyond its type is named."""
    spec = generation_pb2.GenerationSpec(prompt=prompt)
    plain = _sampled(spec, settings)
    if "mask" in plain:
        spec.mask.CopyFrom(_mask(plain.pop("mask")))
    spec.attributes.update(_texts("attributes", plain.pop("attributes", {})))
    return _filled(spec, plain)


def counterfactual_spec(
    source: Attributes, target: Attributes, settings: Changing
) -> counterfactual_pb2.CounterfactualSpec:
    """The spec of a counterfactual from ``source`` to ``target``."""
    spec = counterfactual_pb2.CounterfactualSpec()
    plain = _sampled(spec, settings)
    spec.source_attributes.update(_texts("source", source))
    spec.target_attributes.update(_texts("target", target))
    spec.held_attributes.update(_texts("held", plain.pop("held", {})))
    if plain.get("classifier_model"):
        plain["classifier_model"] = resource_name("models", plain["classifier_model"])
    return _filled(spec, plain)


def upscaling_spec(settings: Mapping[str, Any]) -> upscaling_pb2.UpscalingSpec:
    """The spec of an upscaling."""
    return _filled(upscaling_pb2.UpscalingSpec(), _named(dict(settings)))


def task_of(spec: generation_pb2.GenerationSpec) -> model_pb2.Task:
    """The task of the model that such a spec needs."""
    if spec.HasField("mask"):
        return model_pb2.TASK_MASK_TO_IMAGE
    return model_pb2.TASK_CLASS_TO_IMAGE if spec.attributes else model_pb2.TASK_TEXT_TO_IMAGE


def fitting_model(models: ModelCalls, task: model_pb2.Task) -> Flow[str]:
    """The one served model of a task. NotFound where there is none, InvalidInput where there are several."""
    found = [model.name for model in (yield from models.listing(None)) if model.task == task]
    wanted = model_pb2.Task.Name(task).removeprefix("TASK_").lower().replace("_", "-")
    if not found:
        hint = "`evenhand models list` names the models that are served"
        raise NotFound(f"no model for {wanted} is served", field="model", reason="MODEL_NOT_FOUND", hint=hint)
    if len(found) > 1:
        raise InvalidInput(f"name a model: {', '.join(found)} all do {wanted}", field="model", reason="MODEL_MISSING")
    return found[0]


def _sampled(spec: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sets guidance; what is left of ``settings`` has the names of the spec's own fields."""
    plain = _named(dict(settings))
    names = {"scale": "guidance_scale", "rescale": "guidance_rescale"}
    guidance = {field: plain.pop(name) for field, name in names.items() if name in plain}
    if "guidance_interval" in plain:
        guidance["low"], guidance["high"] = plain.pop("guidance_interval")
    if guidance:
        _filled(spec.guidance, guidance, prefix="guidance_")
    return plain


def _named(plain: dict[str, Any]) -> dict[str, Any]:
    for name in ("model", "upscale_model"):
        if plain.get(name):
            plain[name] = resource_name("models", plain[name])
    return plain


def _filled(message: M, plain: Mapping[str, Any], *, prefix: str = "") -> M:
    for name, value in plain.items():
        try:
            if isinstance(value, list | tuple):
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)
        except ValueError as error:
            raise OutOfRange(f"{value!r} does not fit: {error}", field=prefix + name) from error
        except (AttributeError, TypeError) as error:
            raise InvalidInput(f"{prefix}{name} is no setting, or not {value!r}", field=prefix + name) from error
    return message


def _texts(at: str, attributes: Attributes) -> dict[str, str]:
    if not isinstance(attributes, Mapping):
        raise InvalidInput("attributes are a mapping of names to levels or numbers", field=at)
    return {str(name): str(value) for name, value in attributes.items()}


def _mask(source: MaskLike) -> generation_pb2.Mask:
    """Label numbers as they are; a file as it is, for the platform decodes it."""
    if isinstance(source, str | Path):
        try:
            return generation_pb2.Mask(file=Path(source).read_bytes(), filename=Path(source).name)
        except OSError as error:
            raise InvalidInput(f"cannot read the mask: {error.strerror}", field=str(source)) from error
    array = np.asarray(source)
    if array.dtype.kind not in "iub" or array.ndim not in (2, 3):
        raise ShapeMismatch(
            f"a mask is whole numbers (H, W) or (P, H, W), not {array.dtype} {array.shape}", field="mask"
        )
    if array.size and not 0 <= array.min() <= array.max() <= 255:
        raise OutOfRange("a mask's numbers lie in 0..255", field="mask")
    labels = generation_pb2.LabelMap(shape=array.shape, data=array.astype(np.uint8).tobytes())
    return generation_pb2.Mask(labels=labels)
