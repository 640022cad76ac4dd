"""A training room without Ray: the ledger, the calls of TrainingService, and workers that run in this process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evenhand.training.v1 import training_pb2, training_service_pb2
from google.longrunning import operations_pb2

from services.adapters.ledger import open_ledger
from services.training.folders import RunFolder, Stopped
from services.training.settings import Settings
from services.training.steps import perform
from services.training.trainings import Trainings
from services.training.worker import Worker


async def launch_here(folder: RunFolder) -> None:
    with contextlib.suppress(Stopped):
        await asyncio.to_thread(perform, folder)


@dataclass
class Room:
    settings: Settings
    ledger: object
    trainings: Trainings

    def create(self, **fields) -> operations_pb2.Operation:
        request = training_service_pb2.CreateTrainingRequest(**fields)
        return operations_pb2.Operation.FromString(self.trainings.create(request.SerializeToString()))

    def get(self, name: str) -> training_pb2.Training:
        request = training_service_pb2.GetTrainingRequest(name=name)
        return training_pb2.Training.FromString(self.trainings.get(request.SerializeToString()))

    @contextlib.asynccontextmanager
    async def working(self, launch=launch_here, name="one"):
        worker = Worker(name, ledger=self.ledger, launch=launch, settings=self.settings)
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def state_within(self, name: str, seconds: float, *states: str):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            operation = self.ledger.get_operation(name)
            if operation.state in states:
                return operation
            await asyncio.sleep(0.02)
        raise AssertionError(f"{operation.state} after {seconds} s, {operation.progress}")


@contextlib.contextmanager
def opened(data_dir: Path, registries: tuple[Path, ...] = ()) -> Iterator[Room]:
    """A room whose ledger and packages lie in ``data_dir``, beside other registries."""
    settings = Settings(
        data_dir=data_dir, ledger_url=f"sqlite:///{data_dir}/ledger.db", registries=registries, poll_every_s=0.05
    )
    ledger = open_ledger(settings.ledger)
    yield Room(settings, ledger, Trainings(ledger, settings))
    ledger.close()
