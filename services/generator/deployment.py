"""The Ray Serve class of the generator: one deployment that answers calls and works through chunks."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve

from services.adapters.ledger import open_ledger
from services.adapters.object_store import open_object_store
from services.adapters.telemetry import open_telemetry
from services.generator.application import Application
from services.generator.neighbours import RayNeighbours
from services.generator.settings import Settings
from services.hosting.background import Background, worker_name
from services.hosting.calls import RayModelCalls

CATALOGUE_PATIENCE_S = 15.0


@serve.deployment
class Generator(Background, Application):
    """Ready once every model has made one step."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]
        settings = Settings.model_validate(args)
        telemetry = open_telemetry()

        def count(model: str, rows: int, padded: int, seconds: float) -> None:
            telemetry.batch(app="generator", model=model, size=rows, padded=padded, seconds=seconds)

        super().__init__(
            worker_name(),
            ledger=await asyncio.to_thread(open_ledger, settings.ledger),
            store=await asyncio.to_thread(open_object_store, settings.store),
            neighbours=RayNeighbours(RayModelCalls(patience_s=CATALOGUE_PATIENCE_S)),
            settings=settings,
            on_call=count,
        )
        await self.host.warm_up()
        self.begin(self.run())

    async def __del__(self) -> None:
        await super().__del__()
        self.close()
