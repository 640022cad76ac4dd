from __future__ import annotations

import os
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRITON_PYTHON = ROOT / ".venv-triton" / "bin" / "python"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="session")
def triton_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Triton server with tests/servers/triton_models.py; .ci/install-servers makes its environment."""
    if not TRITON_PYTHON.exists():
        message = "Triton: no .venv-triton with nvidia-pytriton (.ci/install-servers makes it)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    ports = free_ports(3)
    # The backend's stub loads the system's libpython unless it is told where this interpreter's own lies.
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR"),
        "TMPDIR": str(tmp_path_factory.mktemp("triton")),
    }
    command = [TRITON_PYTHON, ROOT / "tests/servers/triton_models.py", *map(str, ports), "0.5", "0.25"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    )
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if line.strip() == "ready":
                break
        else:
            pytest.fail("the Triton server ended before it was ready")
        yield f"127.0.0.1:{ports[0]}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
