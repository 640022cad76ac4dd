"""The room on Ray Serve: one deployment that answers calls and, in the background, watches over runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ray import serve

from services.adapters.ledger import open_ledger
from services.hosting.background import Background, worker_name
from services.hosting.envelope import Reply, seal_in_time
from services.training.launch import RayLaunch
from services.training.settings import Settings
from services.training.trainings import Trainings
from services.training.worker import Worker

Context = dict[str, Any]


@serve.deployment
class Trainer(Background):
    """The calls of TrainingService: serialized request and context in, sealed bytes out."""

    def __init__(self, args: dict[str, Any]) -> None:
        settings = Settings.model_validate(args)
        ledger = open_ledger(settings.ledger)
        self._trainings = Trainings(ledger, settings)
        worker = Worker(worker_name(), ledger=ledger, launch=RayLaunch(settings), settings=settings)
        self.begin(worker.run())

    async def CreateTraining(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._trainings.create, request, context)

    async def GetTraining(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._trainings.get, request, context)

    async def ListTrainings(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._trainings.list, request, context)


async def _answer(call: Callable[[bytes], bytes], request: bytes, context: Context) -> Reply:
    return await seal_in_time(asyncio.to_thread(call, request), context.get("deadline_s"))
