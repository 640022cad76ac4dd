"""Workers over the ledger: lease chunks, keep them while the work lasts, and settle how each one ended.

What a chunk means is the service's affair: it gives a function that performs one. A crash costs the chunks at work; a
worker that slept through its lease can commit nothing (fencing), and a cancelled operation's work is cancelled as an
asyncio task, so that whatever it was waiting for is closed at once. No Ray in here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

from services.adapters.ledger import Lease, LeaseLost, Ledger
from services.errors import DeadlineExceeded, Internal, Overloaded, ServiceError, Unavailable, whereabouts

log = logging.getLogger(__name__)

T = TypeVar("T")

TRANSIENT = (Unavailable, Overloaded, DeadlineExceeded)
PAUSE_AFTER_RELEASE_S = 5.0
LONGEST_PAUSE_S = 5.0

Perform = Callable[[Lease, asyncio.Event], Awaitable[None]]
"""Does one leased chunk and commits it. Sets the event once another chunk may start beside what is left of it."""


class LeaseTimes(Protocol):
    """The part of a service's settings that leasing goes by."""

    @property
    def lease_ttl_s(self) -> float: ...
    @property
    def renew_every_s(self) -> float: ...
    @property
    def watch_every_s(self) -> float: ...
    @property
    def poll_every_s(self) -> float: ...
    @property
    def max_attempts(self) -> int: ...


class LeaseWorker:
    """Works until cancelled. ``name`` tells workers apart in the ledger.

    ``lanes`` are the kinds of chunk that are worked through beside each other, so that a long one of one lane holds up
    no other; in each lane at most ``chunks_at_once`` are at work.
    """

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        lanes: Sequence[Collection[str]],
        perform: Perform,
        times: LeaseTimes,
        chunks_at_once: int = 2,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._lanes = lanes
        self._perform_chunk = perform
        self._times = times
        self._chunks_at_once = chunks_at_once

    async def run(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            for kinds in self._lanes:
                lanes.create_task(self._lane(kinds))

    async def _lane(self, kinds: Collection[str]) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                running = {task for task in running if not task.done()}
                lease = None
                if len(running) < self._chunks_at_once:
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
            asyncio.to_thread(self._ledger.lease_chunk, self._name, self._times.lease_ttl_s, kinds)
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
            await asyncio.wait(running, timeout=self._times.poll_every_s, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(self._times.poll_every_s)

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
        if lease.token > self._times.max_attempts:
            raise Internal(
                f"a part of {lease.operation} was tried {self._times.max_attempts} times and never finished",
                field=lease.operation,
                reason="TOO_MANY_ATTEMPTS",
            )
        await self._perform_chunk(lease, all_sent)

    async def _guard(self, lease: Lease) -> bool:
        """Renew the lease until it is lost (False) or its operation is to be cancelled (True)."""
        times = self._times
        since_renewal = 0.0
        while True:
            await asyncio.sleep(times.watch_every_s)
            since_renewal += times.watch_every_s
            try:
                if since_renewal >= times.renew_every_s:
                    renewed = await asyncio.to_thread(self._ledger.renew, lease, times.lease_ttl_s)
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


async def patiently(work: Callable[[], Awaitable[T]], patience_s: float) -> T:
    """``work()``, again and again while a part of the platform is away, for at most ``patience_s``."""
    deadline = time.monotonic() + patience_s
    pause = 0.1
    while True:
        try:
            return await work()
        except TRANSIENT as error:
            if time.monotonic() + pause > deadline:
                raise
            log.info("waiting %.1f s: %s", pause, error.reason)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


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
