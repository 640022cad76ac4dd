"""The tables. A change here needs a revision in ``migrations/versions``; a test compares the two.

JSON is kept as text on both databases, so that every float comes back as the one that went in.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)
from sqlalchemy.engine import Dialect


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC in Python; SQLite, which knows no zones, gets them naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column that is declared exactly INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")
Json = JSON(none_as_null=True)

metadata = MetaData()

operations = Table(
    "operations",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("resource", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("request", Json, nullable=False),
    Column("request_id", String(255), unique=True),
    Column("body_digest", String(128), nullable=False),
    Column("rows_done", BigInteger, nullable=False),
    Column("rows_total", BigInteger, nullable=False),
    Column("chunks_left", Integer, nullable=False),  # not yet committed
    Column("others_left", Integer, nullable=False),  # of these, the ones that `last` chunks wait for
    Column("retries", Integer, nullable=False),
    Column("progress", Json, nullable=False),
    Column("error", Json),
    Column("response", Json),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Column("start_time", UtcDateTime),
    Index("operations_by_state", "state", "seq"),
    Index("operations_by_kind", "kind", "seq"),
    sqlite_autoincrement=True,
)

chunks = Table(
    "chunks",
    metadata,
    Column("operation", Sequence, ForeignKey("operations.seq"), primary_key=True, autoincrement=False),
    Column("chunk", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(64), nullable=False),
    Column("payload", Json, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("last", Boolean, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("token", Integer, nullable=False),  # of the newest lease; 0 before the first
    Column("worker", Text),
    Column("expires", UtcDateTime),  # null: free, or done
    Column("result", Json),
)
Index(
    "chunks_open",
    chunks.c.operation,
    chunks.c.chunk,
    sqlite_where=chunks.c.done == false(),
    postgresql_where=chunks.c.done == false(),
)

# Only ever added to; outlives the operations it tells about.
events = Table(
    "events",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("operation", String(64), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("event", String(32), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("details", Json, nullable=False),
    Index("events_by_operation", "operation", "event", "time"),
    sqlite_autoincrement=True,
)

resources = Table(
    "resources",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("body", Json, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Index("resources_by_kind", "kind", "seq"),
    sqlite_autoincrement=True,
)
