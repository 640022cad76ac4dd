"""What is wrong at start-up is said at once and by name, and a wrong model package is never served."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from services.errors import FailedPrecondition
from services.platform import supervisor
from services.platform.settings import Settings
from tests.packages import write_package
from tests.servers.processes import free_ports

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "serve" / "local.yaml"


def refusal(tmp_path: Path, config: Path = CONFIG) -> FailedPrecondition:
    """What ``start`` says; a platform that starts, or keeps us waiting, fails the test."""
    http, grpc = free_ports(2)
    settings = Settings(data_dir=tmp_path / "data", http_port=http, grpc_port=grpc, config=config)
    try:
        with pytest.raises(FailedPrecondition) as caught:
            supervisor.start(settings, patience_s=120.0, on_wait=lambda waited: None)
    finally:
        supervisor.stop(settings)
    assert supervisor.running(settings) is None
    assert caught.value.reason == "START_FAILED"
    assert "Traceback" not in settings.log_file.read_text()
    return caught.value


def test_a_pickle_as_weights_stops_the_start_with_a_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (canary,)

    weights = pickle.dumps(Evil())
    folder = write_package(tmp_path / "zoo")
    record = yaml.safe_load((folder / "model.yaml").read_text())
    record["files"] = {"weights.safetensors": hashlib.sha256(weights).hexdigest()}
    (folder / "model.yaml").write_text(yaml.safe_dump(record))
    (folder / "weights.safetensors").write_bytes(weights)
    monkeypatch.setenv("EVENHAND_ZOO", str(tmp_path / "zoo"))
    message = refusal(tmp_path).message
    assert "cannot start: WEIGHTS_FORMAT_REFUSED: weights.safetensors of affine/1 is not a safetensors" in message
    assert str(tmp_path / "data" / "platform.log") in message
    assert not canary.exists()


def test_a_wrong_setting_in_the_serve_config_is_named(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text("applications: [{name: a, import_path: 'services.gateway.app:build', args: {colour: red}}]")
    assert "colour" in refusal(tmp_path, config).message


@pytest.mark.ray
def test_a_killed_supervisor_takes_the_serving_process_along(tmp_path: Path) -> None:
    """Else the ports would stay taken by a platform that `down` cannot find."""
    config = tmp_path / "serve.yaml"
    config.write_text("applications: [{name: training, import_path: 'services.training.app:build', args: {}}]")
    data = tmp_path / "data"
    command = [sys.executable, "-m", "services.platform", "run", "--config", str(config)]
    supervising = subprocess.Popen(command, env={**os.environ, "EVENHAND_DATA_DIR": str(data)})
    try:
        wait_until((data / "ledger.db").exists)  # the application's replica runs
        child = int(json.loads((data / "platform.json").read_text())["child"])
        assert Path(f"/proc/{child}").exists()
    finally:
        supervising.kill()
        supervising.wait()
    wait_until(lambda: not Path(f"/proc/{child}").exists())


def wait_until(true: Callable[[], bool], limit_s: float = 150.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)
