"""The room on Ray Serve: one deployment answers calls, the other closes windows and looks into folders."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from services.adapters.ledger import open_ledger
from services.adapters.object_store import open_object_store
from services.hosting.background import Background, worker_name
from services.hosting.calls import RayModelCalls
from services.hosting.envelope import Reply, seal_in_time
from services.monitoring.derive import SubprocessDeriver
from services.monitoring.monitors import Monitors
from services.monitoring.settings import Settings
from services.monitoring.windows import Windows
from services.monitoring.worker import Worker

Context = dict[str, Any]

CATALOGUE_PATIENCE_S = 15.0


@serve.deployment
class MonitorWorker(Background):
    """Works from its first moment to its last; nobody calls it."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]
        settings = Settings.model_validate(args)
        self._worker = Worker(
            worker_name(),
            ledger=open_ledger(settings.ledger),
            store=open_object_store(settings.store),
            derive=SubprocessDeriver(),
            settings=settings,
        )
        self.begin(self._worker.run())


@serve.deployment
class Monitoring:
    """The calls of MonitoringService but for those that record, which the gateway answers itself."""

    async def __init__(self, args: dict[str, Any], workers: DeploymentHandle[Any]) -> None:  # type: ignore[misc]
        settings = Settings.model_validate(args)
        ledger = open_ledger(settings.ledger)
        store = open_object_store(settings.store)
        self._workers = workers
        self._monitors = Monitors(ledger, store, RayModelCalls(patience_s=CATALOGUE_PATIENCE_S), settings)
        self._windows = Windows(ledger, store)

    async def CreateMonitor(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._monitors.create(request), context)

    async def PlanMonitor(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._monitors.plan(request), context)

    async def GetMonitor(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._monitors.get(request), context)

    async def ListMonitors(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._monitors.list(request), context)

    async def DeleteMonitor(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._monitors.delete(request), context)

    async def GetWindow(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._windows.get(request), context)

    async def ListWindows(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._windows.list(request), context)

    async def RederiveWindow(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._windows.rederive(request), context)

    async def ListAlarms(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._windows.alarms(request), context)


async def _answer(work: Awaitable[bytes], context: Context) -> Reply:
    return await seal_in_time(work, context.get("deadline_s"))
