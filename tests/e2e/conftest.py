"""One real platform for all end-to-end tests: started once, by the command a user would use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [EVENHAND, *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=timeout_s
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


@dataclass(frozen=True)
class MainJob:
    """The main job, done once by the command line on planted chest phantoms."""

    phantoms: Path
    cohort: dict[str, Any]
    audit: dict[str, Any]
    artifacts: Path


SPEC = """
baseline: original
attributes: [sex, age, "sex,age"]
seed: 11
pipelines:
- name: original
  stages: [{classify: chest-classifier}]
- name: reconstructed
  stages:
  - degrade: {operator: low-dose-xray, photons: 1000}
  - reconstruct: xray-unet
  - classify: chest-classifier
"""


@pytest.fixture(scope="session")
def main_job(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> MainJob:
    folder = tmp_path_factory.mktemp("main-job")
    phantoms = folder / "phantoms"
    platform.run(
        "phantoms", "write", "--kind", "chest", "--world", "planted", "--patients", "120", "--seed", "7",
        "--out", str(phantoms),
    )  # fmt: skip
    created = platform.run(
        "cohorts", "create", "--images", str(phantoms), "--table", str(phantoms / "rows.csv"),
        "--schema", str(phantoms / "schema.yaml"), "--name", "planted chest", "--watch", "--json",
    )  # fmt: skip
    cohort = json.loads(created.stdout)
    (folder / "spec.yaml").write_text(SPEC)
    done = platform.run(
        "audits", "create", str(folder / "spec.yaml"), "--cohort", cohort["name"], "--watch", "--json"
    )  # fmt: skip
    audit = json.loads(done.stdout)
    artifacts = folder / "artifacts"
    platform.run("audits", "download", audit["name"], "--out", str(artifacts))
    return MainJob(phantoms, cohort, audit, artifacts)
