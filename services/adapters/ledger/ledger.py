"""The ledger as services hold it: each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from . import events, leases, operations, resources
from .database import Database
from .monitors import MonitorLedger
from .records import ChunkSpec, Lease, Moment, Operation

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_ledger(url: str, *, clock: Clock = utc_now, skew_s: float = 1.0) -> Ledger:
    """``sqlite:///path`` or ``postgresql+psycopg://user:password@host/database``; brings the schema up to date."""
    return Ledger(Database(url), clock=clock, skew_s=skew_s)


class Ledger(MonitorLedger):
    """Safe for several threads and processes. Every method raises :class:`Unavailable` while the database is away.

    Times are the callers' own; a lease is taken over only ``skew_s`` seconds after its end, so clocks that differ by
    less cannot take a chunk from a living worker. Clocks that differ by more cost work, never correctness.
    """

    def __init__(self, database: Database, *, clock: Clock = utc_now, skew_s: float = 1.0) -> None:
        self._database = database
        self._clock = clock
        self._skew = timedelta(seconds=skew_s)

    def close(self) -> None:
        self._database.close()

    def check(self) -> None:
        """Readiness: returns if the ledger can be written to, raises :class:`Unavailable` if not."""
        with self._database.write() as db:
            probe = db.begin_nested()
            events.record(db, self._clock(), "readiness", "probe")
            probe.rollback()

    # Operations

    def create_operation(
        self,
        kind: str,
        resource: str,
        request: dict[str, Any],
        chunks: Collection[ChunkSpec],
        *,
        request_id: str = "",
        body_digest: str = "",
    ) -> tuple[Operation, bool]:
        """Write an operation with its chunks; (the earlier operation, False) if ``request_id`` made one before.

        Raises :class:`Conflict` ``REQUEST_ID_REUSED`` if that had another kind or body digest.
        """
        with self._database.write() as db:
            return operations.create(
                db,
                self._clock(),
                chunks,
                kind=kind,
                resource=resource,
                request=request,
                request_id=request_id,
                body_digest=body_digest,
            )

    def repeated_operation(self, kind: str, request_id: str, body_digest: str) -> Operation | None:
        """What the same request made before, so that a retry is answered even where it could not be made again.

        Raises :class:`Conflict` ``REQUEST_ID_REUSED`` as :meth:`create_operation` does.
        """
        with self._database.read() as db:
            return operations.known_request(db, request_id, kind, body_digest)

    def get_operation(self, name: str) -> Operation:
        """Raises :class:`NotFound` ``OPERATION_NOT_FOUND``."""
        with self._database.read() as db:
            return operations.as_operation(operations.find(db, name))

    def list_operations(
        self, *, kind: str = "", page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Operation], str]:
        """Newest first, with the token of the next page ("" after the last). Raises :class:`PageTokenMismatch`."""
        with self._database.read() as db:
            return operations.page(db, kind, page_size, page_token)

    def request_cancel(self, name: str) -> Operation:
        """Ask workers to stop; an operation that no living worker holds is cancelled at once. Repeatable."""
        with self._database.write() as db:
            return operations.request_cancel(db, self._moment(), name)

    def delete_operation(self, name: str) -> None:
        """Raises :class:`FailedPrecondition` ``OPERATION_NOT_DONE`` while it is unfinished."""
        with self._database.write() as db:
            operations.remove(db, self._clock(), name)

    def recent_rate(self, operation: str, window_s: float = 10) -> float:
        """Committed rows per second over the last ``window_s`` seconds; 0 if none were."""
        with self._database.read() as db:
            return events.recent_rate(db, self._clock(), operation, window_s)

    def history(self, operation: str) -> list[dict[str, Any]]:
        """Everything that happened to an operation: dicts of time, event, rows and details, oldest first."""
        with self._database.read() as db:
            return events.history(db, operation)

    # Leases

    def lease_chunk(self, worker: str, ttl_s: float, kinds: Collection[str]) -> Lease | None:
        """A chunk of one of ``kinds`` for ``ttl_s`` seconds, or None if there is nothing to do now."""
        with self._database.write() as db:
            at = self._moment()  # after the wait for the database: a lease is not to be old when it is given
            return leases.lease_chunk(db, at, worker, at.now + timedelta(seconds=ttl_s), kinds)

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """The same lease, ending ``ttl_s`` seconds from now, with ``cancel_requested`` as it is now."""
        with self._database.write() as db:
            return leases.renew(db, lease, self._clock() + timedelta(seconds=ttl_s))

    def report_progress(self, lease: Lease, progress: dict[str, Any]) -> None:
        """Replace the operation's free-form progress. Raises :class:`LeaseLost`."""
        with self._database.write() as db:
            leases.report_progress(db, self._clock(), lease, progress)

    def commit_chunk(self, lease: Lease, result: dict[str, Any], *, response: dict[str, Any] | None = None) -> None:
        """Commit a chunk's result. The commit that leaves none open finishes the operation with ``response``, which
        other commits ignore. Raises :class:`LeaseLost` if the chunk was taken over; then nothing is changed."""
        with self._database.write() as db:
            leases.commit_chunk(db, self._moment(), lease, result, response)

    def release(self, lease: Lease) -> None:
        """Give a chunk back undone. Raises :class:`LeaseLost`."""
        with self._database.write() as db:
            leases.release(db, self._moment(), lease)

    def fail_operation(self, lease: Lease, error: dict[str, Any]) -> None:
        """End the whole operation as failed; all its other leases are lost. Raises :class:`LeaseLost`."""
        with self._database.write() as db:
            leases.fail_operation(db, self._clock(), lease, error)

    def finish_cancelled(self, lease: Lease) -> None:
        """End the whole operation as cancelled; all its other leases are lost. Raises :class:`LeaseLost`."""
        with self._database.write() as db:
            leases.finish_cancelled(db, self._clock(), lease)

    def chunk_results(self, operation: str) -> list[dict[str, Any]]:
        """The committed chunks in order: dicts of chunk (its number), kind, payload and result."""
        with self._database.read() as db:
            return leases.chunk_results(db, operation)

    # Resources

    def put_resource(self, name: str, kind: str, body: dict[str, Any]) -> None:
        """Write or replace a named document."""
        with self._database.write() as db:
            resources.put(db, self._clock(), name, kind, body)

    def create_resource(self, name: str, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Write a named document unless there is one of this name; the body that stands."""
        with self._database.write() as db:
            return resources.create(db, self._clock(), name, kind, body)

    def change_resource(self, name: str, values: Mapping[str, Any]) -> bool:
        """Set top-level keys of a document, whatever another writer does to its other keys; False if it is gone."""
        with self._database.write() as db:
            return resources.change(db, self._clock(), name, values)

    def resource_names(self, kind: str) -> list[str]:
        """Names of all documents of one kind, oldest first."""
        with self._database.read() as db:
            return resources.names(db, kind)

    def get_resource(self, name: str) -> dict[str, Any] | None:
        with self._database.read() as db:
            return resources.get(db, name)

    def list_resources(
        self,
        kind: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        leave_out: Collection[str] = (),
        **equals: str,
    ) -> tuple[list[dict[str, Any]], str]:
        """Bodies of one kind, newest first, whose top-level strings equal ``equals``. As :meth:`list_operations`.

        ``leave_out`` names top-level keys that the caller does not need: those that are large make a list slow.
        """
        with self._database.read() as db:
            return resources.page(db, kind, page_size, page_token, equals, leave_out=leave_out)

    def delete_resource(self, name: str) -> None:
        """Raises :class:`NotFound` ``RESOURCE_NOT_FOUND``."""
        with self._database.write() as db:
            resources.remove(db, name)

    def _moment(self) -> Moment:
        now = self._clock()
        return Moment(now, now - self._skew)
