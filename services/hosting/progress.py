"""How far an operation has come, told to the ledger now and then: what is committed, and what is under way here."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from services.adapters.ledger import Lease, Ledger
from services.errors import Unavailable


@dataclass(frozen=True)
class Pace:
    """What is counted ("images", "frames"), and how many sampler steps one of it takes."""

    unit: str
    steps: int


@dataclass
class _Told:
    """The chunks of one operation that are at work in this process: units and steps done of each."""

    chunks: dict[int, tuple[int, int]] = field(default_factory=dict)
    at: float = 0.0


class Progress:
    """``every_s`` is how often the ledger is told at most."""

    def __init__(self, ledger: Ledger, *, every_s: float) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._told: dict[str, _Told] = {}

    async def tell(self, lease: Lease, stage: str, pace: Pace, *, done: int, steps: int) -> None:
        """``done`` units and ``steps`` steps of this chunk. LeaseLost where it is another's by now."""
        told = self._told.setdefault(lease.operation, _Told())
        told.chunks[lease.chunk] = (done, steps)
        if time.monotonic() - told.at < self._every_s:
            return
        told.at = time.monotonic()
        with suppress(Unavailable):  # the next one will say the same and more
            await asyncio.to_thread(self._write, lease, stage, pace, dict(told.chunks))

    def ended(self, lease: Lease) -> None:
        """The chunk is committed, or given up; it counts among the committed ones or not at all."""
        told = self._told.get(lease.operation)
        if told is not None:
            told.chunks.pop(lease.chunk, None)
            if not told.chunks:
                del self._told[lease.operation]

    def _write(self, lease: Lease, stage: str, pace: Pace, chunks: dict[int, tuple[int, int]]) -> None:
        operation = self._ledger.get_operation(lease.operation)
        under_way, steps = (sum(part[place] for part in chunks.values()) for place in (0, 1))
        self._ledger.report_progress(
            lease,
            {
                "stage": stage,
                f"{pace.unit}_done": operation.rows_done + under_way,
                f"{pace.unit}_total": operation.rows_total,
                "steps_done": operation.rows_done * pace.steps + steps,
                "steps_total": operation.rows_total * pace.steps,
            },
        )
