"""The calls about generations: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from evenhand.generation.v1 import generation_pb2, generation_service_pb2
from google.protobuf.empty_pb2 import Empty

from services.adapters.decoder import Decoder
from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.errors import OutOfRange
from services.generator.images import Job, Made, Maker, plain
from services.generator.masks import as_labels, read_mask
from services.generator.settings import Settings
from services.generator.steps import GenerationSpec, resolve_generation
from services.hosting.diffusion.engine import Event
from services.hosting.images import image_message
from services.hosting.operations import operation_proto
from services.hosting.requests import body_digest, parsed, plain_text, request_id
from services.hosting.stored import Stored
from services.maths.canonical import canonical_json

KIND, COLLECTION = "generation", "generations"
IMAGES, PUBLISH = "generation-images", "generation-publish"


class Generations:
    """What GenerationService is asked about images."""

    def __init__(self, ledger: Ledger, maker: Maker, settings: Settings) -> None:
        self._ledger = ledger
        self._maker = maker
        self._settings = settings
        self._decoder = Decoder(workers=1)
        self.stored = stored_generations(ledger)

    async def create(self, data: bytes) -> bytes:
        """CreateGenerationRequest → Operation. Operation and chunks are written in one transaction."""
        request = parsed(generation_service_pb2.CreateGenerationRequest, data)
        known, body = request_id(request.request_id), body_digest(request)
        name = plain_text(request.display_name, "display_name")
        repeated = await asyncio.to_thread(self._ledger.repeated_operation, KIND, known, body)
        if repeated is not None:
            return await asyncio.to_thread(self._answer, repeated)
        job = await self.job(request.spec)
        asked = {"display_name": name, "spec": plain(job.spec), "upscale_version": job.upscale_version}
        operation, _ = await asyncio.to_thread(
            lambda: self._ledger.create_operation(
                KIND,
                f"{COLLECTION}/{uuid.uuid4()}",
                asked,
                generation_chunks(job.spec, self._settings.images_per_chunk),
                request_id=known,
                body_digest=body,
            )
        )
        return await asyncio.to_thread(self._answer, operation)

    async def job(self, asked: GenerationSpec) -> Job:
        """The request with nothing left open, its prompt and its mask looked at."""
        others = await self._maker.neighbours.catalogue() if asked.upscale_model else {}
        await self._maker.host.meet(asked.model, digest=asked.model_digest)
        spec = resolve_generation(asked, self._maker.host, others, self._settings)
        record = self._maker.host.find(spec.model, digest=spec.model_digest)
        if spec.HasField("mask"):
            spec.mask.CopyFrom(as_labels(await asyncio.to_thread(read_mask, spec.mask, record, self._decoder)))
        await self._maker.conditions(record, spec)
        upscaler = others.get(spec.upscale_model.removeprefix("models/"), {})
        return Job(spec, str(upscaler.get("version", "")))

    async def stream(self, data: bytes) -> AsyncGenerator[bytes, None]:
        """GenerateImagesRequest → GenerateImagesResponses as images and previews come. Nothing is stored."""
        request = parsed(generation_service_pb2.GenerateImagesRequest, data)
        if request.previews_every < 0:
            raise OutOfRange("previews_every must not be negative", field="previews_every")
        asked = await self.job(request.spec)
        job = Job(asked.spec, asked.upscale_version, previews_every=request.previews_every)
        indices = range(job.spec.first_index, job.spec.first_index + job.spec.count)
        async with aclosing(self._maker.make(job, indices)) as news:
            async for item in news:
                if isinstance(item, Made) or item.pixels is not None:
                    yield _response(item)

    async def get(self, data: bytes) -> bytes:
        """GetGenerationRequest → Generation."""
        request = parsed(generation_service_pb2.GetGenerationRequest, data)
        return (await asyncio.to_thread(self.stored.read, request.name)).SerializeToString()

    async def list(self, data: bytes) -> bytes:
        """ListGenerationsRequest → ListGenerationsResponse, newest first."""
        request = parsed(generation_service_pb2.ListGenerationsRequest, data)
        found, token = await asyncio.to_thread(
            lambda: self.stored.page(request.page_size, request.page_token, model=request.model)
        )
        reply = generation_service_pb2.ListGenerationsResponse(generations=found, next_page_token=token)
        return reply.SerializeToString()

    async def delete(self, data: bytes) -> bytes:
        """DeleteGenerationRequest → Empty."""
        request = parsed(generation_service_pb2.DeleteGenerationRequest, data)
        await asyncio.to_thread(self.stored.delete, request.name)
        return Empty().SerializeToString()

    def _answer(self, operation: Operation) -> bytes:
        self.stored.put_new(operation, generation_fields(operation.request))
        return bytes(operation_proto(operation, self._ledger).SerializeToString())


def generation_chunks(spec: GenerationSpec, most: int) -> list[ChunkSpec]:
    """``most`` images a chunk, in order, then the publication."""
    end = spec.first_index + spec.count
    parts = [{"first": start, "count": min(most, end - start)} for start in range(spec.first_index, end, most)]
    return [*(ChunkSpec(IMAGES, part, rows=part["count"]) for part in parts), ChunkSpec(PUBLISH, {}, last=True)]


def stored_generations(ledger: Ledger) -> Stored[generation_pb2.Generation]:
    return Stored(ledger, generation_pb2.Generation, kind=KIND, collection=COLLECTION, counted="images_done")


def generation_fields(request: dict[str, Any]) -> dict[str, Any]:
    """What is known of a generation from its request: fields of its message, and ``model`` to list by."""
    spec = dict(request["spec"])
    if spec.get("mask"):
        spec["mask"] = {"sha256": spec["mask"]["sha256"]}
    return {
        "display_name": request["display_name"],
        "spec": spec,
        "model": spec["model"],
        "model_digest": spec["model_digest"],
        "upscale_model_version": request["upscale_version"],
        "upscale_model_digest": spec["upscale_model_digest"],
    }


def _response(item: Event | Made) -> bytes:
    if isinstance(item, Made):
        reply = generation_service_pb2.GenerateImagesResponse(
            index=item.index,
            step=item.steps,
            steps=item.steps,
            image=image_message(item.pixels),
            record_json=canonical_json(item.record).decode(),
        )
    else:
        assert item.pixels is not None
        reply = generation_service_pb2.GenerateImagesResponse(
            index=item.tag, preview=True, step=item.step, steps=item.steps, image=image_message(item.pixels)
        )
    return reply.SerializeToString()
