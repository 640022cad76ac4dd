"""The first ledger: operations, chunks, events and resources."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
JSON = sa.JSON(none_as_null=True)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "operations",
        sa.Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("request", JSON, nullable=False),
        sa.Column("request_id", sa.String(255), unique=True),
        sa.Column("body_digest", sa.String(128), nullable=False),
        sa.Column("rows_done", sa.BigInteger, nullable=False),
        sa.Column("rows_total", sa.BigInteger, nullable=False),
        sa.Column("chunks_left", sa.Integer, nullable=False),
        sa.Column("others_left", sa.Integer, nullable=False),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("progress", JSON, nullable=False),
        sa.Column("error", JSON),
        sa.Column("response", JSON),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sa.Column("start_time", TIME),
        sqlite_autoincrement=True,
    )
    op.create_index("operations_by_state", "operations", ["state", "seq"])
    op.create_index("operations_by_kind", "operations", ["kind", "seq"])
    op.create_table(
        "chunks",
        sa.Column("operation", SEQUENCE, sa.ForeignKey("operations.seq"), primary_key=True, autoincrement=False),
        sa.Column("chunk", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("last", sa.Boolean, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("expires", TIME),
        sa.Column("result", JSON),
    )
    still_open = sa.column("done") == sa.false()
    op.create_index(
        "chunks_open", "chunks", ["operation", "chunk"], sqlite_where=still_open, postgresql_where=still_open
    )
    op.create_table(
        "events",
        sa.Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("details", JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_operation", "events", ["operation", "event", "time"])
    op.create_table(
        "resources",
        sa.Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("resources_by_kind", "resources", ["kind", "seq"])
