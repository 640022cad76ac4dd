"""Who may come in: a bounded queue per model or application, and a bounded number of requests per caller.

Beyond the bounds a caller hears at once that there is no room and when to come back, so that those who were admitted
keep their speed under any load.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.errors import Overloaded

SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
SMOOTHING = 0.1  # weight of the newest request in the mean service time


@dataclass(frozen=True)
class Limits:
    """``running`` requests at a time, and ``waiting`` behind them."""

    running: int
    waiting: int


@dataclass
class _Queue:
    limits: Limits
    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    mean_s: float = 0.0

    def depth(self) -> int:
        return self.running + len(self.waiting)


class Admission:
    """Queues of one process. ``special`` names the queues that have limits of their own."""

    def __init__(self, limits: Limits, *, per_caller: int, special: Mapping[str, Limits] | None = None) -> None:
        self._limits = limits
        self._special = dict(special or {})
        self._per_caller = per_caller
        self._queues: dict[str, _Queue] = {}
        self._callers: Counter[str] = Counter()

    @asynccontextmanager
    async def admit(self, queue: str, caller: str) -> AsyncIterator[None]:
        """Wait for a place in ``queue`` (a model's or application's name, never a caller's own words) and hold it.

        Raises Overloaded, with the time after which a place is likely, when the queue or the caller's share is full.
        """
        place = self._queues.setdefault(queue, _Queue(self._special.get(queue, self._limits)))
        if self._callers[caller] >= self._per_caller:
            raise Overloaded(
                f"this caller has {self._per_caller} requests in work already",
                reason="CALLER_LIMIT",
                retry_after_s=_retry_after(place),
            )
        self._callers[caller] += 1
        try:
            await self._enter(place, queue)
            started = time.perf_counter()
            try:
                yield
            finally:
                place.mean_s += SMOOTHING * (time.perf_counter() - started - place.mean_s)
                _leave(place)
        finally:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

    def depths(self) -> dict[str, tuple[int, int]]:
        """(running, waiting) of every queue."""
        return {name: (queue.running, len(queue.waiting)) for name, queue in self._queues.items()}

    async def _enter(self, place: _Queue, name: str) -> None:
        if place.running < place.limits.running:
            place.running += 1
            return
        if len(place.waiting) >= place.limits.waiting:
            raise Overloaded(f"the queue of {name} is full", retry_after_s=_retry_after(place))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place.waiting.append(turn)
        try:
            await turn  # whoever leaves hands the place over, so `running` stays as it is
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                _leave(place)
            elif turn in place.waiting:  # else somebody who left just now has passed over it
                place.waiting.remove(turn)
            raise


def _leave(place: _Queue) -> None:
    while place.waiting:
        turn = place.waiting.popleft()
        if not turn.done():
            turn.set_result(None)
            return
    place.running -= 1


def _retry_after(place: _Queue) -> float:
    """About how long the requests that are in now will take."""
    estimate = place.mean_s * (place.depth() + 1) / place.limits.running
    return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, estimate))
