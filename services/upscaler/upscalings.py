"""The calls about upscalings: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from evenhand.resources.v1 import image_pb2
from evenhand.upscaling.v1 import upscaling_pb2, upscaling_service_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict

from services.adapters.decoder import Decoder, decode_bytes
from services.adapters.encoder import npy_bytes
from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.adapters.object_store import ObjectStore
from services.errors import InvalidInput
from services.hosting.diffusion.files import checked_formats
from services.hosting.diffusion.host import DiffusionHost, check_task
from services.hosting.diffusion.records import pixels_digest
from services.hosting.diffusion.sampling import checked_digest
from services.hosting.images import canonical_tensor
from services.hosting.operations import operation_proto
from services.hosting.requests import body_digest, parsed, plain_text, request_id
from services.hosting.stored import Stored
from services.upscaler.settings import Settings
from services.upscaler.steps import TASKS, check_image, resolve, tiles_of

KIND, COLLECTION, UPSCALE = "upscaling", "upscalings", "upscale"

UpscalingSpec = upscaling_pb2.UpscalingSpec


class Upscalings:
    """What UpscalingService is asked."""

    def __init__(self, ledger: Ledger, store: ObjectStore, host: DiffusionHost, settings: Settings) -> None:
        self._ledger = ledger
        self._store = store
        self._host = host
        self._settings = settings
        self._decoder = Decoder(workers=1)
        self.stored = stored_upscalings(ledger)

    async def create(self, data: bytes) -> bytes:
        """CreateUpscalingRequest → Operation, whose one chunk is the image."""
        request = parsed(upscaling_service_pb2.CreateUpscalingRequest, data)
        known, body = request_id(request.request_id), body_digest(request)
        name = plain_text(request.display_name, "display_name")
        repeated = await asyncio.to_thread(self._ledger.repeated_operation, KIND, known, body)
        if repeated is not None:
            return await asyncio.to_thread(self._answer, repeated)
        pixels = await asyncio.to_thread(read_image, request.image, self._decoder)
        await self._host.meet(request.spec.model, digest=request.spec.model_digest)
        asked, tiles = self._resolve(request.spec, pixels)
        image = await asyncio.to_thread(self._store.put, npy_bytes(pixels))
        order = asked | {"display_name": name, "image": asdict(image)}
        operation, _ = await asyncio.to_thread(
            lambda: self._ledger.create_operation(
                KIND,
                f"{COLLECTION}/{uuid.uuid4()}",
                order,
                [ChunkSpec(UPSCALE, {}, rows=tiles)],
                request_id=known,
                body_digest=body,
            )
        )
        return await asyncio.to_thread(self._answer, operation)

    async def get(self, data: bytes) -> bytes:
        """GetUpscalingRequest → Upscaling."""
        request = parsed(upscaling_service_pb2.GetUpscalingRequest, data)
        return (await asyncio.to_thread(self.stored.read, request.name)).SerializeToString()

    async def list(self, data: bytes) -> bytes:
        """ListUpscalingsRequest → ListUpscalingsResponse, newest first."""
        request = parsed(upscaling_service_pb2.ListUpscalingsRequest, data)
        found, token = await asyncio.to_thread(
            lambda: self.stored.page(request.page_size, request.page_token, model=request.model)
        )
        reply = upscaling_service_pb2.ListUpscalingsResponse(upscalings=found, next_page_token=token)
        return reply.SerializeToString()

    async def delete(self, data: bytes) -> bytes:
        """DeleteUpscalingRequest → Empty."""
        request = parsed(upscaling_service_pb2.DeleteUpscalingRequest, data)
        await asyncio.to_thread(self.stored.delete, request.name)
        return Empty().SerializeToString()

    def _resolve(self, asked: UpscalingSpec, pixels: np.ndarray) -> tuple[dict[str, Any], int]:
        """What the operation keeps of the request, every default filled in, and its number of tiles."""
        spec = UpscalingSpec()
        spec.CopyFrom(asked)
        record = self._host.find(spec.model, digest=spec.model_digest, field="spec.model")
        check_task(record, TASKS, field="spec.model")
        checked_digest(record.digest, spec.model_digest, field="spec.model_digest")
        check_image(record, pixels, self._settings.most_side, field="image")
        sampling = resolve(
            self._host,
            record,
            sampler=spec.sampler,
            steps=spec.steps,
            seed=spec.seed,
            tile=spec.tile,
            most_steps=self._settings.most_steps,
            at="spec",
        )
        assert record.factor is not None
        spec.model, spec.model_digest = f"models/{record.name}", record.digest
        spec.sampler, spec.steps, spec.tile = sampling.sampler, sampling.steps, sampling.tile // record.factor
        wanted = checked_formats(spec.formats)
        del spec.formats[:]
        spec.formats.extend(wanted)
        kept = MessageToDict(spec, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        shape = list(pixels.shape)
        return (
            {"spec": kept, "input_digest": pixels_digest(pixels), "input_shape": shape},
            tiles_of(record, pixels, sampling),
        )

    def _answer(self, operation: Operation) -> bytes:
        self.stored.put_new(operation, upscaling_fields(operation.request))
        return bytes(operation_proto(operation, self._ledger).SerializeToString())


def stored_upscalings(ledger: Ledger) -> Stored[upscaling_pb2.Upscaling]:
    return Stored(ledger, upscaling_pb2.Upscaling, kind=KIND, collection=COLLECTION)


def upscaling_fields(request: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of an upscaling from its request: fields of its message, and ``model`` to list by."""
    spec = request["spec"]
    return {
        "display_name": request["display_name"],
        "spec": spec,
        "model": spec["model"],
        "model_digest": spec["model_digest"],
        "input_digest": request["input_digest"],
        "input_shape": request["input_shape"],
    }


def read_image(image: image_pb2.Image, decoder: Decoder) -> np.ndarray:
    """(C, h, w) canonical, from a file in the sandbox or from a tensor."""
    source = image.WhichOneof("source")
    if source == "file":
        return decode_bytes(image.file, image.filename, decoder=decoder).pixels
    if source == "tensor":
        return canonical_tensor(image.tensor)
    raise InvalidInput("give the image as a file or as a tensor", field="image", reason="IMAGE_MISSING")


def stored_image(store: ObjectStore, request: Mapping[str, Any]) -> np.ndarray:
    """The image of an operation's request."""
    kept = request["image"]
    pixels: np.ndarray = np.load(io.BytesIO(store.get(kept["key"], sha256=kept["sha256"])), allow_pickle=False)
    return pixels
