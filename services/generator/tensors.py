"""Images over the Open Inference Protocol: a row in, an image out, all else in the parameters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from services.adapters.weights import ModelRecord
from services.errors import DeadlineExceeded, InvalidInput, OutOfRange, ShapeMismatch
from services.generator.masks import check_planes
from services.generator.settings import Settings
from services.hosting.diffusion.families import ClassToImage, Condition
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.sampling import (
    checked_guidance,
    checked_sampler,
    checked_seed,
    checked_steps,
    diffusion_of,
)

INPUTS = {
    "class-to-image": {"attributes"},
    "text-to-image": {"prompt"},
    "mask-to-image": {"prompt", "mask"},
}
_PLACE_SLACK = 1e-6


async def infer(
    host: DiffusionHost,
    settings: Settings,
    model: str,
    version: str,
    *,
    inputs: Mapping[str, np.ndarray],
    parameters: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """``{"image": (N, C, H, W) float32 in [0, 1]}``; row n has the noise of (seed, n), whatever else is asked."""
    await host.meet(model, version)
    record = host.find(model, version)
    names = INPUTS[record.task]
    if set(inputs) != names:
        raise InvalidInput(
            f"{record.name} takes {' and '.join(sorted(names))}, not {sorted(inputs)}",
            field="inputs",
            reason="INPUT_NAME_UNKNOWN",
        )
    rows = len(next(iter(inputs.values())))
    if not 1 <= rows <= settings.most_images:
        raise OutOfRange(f"a request has 1..{settings.most_images} rows, got {rows}", field="inputs")
    first = _order(host, record, settings, parameters)
    try:
        async with asyncio.timeout(parameters.get("deadline_s")):
            conditions = await _conditions(host, record, inputs, str(parameters.get("negative_prompt") or ""))
            orders = [
                replace(first, condition=condition, null=null, index=row)
                for row, (condition, null) in enumerate(conditions)
            ]
            return {"image": await host.images(record, orders)}
    except TimeoutError as error:
        raise DeadlineExceeded("the caller's deadline passed before all images were made") from error


def _order(host: DiffusionHost, record: ModelRecord, settings: Settings, parameters: Mapping[str, Any]) -> Order:
    """What all rows have in common."""
    diffusion = diffusion_of(record)
    steps = checked_steps(diffusion, int(parameters.get("steps") or 0), settings.most_steps, field="parameters.steps")
    sampler = checked_sampler(str(parameters.get("sampler") or ""), field="parameters.sampler")
    scale = float(parameters.get("guidance_scale") or 0.0)
    guidance = checked_guidance(record, scale, 0.0, 1.0, 0.0, field="parameters.guidance")
    seed = checked_seed(int(parameters.get("seed") or 0), field="parameters.seed")
    return Order(Condition(), host.plan(record, sampler, steps), seed, guidance=guidance)


async def _conditions(
    host: DiffusionHost, record: ModelRecord, inputs: Mapping[str, np.ndarray], negative_prompt: str
) -> list[tuple[Condition, Condition | None]]:
    denoiser, run = host.denoiser(record), host.engine.run
    if isinstance(denoiser, ClassToImage):
        vectors = _checked_vectors(record, inputs["attributes"])
        embedded = [Condition(await run(denoiser.embed, vector)) for vector in vectors]
        null = await run(denoiser.null, embedded[0])
        return [(condition, null) for condition in embedded]
    prompts = [str(prompt) for prompt in np.asarray(inputs["prompt"]).reshape(len(inputs["prompt"]), -1)[:, 0]]
    for prompt in prompts:
        await run(denoiser.check, prompt, "inputs.prompt")
    await run(denoiser.check, negative_prompt, "parameters.negative_prompt")
    masks: list[np.ndarray | None] = [None] * len(prompts)
    if "mask" in inputs:
        masks = [check_planes(planes, record, field="inputs.mask") for planes in inputs["mask"]]
    return [
        (await run(denoiser.condition, prompt, planes), await run(denoiser.condition, negative_prompt, planes))
        for prompt, planes in zip(prompts, masks, strict=True)
    ]


def _checked_vectors(record: ModelRecord, vectors: np.ndarray) -> np.ndarray:
    """(N, V) float32: one-hot places, numbers scaled to [-1, 1], NaN for what is left open."""
    places = sum(attribute.places for attribute in record.attributes())
    if vectors.ndim != 2 or vectors.shape[1] != places:
        raise ShapeMismatch(f"{record.name} takes (N, {places}), got {vectors.shape}", field="inputs.attributes")
    if np.isinf(vectors).any() or (np.abs(vectors[~np.isnan(vectors)]) > 1 + _PLACE_SLACK).any():
        raise OutOfRange("attributes lie in [-1, 1]; NaN leaves one open", field="inputs.attributes")
    return vectors
