"""Fixed-shape batching: every network call has one of a few batch sizes, filled up with zeros.

A row's bits depend on the batch *size* but not on its neighbours, so a caller that names its size (``exact``; audits
do) gets the same bits whatever else is served. Other requests are merged while the network is busy and never wait
for a timer: an idle network starts at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

SIZES = (1, 2, 4, 8, 16, 32)


@dataclass
class _Waiting:
    images: np.ndarray
    exact: int | None
    how: Hashable
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """Merges requests of one model into padded batches.

    ``run`` maps (B, C, H, W) float32, and how it was asked to, to an array with B rows. ``on_batch(rows, padded_to,
    seconds)`` is told of each call.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray, Any], Awaitable[np.ndarray]],
        *,
        sizes: tuple[int, ...] = SIZES,
        on_batch: Callable[[int, int, float], None] = lambda rows, padded, seconds: None,
    ) -> None:
        self._run = run
        self._sizes = sizes
        self._on_batch = on_batch
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, images: np.ndarray, *, exact: int | None = None, how: Hashable = None) -> np.ndarray:
        """Rows for ``images`` (N, C, H, W), N >= 1. ``exact`` pads each call to exactly that many rows.

        Only requests with equal ``how`` are merged.
        """
        most = exact or self._sizes[-1]
        parts = [images[start : start + most] for start in range(0, len(images), most)]
        answers = await asyncio.gather(*(self._enqueue(part, exact, how) for part in parts))
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def _enqueue(self, images: np.ndarray, exact: int | None, how: Hashable) -> asyncio.Future[np.ndarray]:
        answer: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(images, exact, how, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain())
        return answer

    async def _drain(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            if batch:
                await self._answer(batch)

    def _next_batch(self) -> list[_Waiting]:
        """The oldest request and, unless it wants its own size, those behind it that are asked alike and still fit."""
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting:
            head = self._waiting[0]
            if head.answer.cancelled():
                self._waiting.popleft()
                continue
            if batch and (head.exact or head.how != batch[0].how or rows + len(head.images) > self._sizes[-1]):
                break
            batch.append(self._waiting.popleft())
            rows += len(head.images)
            if head.exact:
                break
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        rows = sum(len(item.images) for item in batch)
        padded_to = batch[0].exact or next(size for size in self._sizes if size >= rows)
        started = time.perf_counter()
        try:
            outputs = await self._run(_padded([item.images for item in batch], padded_to), batch[0].how)
        except BaseException as error:  # every waiting caller must hear of it, a cancelled loop included
            for item in batch:
                if not item.answer.done():
                    item.answer.set_exception(error if isinstance(error, Exception) else RuntimeError("host stopped"))
            if not isinstance(error, Exception):
                raise
            return
        self._on_batch(rows, padded_to, time.perf_counter() - started)
        start = 0
        for item in batch:
            stop = start + len(item.images)
            if not item.answer.done():
                item.answer.set_result(outputs[start:stop])
            start = stop


def _padded(parts: list[np.ndarray], size: int) -> np.ndarray:
    rows = sum(len(part) for part in parts)
    if len(parts) == 1 and rows == size:
        return parts[0]
    batch = np.zeros((size, *parts[0].shape[1:]), np.float32)
    np.concatenate(parts, out=batch[:rows])
    return batch
