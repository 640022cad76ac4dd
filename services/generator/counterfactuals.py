"""The calls about counterfactuals: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from evenhand.generation.v1 import counterfactual_pb2, generation_service_pb2
from google.protobuf.empty_pb2 import Empty

from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.generator.images import Maker, plain
from services.generator.neighbours import Entry
from services.generator.paths import path_embeddings
from services.generator.settings import Settings
from services.generator.steps import CounterfactualSpec, resolve_counterfactual
from services.hosting.operations import operation_proto
from services.hosting.requests import body_digest, parsed, plain_text, request_id
from services.hosting.stored import Stored

KIND, COLLECTION = "counterfactual", "counterfactuals"
FRAMES, UNGUIDED, PUBLISH = "counterfactual-frames", "counterfactual-unguided", "counterfactual-publish"


class Counterfactuals:
    """What GenerationService is asked about counterfactuals."""

    def __init__(self, ledger: Ledger, maker: Maker, settings: Settings) -> None:
        self._ledger = ledger
        self._maker = maker
        self._settings = settings
        self.stored = stored_counterfactuals(ledger)

    async def create(self, data: bytes) -> bytes:
        """CreateCounterfactualRequest → Operation. Operation and chunks are written in one transaction."""
        request = parsed(generation_service_pb2.CreateCounterfactualRequest, data)
        known, body = request_id(request.request_id), body_digest(request)
        name = plain_text(request.display_name, "display_name")
        repeated = await asyncio.to_thread(self._ledger.repeated_operation, KIND, known, body)
        if repeated is not None:
            return await asyncio.to_thread(self._answer, repeated)
        asked = await self._resolve(request.spec, name)
        spec = asked.pop("resolved")
        operation, _ = await asyncio.to_thread(
            lambda: self._ledger.create_operation(
                KIND,
                f"{COLLECTION}/{uuid.uuid4()}",
                asked,
                counterfactual_chunks(spec, self._settings.frames_per_chunk),
                request_id=known,
                body_digest=body,
            )
        )
        return await asyncio.to_thread(self._answer, operation)

    async def get(self, data: bytes) -> bytes:
        """GetCounterfactualRequest → Counterfactual."""
        request = parsed(generation_service_pb2.GetCounterfactualRequest, data)
        return (await asyncio.to_thread(self.stored.read, request.name)).SerializeToString()

    async def list(self, data: bytes) -> bytes:
        """ListCounterfactualsRequest → ListCounterfactualsResponse, newest first."""
        request = parsed(generation_service_pb2.ListCounterfactualsRequest, data)
        found, token = await asyncio.to_thread(
            lambda: self.stored.page(request.page_size, request.page_token, model=request.model)
        )
        reply = generation_service_pb2.ListCounterfactualsResponse(counterfactuals=found, next_page_token=token)
        return reply.SerializeToString()

    async def delete(self, data: bytes) -> bytes:
        """DeleteCounterfactualRequest → Empty."""
        request = parsed(generation_service_pb2.DeleteCounterfactualRequest, data)
        await asyncio.to_thread(self.stored.delete, request.name)
        return Empty().SerializeToString()

    async def _resolve(self, asked: CounterfactualSpec, name: str) -> dict[str, Any]:
        """What the operation keeps of the request, with the versions and labels of the models beside the generator."""
        needed = asked.upscale_model or asked.classifier_model
        others = await self._maker.neighbours.catalogue() if needed else {}
        await self._maker.host.meet(asked.model, digest=asked.model_digest)
        spec = resolve_counterfactual(asked, self._maker.host, others, self._settings)
        await path_embeddings(self._maker.host, spec)  # a path that has no direction is refused here
        return {
            "resolved": spec,
            "display_name": name,
            "spec": plain(spec),
            "upscale_version": str(_entry(others, spec.upscale_model).get("version", "")),
            "classifier": _classifier(_entry(others, spec.classifier_model)),
        }

    def _answer(self, operation: Operation) -> bytes:
        self.stored.put_new(operation, counterfactual_fields(operation.request))
        return bytes(operation_proto(operation, self._ledger).SerializeToString())


def counterfactual_chunks(spec: CounterfactualSpec, most: int) -> list[ChunkSpec]:
    """``most`` frames a chunk, in order; with guidance, the ends and the middle without it; then the publication."""
    parts = [{"first": first, "count": min(most, spec.frames - first)} for first in range(0, spec.frames, most)]
    chunks = [ChunkSpec(FRAMES, part, rows=part["count"]) for part in parts]
    if spec.guidance.scale != 1:
        chunks.append(ChunkSpec(UNGUIDED, {}))
    return [*chunks, ChunkSpec(PUBLISH, {}, last=True)]


def stored_counterfactuals(ledger: Ledger) -> Stored[counterfactual_pb2.Counterfactual]:
    return Stored(ledger, counterfactual_pb2.Counterfactual, kind=KIND, collection=COLLECTION, counted="frames_done")


def counterfactual_fields(request: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a counterfactual from its request: fields of its message, and ``model`` to list by."""
    spec, classifier = request["spec"], request["classifier"]
    return {
        "display_name": request["display_name"],
        "spec": spec,
        "model": spec["model"],
        "model_digest": spec["model_digest"],
        "upscale_model_version": request["upscale_version"],
        "upscale_model_digest": spec["upscale_model_digest"],
        "classifier_model_version": classifier.get("version", ""),
        "classifier_model_digest": classifier.get("digest", ""),
    }


def _entry(others: Mapping[str, Entry], name: str) -> Entry:
    return others.get(name.removeprefix("models/"), {})


def _classifier(entry: Entry) -> dict[str, Any]:
    kept = ("name", "version", "digest", "labels", "label_column", "input")
    return {key: entry[key] for key in kept if key in entry}
