"""Real servers for the tests that need them: started when the first test asks, ended with the session.

A test whose server cannot be had is skipped with the server's name; with ``CI=true`` that is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

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
    """The SQLAlchemy URL of a fresh, empty PostgreSQL database."""
    return postgres_server.new_database()


@pytest.fixture
def prometheus() -> Iterator[Callable[..., Prometheus]]:
    """``prometheus(["127.0.0.1:8080"], rule_files=[…])``: a new Prometheus with ``.url``, ``.query``, ``.wait_for``."""
    started: list[Prometheus] = []

    def start(scrape_targets: Sequence[str], rule_files: Sequence[Path] = ()) -> Prometheus:
        started.append(require("Prometheus", lambda: Prometheus(scrape_targets, rule_files)))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, for Playwright's ``executable_path`` or ``--headless --screenshot``."""
    return require("Chromium", lambda: program("chromium"))
