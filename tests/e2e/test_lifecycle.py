"""up and down are idempotent, end only what they started, and a killed Ray comes back by itself."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.conftest import MainJob, Platform

pytestmark = pytest.mark.ray


def state(platform: Platform) -> dict:
    return json.loads((platform.data_dir / "platform.json").read_text())


def test_up_again_does_nothing(platform: Platform) -> None:
    before = state(platform)
    assert "already running" in platform.run("platform", "up").stderr
    assert state(platform) == before


def test_status_says_where_it_runs(platform: Platform) -> None:
    said = json.loads(platform.run("platform", "status", "--json").stdout)
    assert said["running"] and said["ready"]


def test_a_second_platform_on_the_same_ports_is_refused_by_name(platform: Platform, tmp_path: Path) -> None:
    other = Platform(
        platform.http, platform.grpc, tmp_path, {**platform.environment, "EVENHAND_DATA_DIR": str(tmp_path)}
    )
    done = other.run("platform", "up", check=False)
    assert done.returncode == 6
    assert "EVENHAND_HTTP_PORT" in done.stderr
    assert other.run("platform", "down").returncode == 0


def test_down_without_up_does_nothing(tmp_path: Path, platform: Platform) -> None:
    other = Platform("", "", tmp_path, {**platform.environment, "EVENHAND_DATA_DIR": str(tmp_path)})
    assert "not running" in other.run("platform", "down").stderr


def test_doctor_finds_everything_well(platform: Platform) -> None:
    assert platform.run("doctor").returncode == 0


def test_everything_listens_on_loopback_only(platform: Platform) -> None:
    """Ray itself binds more than it should whatever it is told; our own two ports must not."""
    http, grpc = (int(address.rpartition(":")[2]) for address in (platform.http, platform.grpc))
    ours = [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port in (http, grpc)]
    assert {c.laddr.port for c in ours} == {http, grpc}
    assert {c.laddr.ip.removeprefix("::ffff:") for c in ours} == {"127.0.0.1"}


def test_after_its_ray_was_killed_the_platform_serves_again_and_has_lost_nothing(
    platform: Platform, main_job: MainJob
) -> None:
    child = int(state(platform)["child"])
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        time.sleep(1.0)
        if state(platform)["child"] != child and '"ready": true' in platform.run("platform", "status", "--json").stdout:
            break
    else:
        pytest.fail((platform.data_dir / "platform.log").read_text(errors="replace")[-3000:])
    shown = json.loads(platform.run("audits", "show", main_job.audit["name"], "--json").stdout)
    assert shown["reportDigest"] == main_job.audit["reportDigest"]
    assert httpx.get(f"{platform.http}/v1/models/chest-classifier").status_code == 200
