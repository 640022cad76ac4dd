"""Many images for another application, each with its own prompt and mask: the images of synthetic cohorts.

They come in the background of those that somebody waits for, and all at once, so that the engine's calls are full.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np

from services.adapters.weights import ModelRecord
from services.errors import FailedPrecondition, InvalidInput
from services.generator.masks import check_planes
from services.generator.settings import Settings
from services.hosting.diffusion.families import Condition, TextToImage
from services.hosting.diffusion.host import MASK_PHASES, DiffusionHost, check_task
from services.hosting.diffusion.records import pixels_digest, platform_version
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.sampling import (
    checked_digest,
    checked_guidance,
    checked_sampler,
    checked_seed,
    checked_steps,
    diffusion_of,
)
from services.maths.diffusion.guidance import Guidance

PROMPTED = ("mask-to-image", "text-to-image")

Asked = Mapping[str, Any]


async def resolve_images(
    host: DiffusionHost, settings: Settings, asked: Asked, prompts: Sequence[str]
) -> dict[str, Any]:
    """``asked`` (model, seed, steps, sampler, guidance_scale, negative_prompt) with every default filled in, and with
    what decides the images' bits: version, digest, batch_shape, device, platform_version. ``mask`` is the planes and
    labels that the model takes, None for a model without; ``modality`` what it learned from, "" where it does not say.

    Errors name fields under ``spec``; PROMPT_TOO_LONG is of ``spec.template``, for any of the ``prompts``.
    """
    await host.meet(asked["model"])
    record = host.find(asked["model"], field="spec.model")
    check_task(record, PROMPTED, field="spec.model")
    guidance = _guidance(record, asked["guidance_scale"])
    negative = asked["negative_prompt"]
    if negative and guidance.scale <= 1:
        raise InvalidInput(
            "a negative prompt needs a guidance scale above 1",
            field="spec.negative_prompt",
            reason="NEGATIVE_PROMPT_UNUSED",
        )
    denoiser: TextToImage = host.denoiser(record)
    for prompt in prompts:
        await host.engine.run(denoiser.check, prompt, "spec.template")
    await host.engine.run(denoiser.check, negative, "spec.negative_prompt")
    assert record.output is not None
    mask = {"planes": len(MASK_PHASES), "phases": list(MASK_PHASES), "labels": list(record.mask_labels)}
    return {
        "model": record.name,
        "version": record.version,
        "digest": record.digest,
        "seed": checked_seed(asked["seed"], field="spec.seed"),
        "steps": checked_steps(diffusion_of(record), asked["steps"], settings.most_steps, field="spec.steps"),
        "sampler": checked_sampler(asked["sampler"], field="spec.sampler"),
        "guidance_scale": guidance.scale,
        "negative_prompt": negative,
        "mask": mask if record.mask_labels else None,
        "modality": record.modality,
        "channels": record.output.channels,
        "height": record.output.height,
        "width": record.output.width,
        **_bits(host, record),
    }


async def make_images(
    host: DiffusionHost, resolved: Asked, prompts: Sequence[str], planes: np.ndarray | None, first: int
) -> AsyncGenerator[dict[str, Any], None]:
    """The images numbered from ``first`` as they are done: {index, pixels (C, H, W), noise, digest}.

    ``resolved`` is what :func:`resolve_images` gave, ``planes`` (N, P, H, W) for a model that takes masks. Image i has
    the noise of (seed, i), whatever else is made with it. FailedPrecondition MODEL_CHANGED where this replica would
    give other bits than were resolved. Closing it ends the work.
    """
    await host.meet(resolved["model"], resolved["version"], digest=resolved["digest"])
    record = host.find(resolved["model"], resolved["version"], field="spec.model")
    checked_digest(record.digest, resolved["digest"], field="spec.model")
    for name, value in _bits(host, record).items():
        if resolved[name] != value:
            raise FailedPrecondition(
                f"the images were begun with {name} {resolved[name]}, and it is {value} here; create the cohort again",
                field="spec.model",
                reason="MODEL_CHANGED",
            )
    orders = await _orders(host, record, resolved, prompts, planes=planes, first=first)
    async with aclosing(host.sample(record, orders, background=True)) as events:
        async for event in events:
            if event.done and event.pixels is not None:
                digest = pixels_digest(event.pixels)
                yield {"index": event.tag, "pixels": event.pixels, "noise": event.noise_digest, "digest": digest}


def _guidance(record: ModelRecord, scale: float) -> Guidance:
    """At every noise level, without rescaling; 0 is the model's own scale."""
    try:
        return checked_guidance(record, scale, 0.0, 0.0, 0.0)
    except InvalidInput as error:
        raise type(error)(error.message, field="spec.guidance_scale", reason=error.reason) from None


def _bits(host: DiffusionHost, record: ModelRecord) -> dict[str, Any]:
    """What an image's last bits depend on besides the request and the model."""
    return {
        "batch_shape": host.batch_shape(record),
        "device": host.placement.device_class,
        "platform_version": platform_version(),
    }


async def _orders(
    host: DiffusionHost,
    record: ModelRecord,
    resolved: Asked,
    prompts: Sequence[str],
    *,
    planes: np.ndarray | None,
    first: int,
) -> list[Order]:
    denoiser: TextToImage = host.denoiser(record)
    masks: list[np.ndarray | None] = [None] * len(prompts)
    if planes is not None:
        masks = [check_planes(one, record, field="spec.cohort") for one in planes]

    def conditions() -> list[tuple[Condition, Condition]]:
        both = []
        for prompt, mask in zip(prompts, masks, strict=True):
            condition = denoiser.condition(prompt, mask)
            both.append((condition, replace(condition, embedding=denoiser.embed(resolved["negative_prompt"]))))
        return both

    guidance = _guidance(record, resolved["guidance_scale"])
    plan = host.plan(record, resolved["sampler"], resolved["steps"])
    return [
        Order(condition, plan, resolved["seed"], index=first + place, tag=first + place, guidance=guidance, null=null)
        for place, (condition, null) in enumerate(await host.engine.run(conditions))
    ]
