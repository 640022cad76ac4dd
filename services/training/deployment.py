"""The room on Ray Serve: one deployment that answers calls and, in the background, watches over runs."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from typing import Any

from ray import serve

from services.adapters.ledger import open_ledger
from services.errors import DeadlineExceeded
from services.hosting.envelope import Reply, seal
from services.training.launch import RayLaunch
from services.training.settings import Settings
from services.training.trainings import Trainings
from services.training.worker import Worker

Context = dict[str, Any]


@serve.deployment
class Trainer:
    """The calls of TrainingService: serialized request and context in, sealed bytes out."""

    def __init__(self, args: dict[str, Any]) -> None:
        settings = Settings.model_validate(args)
        ledger = open_ledger(settings.ledger)
        self._trainings = Trainings(ledger, settings)
        name = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        worker = Worker(name, ledger=ledger, launch=RayLaunch(settings), settings=settings)
        self._running = asyncio.get_running_loop().create_task(worker.run())

    async def check_health(self) -> None:
        """A worker whose loop ended is no worker; Serve then starts another."""
        if self._running.done():
            self._running.result()
            raise RuntimeError("the worker's loop ended")

    async def CreateTraining(self, request: bytes, context: Context) -> Reply:
        return await seal(_within(self._trainings.create, request, context))

    async def GetTraining(self, request: bytes, context: Context) -> Reply:
        return await seal(_within(self._trainings.get, request, context))

    async def ListTrainings(self, request: bytes, context: Context) -> Reply:
        return await seal(_within(self._trainings.list, request, context))

    async def __del__(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


async def _within(call: Callable[[bytes], bytes], request: bytes, context: Context) -> bytes:
    """The answer, or DeadlineExceeded once the caller's time is up."""
    try:
        async with asyncio.timeout(context.get("deadline_s")):
            return await asyncio.to_thread(call, request)
    except TimeoutError as error:
        raise DeadlineExceeded("the caller's deadline passed before the answer was ready") from error
