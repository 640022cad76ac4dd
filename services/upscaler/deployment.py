"""The Ray Serve class of the upscaler: one deployment that answers calls and works through chunks."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve

from services.adapters.ledger import open_ledger
from services.adapters.object_store import open_object_store
from services.adapters.telemetry import open_telemetry
from services.hosting.background import Background, worker_name
from services.upscaler.application import Application
from services.upscaler.settings import Settings


@serve.deployment
class Upscaler(Background, Application):
    """Ready once every model has made one step."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]
        settings = Settings.model_validate(args)
        telemetry = open_telemetry()

        def count(model: str, rows: int, padded: int, seconds: float) -> None:
            telemetry.batch(app="upscaler", model=model, size=rows, padded=padded, seconds=seconds)

        super().__init__(
            worker_name(),
            ledger=await asyncio.to_thread(open_ledger, settings.ledger),
            store=await asyncio.to_thread(open_object_store, settings.store),
            settings=settings,
            on_call=count,
        )
        await self.host.warm_up()
        self.begin(self.run())

    async def __del__(self) -> None:
        await super().__del__()
        self.close()
