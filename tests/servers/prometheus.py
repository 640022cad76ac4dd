"""A real Prometheus on loopback that scrapes what a test serves."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .processes import Daemon, free_ports, program


class Prometheus:
    """Scrapes ``targets`` (``host:port`` or ``host:port/path``); ``url`` is its own address.

    A scrape may take as long as the time between two, ``every``.

    The first target's job is "evenhand", as in deploy/prometheus. Alerts go to ``alertmanagers`` (``host:port``).
    """

    def __init__(
        self,
        targets: Sequence[str],
        rule_files: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        *,
        every: str = "250ms",
    ) -> None:
        server = program("prometheus")
        self._folder = Path(tempfile.mkdtemp(prefix="evenhand-prometheus-"))
        jobs = []
        for number, target in enumerate(targets):
            host, _, path = target.partition("/")
            jobs.append(
                {
                    "job_name": f"target-{number}" if number else "evenhand",
                    "metrics_path": f"/{path or 'metrics'}",
                    "static_configs": [{"targets": [host]}],
                }
            )
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "scrape_configs": jobs,
            "rule_files": [str(path.absolute()) for path in rule_files],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
        }
        (self._folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        arguments = [
            server,
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._daemon = Daemon(arguments, self._folder / "log")
        self._daemon.wait_until(self._ready)

    def query(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query, now or ``at`` a Unix time; ValueError with Prometheus' own words if wrong."""
        asked = {"query": promql} if at is None else {"query": promql, "time": str(at)}
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as reply:
                result: list[dict[str, Any]] = json.load(reply)["data"]["result"]
                return result
        except urllib.error.HTTPError as error:
            raise ValueError(f"{promql}: {json.load(error)['error']}") from error

    def wait_for(self, promql: str, timeout_s: float = 20) -> list[dict[str, Any]]:
        """:meth:`query` until it has a result."""
        end = time.monotonic() + timeout_s
        while not (result := self.query(promql)):
            if time.monotonic() > end:
                raise TimeoutError(f"{promql} had no result in {timeout_s} s")
            time.sleep(0.1)
        return result

    def stop(self) -> None:
        self._daemon.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False
