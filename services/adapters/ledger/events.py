"""The journal: what happened to each operation, in order."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select

from .schema import events, operations


def record(db: Connection, now: datetime, operation: str, event: str, *, rows: int = 0, **details: Any) -> None:
    db.execute(insert(events).values(operation=operation, time=now, event=event, rows=rows, details=details))


def history(db: Connection, operation: str) -> list[dict[str, Any]]:
    query = select(events).where(events.c.operation == operation).order_by(events.c.seq)
    return [
        {"time": row.time, "event": row.event, "rows": row.rows, "details": row.details} for row in db.execute(query)
    ]


def recent_rate(db: Connection, now: datetime, operation: str, window_s: float) -> float:
    """Rows per second committed in the last ``window_s`` seconds, or since the operation started if that is less."""
    since = now - timedelta(seconds=window_s)
    rows = db.scalar(
        select(func.sum(events.c.rows)).where(
            events.c.operation == operation, events.c.event == "committed", events.c.time > since, events.c.time <= now
        )
    )
    start = db.scalar(select(operations.c.start_time).where(operations.c.name == operation))
    if not rows or start is None:
        return 0.0
    elapsed = min(window_s, (now - start).total_seconds())
    return float(rows) / elapsed if elapsed > 0 else 0.0
