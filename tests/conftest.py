"""Real servers for the tests that need them: started when the first test asks, ended with the session.

A test whose server cannot be had is skipped with the server's name; with ``CI=true`` that is a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from services.adapters.ledger import Ledger, open_ledger
from tests.clock import ManualClock
from tests.servers.alertmanager import Alertmanager
from tests.servers.ceph import CephS3
from tests.servers.postgres import Postgres
from tests.servers.processes import ServerMissing, program
from tests.servers.prometheus import Prometheus

T = TypeVar("T")


def require(server: str, start: Callable[[], T]) -> T:
    """What ``start`` returns; where the server cannot be had, a skip that names it, and under CI a failure."""
    try:
        return start()
    except ServerMissing as error:
        reason = f"{server} cannot be had here: {error}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> None:
    """What runs in the background of a script ignores Ctrl-C, and so would every process that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[CephS3]:
    """A real S3 server: ``.endpoint`` (``host:port``); its keys are in ``tests.servers.ceph``."""
    server = require("S3 server (Ceph RADOS Gateway)", CephS3)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    server = require("PostgreSQL", Postgres)
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> str:
    """The SQLAlchemy URL of a fresh, empty PostgreSQL schema."""
    return postgres_server.new_url()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def new_ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes URLs of fresh ledgers; the test runs twice, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        numbers = count()
        return lambda: f"sqlite:///{tmp_path}/ledger-{next(numbers)}.db"
    new_url: Callable[[], str] = request.getfixturevalue("postgres_server").new_url
    return new_url


@pytest.fixture
def ledger_url(new_ledger_url: Callable[[], str]) -> str:
    """The URL of a fresh ledger, on SQLite and on PostgreSQL."""
    return new_ledger_url()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(ledger_url: str, clock: ManualClock) -> Iterator[Ledger]:
    """An open ledger, on SQLite and on PostgreSQL, whose time is ``clock``'s; leases end without a margin."""
    ledger = open_ledger(ledger_url, clock=clock, skew_s=0)
    yield ledger
    ledger.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for one mebibyte."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def prometheus() -> Iterator[Callable[..., Prometheus]]:
    """``prometheus(["127.0.0.1:8080"], rule_files=[…])``: a new Prometheus with ``.url``, ``.query``, ``.wait_for``."""
    started: list[Prometheus] = []

    def start(
        scrape_targets: Sequence[str],
        rule_files: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        every: str = "250ms",
    ) -> Prometheus:
        started.append(
            require("Prometheus", lambda: Prometheus(scrape_targets, rule_files, alertmanagers, every=every))
        )
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def alertmanager() -> Iterator[Callable[[Path], Alertmanager]]:
    """``alertmanager(configuration)``: a new Alertmanager that runs the file; ``.address``, ``.alerts``."""
    started: list[Alertmanager] = []

    def start(configuration: Path) -> Alertmanager:
        started.append(require("Alertmanager", lambda: Alertmanager(configuration)))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, for Playwright's ``executable_path`` or ``--headless --screenshot``."""
    return require("Chromium", lambda: program("chromium"))
