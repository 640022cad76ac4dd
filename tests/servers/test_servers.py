"""The fixtures themselves: a server that cannot be had is named, and the others do what tests rely on."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.servers.processes import Daemon, ServerMissing, program
from tests.servers.prometheus import Prometheus


def missing() -> str:
    return program("no-such-server")


def test_a_missing_server_skips_the_test_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Orthanc cannot be had here: the program no-such-server"):
        require("Orthanc", missing)


def test_under_ci_a_missing_server_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Orthanc cannot be had here"):
        require("Orthanc", missing)


def test_a_daemon_that_dies_at_its_start_tells_what_it_said(tmp_path: Path) -> None:
    daemon = Daemon(["/bin/sh", "-c", "echo cannot bind; exit 3"], tmp_path / "log")
    with pytest.raises(ServerMissing, match="cannot bind"):
        daemon.wait_until(lambda: False)


@pytest.fixture
def metrics_address() -> Iterator[str]:
    """A page with one metric, ``answer 42``."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"answer 42\n")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing to see."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.prometheus
def test_prometheus_scrapes_a_page_evaluates_rules_and_refuses_nonsense(
    prometheus: Callable[..., Prometheus], metrics_address: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text('{"groups": [{"name": "g", "rules": [{"record": "half", "expr": "answer / 2"}]}]}')
    server = prometheus([metrics_address], rule_files=[rules])
    assert server.wait_for("answer")[0]["value"][1] == "42"
    assert server.wait_for("half")[0]["value"][1] == "21"
    with pytest.raises(ValueError, match="parse error"):
        server.query("answer +")


@pytest.mark.browser
def test_chromium_is_a_browser(chromium: str) -> None:
    version = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True).stdout
    assert "Chromium" in version
