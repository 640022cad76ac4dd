"""The Ray Serve class of the upscaler: one deployment that answers calls and works through chunks."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from typing import Any

from ray import serve

from services.adapters.ledger import open_ledger
from services.adapters.object_store import open_object_store
from services.adapters.telemetry import open_telemetry
from services.upscaler.application import Application
from services.upscaler.settings import Settings


@serve.deployment
class Upscaler(Application):
    """Ready once every model has made one step."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]
        settings = Settings.model_validate(args)
        telemetry = open_telemetry()

        def count(model: str, rows: int, padded: int, seconds: float) -> None:
            telemetry.batch(app="upscaler", model=model, size=rows, padded=padded, seconds=seconds)

        super().__init__(
            f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}",
            ledger=await asyncio.to_thread(open_ledger, settings.ledger),
            store=await asyncio.to_thread(open_object_store, settings.store),
            settings=settings,
            on_call=count,
        )
        await self.host.warm_up()
        self._running = asyncio.get_running_loop().create_task(self.run())

    async def check_health(self) -> None:
        """A worker whose loop ended is no worker; Serve then starts another."""
        if self._running.done():
            self._running.result()
            raise RuntimeError("the worker's loop ended")

    async def __del__(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self.close()
