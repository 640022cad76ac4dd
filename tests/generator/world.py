"""A generator and its neighbours in one process, over a real ledger and a real store, with tiny untrained models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from services.adapters.ledger import Ledger, Operation, open_ledger
from services.adapters.object_store import ObjectStore, open_object_store
from services.adapters.weights import DirectoryRegistry
from services.generator.application import Application
from services.generator.neighbours import Entry, entries
from services.generator.settings import Settings
from services.hosting.calls import LocalModelCalls
from services.hosting.envelope import unseal
from services.upscaler.application import Application as Upscaler
from services.upscaler.settings import Settings as UpscalerSettings
from tests.diffusion_packages import write_class_to_image, write_super_resolution
from tests.packages import write_classifier

QUICK = {"poll_every_s": 0.02, "watch_every_s": 0.05, "progress_every_s": 0.0, "patience_s": 5.0}


class LocalNeighbours:
    """The upscaler and a classifier in this process."""

    def __init__(self, upscaler: Upscaler, zoo: Path) -> None:
        self._upscaler = upscaler
        self._calls = LocalModelCalls(DirectoryRegistry([zoo]))

    async def catalogue(self) -> dict[str, Entry]:
        return entries([*unseal(await self._upscaler.catalogue()), *await self._calls.catalogue()])

    async def upscale(self, model: str, version: str, images: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        reply = unseal(await self._upscaler.infer(model, version, {"image": images}, parameters))
        return np.asarray(reply["image"])

    async def classify(self, model: str, images: np.ndarray) -> np.ndarray:
        return await self._calls.infer(model, images, batch=8)


def write_zoo(zoo: Path) -> None:
    """A class-to-image model, a super-resolution model, and a race classifier for what comes out of it."""
    write_class_to_image(zoo)
    write_super_resolution(zoo)
    pixels = {"channels": 1, "height": 32, "width": 32}
    names = {"name": "race-classifier", "task": "attribute-classification", "label_column": "race"}
    write_classifier(zoo, labels=("White", "Black"), input=pixels, **names)


@dataclass
class World:
    """Everything that outlives a worker: models, ledger, store."""

    folder: Path
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def zoo(self) -> Path:
        return self.folder / "zoo"

    def ledger(self) -> Ledger:
        return open_ledger(f"sqlite:///{self.folder / 'ledger.db'}")

    def store(self) -> ObjectStore:
        return open_object_store(f"file://{self.folder / 'objects'}")

    def settings(self) -> Settings:
        return Settings(registries=(self.zoo,), data_dir=self.folder, device="cpu", **(QUICK | self.changes))

    def generator(self, name: str = "one") -> Application:
        upscaler_settings = UpscalerSettings(registries=(self.zoo,), data_dir=self.folder, device="cpu", **QUICK)
        upscaler = Upscaler(name, ledger=self.ledger(), store=self.store(), settings=upscaler_settings)
        return Application(
            name,
            ledger=self.ledger(),
            store=self.store(),
            neighbours=LocalNeighbours(upscaler, self.zoo),
            settings=self.settings(),
        )

    async def wait(self, operation: str, *, limit_s: float = 240) -> Operation:
        ledger = self.ledger()
        async with asyncio.timeout(limit_s):
            while not (now := ledger.get_operation(operation)).done:
                await asyncio.sleep(0.02)
        return now

    def artifact(self, operation: Operation, filename: str) -> bytes:
        assert operation.state == "succeeded", operation.error
        found = {part["filename"]: part for part in (operation.response or {})["value"]["artifacts"]}
        return self.store().get(found[filename]["key"], sha256=found[filename]["sha256"])


@asynccontextmanager
async def working(application: Application) -> AsyncIterator[Application]:
    """The application with its worker running."""
    running = asyncio.create_task(application.run())
    try:
        yield application
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        application.close()


def make_world(folder: Path, **changes: Any) -> World:
    world = World(folder, changes)
    write_zoo(world.zoo)
    return world
