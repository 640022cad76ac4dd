"""Opening a model host inside a Serve replica: registries, threads and batch metrics."""

from __future__ import annotations

from collections.abc import Collection

from services.adapters.telemetry import open_telemetry
from services.adapters.weights import DirectoryRegistry
from services.hosting.host import ModelHost
from services.hosting.settings import HostSettings


def open_host(settings: HostSettings, tasks: Collection[str], *, app: str) -> ModelHost:
    """A host of every served model of ``tasks``, whose batches are counted under ``app``."""
    telemetry = open_telemetry()

    def count(model: str, rows: int, padded: int, seconds: float) -> None:
        telemetry.batch(app=app, model=model, size=rows, padded=padded, seconds=seconds)

    return ModelHost(DirectoryRegistry(settings.registries), tasks, threads=settings.threads, on_batch=count)
