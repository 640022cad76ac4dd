"""The chunks of a counterfactual's frames: sampled with one noise, upscaled, measured, written and committed together.

All that is slow about a frame happens here, so that a crash costs one chunk, and what is left for the publication is
short and needs one frame in memory at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from evenhand.generation.v1 import generation_pb2
from google.protobuf.json_format import ParseDict

from services.adapters.encoder import npy_bytes, record_digest
from services.adapters.ledger import Lease, Operation
from services.generator.images import plain, unguided, upscaling_parameters
from services.generator.measures import Readings, read_features, read_probabilities
from services.generator.paths import path_embeddings
from services.generator.steps import CounterfactualSpec, guidance_of
from services.generator.tools import Tools
from services.hosting.diffusion.engine import Event
from services.hosting.diffusion.families import ClassToImage, Condition
from services.hosting.diffusion.files import put_image
from services.hosting.diffusion.records import platform_version
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.sampling import checked_digest
from services.hosting.progress import Pace


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as it was made and measured: canonical pixels (C, H, W)."""

    frame: int
    pixels: np.ndarray
    noise_digest: str
    features: Readings
    probabilities: Readings


def spec_of(operation: Operation) -> CounterfactualSpec:
    return ParseDict(operation.request["spec"], CounterfactualSpec())


async def make_frames(lease: Lease, tools: Tools, all_sent: asyncio.Event) -> None:
    """The frames of one chunk, with their files."""
    operation = await tools.in_thread(tools.ledger.get_operation, lease.operation)
    spec, first, count = spec_of(operation), lease.payload["first"], lease.payload["count"]
    await tools.maker.host.meet(spec.model, digest=spec.model_digest)
    try:
        frames = await _Chunk(lease, tools, operation, spec).run(range(first, first + count), all_sent)
    finally:
        tools.progress.ended(lease)
    written = await tools.in_thread(_put_frames, tools, operation, spec, frames)
    await tools.in_thread(tools.ledger.commit_chunk, lease, {"frames": written})


async def make_unguided(lease: Lease, tools: Tools, all_sent: asyncio.Event) -> None:
    """Both ends and the middle at guidance scale 1, for what guidance adds to be known. They leave no files."""
    operation = await tools.in_thread(tools.ledger.get_operation, lease.operation)
    spec = unguided(spec_of(operation))
    await tools.maker.host.meet(spec.model, digest=spec.model_digest)
    wanted = sorted({0, spec.frames // 2, spec.frames - 1})
    frames = await _Chunk(lease, tools, operation, spec, told=False).run(wanted, all_sent)
    told = [_measured(frame) for frame in frames]
    await tools.in_thread(tools.ledger.commit_chunk, lease, {"frames": told})


class _Chunk:
    """One chunk at work. With ``told`` its frames count towards the operation's progress."""

    def __init__(
        self, lease: Lease, tools: Tools, operation: Operation, spec: CounterfactualSpec, *, told: bool = True
    ) -> None:
        self._lease = lease
        self._tools = tools
        self._operation = operation
        self._spec = spec
        self._told = told
        self._record = tools.maker.host.find(spec.model, digest=spec.model_digest)
        self._evaluations = tools.maker.host.plan(self._record, spec.sampler, spec.steps).evaluations
        self._pace = Pace("frames", self._evaluations + spec.upscale_steps)
        self._steps = self._done = 0

    async def run(self, frames: Sequence[int], all_sent: asyncio.Event) -> list[Frame]:
        """The frames in order. Groups are upscaled and measured while the ones after them are still being sampled."""
        engine = self._tools.maker.host.engine
        made: list[Event] = []
        groups: list[asyncio.Task[list[Frame]]] = []
        taken = 0
        try:
            async with aclosing(self._sample(frames)) as events:
                async for event in events:
                    self._steps += 1
                    if event.done:
                        made.append(event)
                    if len(made) - taken >= engine.batch or (len(made) == len(frames) and taken < len(made)):
                        groups.append(asyncio.create_task(self._finish(made[taken:])))
                        taken = len(made)
                    if len(frames) - len(made) < engine.batch:
                        all_sent.set()
                    _raise_early(groups)
                    await self._tell("sampling")
            finished = await asyncio.gather(*groups)
        finally:
            for group in groups:
                group.cancel()
            await asyncio.gather(*groups, return_exceptions=True)
        return sorted((frame for group in finished for frame in group), key=lambda frame: frame.frame)

    async def _sample(self, frames: Sequence[int]) -> Any:
        """Events of the frames: one noise for all, a condition each."""
        host, spec = self._tools.maker.host, self._spec
        checked_digest(self._record.digest, spec.model_digest, field="spec.model_digest")
        path = await path_embeddings(host, spec)
        denoiser = host.denoiser(self._record)
        assert isinstance(denoiser, ClassToImage)
        guidance = guidance_of(spec)
        null = await host.engine.run(denoiser.null, Condition(path[0])) if guidance.scale != 1 else None
        plan = host.plan(self._record, spec.sampler, spec.steps)
        orders = [
            Order(Condition(path[frame]), plan, spec.seed, guidance=guidance, null=null, tag=frame) for frame in frames
        ]
        async with aclosing(host.sample(self._record, orders, background=True)) as events:
            async for event in events:
                yield event

    async def _finish(self, events: Sequence[Event]) -> list[Frame]:
        """Upscale and measure a group of frames."""
        maker, spec, tools = self._tools.maker, self._spec, self._tools
        images = np.stack([event.pixels for event in events if event.pixels is not None])
        if spec.upscale_model:
            parameters = upscaling_parameters(spec, index=0, background=True, shared_noise=True)
            images = await tools.patiently(lambda: maker.upscale(spec, images, parameters))
            self._steps += len(events) * spec.upscale_steps
        features = await asyncio.to_thread(read_features, self._record.modality, images)
        classifier = self._operation.request["classifier"]
        probabilities = await tools.patiently(lambda: read_probabilities(maker.neighbours, classifier, images))
        self._done += len(events)
        await self._tell("upscaling" if spec.upscale_model else "measuring")
        return [
            Frame(event.tag, images[place], event.noise_digest, features[place], probabilities[place])
            for place, event in enumerate(events)
        ]

    async def _tell(self, stage: str) -> None:
        if self._told:
            await self._tools.progress.tell(self._lease, stage, self._pace, done=self._done, steps=self._steps)


def _put_frames(
    tools: Tools, operation: Operation, spec: CounterfactualSpec, frames: Sequence[Frame]
) -> list[dict[str, Any]]:
    """Files of each frame, and its exact pixels for the publication."""
    record = counterfactual_record(tools, operation, frames[0].noise_digest)
    modality = tools.maker.host.find(spec.model, digest=spec.model_digest).modality
    told = []
    for frame in frames:
        own = record | {"frame": frame.frame}
        files = put_image(
            tools.store,
            f"frame-{frame.frame:04d}",
            frame.pixels,
            own,
            spec.formats,
            modality=modality,
            series=record_digest(record),
            number=frame.frame + 1,
        )
        exact = asdict(tools.store.put(npy_bytes(frame.pixels)))
        told.append(_measured(frame) | {"pixels": exact, "artifacts": files})
    return told


def _measured(frame: Frame) -> dict[str, Any]:
    return {
        "frame": frame.frame,
        "noise": frame.noise_digest,
        "features": frame.features,
        "probabilities": frame.probabilities,
    }


def counterfactual_record(tools: Tools, operation: Operation, noise_digest: str) -> dict[str, Any]:
    """All from which the frames can be made again; nothing that names this run."""
    host, spec = tools.maker.host, spec_of(operation)
    record = host.find(spec.model, digest=spec.model_digest)
    made_with = plain(
        generation_pb2.ImageRecord(
            model_version=record.version,
            upscale_model_version=operation.request["upscale_version"],
            batch_shape=host.batch_shape(record),
            device=host.placement.device_class,
            noise_digest=noise_digest,
            platform_version=platform_version(),
            synthetic=True,
        )
    )
    made_with.pop("pixels_digest")
    return {**made_with, "spec": plain(spec)}


def _raise_early(groups: Sequence[asyncio.Task[list[Frame]]]) -> None:
    """Do not sample on after a group that failed for good."""
    for group in groups:
        if group.done():
            group.result()
