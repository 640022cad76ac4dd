"""What a Serve replica of either model application is: a host with telemetry, a decode sandbox and a nearby socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from evenhand.resources.v1 import image_pb2

from services.adapters.decoder import Decoder
from services.adapters.telemetry import open_telemetry
from services.adapters.weights import DirectoryRegistry, ModelRecord, OnLeftOut
from services.hosting.envelope import Reply, seal
from services.hosting.host import ModelHost
from services.hosting.images import answer_image
from services.hosting.nearby import NearbyListener
from services.hosting.registries import RegistryWatch
from services.hosting.settings import HostSettings


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
        self._watch = RegistryWatch(settings.registries, self._open_new, self._serve_new)
        self.host = open_host(settings, tasks, app=app)
        await self.host.warm_up()
        self._decoder = Decoder(workers=1)
        self._nearby = NearbyListener(self._infer, app)
        await self._nearby.start()
        self._looking = asyncio.create_task(self._watch.run())

    async def look(self) -> None:
        """See :meth:`RegistryWatch.look`."""
        await self._watch.look()

    def _open_new(self, registry: DirectoryRegistry, left_out: OnLeftOut) -> list[ModelRecord]:
        return self.host.extend(registry, left_out=left_out)

    async def _serve_new(self, new: list[ModelRecord]) -> list[ModelRecord]:
        await self.host.warm_up(new)
        return new

    async def _meet(self, model: str, version: str) -> None:
        """Look for a version that is not served here: another replica may have seen its package first."""
        if not self.host.serves(model, version):
            await self.look()

    async def catalogue(self) -> Reply:
        async def answer() -> list[dict[str, Any]]:
            await self.look()
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
        return await seal(self._infer(model, version, inputs, parameters))

    async def _infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        await self._meet(model, version)
        return await self.host.infer(model, version, inputs, parameters)

    async def answer_one(
        self,
        read: Callable[[], tuple[str, image_pb2.Image]],
        write: Callable[[ModelRecord, np.ndarray], bytes],
    ) -> Reply:
        """One image of a request through one model; ``read`` gives (model, image), ``write`` makes the reply."""

        async def answer() -> bytes:
            model, image = read()
            await self._meet(model, "")
            return write(*await answer_image(self.host, self._decoder, model, image))

        return await seal(answer())
