"""What a Serve replica of either model application is: a host with telemetry, a decode sandbox and a nearby socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from evenhand.resources.v1 import image_pb2

from services.adapters.decoder import Decoder
from services.adapters.telemetry import open_telemetry
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import ServiceError, whereabouts
from services.hosting.envelope import Reply, seal
from services.hosting.host import ModelHost
from services.hosting.images import answer_image
from services.hosting.nearby import NearbyListener
from services.hosting.settings import HostSettings

LOOK_EVERY_S = 2.0
RETRY_EVERY_S = 60.0  # for faults that pass without a trace in the files: a full disk, a Triton that is away
log = logging.getLogger(__name__)


def packages_in(roots: Sequence[Path]) -> frozenset[Path]:
    """The folders of the registries that have a model.yaml."""
    return frozenset(path.parent for root in roots for path in root.glob("*/*/model.yaml"))


State = frozenset[tuple[Path, int, int]]


def state_of(folder: Path) -> State:
    """Path, time of change and size of all that is in a package. Its weights may come after its model.yaml."""
    found = set()
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):  # gone meanwhile
            about = path.stat()
            found.add((path, about.st_ctime_ns, about.st_size))
    return frozenset(found)


@dataclass(frozen=True)
class _LeftOut:
    """A package that could not be served: why, what it looked like then, and when that was on the monotonic clock."""

    why: str
    state: State
    tried: float


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
        self._packages = set(packages_in(self._roots))
        self._left_out: dict[Path, _LeftOut] = {}
        self._looking = asyncio.Lock()
        self.host = open_host(settings, tasks, app=app)
        await self.host.warm_up()
        self._decoder = Decoder(workers=1)
        self._nearby = NearbyListener(self._infer, app)
        await self._nearby.start()
        self._watch = asyncio.create_task(self._look_for_new())

    async def _look_for_new(self) -> None:
        """Serve packages that appear in the registries, such as a training's, as long as the replica lives."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Serve the packages that appeared since the last look, but for those that cannot be; never raises.

        Costs one glob where nothing is new. A caller who is cancelled leaves the look to end by itself, so that no
        other begins beside it.
        """
        await asyncio.shield(self._look())

    async def _look(self) -> None:
        async with self._looking:
            try:
                # In a thread: reading weights takes seconds, in which the replica goes on answering.
                new = await asyncio.to_thread(self._extend)
                await self.host.warm_up(new)
            except Exception:
                log.exception("a look for new packages failed; the next one comes all the same")
                return
            if new:
                log.info("now served: %s", ", ".join(f"{record.name}/{record.version}" for record in new))

    def _extend(self) -> list[ModelRecord]:
        """Add the packages that are new, and those that were left out and changed or have waited long enough."""
        waiting = {folder: state_of(folder) for folder in packages_in(self._roots) - self._packages}
        if not any(self._is_due(folder, state) for folder, state in waiting.items()):
            return []
        bad: dict[str, Exception] = {}
        registry = DirectoryRegistry(self._roots, left_out=bad.__setitem__)
        new = self.host.extend(registry, left_out=bad.__setitem__)
        for folder, state in waiting.items():
            error = bad.get(f"{folder.parent.name}/{folder.name}")
            if error is None:
                self._packages.add(folder)
                self._left_out.pop(folder, None)
            else:
                self._leave_out(folder, state, error)
        return new

    def _is_due(self, folder: Path, state: State) -> bool:
        known = self._left_out.get(folder)
        return known is None or known.state != state or time.monotonic() - known.tried > RETRY_EVERY_S

    def _leave_out(self, folder: Path, state: State, error: Exception) -> None:
        """Note a package that cannot be served, and log it unless that was said before."""
        why = error.message if isinstance(error, ServiceError) else whereabouts(error)
        known = self._left_out.get(folder)
        if known is None or known.why != why:
            log.error("%s/%s is not served: %s", folder.parent.name, folder.name, why)
        self._left_out[folder] = _LeftOut(why, state, time.monotonic())

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
