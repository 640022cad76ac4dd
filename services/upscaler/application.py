"""The upscaler without Ray: its calls, its models, and the worker that leases images beside them, on one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

import numpy as np
from google.protobuf.json_format import ParseDict

from services.adapters.ledger import Lease, Ledger, Operation
from services.adapters.object_store import ObjectStore
from services.adapters.weights import ModelRecord
from services.hosting.diffusion.engine import Event, OnCall
from services.hosting.diffusion.files import Artifact, put_file, put_image
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.records import pixels_digest, platform_version
from services.hosting.diffusion.sampling import checked_digest
from services.hosting.envelope import Reply, seal, seal_in_time
from services.hosting.leasing import LeaseWorker, patiently
from services.hosting.operations import stored_response
from services.hosting.progress import Pace, Progress
from services.maths.canonical import canonical_json
from services.upscaler.settings import Settings
from services.upscaler.steps import TASKS, Sampling, cropped, order_for, resolve, tiles_of
from services.upscaler.tensors import infer
from services.upscaler.upscalings import KIND, UPSCALE, Upscalings, UpscalingSpec, stored_image, upscaling_fields

Context = Mapping[str, Any]
T = TypeVar("T")


class Application:
    """The handle methods of app ``upscaler``: request bytes and context in, sealed replies out."""

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        store: ObjectStore,
        settings: Settings,
        on_call: OnCall = lambda model, rows, padded, seconds: None,
    ) -> None:
        self.host = DiffusionHost(settings, TASKS, on_call=on_call)
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._upscalings = Upscalings(ledger, store, self.host, settings)
        self._progress = Progress(ledger, every_s=settings.progress_every_s)
        self._worker = LeaseWorker(name, ledger=ledger, lanes=((UPSCALE,),), perform=self._perform, times=settings)

    async def run(self) -> None:
        """Work through the ledger's chunks, and serve models that appear in the registries, until cancelled."""
        async with self.host.watching():
            await self._worker.run()

    def close(self) -> None:
        self.host.close()

    async def catalogue(self) -> Reply:
        async def answer() -> list[dict[str, Any]]:
            await self.host.look()
            return self.host.catalogue()

        return await seal(answer())

    async def infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> Reply:
        return await seal(infer(self.host, self._settings, model, version, inputs=inputs, parameters=parameters))

    async def CreateUpscaling(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._upscalings.create(request), context.get("deadline_s"))

    async def GetUpscaling(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._upscalings.get(request), context.get("deadline_s"))

    async def ListUpscalings(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._upscalings.list(request), context.get("deadline_s"))

    async def DeleteUpscaling(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._upscalings.delete(request), context.get("deadline_s"))

    async def _perform(self, lease: Lease, all_sent: asyncio.Event) -> None:
        """One image: sampled, written, published, and its operation ended."""
        operation = await self._in_thread(self._ledger.get_operation, lease.operation)
        spec = ParseDict(operation.request["spec"], UpscalingSpec())
        small = await self._in_thread(stored_image, self._store, operation.request)
        await self.host.meet(spec.model, digest=spec.model_digest)
        record = self.host.find(spec.model, digest=spec.model_digest)
        checked_digest(record.digest, spec.model_digest, field="spec.model_digest")
        sampling = resolve(
            self.host,
            record,
            sampler=spec.sampler,
            steps=spec.steps,
            seed=spec.seed,
            tile=spec.tile,
            most_steps=self._settings.most_steps,
            at="spec",
        )
        event = await self._sample(lease, record, small, sampling)
        assert event.pixels is not None
        large = cropped(record, event.pixels, small)
        told = self._described(record, sampling, event, operation, large)
        artifacts = await self._in_thread(self._put, record, large, told, list(spec.formats))
        stored = self._upscalings.stored
        body = stored.body(
            operation,
            {**upscaling_fields(operation.request), **told, "state": "STATE_SUCCEEDED", "artifacts": artifacts},
        )
        # put_resource is not fenced, so make sure at the last moment that this worker still holds the chunk.
        await self._in_thread(self._ledger.report_progress, lease, {**operation.progress, "stage": "encoding"})
        await self._in_thread(self._ledger.put_resource, operation.resource, KIND, body)
        response = stored_response(stored.message(body))
        await self._in_thread(self._ledger.commit_chunk, lease, {"artifacts": artifacts}, response=response)

    async def _sample(self, lease: Lease, record: ModelRecord, small: np.ndarray, sampling: Sampling) -> Event:
        order = await order_for(self.host, record, small, sampling, index=0)
        tiles = tiles_of(record, small, sampling)
        pace = Pace("tiles", sampling.plan.evaluations)
        try:
            async with aclosing(self.host.sample(record, [order], background=True, tile=sampling.tile)) as events:
                async for event in events:
                    done = tiles if event.done else 0
                    await self._progress.tell(lease, "sampling", pace, done=done, steps=event.step * tiles)
                    if event.done:
                        return event
        finally:
            self._progress.ended(lease)
        raise AssertionError("the engine ends only with a finished image")

    def _described(
        self, record: ModelRecord, sampling: Sampling, event: Event, operation: Operation, large: np.ndarray
    ) -> dict[str, Any]:
        """Fields of the Upscaling that say how it was made."""
        return {
            "spec": operation.request["spec"],
            "model_version": record.version,
            "input_digest": operation.request["input_digest"],
            "output_shape": list(large.shape),
            "batch_shape": [self.host.placement.batch, large.shape[0], sampling.tile, sampling.tile],
            "device": self.host.placement.device_class,
            "noise_digest": event.noise_digest,
        }

    def _put(self, record: ModelRecord, large: np.ndarray, told: dict[str, Any], formats: list[str]) -> list[Artifact]:
        """The image's files and its record."""
        more = {"pixels_digest": pixels_digest(large), "platform_version": platform_version(), "synthetic": True}
        whole = {**told, **more}
        files = put_image(self._store, "image", large, whole, formats, modality=record.modality)
        return [*files, put_file(self._store, "record.json", canonical_json(whole))]

    async def _in_thread(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        return await patiently(lambda: asyncio.to_thread(function, *arguments, **named), self._settings.patience_s)
