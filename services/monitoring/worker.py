"""The worker: looks whether windows may be closed and whether folders have new rows, and closes windows under leases.

No Ray in here. Several workers may run: each window is closed once, each record kept once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from services.adapters.arrivals import ArrivalLog
from services.adapters.ledger import Lease, Ledger
from services.adapters.object_store import ObjectStore
from services.errors import ServiceError, whereabouts
from services.hosting.leasing import LeaseWorker, patiently
from services.hosting.operations import stored_response
from services.monitoring.closing import CLOSE, next_closing, note_progress, note_trouble
from services.monitoring.derive import DeriveTask
from services.monitoring.folders import Folders
from services.monitoring.resources import KIND, window_message
from services.monitoring.settings import Settings

log = logging.getLogger(__name__)

Derive = Callable[[DeriveTask], Awaitable[dict[str, Any]]]


class Worker:
    """Works until cancelled. ``name`` tells workers apart in the ledger."""

    def __init__(self, name: str, *, ledger: Ledger, store: ObjectStore, derive: Derive, settings: Settings) -> None:
        self._ledger = ledger
        self._derive = derive
        self._settings = settings
        self._log = ArrivalLog(ledger, store)
        self._folders = Folders(ledger, store, self._log, settings)
        self._bodies: dict[str, dict[str, Any]] = {}
        self._leases = LeaseWorker(
            name, ledger=ledger, lanes=((CLOSE,),), perform=self._perform, times=settings, chunks_at_once=1
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leases.run())
            tasks.create_task(self._again_and_again(self.look_for_windows, self._settings.look_every_s))
            tasks.create_task(self._again_and_again(self.look_into_folders, self._settings.folders_every_s))

    async def _again_and_again(self, look: Callable[[], None], every_s: float) -> None:
        """``look`` in a thread. What one monitor meets is no matter of the others; what all meet is tried again."""
        while True:
            try:
                await asyncio.to_thread(look)
            except ServiceError as error:
                log.warning("cannot look after monitors: %s", error.reason)
            except Exception as error:
                log.error("unexpected fault while looking after monitors: %s", whereabouts(error))
            await asyncio.sleep(every_s)

    def monitors(self) -> list[dict[str, Any]]:
        """All monitors, oldest first. What is used of a body never changes, so each is read once."""
        names = self._ledger.resource_names(KIND)
        for name in names:
            if name not in self._bodies and (body := self._ledger.get_resource(name)) is not None:
                self._bodies[name] = body
        self._bodies = {name: self._bodies[name] for name in names if name in self._bodies}
        return list(self._bodies.values())

    def look_for_windows(self) -> None:
        """See that every window that may be closed has its operation."""
        for body in self.monitors():
            _guarded(body["name"], partial(self._advance, body))

    def look_into_folders(self) -> None:
        """Record what is new in the folders that monitors watch."""
        for body in self.monitors():
            if body["spec"].get("source", {}).get("folder"):
                _guarded(body["name"], partial(self._look_into, body))

    def _look_into(self, body: dict[str, Any]) -> None:
        note_trouble(self._ledger, body["name"], "folder", self._folders.look(body))

    def _advance(self, body: dict[str, Any]) -> None:
        operation = next_closing(
            self._ledger,
            self._log,
            body,
            now=datetime.now(UTC),
            retry_after_s=self._settings.retry_after_s,
            quiet_s=self._settings.quiet_s,
        )
        if operation is not None and operation.state in ("failed", "cancelled"):
            why = (operation.error or {}).get("message", "it was cancelled")
            window = operation.resource.rpartition("/")[2]
            note_trouble(self._ledger, body["name"], "closing", f"window {window} could not be closed: {why}")

    async def _perform(self, lease: Lease, all_sent: asyncio.Event) -> None:
        """One window: closed in a process of its own, then told to its monitor and its operation."""
        monitor = str(lease.payload["monitor"])
        settings, patience_s = self._settings, self._settings.patience_s
        task = DeriveTask(
            settings.ledger, settings.store, monitor, int(lease.payload["index"]), bool(lease.payload["again"])
        )
        summary = await patiently(lambda: self._derive(task), patience_s)
        await patiently(lambda: asyncio.to_thread(self._note, monitor), patience_s)
        response = stored_response(window_message(summary))
        result = {"digest": summary["digest"], "revision": summary["revision"]}
        await patiently(
            lambda: asyncio.to_thread(lambda: self._ledger.commit_chunk(lease, result, response=response)), patience_s
        )
        # The next window need not wait for the next look.
        if monitor in self._bodies:
            await asyncio.to_thread(_guarded, monitor, partial(self._advance, self._bodies[monitor]))

    def _note(self, monitor: str) -> None:
        body = self._ledger.get_resource(monitor)
        if body is not None:
            note_progress(self._ledger, body)
            note_trouble(self._ledger, monitor, "closing", "")


def _guarded(monitor: str, work: Callable[[], None]) -> None:
    """What goes wrong with one monitor is logged, and the others go on."""
    try:
        work()
    except ServiceError as error:
        log.warning("%s waits: %s", monitor, error.reason)
    except Exception as error:
        log.error("unexpected fault with %s: %s", monitor, whereabouts(error))
