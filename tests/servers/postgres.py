"""A private PostgreSQL on loopback, with an empty schema for whoever asks."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from uuid import uuid4

import psycopg

from .processes import Daemon, free_ports, program, run_tool

_PASSWORD = "only-for-tests"
_FOLDERS = "/usr/lib/postgresql/*/bin"


class Postgres:
    def __init__(self) -> None:
        initdb, postgres = program("initdb", _FOLDERS), program("postgres", _FOLDERS)
        user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._folder = Path(tempfile.mkdtemp(prefix="evenhand-postgres-"))
        (self._folder / "password").write_text(_PASSWORD)
        if user:
            for path in (self._folder, self._folder / "password"):
                shutil.chown(path, user)
        data = str(self._folder / "data")
        secret = f"--pwfile={self._folder / 'password'}"
        settings = ["-U", "app", secret, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        run_tool([initdb, "-D", data, *settings], user=user)
        (self._port,) = free_ports(1)
        # Without fsync: the tests kill clients, not this server's machine.
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._folder,
            "fsync": "off",
            "max_connections": 200,
        }
        flags = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        log = self._folder / "log"
        self._daemon = Daemon([postgres, "-D", data, *flags], log, user=user, stop=signal.SIGQUIT)
        self._daemon.wait_until(self._answers)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self._port, user="app", password=_PASSWORD, dbname="postgres", autocommit=True
        )

    def new_url(self) -> str:
        """The SQLAlchemy URL of an empty schema, which to its user is an empty database, but is made in no time."""
        name = f"t{uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        settings = f"options=-csearch_path%3D{name}&application_name={name}"
        return f"postgresql+psycopg://app:{_PASSWORD}@127.0.0.1:{self._port}/postgres?{settings}"

    def disconnect_clients(self, url: str) -> None:
        """Cut every connection that was made with ``url``, as a fail-over would."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                [url.rpartition("=")[2]],
            )

    def stop(self) -> None:
        self._daemon.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True
