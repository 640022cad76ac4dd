"""A small world for audits: a registry of tiny models, 40 records in four shards, a ledger and a store in one folder.

``Fleet`` runs workers in processes of their own, as ``python -m tests.audit.world FOLDER NAME`` started them, so that
tests can kill and freeze them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from google.longrunning import operations_pb2

from services.adapters.ledger import Ledger, Operation, open_ledger
from services.adapters.object_store import ObjectStore, open_object_store
from services.adapters.weights import DirectoryRegistry
from services.audit.audits import Audits
from services.audit.publish import PublishTask, publish
from services.audit.settings import Settings
from services.audit.synthesis.maker import RayImageMaker
from services.audit.worker import Worker
from services.hosting.calls import LocalModelCalls, ModelCalls
from services.hosting.shards import Record
from tests.audit.cohorts import put_cohort
from tests.packages import write_classifier, write_package

SIZE = 16
PIXELS = {"channels": 1, "height": SIZE, "width": SIZE}
LABELS = ("Edema", "Fracture")
LEVELS = {"sex": ("Female", "Male"), "age": ("young", "old")}
QUICK: dict[str, Any] = {
    "batch_size": 4,
    "lease_ttl_s": 1.0,
    "renew_every_s": 0.2,
    "watch_every_s": 0.05,
    "poll_every_s": 0.02,
}
COHORT = "cohorts/small"


@dataclass(frozen=True)
class World:
    """Without addresses, SQLite and a directory in ``folder``."""

    folder: Path
    ledger_url: str = ""
    store_url: str = ""

    @property
    def settings(self) -> Settings:
        places = {"data_dir": self.folder, "ledger_url": self.ledger_url, "store_url": self.store_url}
        return Settings(**places, import_roots=(self.folder,), **QUICK)

    def ledger(self) -> Ledger:
        return open_ledger(self.settings.ledger, skew_s=0.1)

    def store(self) -> ObjectStore:
        return open_object_store(self.settings.store)

    def calls(self) -> LocalModelCalls:
        return LocalModelCalls(DirectoryRegistry([self.folder / "models"]))

    def worker(self, name: str = "worker", calls: ModelCalls | None = None, **collaborators: Any) -> Worker:
        store = collaborators.pop("store", None) or self.store()

        async def publish_here(task: PublishTask) -> dict[str, Any]:
            return await asyncio.to_thread(publish, store, task)

        chosen: dict[str, Any] = {
            "ledger": self.ledger(),
            "publish": publish_here,
            "settings": self.settings,
            "maker": RayImageMaker(),
        }
        return Worker(name, store=store, calls=calls or self.calls(), **(chosen | collaborators))

    async def create(self, **changes: Any) -> Operation:
        """The standard audit, created by the room's own call; fields of its spec may be changed."""
        audits = Audits(self.ledger(), self.store(), self.calls(), self.settings)
        message = operations_pb2.Operation.FromString(await audits.create(audit_request(**changes).SerializeToString()))
        return self.ledger().get_operation(message.name)

    async def finish(self, operation: Operation, *workers: Worker, limit_s: float = 60) -> Operation:
        """Let the workers run until the operation is done."""
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            return await self.wait(operation, limit_s=limit_s)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def wait(self, operation: Operation, *, limit_s: float = 60) -> Operation:
        ledger = self.ledger()
        async with asyncio.timeout(limit_s):
            while not (now := ledger.get_operation(operation.name)).done:
                await asyncio.sleep(0.02)
        return now

    def artifact(self, operation: Operation, filename: str) -> bytes:
        response = operation.response
        assert response is not None
        key = next(part["key"] for part in response["value"]["artifacts"] if part["filename"] == filename)
        return self.store().get(key)

    def report(self, operation: Operation) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.artifact(operation, "report.json"))
        return report


def audit_request(**changes: Any) -> audit_service_pb2.CreateAuditRequest:
    low_dose = audit_pb2.Stage(degrade=audit_pb2.Degradation(operator="low-dose-xray", photons=3000))
    reading = [audit_pb2.Stage(classify="chest"), audit_pb2.Stage(segment="tumour")]
    spec: dict[str, Any] = {
        "cohort": COHORT,
        "pipelines": [
            audit_pb2.Pipeline(name="original", stages=[*reading, audit_pb2.Stage(classify="sex")]),
            audit_pb2.Pipeline(name="unet", stages=[low_dose, audit_pb2.Stage(reconstruct="unet"), *reading]),
        ],
        "attributes": ["sex", "sex,age"],
        "seed": 7,
        "min_patients": 2,
        "min_cases": 1,
    }
    return audit_service_pb2.CreateAuditRequest(spec=audit_pb2.AuditSpec(**{**spec, **changes}), display_name="small")


def make_world(
    folder: Path, *, records: int = 40, rows_per_shard: int = 12, ledger_url: str = "", store_url: str = ""
) -> World:
    world = World(folder, ledger_url, store_url)
    _write_models(folder / "models")
    rows = (_record(index) for index in range(records))
    put_cohort(world.ledger(), world.store(), COHORT, rows, levels=LEVELS, rows_per_shard=rows_per_shard)
    return world


def _write_models(root: Path) -> None:
    shape = {"input": PIXELS, "output": None}
    thresholds = {"Edema": 0.5, "Fracture": 0.45}
    write_classifier(root, name="chest", labels=LABELS, seed=1, thresholds=thresholds, **shape)
    write_classifier(
        root,
        name="sex",
        task="attribute-classification",
        labels=("Female", "Male"),
        label_column="sex",
        seed=2,
        **shape,
    )
    mixed = {"mix.weight": np.full((1, 1, 1, 1), 0.9, np.float32), "mix.bias": np.full(1, 0.05, np.float32)}
    write_package(root, mixed, name="unet", input=PIXELS, output=PIXELS, degradation={"operator": "low-dose-xray"})
    steep = {"mix.weight": np.full((1, 1, 1, 1), 40.0, np.float32), "mix.bias": np.full(1, -20.0, np.float32)}
    write_package(root, steep, name="tumour", task="segmentation", labels=["tumour"], **shape)


def _record(index: int) -> Record:
    """Two images a patient, of differing sizes; one label is missing, one attribute is missing."""
    draw = np.random.default_rng(index)
    side = 20 if index % 3 else 24
    image = draw.random((1, side, side), np.float32)
    mask = (image[0] > 0.5).astype(np.uint8)
    return Record(
        record_id=f"r{index:03d}",
        patient_id=f"p{index // 2:03d}",
        image=image,
        mask=mask,
        attributes={
            "sex": None if index == 5 else ("Female", "Male")[index // 2 % 2],
            "age": ("young", "old")[index // 4 % 2],
        },
        labels={"Edema": None if index == 3 else int(draw.random() < 0.4), "Fracture": int(draw.random() < 0.5)},
        split="test",
        spacing=None,
        modality="DX",
    )


class SlowCalls:
    """The same models, each call ``pause_s`` later: leaves time to kill, freeze or cancel a worker."""

    def __init__(self, calls: ModelCalls, pause_s: float) -> None:
        self._calls = calls
        self._pause_s = pause_s

    async def catalogue(self) -> list[dict[str, Any]]:
        return await self._calls.catalogue()

    async def infer(self, *asked: Any, **how: Any) -> np.ndarray:
        await asyncio.sleep(self._pause_s)
        return await self._calls.infer(*asked, **how)

    async def degrade(
        self, images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
    ) -> np.ndarray:
        return await self._calls.degrade(images, record_ids, seed, parameters)


class Processes:
    """Workers in processes of their own, each ``python -m`` with these arguments. None survives the context manager."""

    def __init__(self, *arguments: object) -> None:
        self._command = [sys.executable, "-m", *map(str, arguments)]
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


class Fleet(Processes):
    """Audit workers of a world."""

    def __init__(self, world: World, *, pause_s: float = 0.02) -> None:
        super().__init__("tests.audit.world", world.folder, pause_s)


def _work_forever(folder: Path, pause_s: float) -> None:
    torch.set_num_threads(1)
    world = World(folder)
    name = f"process-{os.getpid()}-{time.time_ns()}"
    asyncio.run(world.worker(name, SlowCalls(world.calls(), pause_s)).run())


if __name__ == "__main__":
    _work_forever(Path(sys.argv[1]), float(sys.argv[2]))
