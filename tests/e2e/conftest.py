"""One real platform for all end-to-end tests: started once, by the command a user would use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]
EVENHAND = str(Path(sys.executable).with_name("evenhand"))


@dataclass(frozen=True)
class Platform:
    """A running platform. ``run`` calls the command line against it."""

    http: str
    grpc: str
    data_dir: Path
    environment: dict[str, str]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [EVENHAND, *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=280
        )
        if check and done.returncode:
            pytest.fail(f"evenhand {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    data_dir = Path(tempfile.mkdtemp(prefix="evenhand-e2e-"))
    http, grpc = free_ports(2)
    environment = {
        **os.environ,
        "EVENHAND_DATA_DIR": str(data_dir),
        "EVENHAND_HTTP_PORT": str(http),
        "EVENHAND_GRPC_PORT": str(grpc),
        "EVENHAND_ADDRESS": f"127.0.0.1:{grpc}",
        "EVENHAND_SERVE_CONFIG": str(ROOT / "deploy/serve/local.yaml"),
    }
    running = Platform(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}", data_dir, environment)
    try:
        started = running.run("platform", "up", check=False)
        if started.returncode:
            log = data_dir / "platform.log"
            pytest.fail(started.stderr + (log.read_text(errors="replace")[-4000:] if log.exists() else ""))
        yield running
    finally:
        running.run("platform", "down", check=False)
        shutil.rmtree(data_dir, ignore_errors=True)
