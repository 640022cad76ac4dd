"""Continuous batching: images of all callers share the network's calls, each at its own step of its own plan.

Every call has one fixed, padded shape, so an image's bits depend on that shape and never on its neighbours. A new image
joins at the next step, one whose caller left is gone at the next step, and a caller's first image is done first because
images keep their order of arrival. One thread computes; all bookkeeping stays on the event loop and needs no locks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from services.errors import Overloaded
from services.hosting.diffusion.families import Denoiser
from services.hosting.diffusion.rows import Evaluation, Order, Row, make_row, step

T = TypeVar("T")

BACKGROUND_TURN = 4  # one call in so many is filled from the background first, so that it never stands still

OnCall = Callable[[str, int, int, float], None]  # model, rows, padded to, seconds


@dataclass(frozen=True, eq=False)
class Event:
    """News of one image: a step, a preview (pixels of the estimate so far), or the image itself (``done``)."""

    tag: int
    step: int
    steps: int
    pixels: np.ndarray | None = None
    done: bool = False
    noise_digest: str = ""


@dataclass(eq=False)
class _Seat:
    """A row in line, and where its news go."""

    row: Row
    news: asyncio.Queue[Event | Exception]
    background: bool


@dataclass(eq=False)
class _Lane:
    """All images of one model, in order of arrival."""

    name: str
    denoiser: Denoiser
    seats: list[_Seat] = field(default_factory=list)
    calls: int = 0

    def next_call(self, most: int) -> list[Evaluation]:
        """The first ``most`` evaluations wanted; who waits comes before the background, but for one call in four."""
        self.calls += 1
        background_first = self.calls % BACKGROUND_TURN == 0
        line = sorted(self.seats, key=lambda seat: seat.background != background_first)  # stable: arrival decides
        taken: list[Evaluation] = []
        for seat in line:
            room = most - len(taken)
            taken += seat.row.wanted[:room]
            del seat.row.wanted[:room]
            if len(taken) == most:
                break
        return taken


class Engine:
    """Samples the given denoisers. ``batch`` is the fixed number of rows of every network call."""

    def __init__(
        self,
        denoisers: Mapping[Any, Denoiser],
        *,
        batch: int,
        threads: int = 1,
        most_waiting: int = 256,
        on_call: OnCall = lambda model, rows, padded, seconds: None,
    ) -> None:
        self._lanes = {key: _Lane(denoiser.record.name, denoiser) for key, denoiser in denoisers.items()}
        self.batch = batch
        self._most_waiting = most_waiting
        self._on_call = on_call
        # torch keeps its number of threads per calling thread.
        self._executor = ThreadPoolExecutor(1, "sampler", initializer=lambda: torch.set_num_threads(threads))
        self._loop: asyncio.Task[None] | None = None

    def add(self, key: Hashable, denoiser: Denoiser) -> None:
        """Another model, or a known one seen through windows of another size."""
        self._lanes.setdefault(key, _Lane(denoiser.record.name, denoiser))

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """``function(*arguments)`` between two steps, on the thread and in the mode that networks compute in."""

        def call() -> T:
            with torch.inference_mode():
                return function(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def sample(
        self, key: Hashable, orders: Sequence[Order], *, background: bool = False
    ) -> AsyncGenerator[Event, None]:
        """News of all ``orders`` as they come, until each is done. Close it, or be cancelled in it, and the work ends.

        Raises Overloaded where more would wait than ``most_waiting``; the background, which limits itself, may always.
        """
        lane = self._lanes[key]
        if not background:
            self._check_room(len(orders))
        news: asyncio.Queue[Event | Exception] = asyncio.Queue()
        seats = [_Seat(make_row(order, lane.denoiser), news, background) for order in orders]
        lane.seats += seats
        self._wake()
        left = len(seats)
        try:
            while left:
                event = await news.get()
                if isinstance(event, Exception):
                    raise event
                left -= event.done
                yield event
        finally:
            mine = set(map(id, seats))
            lane.seats = [seat for seat in lane.seats if id(seat) not in mine]

    @property
    def waiting(self) -> int:
        """Images in work or in line, of callers who wait."""
        return sum(not seat.background for lane in self._lanes.values() for seat in lane.seats)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _check_room(self, wanted: int) -> None:
        if self.waiting + wanted > self._most_waiting:
            raise Overloaded(
                f"{self.waiting} images are in work or wait, at most {self._most_waiting} may; ask again later",
                retry_after_s=2.0,
            )

    def _wake(self) -> None:
        if self._loop is None or self._loop.done():
            self._loop = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Call after call, one model after the other, while anybody waits for anything."""
        while busy := [lane for lane in self._lanes.values() if lane.seats]:
            for lane in busy:
                evaluations = lane.next_call(self.batch)
                if evaluations:
                    await self._call(lane, evaluations)

    async def _call(self, lane: _Lane, evaluations: list[Evaluation]) -> None:
        started = time.perf_counter()
        try:
            told = await self.run(_compute, lane.denoiser, evaluations, self.batch)
        except Exception as error:
            told = {id(evaluation.row): error for evaluation in evaluations}
        self._on_call(lane.name, len(evaluations), self.batch, time.perf_counter() - started)
        for seat in [seat for seat in lane.seats if id(seat.row) in told]:
            event = told[id(seat.row)]
            seat.news.put_nowait(event)
            if isinstance(event, Exception) or event.done:
                lane.seats.remove(seat)


def _compute(denoiser: Denoiser, evaluations: list[Evaluation], batch: int) -> dict[int, Event | Exception]:
    """One network call and what follows from it; news of the rows that went a step on, by the row's identity."""
    rows = list(dict.fromkeys(evaluation.row for evaluation in evaluations))
    for row in rows:
        if row.state is None:
            row.begin()
    outputs = denoiser.output(*_filled(evaluations, batch))
    for place, evaluation in enumerate(evaluations):
        evaluation.row.received[evaluation.window, evaluation.conditional] = outputs[place]
    moved = [row for row in rows if not row.wanted]
    if not moved:
        return {}
    estimates = step(moved, denoiser)
    return {id(row): _news(row, estimates[place], denoiser) for place, row in enumerate(moved)}


def _filled(evaluations: list[Evaluation], batch: int) -> tuple[torch.Tensor, torch.Tensor, list, list]:  # type: ignore[type-arg]
    """The network's arguments, filled up to the fixed shape by repeating the last row."""
    every = evaluations + [evaluations[-1]] * (batch - len(evaluations))
    return (
        torch.stack([evaluation.row.seen(evaluation.window) for evaluation in every]),
        torch.tensor([evaluation.row.timestep for evaluation in every]),
        [evaluation.condition for evaluation in every],
        [evaluation.row.windows[evaluation.window] for evaluation in every],
    )


def _news(row: Row, estimate: torch.Tensor, denoiser: Denoiser) -> Event:
    order = row.order
    pixels = None
    if row.done:
        assert row.state is not None
        pixels = denoiser.pixels(row.state.x[0])
        row.state = None  # the image is all that anybody wants now
    elif order.previews_every and row.k % order.previews_every == 0:
        pixels = denoiser.pixels(estimate)
    return Event(order.tag, row.k, order.plan.evaluations, pixels, row.done, row.noise_digest)
