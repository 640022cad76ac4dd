"""Opening, migrating, and losing the database."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from services.adapters.ledger import ChunkSpec, Ledger, open_ledger
from services.adapters.ledger.schema import metadata
from services.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable
from tests.servers.postgres import Postgres

spawning = multiprocessing.get_context("forkserver")


def test_the_migrated_schema_is_the_schema_of_the_code(ledger_url: str) -> None:
    open_ledger(ledger_url).close()
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def _open_and_create(url: str, number: int) -> None:
    ledger = open_ledger(url)
    ledger.create_operation("audit", "audits/1", {}, [ChunkSpec("score", {})], request_id=str(number))


def test_several_processes_and_threads_can_open_a_new_ledger_at_once(ledger_url: str) -> None:
    processes = [spawning.Process(target=_open_and_create, args=(ledger_url, number)) for number in range(3)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_open_and_create, [ledger_url] * 4, range(3, 7)))
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    ledger = open_ledger(ledger_url)
    assert len(ledger.list_operations()[0]) == 7
    ledger.close()


def test_a_name_that_no_database_can_hold_is_the_callers_error(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url)
    for ask in (ledger.get_operation, ledger.request_cancel, ledger.delete_operation, ledger.delete_resource):
        with pytest.raises((NotFound, InvalidInput)):
            ask("operations/a\0b")
    ledger.close()


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(ledger_url: str) -> None:
    open_ledger(ledger_url).close()
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(FailedPrecondition, match="9999") as caught:
        open_ledger(ledger_url)
    assert caught.value.reason == "LEDGER_TOO_NEW"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


def test_a_migration_that_fails_half_way_leaves_nothing_and_the_next_opening_succeeds(ledger_url: str) -> None:
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE resources (in_the_way INTEGER)"))  # the last table of the revision
    with pytest.raises(Exception, match=r"resources|ProgrammingError|OperationalError"):
        open_ledger(ledger_url)
    with engine.begin() as connection:
        names = MigrationContext.configure(connection).dialect.get_table_names(connection)
        assert set(names) == {"resources"}, "half a schema was left"
        connection.execute(text("DROP TABLE resources"))
    engine.dispose()
    ledger = open_ledger(ledger_url)
    ledger.check()
    ledger.close()


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:", "mysql://host/db", "no url", "/tmp/ledger.db"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_ledger(url)
    assert caught.value.field == "EVENHAND_LEDGER_URL"


def test_sqlite_flushes_every_commit_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    with ledger._database.read() as db:
        pragmas = {
            name: db.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    ledger.close()


def test_a_backup_taken_in_the_middle_of_work_is_a_working_ledger(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    chunks = [ChunkSpec("score", {"shard": shard}, rows=1) for shard in range(10)]
    name = ledger.create_operation("audit", "audits/1", {}, chunks)[0].name
    for _ in range(4):
        commit_next(ledger)
    with (
        closing(sqlite3.connect(tmp_path / "ledger.db")) as source,
        closing(sqlite3.connect(tmp_path / "backup.db")) as target,
    ):
        source.backup(target)
    commit_next(ledger)
    ledger.close()
    restored = open_ledger(f"sqlite:///{tmp_path}/backup.db")
    assert restored.get_operation(name).rows_done == 4
    while commit_next(restored):
        pass
    assert restored.get_operation(name).state == "succeeded"
    assert len(restored.chunk_results(name)) == 10
    restored.close()


def test_a_damaged_or_foreign_file_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(Unavailable, match="DatabaseError"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == b"this is no database" * 1000


def test_on_a_full_disk_nothing_acknowledged_is_lost_and_work_goes_on_when_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(500_000))
    ledger = open_ledger(f"sqlite:///{small_disk}/ledger.db")
    acknowledged = []
    with pytest.raises(Unavailable, match="OperationalError"):
        for number in range(1000):
            request = {"number": number, "text": "x" * 2000}
            acknowledged.append(ledger.create_operation("audit", "a", request, [ChunkSpec("score", {})])[0])
    assert acknowledged
    filler.unlink()
    assert {operation.name: operation for operation in ledger.list_operations(page_size=1000)[0]} == {
        operation.name: operation for operation in acknowledged
    }
    ledger.check()
    assert commit_next(ledger)
    ledger.close()


def commit_next(ledger: Ledger) -> bool:
    lease = ledger.lease_chunk("w", 10, ["score"])
    if lease:
        ledger.commit_chunk(lease, {})
    return lease is not None


@pytest.mark.postgres
def test_a_postgres_that_drops_its_connections_is_used_again_at_once(
    postgres_server: Postgres, postgres_url: str
) -> None:
    ledger = open_ledger(postgres_url)
    ledger.create_operation("audit", "audits/1", {}, [ChunkSpec("score", {})])
    postgres_server.disconnect_clients(postgres_url)
    assert commit_next(ledger)
    ledger.close()


@pytest.mark.postgres
def test_a_transaction_that_loses_its_connection_is_unavailable_and_leaves_nothing(
    postgres_server: Postgres, postgres_url: str
) -> None:
    ledger = open_ledger(postgres_url)
    name = ledger.create_operation("audit", "audits/1", {}, [ChunkSpec("score", {})])[0].name
    with pytest.raises(Unavailable), ledger._database.write() as db:
        db.execute(text("UPDATE operations SET state = 'failed'"))
        postgres_server.disconnect_clients(postgres_url)
        db.execute(text("UPDATE operations SET state = 'failed'"))
    assert ledger.get_operation(name).state == "pending"
    ledger.close()
