"""Images over handles and the Open Inference Protocol: (N, C, h, w) in, (N, C, H, W) out, both canonical."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from services.errors import DeadlineExceeded, InvalidInput, OutOfRange, ShapeMismatch
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.sampling import checked_digest
from services.upscaler.settings import Settings
from services.upscaler.steps import check_image, cropped, order_for, resolve


async def infer(
    host: DiffusionHost,
    settings: Settings,
    model: str,
    version: str,
    *,
    inputs: Mapping[str, np.ndarray],
    parameters: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """``{"image": (N, C, h, w) float32 in [0, 1]}`` → the same with more pixels.

    Row n has the noise of (seed, index + n), or with ``shared_noise`` all have that of (seed, index): then images that
    hardly differ hardly differ afterwards, as the frames of a video must not.
    """
    digest = str(parameters.get("digest") or "")
    await host.meet(model, version, digest=digest)
    record = host.find(model, version, digest=digest)
    checked_digest(record.digest, digest, field="parameters.digest")
    if set(inputs) != {"image"}:
        raise InvalidInput(
            f"{record.name} takes one input named 'image', not {sorted(inputs)}",
            field="inputs",
            reason="INPUT_NAME_UNKNOWN",
        )
    images = np.asarray(inputs["image"], np.float32)
    if images.ndim != 4:
        raise ShapeMismatch(f"{record.name} takes (N, C, h, w), got {images.shape}", field="inputs.image")
    if not 1 <= len(images) <= settings.most_rows:
        raise OutOfRange(f"a request has 1..{settings.most_rows} images, got {len(images)}", field="inputs.image")
    for image in images:
        check_image(record, image, settings.most_side, field="inputs.image")
    sampling = resolve(
        host,
        record,
        sampler=str(parameters.get("sampler") or ""),
        steps=int(parameters.get("steps") or 0),
        seed=int(parameters.get("seed") or 0),
        tile=0,
        most_steps=settings.most_steps,
        at="parameters",
    )
    first, shared = int(parameters.get("index") or 0), bool(parameters.get("shared_noise"))
    background = bool(parameters.get("background"))
    try:
        async with asyncio.timeout(parameters.get("deadline_s")):
            orders = [
                await order_for(host, record, image, sampling, index=first if shared else first + row)
                for row, image in enumerate(images)
            ]
            large = await host.images(record, orders, background=background, tile=sampling.tile)
    except TimeoutError as error:
        raise DeadlineExceeded("the caller's deadline passed before all images were made") from error
    return {"image": cropped(record, large, images[0])}
