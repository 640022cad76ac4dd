"""A real Alertmanager on loopback, and a page that takes what it posts."""

from __future__ import annotations

import http.server
import json
import queue
import shutil
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

from .processes import Daemon, free_ports, program


class Alertmanager:
    """Runs a configuration file; ``address`` is its own ``host:port``. It looks for no peers."""

    def __init__(self, configuration: Path) -> None:
        server = program("prometheus-alertmanager")
        self._folder = Path(tempfile.mkdtemp(prefix="evenhand-alertmanager-"))
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        arguments = [
            server,
            f"--config.file={configuration}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]
        self._daemon = Daemon(arguments, self._folder / "log")
        self._daemon.wait_until(self._ready)

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it holds, inhibited and silenced ones too."""
        with urllib.request.urlopen(f"http://{self.address}/api/v2/alerts", timeout=5) as reply:
            found: list[dict[str, Any]] = json.load(reply)
            return found

    def stop(self) -> None:
        self._daemon.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


class Webhook:
    """Takes posts: ``address`` is its ``host:port``, ``posted`` a queue of (path, body)."""

    def __init__(self) -> None:
        self.posted: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        posted = self.posted

        class Page(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                posted.put((self.path, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing to see."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def shipped_routes_at_once(routes: Path, webhook: Webhook, folder: Path) -> Path:
    """A copy of the shipped routes that posts to ``webhook``, and groups alerts for a second only."""
    text = routes.read_text().replace("hooks.example:9099", webhook.address)
    quick = folder / "alertmanager.yml"
    quick.write_text(
        text.replace("group_wait: 30s", "group_wait: 1s").replace("group_interval: 5m", "group_interval: 1s")
    )
    return quick
