"""Transactions on resources: named JSON documents (cohorts, audits, trainings)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.errors import NotFound

from .pages import make_token, page_limit, read_token
from .schema import resources


def put(db: Connection, now: datetime, name: str, kind: str, body: dict[str, Any]) -> None:
    """Write a resource, or replace it where it is in the list."""
    replace = update(resources).where(resources.c.name == name).values(kind=kind, update_time=now, **_columns(body))
    if db.execute(replace).rowcount:
        return
    try:
        with db.begin_nested():
            db.execute(_new(now, name, kind, body))
    except IntegrityError:  # on PostgreSQL another may have put it since
        db.execute(replace)


def create(db: Connection, now: datetime, name: str, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Write a resource unless one has this name; the body that stands."""
    if standing := get(db, name):
        return standing
    try:
        with db.begin_nested():
            db.execute(_new(now, name, kind, body))
    except IntegrityError:  # on PostgreSQL another may have created it since
        return get(db, name) or body
    return body


def change(db: Connection, now: datetime, name: str, values: Mapping[str, Any]) -> bool:
    """Set top-level keys of a resource's body and keep the others; False where there is no such resource."""
    row = db.execute(select(resources.c.body).where(resources.c.name == name).with_for_update()).one_or_none()
    if row is None:
        return False
    body = {**row.body, **values}
    if body != row.body:
        db.execute(update(resources).where(resources.c.name == name).values(update_time=now, **_columns(body)))
    return True


def _new(now: datetime, name: str, kind: str, body: dict[str, Any]) -> Insert:
    return insert(resources).values(name=name, kind=kind, create_time=now, update_time=now, **_columns(body))


def _columns(body: dict[str, Any]) -> dict[str, Any]:
    """The body, and what of it has a column of its own."""
    cohort = body.get("cohort")
    return {"body": body, "cohort": cohort if isinstance(cohort, str) else None}


def names(db: Connection, kind: str) -> list[str]:
    """Names of all resources of one kind, oldest first."""
    return list(db.scalars(select(resources.c.name).where(resources.c.kind == kind).order_by(resources.c.seq)))


def get(db: Connection, name: str) -> dict[str, Any] | None:
    row = db.execute(select(resources.c.body).where(resources.c.name == name)).one_or_none()
    return None if row is None else dict(row.body)


def page(
    db: Connection,
    kind: str,
    page_size: int,
    page_token: str,
    equals: Mapping[str, str],
    *,
    leave_out: Collection[str] = (),
) -> tuple[list[dict[str, Any]], str]:
    """Newest first; ``equals`` filters on top-level keys of the body that hold strings, ``leave_out`` drops some."""
    limit = page_limit(page_size)
    query = {"list": "resources", "kind": kind, "equals": dict(equals)}
    after = read_token(query, page_token)
    body = _without(db, leave_out).label("body")
    statement = (
        select(resources.c.seq, body).where(resources.c.kind == kind).order_by(resources.c.seq.desc()).limit(limit + 1)
    )
    for key, value in equals.items():
        held = resources.c.cohort if key == "cohort" else resources.c.body[key].as_string()
        statement = statement.where(held == value)
    if after is not None:
        statement = statement.where(resources.c.seq < after)
    rows = db.execute(statement).all()
    token = make_token(query, rows[limit - 1].seq) if len(rows) > limit else ""
    return [dict(row.body) for row in rows[:limit]], token


def _without(db: Connection, keys: Collection[str]) -> ColumnElement[Any]:
    """The body without these keys, taken out by the database: what is not sent need not be parsed."""
    stored = resources.c.body
    if not keys:
        return stored
    if db.dialect.name == "sqlite":
        return func.json_remove(stored, *(f'$."{key}"' for key in keys), type_=stored.type)
    member = func.json_each(stored).table_valued("key", "value")
    kept = func.json_object_agg(member.c.key, member.c.value, type_=stored.type)
    return select(kept).select_from(member).where(member.c.key.not_in(keys)).scalar_subquery()


def remove(db: Connection, name: str) -> None:
    if not db.execute(delete(resources).where(resources.c.name == name)).rowcount:
        raise NotFound(f"there is no {name}", field="name", reason="RESOURCE_NOT_FOUND")
