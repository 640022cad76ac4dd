"""Transactions of workers: lease a chunk, keep it, commit it, give it back.

A lease ends by the clock, but what protects the ledger is its token: whoever leases a chunk raises its token, and
from then on everything that carries an older one is refused (fencing). On PostgreSQL every transaction here locks
the chunk first and its operation second, so that none waits for another in a circle.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, false, or_, select, update

from . import events
from .operations import find, finish, settle_cancel, settle_cancels
from .records import UNFINISHED, Lease, LeaseLost, Moment
from .schema import chunks, operations


def lease_chunk(db: Connection, at: Moment, worker: str, expires: datetime, kinds: Collection[str]) -> Lease | None:
    """The first free chunk of the oldest operation: never leased, given back, or of a worker lost before a time."""
    settle_cancels(db, at)
    candidate = (
        select(chunks)
        .join(operations, operations.c.seq == chunks.c.operation)
        .where(
            operations.c.state.in_(UNFINISHED),
            operations.c.cancel_requested == false(),
            chunks.c.done == false(),
            chunks.c.kind.in_(kinds),
            or_(chunks.c.expires.is_(None), chunks.c.expires <= at.lost_before),
            or_(chunks.c.last == false(), operations.c.others_left == 0),
        )
        .order_by(operations.c.seq, chunks.c.chunk)
        .limit(1)
        .with_for_update(of=chunks, skip_locked=True)
    )
    chunk = db.execute(candidate).one_or_none()
    if chunk is None:
        return None
    operation = db.execute(
        select(operations).where(operations.c.seq == chunk.operation).with_for_update()
    ).one_or_none()
    if operation is None or operation.state not in UNFINISHED or operation.cancel_requested:
        return None  # on PostgreSQL it may have ended between the two locks
    taken_over = chunk.expires is not None
    token = chunk.token + 1
    _update_chunk(db, chunk, token=token, worker=worker, expires=expires)
    db.execute(
        update(operations)
        .where(operations.c.seq == operation.seq)
        .values(
            state="running",
            start_time=operation.start_time or at.now,
            retries=operation.retries + taken_over,
            update_time=at.now,
        )
    )
    event = "taken_over" if taken_over else "leased"
    events.record(db, at.now, operation.name, event, chunk=chunk.chunk, worker=worker, token=token)
    return Lease(operation.name, chunk.chunk, chunk.kind, chunk.payload, token, expires, False)


def renew(db: Connection, lease: Lease, expires: datetime) -> Lease:
    chunk, operation = _held(db, lease)
    _update_chunk(db, chunk, expires=expires)
    return Lease(
        lease.operation, lease.chunk, lease.kind, lease.payload, lease.token, expires, operation.cancel_requested
    )


def report_progress(db: Connection, now: datetime, lease: Lease, progress: dict[str, Any]) -> None:
    _, operation = _held(db, lease)
    db.execute(update(operations).where(operations.c.seq == operation.seq).values(progress=progress, update_time=now))


def commit_chunk(
    db: Connection, at: Moment, lease: Lease, result: dict[str, Any], response: dict[str, Any] | None
) -> None:
    """Make a result part of the operation; the commit of the last open chunk ends it as succeeded.

    Committing twice with the same lease does nothing the second time: the reply to the first may have been lost.
    """
    committed = _chunk_of(db, lease)
    if committed is not None and committed.done and committed.token == lease.token:
        return
    chunk, operation = _held(db, lease)
    _update_chunk(db, chunk, done=True, result=result, expires=None)
    events.record(db, at.now, operation.name, "committed", rows=chunk.rows, chunk=chunk.chunk, token=lease.token)
    db.execute(
        update(operations)
        .where(operations.c.seq == operation.seq)
        .values(
            rows_done=operation.rows_done + chunk.rows,
            chunks_left=operation.chunks_left - 1,
            others_left=operation.others_left - (not chunk.last),
            update_time=at.now,
        )
    )
    if operation.chunks_left == 1:
        finish(db, at.now, operation, "succeeded", response=response)
    else:
        settle_cancel(db, at, operation.seq)


def release(db: Connection, at: Moment, lease: Lease) -> None:
    chunk, operation = _held(db, lease)
    _update_chunk(db, chunk, worker=None, expires=None)
    events.record(db, at.now, operation.name, "released", chunk=chunk.chunk, token=lease.token)
    settle_cancel(db, at, operation.seq)


def fail_operation(db: Connection, now: datetime, lease: Lease, error: dict[str, Any]) -> None:
    _, operation = _held(db, lease)
    finish(db, now, operation, "failed", error=error)


def finish_cancelled(db: Connection, now: datetime, lease: Lease) -> None:
    _, operation = _held(db, lease)
    finish(db, now, operation, "cancelled")


def chunk_results(db: Connection, operation: str) -> list[dict[str, Any]]:
    seq = find(db, operation).seq
    query = select(chunks).where(chunks.c.operation == seq, chunks.c.done.is_(True)).order_by(chunks.c.chunk)
    return [
        {"chunk": row.chunk, "kind": row.kind, "payload": row.payload, "result": row.result}
        for row in db.execute(query)
    ]


def _held(db: Connection, lease: Lease) -> tuple[Row[Any], Row[Any]]:
    """Lock and return the chunk and its operation if they are this lease's to change; else raise :class:`LeaseLost`."""
    chunk = _chunk_of(db, lease)
    if chunk is None or chunk.token != lease.token or chunk.expires is None:
        raise LeaseLost(f"chunk {lease.chunk} of {lease.operation} is no longer leased with token {lease.token}")
    operation = db.execute(select(operations).where(operations.c.seq == chunk.operation).with_for_update()).one()
    if operation.state not in UNFINISHED:
        raise LeaseLost(f"{lease.operation} is {operation.state}")
    return chunk, operation


def _chunk_of(db: Connection, lease: Lease) -> Row[Any] | None:
    query = (
        select(chunks)
        .join(operations, operations.c.seq == chunks.c.operation)
        .where(operations.c.name == lease.operation, chunks.c.chunk == lease.chunk)
        .with_for_update(of=chunks)
    )
    return db.execute(query).one_or_none()


def _update_chunk(db: Connection, chunk: Row[Any], **values: Any) -> None:
    db.execute(
        update(chunks).where(chunks.c.operation == chunk.operation, chunks.c.chunk == chunk.chunk).values(**values)
    )
