"""The Ray Serve class of the gateway: opens what outlives a replica, then serves its own ports."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import numpy as np
from ray import serve

from services.adapters.ledger import open_ledger
from services.adapters.object_store import open_object_store
from services.adapters.telemetry import open_telemetry
from services.errors import Unavailable
from services.gateway.edge import open_edge
from services.gateway.replica import Replica
from services.gateway.settings import Settings, read_api_keys
from services.hosting.envelope import unseal
from services.hosting.handles import Handles, models_of_apps
from services.hosting.nearby import NearbyHosts

ATTEMPTS = 4
FIRST_PAUSE_S = 0.2
NEARBY_APPS = (
    "classifiers",
    "reconstruction",
)  # sampling takes seconds: there the handle, which can cancel, is the way


class RayBackends:
    """The applications over Serve handles: gRPC transport, arrays by value."""

    def __init__(self) -> None:
        self._handles = Handles()
        self._nearby = {app: NearbyHosts(app) for app in NEARBY_APPS}

    async def call(
        self, app: str, method: str, payload: bytes, context: Mapping[str, Any], *, read_only: bool
    ) -> bytes:
        reply: bytes = await self._ask(app, method, payload, dict(context), attempts=ATTEMPTS if read_only else 1)
        return reply

    async def stream(
        self, app: str, method: str, payload: bytes, context: Mapping[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._handles.stream(app, method, payload, dict(context))) as replies:
            async for reply in replies:
                yield unseal(reply)

    async def catalogue(self) -> list[dict[str, Any]]:
        return await models_of_apps(lambda app: self._ask(app, "catalogue", attempts=1))

    async def infer(
        self, app: str, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Over a host's socket if one is on this machine, else over its handle."""
        outputs = None
        if app in self._nearby:
            with suppress(Unavailable):  # the host is gone; its work can be repeated, and Serve knows by whom
                outputs = await self._nearby[app].infer(model, version, inputs, parameters)
        if outputs is None:
            outputs = await self._ask(app, "infer", model, version, dict(inputs), dict(parameters), attempts=ATTEMPTS)
        return outputs

    async def _ask(self, app: str, method: str, *arguments: Any, attempts: int) -> Any:
        """The unsealed reply. When a replica dies at work another is asked only if ``attempts`` allows it."""
        pause = FIRST_PAUSE_S
        for left in reversed(range(attempts)):
            try:
                reply = await self._handles.call(app, method, *arguments)
            except Unavailable:
                if not left:
                    raise
            else:
                return unseal(reply)
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt either returns or raises")


@serve.deployment
class Gateway:
    """One replica of the edge. Ready when its ports are open."""

    async def __init__(self, settings: dict[str, Any]) -> None:  # type: ignore[misc]
        checked = Settings.model_validate(settings)
        edge = open_edge(
            checked,
            backends=RayBackends(),
            ledger=await asyncio.to_thread(open_ledger, checked.ledger),
            store=await asyncio.to_thread(open_object_store, checked.store),
            telemetry=open_telemetry(),
            keys=read_api_keys(),
        )
        self._replica = Replica(edge)
        await self._replica.start()
        gc.collect()
        gc.freeze()  # what there is now stays; the collector need not walk through it again and again

    def check_health(self) -> None:
        self._replica.check()

    async def __del__(self) -> None:
        await self._replica.stop()
