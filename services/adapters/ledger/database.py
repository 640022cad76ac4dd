"""Connections to SQLite or PostgreSQL, with the same transactions on both."""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url, text

from services.errors import FailedPrecondition, InvalidInput, Unavailable

BUSY_TIMEOUT_S = 30
MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x45_56_45_4E  # "EVEN": the PostgreSQL lock under which the schema is changed
_migrating = threading.Lock()  # alembic keeps its context in a module


class Database:
    """An engine with two kinds of transaction: :meth:`read` and :meth:`write`."""

    def __init__(self, url: str) -> None:
        self._engine, self._file = _connect(url)
        # Writers of this process queue here: SQLite's own waiting is by polling, and unfair.
        self._writer: threading.Lock | nullcontext[None] = threading.Lock() if self._file else nullcontext()
        self._migrate()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with _faults(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Commits at the end, rolls back on any exception. On SQLite the only writer; PostgreSQL locks rows."""
        with (
            _faults(),
            self._writer,
            self._engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _migrate(self) -> None:
        """Bring the schema to this version of the code; the first of several processes does it, the others wait."""
        with _faults(), _migrating, _file_lock(self._file):
            if self._file:
                with closing(self._engine.raw_connection()) as connection:
                    # Stays with the file. Not under SQLite's busy timeout, hence the lock file.
                    connection.cursor().execute("PRAGMA journal_mode=WAL")
            with self.write() as db:
                if not self._file:
                    db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                _upgrade(db)


def _connect(url: str) -> tuple[Engine, Path | None]:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        parsed = None
    serialise = partial(json.dumps, allow_nan=False)
    match parsed and parsed.drivername:
        case "sqlite" | "sqlite+pysqlite" if parsed and parsed.database and parsed.database != ":memory:":
            file = Path(parsed.database).absolute()
            file.parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(parsed, json_serializer=serialise, connect_args={"timeout": BUSY_TIMEOUT_S})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine, file
        case "postgresql" | "postgresql+psycopg" if parsed:
            parsed = parsed.set(drivername="postgresql+psycopg")
            return create_engine(parsed, json_serializer=serialise, pool_pre_ping=True, pool_size=10), None
    raise InvalidInput(
        "the ledger's URL is sqlite:///path or postgresql+psycopg://user@host/database",
        field="EVENHAND_LEDGER_URL",
        reason="LEDGER_URL_INVALID",
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver shall not begin transactions by itself
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail, not wait, if another wrote in between.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _upgrade(connection: Connection) -> None:
    """Run the missing revisions inside the open transaction: all of them or none."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise FailedPrecondition(
            f"the ledger is at revision {current}, which this version does not know: a newer version wrote it",
            field="EVENHAND_LEDGER_URL",
            reason="LEDGER_TOO_NEW",
        )

    def revisions(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(config, script, fn=revisions) as environment:
        environment.configure(connection=connection)  # its transaction is ours
        environment.run_migrations()


@contextmanager
def _file_lock(database: Path | None) -> Iterator[None]:
    if database is None:
        yield
        return
    with database.with_name(database.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _faults() -> Iterator[None]:
    """A database that is away, locked, full or read-only is :class:`Unavailable`; a wrong statement is our bug.

    A document that is no JSON (NaN, or an object) is the caller's: ValueError or TypeError, as ``json`` raises them.
    """
    try:
        yield
    except exc.DataError as error:  # PostgreSQL's text takes no NUL, and only callers send one
        raise InvalidInput("there is a text that the ledger cannot store", reason="TEXT_NOT_STORABLE") from error
    except (exc.IntegrityError, exc.ProgrammingError, exc.NotSupportedError):
        raise
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise Unavailable(
            f"the ledger cannot be used at the moment: {type(cause).__name__}", reason="LEDGER_UNAVAILABLE"
        ) from error
    except exc.StatementError as error:
        raise error.orig or error from error
