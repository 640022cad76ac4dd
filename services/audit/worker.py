"""The worker: leases chunks, keeps them while it works, and settles how each one ended. No Ray in here.

A chunk's next one is leased as soon as its last batch was sent, so that the models never wait for a Parquet file or a
commit. What a crash costs is thus the work of one chunk, plus the few batches under way beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from services.adapters.ledger import Lease, LeaseLost, Ledger
from services.adapters.object_store import ObjectStore
from services.audit.chunks import INGEST, REDUCE, ROWS, TRANSIENT, Publish, ShardCache, Tools, perform
from services.audit.perceptual import Perceptual
from services.audit.settings import Settings
from services.audit.synthesis.chunks import KINDS as SYNTHETIC
from services.audit.synthesis.chunks import PUBLISH, make_shard
from services.audit.synthesis.maker import ImageMaker
from services.audit.synthesis.publication import publish_cohort
from services.errors import Internal, ServiceError, whereabouts
from services.hosting.calls import ModelCalls
from services.hosting.progress import Progress

log = logging.getLogger(__name__)

LANES: tuple[Collection[str], ...] = ((ROWS, REDUCE), (INGEST,), SYNTHETIC)
CHUNKS_AT_ONCE = 2
PAUSE_AFTER_RELEASE_S = 5.0


class Worker:
    """Works until cancelled. ``name`` tells workers apart in the ledger."""

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        store: ObjectStore,
        calls: ModelCalls,
        maker: ImageMaker,
        publish: Publish,
        settings: Settings,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._settings = settings
        window = asyncio.Semaphore(settings.in_flight)
        perceptual = Perceptual(settings.lpips_weights, settings.models)
        self._tools = Tools(ledger, store, calls, publish, settings, ShardCache(store), window, perceptual)
        self._maker = maker
        self._progress = Progress(ledger, every_s=settings.progress_every_s)

    async def run(self) -> None:
        """A lane for audits, one for ingests and one for synthetic cohorts, so that none holds up another."""
        async with asyncio.TaskGroup() as lanes:
            for kinds in LANES:
                lanes.create_task(self._lane(kinds))

    async def _lane(self, kinds: Collection[str]) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                running = {task for task in running if not task.done()}
                lease = None
                if len(running) < CHUNKS_AT_ONCE:
                    lease = await self._lease(kinds)
                if lease is None:
                    await self._idle(running)
                    continue
                all_sent = asyncio.Event()
                task = asyncio.create_task(self._work(lease, all_sent))
                running.add(task)
                await _first(task, asyncio.create_task(all_sent.wait()))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _lease(self, kinds: Collection[str]) -> Lease | None:
        asking = asyncio.create_task(
            asyncio.to_thread(self._ledger.lease_chunk, self._name, self._settings.lease_ttl_s, kinds)
        )
        try:
            return await asyncio.shield(asking)
        except TRANSIENT:
            log.warning("the ledger is away; asking again")
            return None
        except asyncio.CancelledError:
            # The thread cannot be stopped, and what it leases now would be nobody's until it expires.
            (lease,) = await asyncio.gather(asking, return_exceptions=True)
            if isinstance(lease, Lease):
                await self._try(self._ledger.release, lease)
            raise

    async def _idle(self, running: set[asyncio.Task[None]]) -> None:
        """Until a chunk of this lane ends, which may make its successor leasable, or it is time to ask again."""
        if running:
            await asyncio.wait(running, timeout=self._settings.poll_every_s, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(self._settings.poll_every_s)

    async def _work(self, lease: Lease, all_sent: asyncio.Event) -> None:
        """Perform one chunk under its lease, however it ends; only a shutdown gets out of here as an exception."""
        work = asyncio.create_task(self._perform(lease, all_sent))
        guard = asyncio.create_task(self._guard(lease))
        try:
            await asyncio.wait({work, guard}, return_when=asyncio.FIRST_COMPLETED)
            finished = work.done() and not work.cancelled()
        except asyncio.CancelledError:
            await _stop(work, guard)
            await self._try(self._ledger.release, lease)
            raise
        await _stop(work, guard)
        try:
            if finished:
                await self._settle(lease, work.exception())
            elif guard.result():
                await self._try(self._ledger.finish_cancelled, lease)
        except Exception as error:
            # The lease runs out and the chunk is done again; nothing is lost but time.
            log.error("chunk %s of %s could not be settled: %s", lease.chunk, lease.operation, whereabouts(error))

    async def _perform(self, lease: Lease, all_sent: asyncio.Event) -> None:
        if lease.token > self._settings.max_attempts:
            raise Internal(
                f"a part of {lease.operation} was tried {self._settings.max_attempts} times and never finished",
                field=lease.operation,
                reason="TOO_MANY_ATTEMPTS",
            )
        if lease.kind == PUBLISH:
            await publish_cohort(lease, self._tools)
        elif lease.kind in SYNTHETIC:
            await make_shard(lease, self._tools, self._maker, self._progress, all_sent)
        else:
            await perform(lease, self._tools, all_sent)

    async def _guard(self, lease: Lease) -> bool:
        """Renew the lease until it is lost (False) or its operation is to be cancelled (True)."""
        settings = self._settings
        since_renewal = 0.0
        while True:
            await asyncio.sleep(settings.watch_every_s)
            since_renewal += settings.watch_every_s
            try:
                if since_renewal >= settings.renew_every_s:
                    renewed = await asyncio.to_thread(self._ledger.renew, lease, settings.lease_ttl_s)
                    since_renewal, cancel = 0.0, renewed.cancel_requested
                else:
                    operation = await asyncio.to_thread(self._ledger.get_operation, lease.operation)
                    cancel = operation.cancel_requested
            except LeaseLost:
                return False
            except ServiceError as error:
                # Away for a moment, or the operation is gone; in both cases the next renewal decides.
                log.info("cannot watch %s: %s", lease.operation, error.reason)
                continue
            if cancel:
                return True

    async def _settle(self, lease: Lease, error: BaseException | None) -> None:
        if error is None:
            return
        if isinstance(error, LeaseLost):
            log.info("chunk %s of %s went to another worker", lease.chunk, lease.operation)
        elif isinstance(error, TRANSIENT):
            log.warning("chunk %s of %s given back: %s", lease.chunk, lease.operation, error.reason)
            await self._try(self._ledger.release, lease)
            await asyncio.sleep(PAUSE_AFTER_RELEASE_S)
        elif isinstance(error, ServiceError):
            await self._try(self._ledger.fail_operation, lease, error.to_dict())
        else:
            log.error("unexpected fault in chunk %s of %s: %s", lease.chunk, lease.operation, whereabouts(error))
            fault = Internal("an unexpected fault; the platform's log has the details", field=lease.operation)
            await self._try(self._ledger.fail_operation, lease, fault.to_dict())

    async def _try(self, settle: object, *arguments: object) -> None:
        """Tell the ledger how a chunk ended, unless somebody else has the chunk by now."""
        try:
            await asyncio.to_thread(settle, *arguments)  # type: ignore[arg-type]
        except LeaseLost:
            log.info("nothing to settle: the lease went to another worker")


async def _first(*tasks: asyncio.Task[object]) -> None:
    """Until one of the tasks is done; the second one is only a signal and is put away."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tasks[-1].cancel()


async def _stop(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
