"""Whether this replica can take work: models known, ledger and object store writable, and not on its way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.adapters.telemetry import Telemetry
from services.errors import ServiceError, Unavailable
from services.gateway.admission import Admission
from services.gateway.catalogue import Catalogue

WHILE_READY_S, WHILE_WAITING_S = 2.0, 0.25
LONGEST_CHECK_S = 5.0


class Readiness:
    """Asks again every few seconds; answers from what it last learnt."""

    def __init__(
        self, catalogue: Catalogue, ledger: Ledger, store: ObjectStore, admission: Admission, telemetry: Telemetry
    ) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._store = store
        self._admission = admission
        self._telemetry = telemetry
        self._fault: ServiceError | None = Unavailable("starting", reason="STARTING")
        self._draining = False
        self._listeners: list[Callable[[bool], Awaitable[None]]] = []

    @property
    def ready(self) -> bool:
        return self._fault is None and not self._draining

    def fault(self) -> ServiceError | None:
        """Why it is not ready, or None."""
        if self._draining:
            return Unavailable("this replica is shutting down", reason="DRAINING", retry_after_s=1.0)
        return self._fault

    def listen(self, listener: Callable[[bool], Awaitable[None]]) -> None:
        """``listener`` is told after each look whether the replica is ready."""
        self._listeners.append(listener)

    async def drain(self) -> None:
        """From now on not ready, for good."""
        self._draining = True
        await self._tell()

    async def watch(self) -> None:
        """Look, tell, sleep, for ever."""
        while True:
            await self.look()
            await self._tell()
            for queue, (running, waiting) in self._admission.depths().items():
                self._telemetry.queue(queue=queue, running=running, waiting=waiting)
            await asyncio.sleep(WHILE_READY_S if self.ready else WHILE_WAITING_S)

    async def look(self) -> None:
        """One look at everything that work needs."""
        try:
            async with asyncio.timeout(LONGEST_CHECK_S):
                await self._catalogue.models()
                await asyncio.gather(asyncio.to_thread(self._ledger.check), asyncio.to_thread(self._store.check))
            self._fault = None
        except ServiceError as error:
            self._fault = Unavailable(error.message, reason=error.reason, retry_after_s=WHILE_READY_S)
        except TimeoutError:
            self._fault = Unavailable("the ledger or the object store does not answer", reason="NOT_READY")

    async def _tell(self) -> None:
        self._telemetry.ready(app="gateway", ready=self.ready)
        for listener in self._listeners:
            await listener(self.ready)
