"""The worker: leases one run at a time, watches over it while Ray Train works, and settles how it ended. No Ray here.

What is lost in a crash is the epoch under way: the next lease launches the same folder, which has the last checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from services.adapters.ledger import Lease, LeaseLost, Ledger
from services.errors import Internal, ServiceError, Unavailable
from services.hosting.operations import stored_response
from services.training.folders import RunFolder
from services.training.launch import Launch
from services.training.packages import next_version
from services.training.runs import AlignmentRun, Run, run_from_dict
from services.training.settings import Settings
from services.training.trainings import KIND, TRAIN, training_body
from services.training.wire import training_message

log = logging.getLogger(__name__)


class Worker:
    """Works until cancelled. ``name`` tells workers apart in the ledger."""

    def __init__(self, name: str, *, ledger: Ledger, launch: Launch, settings: Settings) -> None:
        self._name = name
        self._ledger = ledger
        self._launch = launch
        self._settings = settings

    async def run(self) -> None:
        while True:
            lease = await self._lease()
            if lease is None:
                await asyncio.sleep(self._settings.poll_every_s)
                continue
            try:
                await self._work(lease)
            except LeaseLost:
                log.info("%s went to another worker", lease.operation)
            except Exception:
                # The lease runs out and the run is taken up again from its last checkpoint.
                log.exception("%s could not be settled", lease.operation)

    async def _lease(self) -> Lease | None:
        try:
            return await asyncio.to_thread(self._ledger.lease_chunk, self._name, self._settings.lease_ttl_s, [TRAIN])
        except Unavailable:
            log.warning("the ledger is away; asking again")
            return None

    async def _work(self, lease: Lease) -> None:
        """One run under its lease, however it ends."""
        operation = await asyncio.to_thread(self._ledger.get_operation, lease.operation)
        folder = RunFolder(self._settings.runs / operation.resource.rpartition("/")[2], lease.token)
        try:
            run, version = await asyncio.to_thread(self._order, folder, lease.payload)
            cancelled = await self._watch(lease, folder)
        except ServiceError as error:
            await asyncio.to_thread(self._ledger.fail_operation, lease, error.to_dict())
            return
        if cancelled:
            folder.remove()
            return
        result = folder.result()
        assert result is not None  # _watch returns only with a result
        body = training_body(operation) | {"model": f"models/{run.model}", "model_version": version, **result}
        await asyncio.to_thread(self._ledger.put_resource, operation.resource, KIND, body)
        response = stored_response(training_message(body))
        await asyncio.to_thread(lambda: self._ledger.commit_chunk(lease, result, response=response))
        folder.remove()

    def _order(self, folder: RunFolder, payload: dict[str, Any]) -> tuple[Run | AlignmentRun, str]:
        run = run_from_dict(payload)
        version = next_version((self._settings.models, *self._settings.registries), run.model)
        folder.place_order(run, self._settings.models, version)
        folder.claim()
        return run, folder.order()[2]

    async def _watch(self, lease: Lease, folder: RunFolder) -> bool:
        """Until the run's result is there (False) or the operation is cancelled and the run has stopped (True)."""
        if folder.result() is not None:
            return False
        running = asyncio.ensure_future(self._launch(folder))
        keeper = _Keeper(self._ledger, lease, folder, self._settings)
        try:
            while not running.done():
                await asyncio.wait([running], timeout=self._settings.watch_every_s)
                if await asyncio.to_thread(keeper.cancelled):
                    folder.ask_to_stop()
                    # Told at once; the processes stop at their next step, and publish nothing.
                    await asyncio.to_thread(self._ledger.finish_cancelled, lease)
                    await asyncio.wait([running])
                    return True
        finally:
            # Whatever ended the watch, the run has ended too before this worker takes up another one.
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        failure = running.exception()
        if failure is not None or folder.result() is None:
            log.error("the run of %s failed", lease.operation, exc_info=failure)
            raise Internal("the run failed; the platform's log has the details", field=lease.operation)
        return False


class _Keeper:
    """Keeps one lease alive and the operation's progress current, with no more writes than that takes."""

    def __init__(self, ledger: Ledger, lease: Lease, folder: RunFolder, settings: Settings) -> None:
        self._ledger = ledger
        self._lease = lease
        self._folder = folder
        self._settings = settings
        self._renew_at = 0.0
        self._told: dict[str, Any] = {}

    def cancelled(self) -> bool:
        """Whether the operation is to be cancelled. Raises LeaseLost once somebody else has the run."""
        try:
            if time.monotonic() >= self._renew_at:
                self._ledger.renew(self._lease, self._settings.lease_ttl_s)
                self._renew_at = time.monotonic() + self._settings.renew_every_s
            progress = self._folder.progress()
            if progress != self._told:
                self._ledger.report_progress(self._lease, progress)
                self._told = progress
            return self._ledger.get_operation(self._lease.operation).cancel_requested
        except Unavailable:
            log.warning("the ledger is away; %s goes on", self._lease.operation)
            return False
