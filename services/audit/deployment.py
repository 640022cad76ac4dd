"""The room on Ray Serve: one deployment answers calls, the other works through chunks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from services.adapters.ledger import open_ledger
from services.adapters.object_store import open_object_store
from services.audit.audits import Audits
from services.audit.cohorts import Cohorts
from services.audit.publish import SubprocessPublisher
from services.audit.settings import Settings
from services.audit.synthesis.creation import SyntheticCohorts
from services.audit.synthesis.maker import RayImageMaker
from services.audit.worker import Worker
from services.hosting.background import Background, worker_name
from services.hosting.calls import RayModelCalls
from services.hosting.envelope import Reply, seal_in_time

log = logging.getLogger(__name__)

Context = dict[str, Any]

CATALOGUE_PATIENCE_S = 15.0


@serve.deployment
class AuditWorker(Background):
    """Works from its first moment to its last; nobody calls it."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]
        settings = Settings.model_validate(args)
        self._worker = Worker(
            worker_name(),
            ledger=open_ledger(settings.ledger),
            store=open_object_store(settings.store),
            calls=RayModelCalls(),
            maker=RayImageMaker(),
            publish=SubprocessPublisher(settings.store),
            settings=settings,
        )
        self.begin(self._worker.run())


@serve.deployment
class Auditor:
    """The calls of AuditService and CohortService: serialized request and context in, sealed bytes out."""

    async def __init__(self, args: dict[str, Any], workers: DeploymentHandle[Any]) -> None:  # type: ignore[misc]
        settings = Settings.model_validate(args)
        ledger = open_ledger(settings.ledger)
        store = open_object_store(settings.store)
        self._workers = workers
        calls = RayModelCalls(patience_s=CATALOGUE_PATIENCE_S)
        self._audits = Audits(ledger, store, calls, settings)
        self._cohorts = Cohorts(ledger, store, settings)
        self._synthetic = SyntheticCohorts(ledger, store, calls, RayImageMaker(), settings)

    async def CreateAudit(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._audits.create(request), context)

    async def PlanAudit(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._audits.plan(request), context)

    async def GetAudit(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._audits.get(request), context)

    async def ListAudits(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._audits.list(request), context)

    async def DeleteAudit(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._audits.delete(request), context)

    async def CreateCohort(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._cohorts.create(request), context)

    async def CreateSyntheticCohort(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._synthetic.create(request), context)

    async def GetCohort(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._cohorts.get(request), context)

    async def ListCohorts(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._cohorts.list(request), context)

    async def DeleteCohort(self, request: bytes, context: Context) -> Reply:
        return await _answer(self._cohorts.delete(request), context)


async def _answer(work: Awaitable[bytes], context: Context) -> Reply:
    return await seal_in_time(work, context.get("deadline_s"))
