"""The platform on one machine: a supervisor process, and under it a child that owns a local Ray with all applications.

Ray is disposable: nothing that matters lives in it. When the child dies, Ray dies with it in a few seconds, the
supervisor starts another, and audits go on from the ledger.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.errors import FailedPrecondition, Unavailable
from services.platform.serving import START_FAILED
from services.platform.settings import Settings
from services.platform.signals import signalled

RESTART_PAUSE_S = 2.0
STOP_S = 30.0
SHOWN_LINES = 10


def supervise(settings: Settings) -> int:
    """Keep one child serving until SIGTERM or SIGINT; a child that ends by itself is followed by another.

    Returns the exit status: 0, or START_FAILED where the very first child could not start, which is a mistake in the
    configuration. A later one may fail for passing reasons and is tried again.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(settings.metrics_dir, ignore_errors=True)  # series of processes that are gone
    settings.metrics_dir.mkdir()
    stop = signalled()
    status, first = 0, True
    while not stop():
        child = subprocess.Popen([sys.executable, "-m", "services.platform", "child", str(settings.config)])
        _write_state(settings, os.getpid(), child.pid)
        while child.poll() is None and not stop():
            time.sleep(0.1)
        if stop():
            _end(child)
            break
        if first and child.returncode == START_FAILED:
            status = START_FAILED
            break
        first = False
        print(f"the serving process ended with {child.returncode}; starting another", file=sys.stderr)  # noqa: T201
        time.sleep(RESTART_PAUSE_S)
    settings.state_file.unlink(missing_ok=True)
    for folder in (settings.ray_dir, settings.near_dir):
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _write_state(settings: Settings, supervisor: int, child: int) -> None:
    state = {
        "pid": supervisor,
        "child": child,
        "start_ticks": _start_ticks(supervisor),
        "http": f"http://{settings.host}:{settings.http_port}",
        "grpc": f"{settings.host}:{settings.grpc_port}",
    }
    fresh = settings.state_file.with_suffix(".new")
    fresh.write_text(json.dumps(state), "utf-8")
    fresh.replace(settings.state_file)


def running(settings: Settings) -> dict[str, Any] | None:
    """The state of the platform that owns this data directory, or None. A recycled pid is told by its start time."""
    try:
        state: dict[str, Any] = json.loads(settings.state_file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return state if _start_ticks(int(state["pid"])) == state["start_ticks"] else None


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return None if fields[0] == "Z" else int(fields[19])
    return None


def ready(settings: Settings) -> bool:
    """Whether the gateway says that it can take work: models loaded, ledger and store writable."""
    url = f"http://{settings.host}:{settings.http_port}/v2/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=2.0) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start(settings: Settings, *, patience_s: float, on_wait: Callable[[float], None]) -> bool:
    """Start the platform in the background and wait until it is ready. False if it was running already.

    Raises Unavailable with the log's path when it does not get ready in time, FailedPrecondition with the log's last
    lines as soon as it has ended, or when another program holds one of its ports.
    """
    already = running(settings) is not None
    if not already:
        _check_ports(settings)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with settings.log_file.open("ab") as log:
            log_start = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "services.platform", "run", "--config", str(settings.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    started = time.monotonic()
    while not ready(settings):
        waited = time.monotonic() - started
        if not already and process.poll() is not None:
            said = _last_lines(settings.log_file, log_start)
            raise FailedPrecondition(f"{said}\nits log is {settings.log_file}", reason="START_FAILED")
        if waited > patience_s:
            raise Unavailable(f"the platform did not get ready; its log is {settings.log_file}", reason="NOT_READY")
        on_wait(waited)
        time.sleep(0.2)
    return not already


def _last_lines(log: Path, start: int) -> str:
    """The end of what was written to ``log`` after its first ``start`` bytes."""
    with log.open("rb") as file:
        file.seek(start)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-SHOWN_LINES:])


def _check_ports(settings: Settings) -> None:
    import socket

    for field in ("http_port", "grpc_port"):
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex((settings.host, getattr(settings, field))) == 0:
                raise FailedPrecondition(
                    f"port {getattr(settings, field)} is taken by another program; set EVENHAND_{field.upper()}",
                    field=field,
                    reason="PORT_TAKEN",
                )


def stop(settings: Settings) -> bool:
    """End the platform of this data directory, and nothing else. False if none was running."""
    state = running(settings)
    if state is None:
        return False
    pid, ticks = int(state["pid"]), state["start_ticks"]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S + 5.0
    while _start_ticks(pid) == ticks and time.monotonic() < deadline:
        time.sleep(0.1)
    if _start_ticks(pid) == ticks:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(state["child"]), signal.SIGKILL)
    settings.state_file.unlink(missing_ok=True)
    return True
