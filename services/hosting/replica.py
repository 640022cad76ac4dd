"""What a Serve replica of either model application is: a host with telemetry, a decode sandbox and a nearby socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evenhand.resources.v1 import image_pb2

from services.adapters.decoder import Decoder
from services.adapters.telemetry import open_telemetry
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import ServiceError
from services.hosting.envelope import Reply, seal
from services.hosting.host import ModelHost
from services.hosting.images import answer_image
from services.hosting.nearby import NearbyListener
from services.hosting.settings import HostSettings

LOOK_EVERY_S = 2.0
log = logging.getLogger(__name__)


def packages_in(roots: Sequence[Path]) -> frozenset[Path]:
    """The folders of the registries that have a model.yaml."""
    return frozenset(path.parent for root in roots for path in root.glob("*/*/model.yaml"))


def open_host(settings: HostSettings, tasks: Collection[str], *, app: str) -> ModelHost:
    """A host of every served model of ``tasks``, whose batches are counted under ``app``."""
    telemetry = open_telemetry()

    def count(model: str, rows: int, padded: int, seconds: float) -> None:
        telemetry.batch(app=app, model=model, size=rows, padded=padded, seconds=seconds)

    return ModelHost(DirectoryRegistry(settings.registries), tasks, threads=settings.threads, on_batch=count)


class HostReplica:
    """The handle methods that every model application has; a deployment adds the one with its proto's name."""

    async def open(self, settings: HostSettings, tasks: Collection[str], *, app: str) -> None:
        """Load every model of ``tasks`` once, warm them up, and listen for neighbours."""
        self._roots = settings.registries
        self._packages = packages_in(self._roots)
        self._looking = asyncio.Lock()
        self.host = open_host(settings, tasks, app=app)
        await self.host.warm_up()
        self._decoder = Decoder(workers=1)
        self._nearby = NearbyListener(self.host, app)
        await self._nearby.start()
        self._watch = asyncio.create_task(self._look_for_new())

    async def _look_for_new(self) -> None:
        """Serve packages that appear in the registries, such as a training's, as long as the replica lives."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Exception:
                log.exception("a look for new packages failed; the next one comes all the same")

    async def look(self) -> None:
        """Serve the packages that appeared since the last look. Where one is unreadable, nothing changes."""
        async with self._looking:
            found = await asyncio.to_thread(packages_in, self._roots)
            if found <= self._packages:
                return
            self._packages |= found
            try:
                # In a thread: reading weights takes seconds, in which the replica goes on answering.
                new = await asyncio.to_thread(lambda: self.host.extend(DirectoryRegistry(self._roots)))
                await self.host.warm_up(new)
            except ServiceError as error:
                log.error("new packages in the registries are not served: %s", error.message)
            else:
                log.info("now served: %s", ", ".join(f"{record.name}/{record.version}" for record in new))

    async def _meet(self, model: str, version: str) -> None:
        """Look for a version that is not served here: another replica may have seen its package first."""
        if not self.host.serves(model, version):
            await self.look()

    async def catalogue(self) -> Reply:
        async def answer() -> list[dict[str, Any]]:
            return self.host.catalogue()

        return await seal(answer())

    async def learned_from(self, model: str, version: str) -> Reply:
        async def answer() -> bytes:
            await self._meet(model, version)
            return await asyncio.to_thread(self.host.learned_from, model, version)

        return await seal(answer())

    async def infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> Reply:
        async def answer() -> dict[str, np.ndarray]:
            await self._meet(model, version)
            return await self.host.infer(model, version, inputs, parameters)

        return await seal(answer())

    async def answer_one(
        self,
        read: Callable[[], tuple[str, image_pb2.Image]],
        write: Callable[[ModelRecord, np.ndarray], bytes],
    ) -> Reply:
        """One image of a request through one model; ``read`` gives (model, image), ``write`` makes the reply."""

        async def answer() -> bytes:
            model, image = read()
            return write(*await answer_image(self.host, self._decoder, model, image))

        return await seal(answer())
