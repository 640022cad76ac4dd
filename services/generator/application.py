"""The generator without Ray: its calls, its models, and the worker that leases chunks beside them, on one engine.

Interactive and durable work share the engine, so that images of both merge into the same network calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np

from services.adapters.ledger import Lease, Ledger
from services.adapters.object_store import ObjectStore
from services.errors import DeadlineExceeded
from services.generator.counterfactuals import FRAMES, UNGUIDED, Counterfactuals
from services.generator.counterfactuals import PUBLISH as PUBLISH_COUNTERFACTUAL
from services.generator.frame_chunks import make_frames, make_unguided
from services.generator.generations import IMAGES, Generations
from services.generator.generations import PUBLISH as PUBLISH_GENERATION
from services.generator.image_chunks import make_images, publish_images
from services.generator.images import Maker
from services.generator.neighbours import Neighbours
from services.generator.publication_chunks import publish_counterfactual
from services.generator.settings import Settings
from services.generator.steps import TASKS
from services.generator.synthesis import make_images as make_for_cohort
from services.generator.synthesis import resolve_images
from services.generator.tensors import infer
from services.generator.tools import Tools
from services.hosting.diffusion.engine import OnCall
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.envelope import Reply, seal, seal_in_time, seal_stream
from services.hosting.leasing import LeaseWorker
from services.hosting.progress import Progress

Context = Mapping[str, Any]

# What is short has a lane of its own, so that one operation's publication never waits for another's sampling.
LANES = ((IMAGES, FRAMES, UNGUIDED), (PUBLISH_GENERATION, PUBLISH_COUNTERFACTUAL))


class Application:
    """The handle methods of app ``generator``: request bytes and context in, sealed replies out."""

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        store: ObjectStore,
        neighbours: Neighbours,
        settings: Settings,
        on_call: OnCall = lambda model, rows, padded, seconds: None,
    ) -> None:
        self.host = DiffusionHost(settings, TASKS, on_call=on_call)
        self._settings = settings
        maker = Maker(self.host, neighbours)
        self._generations = Generations(ledger, maker, settings)
        self._counterfactuals = Counterfactuals(ledger, maker, settings)
        progress = Progress(ledger, every_s=settings.progress_every_s)
        self._tools = Tools(ledger, store, maker, settings, progress)
        self._worker = LeaseWorker(name, ledger=ledger, lanes=LANES, perform=self._perform, times=settings)

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

    async def resolve_images(self, asked: Mapping[str, Any], prompts: Sequence[str]) -> Reply:
        """See :func:`services.generator.synthesis.resolve_images`."""
        return await seal(resolve_images(self.host, self._settings, asked, prompts))

    async def make_images(
        self, resolved: Mapping[str, Any], prompts: Sequence[str], planes: np.ndarray | None, first: int
    ) -> AsyncGenerator[Reply, None]:
        """See :func:`services.generator.synthesis.make_images`."""
        async with aclosing(seal_stream(make_for_cohort(self.host, resolved, prompts, planes, first))) as replies:
            async for reply in replies:
                yield reply

    async def CreateGeneration(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._generations.create(request), context.get("deadline_s"))

    async def GenerateImages(self, request: bytes, context: Context) -> AsyncGenerator[Reply, None]:
        replies = seal_stream(_until(self._generations.stream(request), context.get("deadline_s")))
        async with aclosing(replies):
            async for reply in replies:
                yield reply

    async def GetGeneration(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._generations.get(request), context.get("deadline_s"))

    async def ListGenerations(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._generations.list(request), context.get("deadline_s"))

    async def DeleteGeneration(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._generations.delete(request), context.get("deadline_s"))

    async def CreateCounterfactual(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._counterfactuals.create(request), context.get("deadline_s"))

    async def GetCounterfactual(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._counterfactuals.get(request), context.get("deadline_s"))

    async def ListCounterfactuals(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._counterfactuals.list(request), context.get("deadline_s"))

    async def DeleteCounterfactual(self, request: bytes, context: Context) -> Reply:
        return await seal_in_time(self._counterfactuals.delete(request), context.get("deadline_s"))

    async def _perform(self, lease: Lease, all_sent: asyncio.Event) -> None:
        """Do the leased chunk and commit it."""
        if lease.kind == IMAGES:
            await make_images(lease, self._tools, all_sent)
        elif lease.kind == FRAMES:
            await make_frames(lease, self._tools, all_sent)
        elif lease.kind == UNGUIDED:
            await make_unguided(lease, self._tools, all_sent)
        elif lease.kind == PUBLISH_GENERATION:
            await publish_images(lease, self._tools)
        else:
            await publish_counterfactual(lease, self._tools)


async def _until(replies: AsyncGenerator[bytes, None], deadline_s: float | None) -> AsyncGenerator[bytes, None]:
    """The replies that come in time; then DeadlineExceeded, and the work behind them ends at its next step."""
    end = None if deadline_s is None else time.monotonic() + deadline_s
    async with aclosing(replies):
        while True:
            left = None if end is None else end - time.monotonic()
            try:
                async with asyncio.timeout(left):
                    reply = await anext(replies)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise DeadlineExceeded("the caller's deadline passed before all images were made") from error
            yield reply
