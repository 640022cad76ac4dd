"""Transactions on closed windows, their points and the alarms that they raised."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from . import resources as documents
from . import segments as arrivals
from .pages import make_token, page_limit, read_token
from .schema import alarms, points, resources, segments, windows

_POINT_VALUES = (
    "state", "value", "gap", "standard_error", "change", "low", "high", "e_value", "cases", "patients", "records",
    "alarmed",
)  # fmt: skip
_SERIES = ("label", "metric", "attribute", "group")
_REQUEST = "monitor-request"
"""Kind of the document that says which monitor a request id made; it is deleted with the monitor."""


def create(db: Connection, now: datetime, kind: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """Write a monitor unless its request made one before; the body that stands, None if that was deleted meanwhile."""
    if request_id := body["request_id"]:
        asked = documents.create(db, now, _request_name(request_id), _REQUEST, {"monitor": body["name"]})
        if asked["monitor"] != body["name"]:
            return documents.get(db, asked["monitor"])
    return documents.create(db, now, body["name"], kind, body)


def of_request(db: Connection, request_id: str) -> dict[str, Any] | None:
    """The body of the monitor that a request made."""
    asked = documents.get(db, _request_name(request_id))
    return None if asked is None else documents.get(db, asked["monitor"])


def _request_name(request_id: str) -> str:
    return f"monitor-requests/{uuid.uuid5(uuid.NAMESPACE_OID, request_id)}"


def close(
    db: Connection,
    now: datetime,
    monitor: str,
    index: int,
    *,
    revision: int,
    digest: str,
    summary: dict[str, Any],
    key: str,
    new_points: Iterable[Mapping[str, Any]],
    new_alarms: Iterable[dict[str, Any]],
    through: int | None,
    between: tuple[int, int] | None,
    leave_late: bool = False,
) -> bool:
    """Write a revision of a window, the points of its series in place of those before, and alarms not yet raised."""
    arrivals.hold(db, monitor)
    newest = db.scalar(select(func.max(windows.c.revision)).where(_window(windows.c, monitor, index)))
    if newest is not None and newest >= revision:
        return False
    if through is not None and between:
        since = arrivals.find(db, monitor, kind="", after=through, between=between)
        if since and not leave_late:
            return False
        arrivals.count_late(db, [segment for segment in since if segment.overlaps(*between)], index)
    db.execute(
        insert(windows).values(
            monitor=monitor,
            window_index=index,
            revision=revision,
            digest=digest,
            summary=summary,
            key=key,
            through=arrivals.last(db, monitor) if through is None else through,
            close_time=now,
        )
    )
    db.execute(delete(points).where(_window(points.c, monitor, index)))
    rows = [_point_row(monitor, index, point) for point in new_points]
    if rows:
        db.execute(insert(points), rows)
    for body in new_alarms:
        series = {("grp" if name == "group" else name): body["key"].get(name, "") for name in _SERIES}
        standing = select(alarms.c.seq).where(
            alarms.c.monitor == monitor, *(alarms.c[name] == value for name, value in series.items())
        )
        if db.scalar(standing) is None:
            db.execute(insert(alarms).values(monitor=monitor, name=body["name"], body=body, create_time=now, **series))
    return True


def get_window(db: Connection, monitor: str, index: int) -> dict[str, Any] | None:
    """The summary of a window's newest revision."""
    query = select(windows.c.summary).where(_window(windows.c, monitor, index)).order_by(windows.c.revision.desc())
    row = db.execute(query.limit(1)).one_or_none()
    return None if row is None else dict(row.summary)


def page_windows(db: Connection, monitor: str, page_size: int, page_token: str) -> tuple[list[dict[str, Any]], str]:
    """Summaries of the newest revisions, oldest window first."""
    limit = page_limit(page_size)
    query = {"list": "windows", "monitor": monitor}
    after = read_token(query, page_token)
    newest = (
        select(windows.c.window_index, func.max(windows.c.revision).label("revision"))
        .where(windows.c.monitor == monitor)
        .group_by(windows.c.window_index)
        .subquery()
    )
    statement = (
        select(windows.c.window_index, windows.c.summary)
        .join(newest, and_(newest.c.window_index == windows.c.window_index, newest.c.revision == windows.c.revision))
        .where(windows.c.monitor == monitor)
        .order_by(windows.c.window_index)
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(windows.c.window_index > after)
    rows = db.execute(statement).all()
    token = make_token(query, rows[limit - 1].window_index) if len(rows) > limit else ""
    return [dict(row.summary) for row in rows[:limit]], token


def find_points(
    db: Connection, monitor: str, windows_wanted: range | None, series: Mapping[str, str]
) -> list[dict[str, Any]]:
    """In order of window and series, as dicts of ``window_index``, the series' key and the point's values."""
    query = select(points).where(points.c.monitor == monitor)
    if windows_wanted is not None:
        inside = points.c.window_index.between(windows_wanted.start, windows_wanted.stop - 1)
        query = query.where(inside)
    for name, value in series.items():
        if value:
            query = query.where(points.c["grp" if name == "group" else name] == value)
    columns = (points.c.window_index, points.c.label, points.c.metric, points.c.attribute, points.c.grp)
    return [_point(row) for row in db.execute(query.order_by(*columns)).mappings()]


def latest_points(db: Connection, monitor: str) -> list[dict[str, Any]]:
    """Those of the last closed window."""
    last = arrivals.closed_windows(db, monitor) - 1
    return find_points(db, monitor, range(last, last + 1), {}) if last >= 0 else []


def all_latest(db: Connection, monitors: Collection[str]) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """By monitor, of those that closed a window: the last one's summary and points.

    PostgreSQL may show the second statement a window that was closed after the first: its points are left out, and the
    monitor is without points until the next call.
    """
    newest = (
        select(windows.c.monitor, func.max(windows.c.window_index).label("window_index"))
        .where(windows.c.monitor.in_(monitors))
        .group_by(windows.c.monitor)
        .subquery()
    )

    def of_newest(columns: Any) -> ColumnElement[bool]:
        return and_(newest.c.monitor == columns.monitor, newest.c.window_index == columns.window_index)

    found: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    shown: dict[str, int] = {}
    summaries = select(windows.c.monitor, windows.c.window_index, windows.c.summary).join(newest, of_newest(windows.c))
    for row in db.execute(summaries.order_by(windows.c.revision)):  # the newest revision comes last and stays
        found[row.monitor] = (dict(row.summary), [])
        shown[row.monitor] = row.window_index
    columns = (points.c.monitor, points.c.label, points.c.metric, points.c.attribute, points.c.grp)
    for point in db.execute(select(points).join(newest, of_newest(points.c)).order_by(*columns)).mappings():
        if shown.get(point["monitor"]) == point["window_index"]:
            found[point["monitor"]][1].append(_point(point))
    return found


def page_alarms(db: Connection, monitor: str, page_size: int, page_token: str) -> tuple[list[dict[str, Any]], str]:
    """Newest first; of all monitors for "-" or ""."""
    limit = page_limit(page_size)
    everyone = monitor in ("", "-", "monitors/-")
    query = {"list": "alarms", "monitor": "-" if everyone else monitor}
    after = read_token(query, page_token)
    statement = select(alarms.c.seq, alarms.c.body).order_by(alarms.c.seq.desc()).limit(limit + 1)
    if not everyone:
        statement = statement.where(alarms.c.monitor == monitor)
    if after is not None:
        statement = statement.where(alarms.c.seq < after)
    rows = db.execute(statement).all()
    token = make_token(query, rows[limit - 1].seq) if len(rows) > limit else ""
    return [dict(row.body) for row in rows[:limit]], token


def count_alarms(db: Connection, monitor: str) -> int:
    return int(db.scalar(select(func.count()).select_from(alarms).where(alarms.c.monitor == monitor)) or 0)


def remove(db: Connection, monitor: str) -> list[str]:
    """Forget a monitor with all that hangs on it; keys of objects that nothing of another monitor names."""
    arrivals.hold(db, monitor)
    keys: set[str] = set()
    for table in (segments, windows):
        keys.update(db.scalars(select(table.c.key).where(table.c.monitor == monitor)))
    for table in (segments, windows, points, alarms):
        db.execute(delete(table).where(table.c.monitor == monitor))
    names = [monitor]
    if request_id := (documents.get(db, monitor) or {}).get("request_id"):
        names.append(_request_name(request_id))
    db.execute(delete(resources).where(resources.c.name.in_(names)))
    kept = set(db.scalars(select(windows.c.key))) | set(db.scalars(select(segments.c.key)))
    return sorted(keys - kept - {""})


def _window(columns: Any, monitor: str, index: int) -> ColumnElement[bool]:
    return and_(columns.monitor == monitor, columns.window_index == index)


def _point_row(monitor: str, index: int, point: Mapping[str, Any]) -> dict[str, Any]:
    absent = {"e_value": 1.0, "cases": 0, "patients": 0, "records": 0, "alarmed": False}
    return {
        "monitor": monitor,
        "window_index": index,
        **{("grp" if name == "group" else name): point.get(name, "") for name in _SERIES},
        **{name: point.get(name, absent.get(name)) for name in _POINT_VALUES},
    }


def _point(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "window_index": row["window_index"],
        **{name: row["grp" if name == "group" else name] for name in _SERIES},
        **{name: row[name] for name in _POINT_VALUES},
    }
