"""The alignment in a request, checked by its own rules: numbers in their ranges, names as names, prompts as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from evenhand.training.v1 import training_pb2, training_service_pb2

from services.errors import InvalidInput, OutOfRange
from services.hosting.requests import plain_text, resource_name
from services.maths.alignment import checked_threshold
from services.maths.diffusion.plans import SAMPLERS
from services.training.tuning import (
    ADAPTER_METHODS,
    ADAPTER_PARTS,
    Adapter,
    Alignment,
    AskedAlignment,
    AskedShares,
    Batches,
)

MOST_PROMPTS = 2000
MOST_ATTRIBUTES = 4
MOST_IMAGES = 1024
"""Of one batch; they are decoded at once."""
_RATE = {"full": 2e-4, "lora": 2e-3}
_AT = "alignment"
T = TypeVar("T", bound=str)


def asked_alignment(message: training_service_pb2.CreateTrainingRequest) -> AskedAlignment:
    """InvalidInput or OutOfRange with the field."""
    wanted = message.alignment
    if not message.base:
        raise InvalidInput("an alignment needs a model to go on from", field="base", reason="BASE_MISSING")
    for field in ("mitigation", "data"):
        if message.HasField(field):
            raise InvalidInput(f"{field} belongs to a reconstruction model, not to an alignment", field=field)
    adapter = _adapter(wanted)
    return AskedAlignment(
        base=_model(message.base, "base"),
        base_version=plain_text(message.base_version, "base_version"),
        shares=_shares(wanted.shares),
        encoder=_model(wanted.encoder, f"{_AT}.encoder"),
        encoder_version=plain_text(wanted.encoder_version, f"{_AT}.encoder_version"),
        prompts=_prompts(wanted.prompts, f"{_AT}.prompts"),
        test_prompts=_prompts(wanted.test_prompts, f"{_AT}.test_prompts"),
        joint=wanted.joint,
        threshold=_threshold(wanted.confidence),
        preservation=_number(wanted, "preservation", Alignment.preservation, 1e6),
        flipped_weight=_number(wanted, "flipped_weight", Alignment.flipped_weight, 1.0),
        holding=_number(wanted, "holding", Alignment.holding, 1e6),
        adapter=adapter,
        batches=_batches(wanted, message.epochs, adapter),
    )


def _shares(messages: Sequence[training_pb2.AlignedShares]) -> tuple[AskedShares, ...]:
    at = f"{_AT}.shares"
    if not 1 <= len(messages) <= MOST_ATTRIBUTES or len({one.attribute for one in messages}) < len(messages):
        raise InvalidInput(f"1 to {MOST_ATTRIBUTES} attributes, each once", field=at, reason="ATTRIBUTES_MISSING")
    return tuple(_one(message, f"{at}[{index}]") for index, message in enumerate(messages))


def _one(message: training_pb2.AlignedShares, at: str) -> AskedShares:
    target = {plain_text(level, f"{at}.target"): share for level, share in message.target.items()}
    if target and not (
        all(math.isfinite(share) and share >= 0 for share in target.values())
        and abs(sum(target.values()) - 1.0) <= 1e-6
    ):
        raise InvalidInput(
            f"the shares of {message.attribute[:80]} must be at least 0 and add up to 1, they add up to "
            f"{sum(target.values()):g}",
            field=f"{at}.target",
            reason="TARGET_INVALID",
        )
    if target and message.cohort:
        raise InvalidInput("give shares, or a cohort that has them, not both", field=f"{at}.cohort")
    if not message.classifier:
        raise InvalidInput("name the classifier that guides", field=f"{at}.classifier", reason="CLASSIFIER_MISSING")
    return AskedShares(
        plain_text(message.attribute, f"{at}.attribute"),
        target,
        _model(message.classifier, f"{at}.classifier"),
        plain_text(message.classifier_version, f"{at}.classifier_version"),
        _model(message.judge, f"{at}.judge"),
        plain_text(message.judge_version, f"{at}.judge_version"),
        resource_name(message.cohort, "cohorts", f"{at}.cohort") if message.cohort else "",
    )


def _prompts(prompts: Sequence[str], at: str) -> tuple[str, ...]:
    if len(prompts) > MOST_PROMPTS or len(set(prompts)) < len(prompts):
        raise InvalidInput(f"at most {MOST_PROMPTS} prompts, each once", field=at)
    if any(not prompt.strip() for prompt in prompts):
        raise InvalidInput("a prompt must not be empty", field=at)
    return tuple(prompts)


def _threshold(value: float) -> float:
    try:
        return checked_threshold(value or Alignment.threshold)
    except ValueError as error:
        raise OutOfRange(str(error), field=f"{_AT}.confidence") from error


def _number(message: training_pb2.Alignment, name: str, usual: float, most: float) -> float:
    if not message.HasField(name):  # type: ignore[arg-type]
        return usual
    value = float(getattr(message, name))
    if not 0 <= value <= most:
        raise OutOfRange(f"{name} must lie in 0..{most:g}, got {value}", field=f"{_AT}.{name}")
    return value


def _adapter(message: training_pb2.Alignment) -> Adapter:
    method = _one_of(message.method, ADAPTER_METHODS, "method")
    return Adapter(method, _one_of(message.part, ADAPTER_PARTS, "part"), _whole(message.rank, 16, 1024, "rank"))


def _one_of(text: str, known: tuple[T, ...], name: str) -> T:
    """The first of the known ones where nothing is named."""
    chosen = next((one for one in known if one == (text or known[0])), None)
    if chosen is None:
        raise InvalidInput(f"{name} must be one of {', '.join(known)}, got {text[:80]!r}", field=f"{_AT}.{name}")
    return chosen


def _batches(message: training_pb2.Alignment, iterations: int, adapter: Adapter) -> Batches:
    usual = Batches()
    steps = (_whole(message.least_steps, usual.steps[0], 1000, "least_steps"), 0)
    steps = (steps[0], _whole(message.most_steps, max(steps[0], usual.steps[1]), 1000, "most_steps"))
    if steps[0] > steps[1]:
        raise OutOfRange("least_steps must not be above most_steps", field=f"{_AT}.least_steps")
    sampler = message.sampler or usual.sampler
    if sampler not in SAMPLERS or sampler == "ddpm":
        known = ", ".join(name for name in SAMPLERS if name != "ddpm")
        raise InvalidInput(f"sampler must be one of {known}, got {sampler[:40]!r}", field=f"{_AT}.sampler")
    rate = message.learning_rate or _RATE[adapter.method]
    if not 0 < rate <= 1:
        raise OutOfRange(f"learning_rate must lie in 0..1, got {rate}", field=f"{_AT}.learning_rate")
    if not 0 <= message.guidance_scale <= 100:
        raise OutOfRange("guidance_scale must lie in 0..100", field=f"{_AT}.guidance_scale")
    prompts = _whole(message.batch_prompts, usual.prompts, MOST_IMAGES, "batch_prompts")
    images = _whole(message.batch_images, usual.images, MOST_IMAGES, "batch_images")
    if prompts * images > MOST_IMAGES:
        raise OutOfRange(f"a batch has at most {MOST_IMAGES} images", field=f"{_AT}.batch_images")
    return Batches(
        iterations=iterations or usual.iterations,
        prompts=prompts,
        images=images,
        steps=steps,
        sampler=sampler,
        guidance=message.guidance_scale,
        evaluations=_whole(message.evaluations, usual.evaluations, 1000, "evaluations"),
        least_noise=_number(message, "least_noise", usual.least_noise, 1.0),
        learning_rate=rate,
        test_images=_whole(message.test_images, usual.test_images, 10_000, "test_images"),
    )


def _whole(value: int, usual: int, most: int, name: str) -> int:
    if not 0 <= value <= most:
        raise OutOfRange(f"{name} must be between 0 and {most}, got {value}", field=f"{_AT}.{name}")
    return value or usual


def _model(name: str, at: str) -> str:
    return resource_name(name, "models", at).removeprefix("models/") if name else ""
