"""Transactions on whole operations: create, read, cancel, finish, delete."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.errors import Conflict, FailedPrecondition, NotFound

from . import events
from .pages import make_token, page_limit, read_token
from .records import UNFINISHED, ChunkSpec, Moment, Operation, State
from .schema import chunks, operations


def create(
    db: Connection,
    now: datetime,
    specs: Collection[ChunkSpec],
    *,
    kind: str,
    resource: str,
    request: dict[str, Any],
    request_id: str,
    body_digest: str,
) -> tuple[Operation, bool]:
    """Write an operation and its chunks, unless the request id is known: then the operation it made, and False."""
    if not specs:
        raise ValueError("an operation needs at least one chunk, or nothing would ever finish it")
    if known := known_request(db, request_id, kind, body_digest):
        return known, False
    values = {
        "name": f"operations/{uuid4()}",
        "kind": kind,
        "resource": resource,
        "state": "pending",
        "cancel_requested": False,
        "request": request,
        "request_id": request_id or None,
        "body_digest": body_digest,
        "rows_done": 0,
        "rows_total": sum(spec.rows for spec in specs),
        "chunks_left": len(specs),
        "others_left": sum(not spec.last for spec in specs),
        "retries": 0,
        "progress": {},
        "create_time": now,
        "update_time": now,
    }
    try:
        with db.begin_nested():
            row = db.execute(insert(operations).values(values).returning(operations)).one()
    except IntegrityError:
        # On PostgreSQL the same request may have been committed since we looked.
        if known := known_request(db, request_id, kind, body_digest):
            return known, False
        raise
    db.execute(insert(chunks), [_chunk_values(row.seq, index, spec) for index, spec in enumerate(specs)])
    events.record(db, now, row.name, "created", kind=kind, chunks=len(specs))
    return as_operation(row), True


def known_request(db: Connection, request_id: str, kind: str, body_digest: str) -> Operation | None:
    """The operation that this request made before, if any."""
    if not request_id:
        return None
    row = db.execute(select(operations).where(operations.c.request_id == request_id)).one_or_none()
    if row is None:
        return None
    if (row.kind, row.body_digest) != (kind, body_digest):
        raise Conflict(
            "request_id was used before for another request; use a new one for a new request",
            field="request_id",
            reason="REQUEST_ID_REUSED",
        )
    return as_operation(row)


def _chunk_values(operation: int, index: int, spec: ChunkSpec) -> dict[str, Any]:
    return {
        "operation": operation,
        "chunk": index,
        "kind": spec.kind,
        "payload": spec.payload,
        "rows": spec.rows,
        "last": spec.last,
        "done": False,
        "token": 0,
    }


def as_operation(row: Row[Any]) -> Operation:
    return Operation(**{field: getattr(row, field) for field in Operation.__dataclass_fields__})


def find(db: Connection, name: str, *, lock: bool = False) -> Row[Any]:
    """The row of an operation; ``lock`` holds it until the transaction ends. Raises :class:`NotFound`."""
    query = select(operations).where(operations.c.name == name)
    row = db.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"there is no operation {name}", field="name", reason="OPERATION_NOT_FOUND")
    return row


def page(db: Connection, kind: str, page_size: int, page_token: str) -> tuple[list[Operation], str]:
    """Newest first."""
    limit = page_limit(page_size)
    query = {"list": "operations", "kind": kind}
    after = read_token(query, page_token)
    statement = select(operations).order_by(operations.c.seq.desc()).limit(limit + 1)
    if kind:
        statement = statement.where(operations.c.kind == kind)
    if after is not None:
        statement = statement.where(operations.c.seq < after)
    rows = db.execute(statement).all()
    token = make_token(query, rows[limit - 1].seq) if len(rows) > limit else ""
    return [as_operation(row) for row in rows[:limit]], token


def request_cancel(db: Connection, at: Moment, name: str) -> Operation:
    """Ask for the end of an operation; one that no worker holds ends at once. On a finished one it does nothing."""
    row = find(db, name, lock=True)
    if row.state in UNFINISHED and not row.cancel_requested:
        db.execute(
            update(operations).where(operations.c.seq == row.seq).values(cancel_requested=True, update_time=at.now)
        )
        events.record(db, at.now, name, "cancel_requested")
    settle_cancel(db, at, row.seq)
    return as_operation(find(db, name))


def settle_cancel(db: Connection, at: Moment, operation: int) -> None:
    """End a cancelled operation that no living worker holds a chunk of: nobody else would."""
    row = db.execute(select(operations).where(operations.c.seq == operation).with_for_update()).one_or_none()
    if row is None or row.state not in UNFINISHED or not row.cancel_requested:
        return
    held = select(func.count()).where(chunks.c.operation == operation, chunks.c.expires > at.lost_before)
    if not db.scalar(held):
        finish(db, at.now, row, "cancelled")


def settle_cancels(db: Connection, at: Moment) -> None:
    """:func:`settle_cancel` for every operation whose workers died after the cancellation was asked for.

    Those that another transaction has in hand are left to it: waiting for several in turn could end in a deadlock.
    """
    waiting = (
        select(operations.c.seq)
        .where(operations.c.state.in_(UNFINISHED), operations.c.cancel_requested.is_(True))
        .with_for_update(skip_locked=True)
    )
    for operation in db.scalars(waiting).all():
        settle_cancel(db, at, operation)


def finish(
    db: Connection,
    now: datetime,
    row: Row[Any],
    state: State,
    *,
    response: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    db.execute(
        update(operations)
        .where(operations.c.seq == row.seq)
        .values(state=state, response=response, error=error, update_time=now)
    )
    events.record(db, now, row.name, state)


def remove(db: Connection, now: datetime, name: str) -> None:
    """Forget a finished operation and its request id. Its events stay."""
    seq = find(db, name).seq
    # Chunks before the operation, the order in which leases lock them.
    db.execute(select(chunks.c.chunk).where(chunks.c.operation == seq).order_by(chunks.c.chunk).with_for_update())
    if find(db, name, lock=True).state in UNFINISHED:
        raise FailedPrecondition(
            f"{name} is not finished: cancel it first, then delete it", field="name", reason="OPERATION_NOT_DONE"
        )
    db.execute(delete(chunks).where(chunks.c.operation == seq))
    db.execute(delete(operations).where(operations.c.seq == seq))
    events.record(db, now, name, "deleted")
