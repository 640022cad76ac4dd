"""Making the images of a resolved request: sampled in the engine, upscaled next door, each with its record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from evenhand.generation.v1 import generation_pb2
from google.protobuf.json_format import MessageToDict

from services.adapters.weights import ModelRecord
from services.generator.masks import planes_of
from services.generator.neighbours import Neighbours
from services.generator.steps import GenerationSpec, guidance_of
from services.hosting.diffusion.engine import Event
from services.hosting.diffusion.families import ClassToImage, Condition
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.records import pixels_digest, platform_version
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.sampling import checked_digest
from services.hosting.leasing import patiently
from services.maths.diffusion.attributes import attribute_vector
from services.maths.diffusion.guidance import Guidance


@dataclass(frozen=True, eq=False)
class Made:
    """A finished image, canonical (C, H, W), with its ImageRecord."""

    index: int
    steps: int
    pixels: np.ndarray
    noise_digest: str
    record: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """A resolved request and how it is to be worked on. ``upscale_version`` is that of its super-resolution model."""

    spec: GenerationSpec
    upscale_version: str = ""
    background: bool = False
    previews_every: int = 0


class Maker:
    """Makes images with this application's models and its neighbours'."""

    def __init__(self, host: DiffusionHost, neighbours: Neighbours, *, patience_s: float = 30.0) -> None:
        self.host = host
        self.neighbours = neighbours
        self._patience_s = patience_s

    async def orders(self, job: Job, indices: Sequence[int]) -> tuple[ModelRecord, list[Order]]:
        """What the engine is told: an order for each image, whose tag is its index."""
        spec = job.spec
        record = self.host.find(spec.model, digest=spec.model_digest)
        checked_digest(record.digest, spec.model_digest, field="spec.model_digest")
        condition, null = await self.conditions(record, spec)
        first = Order(
            condition,
            self.host.plan(record, spec.sampler, spec.steps),
            spec.seed,
            guidance=guidance_of(spec),
            null=null,
            previews_every=job.previews_every,
        )
        return record, [replace(first, index=index, tag=index) for index in indices]

    async def conditions(self, record: ModelRecord, spec: GenerationSpec) -> tuple[Condition, Condition | None]:
        """With what the request wants, and with what guidance leads away from; PROMPT_TOO_LONG where it applies."""
        denoiser = self.host.denoiser(record)
        run = self.host.engine.run
        if isinstance(denoiser, ClassToImage):
            vector = attribute_vector(record.attributes(), dict(spec.attributes))
            condition = Condition(await run(denoiser.embed, vector))
            return condition, await run(denoiser.null, condition)
        # On the engine's thread like all that uses the tokenizer, which is not made for two at once.
        for field in ("prompt", "negative_prompt"):
            await run(denoiser.check, getattr(spec, field), f"spec.{field}")
        planes = planes_of(spec.mask) if spec.HasField("mask") else None
        condition = await run(denoiser.condition, spec.prompt, planes)
        return condition, await run(denoiser.condition, spec.negative_prompt, planes)

    async def make(self, job: Job, indices: Sequence[int]) -> AsyncGenerator[Event | Made, None]:
        """Steps and previews as they come, and each image once it is whole. Closing it ends all of the work."""
        record, orders = await self.orders(job, indices)
        if not job.spec.upscale_model:
            async with aclosing(self.host.sample(record, orders, background=job.background)) as events:
                async for event in events:
                    yield self.made(job, record, event, event.pixels) if event.done else event
            return
        ready: asyncio.Queue[Event | Made | BaseException | None] = asyncio.Queue()
        sampling = asyncio.create_task(self._sample_and_upscale(job, record, orders, ready))
        try:
            while (news := await ready.get()) is not None:
                if isinstance(news, BaseException):
                    raise news
                yield news
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)

    async def _sample_and_upscale(
        self,
        job: Job,
        record: ModelRecord,
        orders: Sequence[Order],
        ready: asyncio.Queue[Event | Made | BaseException | None],
    ) -> None:
        """Upscale each image while the next ones are still being sampled."""

        async def finish(event: Event) -> None:
            assert event.pixels is not None
            parameters = upscaling_parameters(job.spec, index=event.tag, background=job.background)
            large = await self.upscale(job.spec, event.pixels[None], parameters)
            ready.put_nowait(self.made(job, record, event, large[0]))

        try:
            async with (
                asyncio.TaskGroup() as upscalings,
                aclosing(self.host.sample(record, orders, background=job.background)) as events,
            ):
                async for event in events:
                    if event.done:
                        upscalings.create_task(finish(event))
                    else:
                        ready.put_nowait(event)
        except* Exception as group:
            ready.put_nowait(first_of(group))
        else:
            ready.put_nowait(None)

    async def upscale(self, spec: GenerationSpec | Any, images: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
        """(N, C, H, W) by the request's super-resolution model; asked again while the upscaler is away for a moment."""
        model = spec.upscale_model.removeprefix("models/")
        return await patiently(lambda: self.neighbours.upscale(model, "", images, parameters), self._patience_s)

    def made(self, job: Job, record: ModelRecord, event: Event, pixels: np.ndarray | None) -> Made:
        """The whole image with the request that makes it and no other, and with what computed it."""
        assert pixels is not None
        own = GenerationSpec()
        own.CopyFrom(job.spec)
        own.count, own.first_index = 1, event.tag
        del own.formats[:]  # files change nothing about the image
        message = generation_pb2.ImageRecord(
            spec=own,
            model_version=record.version,
            upscale_model_version=job.upscale_version,
            batch_shape=self.host.batch_shape(record),
            device=self.host.placement.device_class,
            noise_digest=event.noise_digest,
            pixels_digest=pixels_digest(pixels),
            platform_version=platform_version(),
            synthetic=True,
        )
        return Made(event.tag, event.steps, pixels, event.noise_digest, plain(message))


def upscaling_parameters(spec: Any, *, index: int, background: bool, shared_noise: bool = False) -> dict[str, Any]:
    """What the upscaler is told: whose noise, and how it samples. Frames of one counterfactual share their noise."""
    return {
        "seed": spec.seed,
        "index": index,
        "shared_noise": shared_noise,
        "steps": spec.upscale_steps,
        "sampler": spec.upscale_sampler,
        "digest": spec.upscale_model_digest,
        "background": background,
    }


def plain(message: Any) -> dict[str, Any]:
    """A message as JSON with the proto's names and every field, so that nothing is left to a default."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first plain exception in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def unguided(spec: Any) -> Any:
    """The same request at guidance scale 1."""
    copy = type(spec)()
    copy.CopyFrom(spec)
    copy.guidance.scale = Guidance().scale
    return copy
