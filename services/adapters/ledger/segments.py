"""Transactions on segments: what arrived for a monitor, in the order in which it was acknowledged.

Whoever appends holds the monitor's row until the commit, so the numbers of a monitor's segments grow in the order in
which they become visible: a reader that has seen number n has seen all before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select, update

from services.errors import NotFound

from .records import Segment
from .schema import resources, segments, windows


def append(
    db: Connection, now: datetime, monitor: str, *, after: int | None, closed: int | None, values: Mapping[str, Any]
) -> int:
    """The new segment's number; 0, and nothing changed, if the monitor went past ``after`` or ``closed``."""
    hold(db, monitor)
    if after is not None and last(db, monitor) != after:
        return 0
    if closed is not None and closed_windows(db, monitor) != closed:
        return 0
    row = db.execute(insert(segments).values(monitor=monitor, create_time=now, **values).returning(segments.c.seq))
    return int(row.scalar_one())


def hold(db: Connection, monitor: str) -> None:
    """Keep every other writer of this monitor waiting until the transaction ends. Raises :class:`NotFound`."""
    query = select(resources.c.seq).where(resources.c.name == monitor, resources.c.kind == "monitor")
    if db.execute(query.with_for_update()).one_or_none() is None:
        raise NotFound(f"there is no {monitor}", field="monitor", reason="MONITOR_NOT_FOUND")


def last(db: Connection, monitor: str) -> int:
    """The number of the newest segment; 0 before the first."""
    return int(db.scalar(select(func.max(segments.c.seq)).where(segments.c.monitor == monitor)) or 0)


def closed_windows(db: Connection, monitor: str) -> int:
    """How many windows are closed; they are closed in order, from 0."""
    newest = db.scalar(select(func.max(windows.c.window_index)).where(windows.c.monitor == monitor))
    return 0 if newest is None else int(newest) + 1


def find(db: Connection, monitor: str, *, kind: str, after: int, between: tuple[int, int] | None) -> list[Segment]:
    """In order. ``between`` keeps what may tell of records from its first to before its second time (µs): segments
    whose records lie there, and labels of which some had no known record."""
    query = select(segments).where(segments.c.monitor == monitor, segments.c.seq > after).order_by(segments.c.seq)
    if kind:
        query = query.where(segments.c.kind == kind)
    if between:
        inside = and_(segments.c.first_time < between[1], segments.c.last_time >= between[0])
        query = query.where(or_(inside, and_(segments.c.kind == "labels", segments.c.unknown > 0)))
    fields = Segment.__dataclass_fields__
    return [Segment(**{field: getattr(row, field) for field in fields}) for row in db.execute(query)]


def arrivals(db: Connection, monitor: str) -> dict[str, int]:
    """Sums over a monitor's segments, by the names of the API's Arrivals."""
    return _named_sums(list(db.execute(_SUMS.where(segments.c.monitor == monitor))))


def all_arrivals(db: Connection) -> dict[str, dict[str, int]]:
    """:func:`arrivals` of every monitor at which something arrived."""
    of_monitor: dict[str, list[Any]] = {}
    for row in db.execute(_SUMS):
        of_monitor.setdefault(row.monitor, []).append(row)
    return {monitor: _named_sums(rows) for monitor, rows in of_monitor.items()}


_SUMS = select(
    segments.c.monitor,
    segments.c.kind,
    func.sum(segments.c.rows).label("rows"),
    func.sum(segments.c.duplicates).label("duplicates"),
    func.sum(segments.c.late).label("late"),
    func.sum(segments.c.unknown).label("unknown"),
).group_by(segments.c.monitor, segments.c.kind)


def _named_sums(rows: Iterable[Any]) -> dict[str, int]:
    sums = {row.kind: row for row in rows}

    def total(column: str, *kinds: str) -> int:
        return sum(int(getattr(sums[kind], column)) for kind in kinds if kind in sums)

    return {
        "predictions": total("rows", "predictions"),
        "labels": total("rows", "labels"),
        "duplicates": total("duplicates", "predictions", "labels"),
        "conflicts": total("rows", "refused"),
        "unknown_labels": total("unknown", "predictions", "labels"),
        "late_predictions": total("late", "predictions"),
        "late_labels": total("late", "labels"),
    }


def count_late(db: Connection, found: Iterable[Segment], index: int) -> None:
    """Count what segments say of known records as late for a window that is closed without them.

    At most so many rows are: some may be of the windows beside it, which is seen only in the objects.
    """
    for segment in found:
        at = segments.c.seq == segment.seq
        late = dict(db.execute(select(segments.c.late_windows).where(at)).scalar_one())
        late.setdefault(str(index), max(0, segment.rows - max(0, segment.unknown)))
        db.execute(update(segments).where(at).values(late_windows=late, late=sum(late.values())))


def late_rows(db: Connection, monitor: str) -> dict[int, int]:
    """Rows by closed window that its newest revision has not taken in; windows without any are left out."""
    taken = select(windows.c.window_index, func.max(windows.c.through)).where(windows.c.monitor == monitor)
    through = {row[0]: row[1] for row in db.execute(taken.group_by(windows.c.window_index))}
    query = select(segments.c.seq, segments.c.late_windows).where(segments.c.monitor == monitor, segments.c.late > 0)
    counts: dict[int, int] = {}
    for row in db.execute(query):
        for text, rows in row.late_windows.items():
            index = int(text)
            if row.seq > through.get(index, 0):
                counts[index] = counts.get(index, 0) + int(rows)
    return counts
