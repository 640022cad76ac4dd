"""What goes into the ledger and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
UNFINISHED = ("pending", "running")


@dataclass(frozen=True)
class Moment:
    """When a transaction happens: leases that ended at or before ``lost_before`` are of lost workers."""

    now: datetime
    lost_before: datetime


class LeaseLost(Exception):
    """The chunk is no longer this worker's: another took it over, or its operation is finished or gone.

    Nothing was changed. The worker drops what it was doing and leases again.
    """


@dataclass(frozen=True)
class ChunkSpec:
    """A piece of an operation that one worker does in one go.

    kind: which worker can do it. payload: what to do, as JSON. rows: how many rows its commit adds to the progress.
    last: leasable only when all chunks of the operation that are not ``last`` are committed (a reduction).
    """

    kind: str
    payload: dict[str, Any]
    rows: int = 0
    last: bool = False


@dataclass(frozen=True)
class Operation:
    """A long-running piece of work. Times are aware, in UTC; ``retries`` counts chunks taken over from lost workers."""

    name: str
    kind: str
    resource: str
    state: State
    cancel_requested: bool
    request: dict[str, Any]
    rows_done: int
    rows_total: int
    retries: int
    progress: dict[str, Any]
    error: dict[str, Any] | None
    response: dict[str, Any] | None
    create_time: datetime
    update_time: datetime
    start_time: datetime | None

    @property
    def done(self) -> bool:
        return self.state not in UNFINISHED


@dataclass(frozen=True)
class Lease:
    """One worker's right to one chunk until ``expires``.

    ``token`` grows with every lease of the chunk, so a worker that slept through its lease is told so when it comes
    back; it is also the number of the attempt, counted from 1.
    """

    operation: str
    chunk: int
    kind: str
    payload: dict[str, Any]
    token: int
    expires: datetime
    cancel_requested: bool


@dataclass(frozen=True)
class Segment:
    """One acknowledged batch of arrivals of a monitor; its rows are the object ``key`` of the store.

    kind: "predictions", "labels" or "refused" (no object). Numbered by ``seq`` in the order of acknowledgement.
    unknown: labels whose records were not known then; negative in predictions that resolved as many. first_time,
    last_time: of its records as far as they are known, µs since 1970.
    """

    seq: int
    kind: str
    key: str
    sha256: str
    rows: int
    duplicates: int
    late: int
    unknown: int
    first_time: int | None
    last_time: int | None
    create_time: datetime

    def overlaps(self, start: int, end: int) -> bool:
        """Whether its known records' times reach into those from ``start`` to before ``end``, µs."""
        if self.first_time is None or self.last_time is None:
            return False
        return self.first_time < end and self.last_time >= start
