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
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
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
    Column("cohort", String(255)),  # the body's, beside it: looking into every body to find a cohort's audits is slow
    Index("resources_by_kind", "kind", "seq"),
    Index("resources_by_cohort", "kind", "cohort", "seq"),
    sqlite_autoincrement=True,
)

# Batches of arrivals that were acknowledged, each an object in the store. Of one monitor they are numbered in the order
# of their commits: whoever appends holds the monitor's row. Times are of records, in microseconds since 1970 (UTC).
segments = Table(
    "segments",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("monitor", String(255), nullable=False),
    Column("kind", String(16), nullable=False),  # "predictions", "labels", or "refused": rows without an object
    Column("key", String(128), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("late", Integer, nullable=False),
    Column("late_windows", Json, nullable=False),  # late rows by the index of their window
    Column("unknown", Integer, nullable=False),  # labels of unknown records; predictions take away those they resolve
    Column("first_time", BigInteger),  # null where no row's record is known
    Column("last_time", BigInteger),
    Column("create_time", UtcDateTime, nullable=False),
    Index("segments_by_monitor", "monitor", "seq"),
    sqlite_autoincrement=True,
)

# Every revision of every closed window.
windows = Table(
    "windows",
    metadata,
    Column("monitor", String(255), primary_key=True),
    Column("window_index", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("summary", Json, nullable=False),
    Column("key", String(128), nullable=False),
    Column("through", BigInteger, nullable=False),  # the last segment that it took in
    Column("close_time", UtcDateTime, nullable=False),
)

# One per series and closed window, of its newest revision.
points = Table(
    "points",
    metadata,
    Column("monitor", String(255), primary_key=True),
    Column("window_index", Integer, primary_key=True, autoincrement=False),
    Column("label", String(128), primary_key=True),
    Column("metric", String(32), primary_key=True),
    Column("attribute", String(255), primary_key=True),
    Column("grp", String(255), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("value", Float(53)),
    Column("gap", Float(53)),
    Column("standard_error", Float(53)),
    Column("change", Float(53)),
    Column("low", Float(53)),
    Column("high", Float(53)),
    Column("e_value", Float(53), nullable=False),
    Column("cases", BigInteger, nullable=False),
    Column("patients", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("alarmed", Boolean, nullable=False),
)

# Once raised an alarm stays, one per series.
alarms = Table(
    "alarms",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("monitor", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("label", String(128), nullable=False),
    Column("metric", String(32), nullable=False),
    Column("attribute", String(255), nullable=False),
    Column("grp", String(255), nullable=False),
    Column("body", Json, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    UniqueConstraint("monitor", "label", "metric", "attribute", "grp", name="alarms_by_series"),
    sqlite_autoincrement=True,
)
