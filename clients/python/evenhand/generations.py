"""Generations: synthetic images from a prompt, attributes or a mask, as an operation or as a stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd
from google.longrunning import operations_pb2

from evenhand.artifacts import read_artifact
from evenhand.calls import Caller, Flow, new_request_id
from evenhand.errors import Internal
from evenhand.generation.v1 import generation_pb2, generation_service_pb2
from evenhand.models import ModelCalls
from evenhand.operations import AsyncOperation, Operation
from evenhand.pictures import GeneratedImage, generated_image
from evenhand.records import RecordLike, read_record
from evenhand.sampling import Generating, fitting_model, generation_spec, task_of
from evenhand.synthetic import AsyncCollection, AsyncSynthetic, Collection, CollectionCalls, Kind, Synthetic

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

SERVICE = "evenhand.generation.v1.GenerationService"
KIND = Kind(SERVICE, "Generation", "generations", generation_pb2.Generation, generation_service_pb2)
STREAM = f"{SERVICE}/GenerateImages"
RECORDS = "records.jsonl"


@dataclass(frozen=True)
class Repetition:
    """An image made again, and whether it is the same to the bit. Another device class may differ in last digits."""

    image: GeneratedImage
    identical: bool
    device: str
    device_then: str


class GenerationCalls(CollectionCalls):
    """The flows of GenerationService about images."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller, KIND)

    def create(
        self, prompt: str, settings: Generating, display_name: str, request_id: str | None
    ) -> Flow[operations_pb2.Operation]:
        spec = yield from self.spec(prompt, settings)
        request = generation_service_pb2.CreateGenerationRequest(
            spec=spec, display_name=display_name, request_id=request_id or new_request_id()
        )
        return (yield from self.caller.unary(f"{SERVICE}/CreateGeneration", request, operations_pb2.Operation))

    def spec(self, prompt: str, settings: Generating) -> Flow[generation_pb2.GenerationSpec]:
        """The spec, its model found where none is named."""
        spec = generation_spec(prompt, settings)
        if not spec.model:
            spec.model = yield from fitting_model(ModelCalls(self.caller), task_of(spec))
        return spec

    def records(self, name: str) -> Flow[list[dict[str, Any]]]:
        lines = (yield from read_artifact(self.caller, name, RECORDS)).decode().splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def _requested(
    spec: generation_pb2.GenerationSpec, previews_every: int
) -> generation_service_pb2.GenerateImagesRequest:
    return generation_service_pb2.GenerateImagesRequest(spec=spec, previews_every=previews_every)


def _repetition(image: GeneratedImage, then: generation_pb2.ImageRecord) -> Repetition:
    identical = image.digest == then.pixels_digest
    return Repetition(image, identical, device=str(image.record.get("device", "")), device_then=then.device)


def _table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per image."""
    rows = [
        {
            "index": int(record["spec"].get("first_index", 0)),
            "seed": int(record["spec"].get("seed", 0)),
            "prompt": record["spec"].get("prompt", ""),
            **{f"attribute_{name}": level for name, level in record["spec"].get("attributes", {}).items()},
            "noise_digest": record.get("noise_digest", ""),
            "pixels_digest": record.get("pixels_digest", ""),
        }
        for record in records
    ]
    return pd.DataFrame(rows)


class Generation(Synthetic):
    """One batch of synthetic images."""

    counted = "images_done"

    def records(self) -> list[dict[str, Any]]:
        """What each image is made again from, as JSON data in the order of the images."""
        return self._client.run(self._client.generations.calls.records(self.name))

    def to_pandas(self) -> pd.DataFrame:
        """One row per image: index, seed, condition, digests of noise and pixels."""
        return _table(self.records())


class AsyncGeneration(AsyncSynthetic):
    """The asyncio twin of :class:`Generation`."""

    counted = "images_done"

    async def records(self) -> list[dict[str, Any]]:
        """What each image is made again from."""
        return await self._client.run(self._client.generations.calls.records(self.name))

    async def to_pandas(self) -> pd.DataFrame:
        """One row per image."""
        return _table(await self.records())


class Generations(Collection[Generation]):
    """``client.generations``."""

    calls: GenerationCalls

    def __init__(self, client: Client) -> None:
        super().__init__(client, GenerationCalls(client.caller), Generation)

    def create(
        self,
        prompt: str = "",
        *,
        display_name: str = "",
        request_id: str | None = None,
        **settings: Unpack[Generating],
    ) -> Operation[Generation]:
        """Start a generation from a prompt, ``attributes=``, or a ``mask=`` with a prompt; see `sampling.Generating`.

        Without ``model=`` the one served model that fits is taken. Repeating it with the same ``request_id`` gives the
        same operation; without one the client makes a UUID4.
        """
        proto = self._client.run(self.calls.create(prompt, settings, display_name, request_id))
        return Operation(self._client, proto, self.decode)

    def stream(
        self,
        prompt: str = "",
        *,
        previews_every: int = 0,
        timeout: float | None = None,
        **settings: Unpack[Generating],
    ) -> Generator[GeneratedImage, None, None]:
        """Images as they are done, and previews every so many steps. Nothing is stored.

        Closing the iterator, or leaving its loop, ends the work on the server within one step; so does ``timeout``.
        """
        spec = self._client.run(self.calls.spec(prompt, settings))
        return self._streamed(_requested(spec, previews_every), timeout)

    def repeat(self, record: RecordLike, *, timeout: float | None = None) -> Repetition:
        """Make an image again from its record: a mapping, JSON text, a JSON file, or a PNG of the platform's."""
        then = read_record(record)
        with closing(self._streamed(_requested(then.spec, 0), timeout)) as images:
            for image in images:
                return _repetition(image, then)
        raise Internal("the stream ended without an image")

    def _streamed(
        self, request: generation_service_pb2.GenerateImagesRequest, timeout: float | None
    ) -> Generator[GeneratedImage, None, None]:
        reply = generation_service_pb2.GenerateImagesResponse
        with closing(self._client.connection.stream(STREAM, request, reply, timeout)) as replies:
            for message in replies:
                yield generated_image(message)


class AsyncGenerations(AsyncCollection[AsyncGeneration]):
    """``async_client.generations``."""

    calls: GenerationCalls

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client, GenerationCalls(client.caller), AsyncGeneration)

    async def create(
        self,
        prompt: str = "",
        *,
        display_name: str = "",
        request_id: str | None = None,
        **settings: Unpack[Generating],
    ) -> AsyncOperation[AsyncGeneration]:
        """Start a generation; see :meth:`Generations.create`."""
        proto = await self._client.run(self.calls.create(prompt, settings, display_name, request_id))
        return AsyncOperation(self._client, proto, self.decode)

    async def stream(
        self,
        prompt: str = "",
        *,
        previews_every: int = 0,
        timeout: float | None = None,
        **settings: Unpack[Generating],
    ) -> AsyncGenerator[GeneratedImage, None]:
        """Images as they are done; see :meth:`Generations.stream`."""
        spec = await self._client.run(self.calls.spec(prompt, settings))
        async with aclosing(self._streamed(_requested(spec, previews_every), timeout)) as images:
            async for image in images:
                yield image

    async def repeat(self, record: RecordLike, *, timeout: float | None = None) -> Repetition:
        """Make an image again; see :meth:`Generations.repeat`."""
        then = read_record(record)
        async with aclosing(self._streamed(_requested(then.spec, 0), timeout)) as images:
            async for image in images:
                return _repetition(image, then)
        raise Internal("the stream ended without an image")

    async def _streamed(
        self, request: generation_service_pb2.GenerateImagesRequest, timeout: float | None
    ) -> AsyncGenerator[GeneratedImage, None]:
        reply = generation_service_pb2.GenerateImagesResponse
        async with aclosing(self._client.connection.stream(STREAM, request, reply, timeout)) as replies:
            async for message in replies:
                yield generated_image(message)
