"""Monitors: segments of arrivals, closed windows, their points and alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
JSON = sa.JSON(none_as_null=True)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "segments",
        sa.Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("monitor", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("duplicates", sa.Integer, nullable=False),
        sa.Column("late", sa.Integer, nullable=False),
        sa.Column("late_windows", JSON, nullable=False),
        sa.Column("unknown", sa.Integer, nullable=False),
        sa.Column("first_time", sa.BigInteger),
        sa.Column("last_time", sa.BigInteger),
        sa.Column("create_time", TIME, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("segments_by_monitor", "segments", ["monitor", "seq"])
    op.create_table(
        "windows",
        sa.Column("monitor", sa.String(255), primary_key=True),
        sa.Column("window_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("summary", JSON, nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("through", sa.BigInteger, nullable=False),
        sa.Column("close_time", TIME, nullable=False),
    )
    op.create_table(
        "points",
        sa.Column("monitor", sa.String(255), primary_key=True),
        sa.Column("window_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("label", sa.String(128), primary_key=True),
        sa.Column("metric", sa.String(32), primary_key=True),
        sa.Column("attribute", sa.String(255), primary_key=True),
        sa.Column("grp", sa.String(255), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("value", sa.Float(53)),
        sa.Column("gap", sa.Float(53)),
        sa.Column("standard_error", sa.Float(53)),
        sa.Column("change", sa.Float(53)),
        sa.Column("low", sa.Float(53)),
        sa.Column("high", sa.Float(53)),
        sa.Column("e_value", sa.Float(53), nullable=False),
        sa.Column("cases", sa.BigInteger, nullable=False),
        sa.Column("patients", sa.BigInteger, nullable=False),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("alarmed", sa.Boolean, nullable=False),
    )
    op.create_table(
        "alarms",
        sa.Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("monitor", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("attribute", sa.String(255), nullable=False),
        sa.Column("grp", sa.String(255), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.UniqueConstraint("monitor", "label", "metric", "attribute", "grp", name="alarms_by_series"),
        sqlite_autoincrement=True,
    )
