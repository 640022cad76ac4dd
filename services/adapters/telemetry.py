"""Request, batch and queue metrics through prometheus_client, and a twin that counts nothing.

Several processes serve one ``/metrics``: every process writes its values into files of one folder, and any of them can
answer a scrape for all. The folder is PROMETHEUS_MULTIPROC_DIR, or ``metrics`` under EVENHAND_DATA_DIR where the
platform's supervisor made it; without either, values are the process's own.
Label values come from the API's method names, the model registry and status names only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import values as client_values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

REQUEST_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
BATCH_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Collector(Protocol):
    """Computes metrics at scrape time."""

    def collect(self) -> Iterable[Metric]: ...


class Telemetry(Protocol):
    """What a serving process reports about itself."""

    def request(self, *, transport: str, method: str, status: str, seconds: float) -> None:
        """One answered request; ``status`` is a canonical gRPC status name on both transports."""
        ...

    def inference(self, *, model: str, status: str) -> None:
        """One model call of a caller; ``model`` is a name from the catalogue."""
        ...

    def batch(self, *, app: str, model: str, size: int, padded: int, seconds: float) -> None:
        """One network call: ``size`` rows, filled up to ``padded``."""
        ...

    def queue(self, *, queue: str, running: int, waiting: int) -> None:
        """How many requests of an admission queue run and wait now."""
        ...

    def rows(self, *, kind: str, outcome: str, count: int) -> None:
        """Rows that arrived for monitors: ``kind`` is "predictions" or "labels", ``outcome`` what became of them."""
        ...

    def ready(self, *, app: str, ready: bool) -> None:
        """Whether this replica can take work."""
        ...

    def exposition(self, collectors: Iterable[Collector] = ()) -> bytes:
        """All processes' values and the given collectors', in Prometheus' text format."""
        ...


class NullTelemetry:
    """Counts nothing."""

    def request(self, *, transport: str, method: str, status: str, seconds: float) -> None:
        pass

    def inference(self, *, model: str, status: str) -> None:
        pass

    def batch(self, *, app: str, model: str, size: int, padded: int, seconds: float) -> None:
        pass

    def queue(self, *, queue: str, running: int, waiting: int) -> None:
        pass

    def rows(self, *, kind: str, outcome: str, count: int) -> None:
        pass

    def ready(self, *, app: str, ready: bool) -> None:
        pass

    def exposition(self, collectors: Iterable[Collector] = ()) -> bytes:
        return _text(collectors)


class PrometheusTelemetry:
    """Metrics in prometheus_client. ``folder`` is the multiprocess folder, or None for this process alone."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        own = self._registry = CollectorRegistry()
        self._requests = Counter(
            "evenhand_gateway_requests", "Answered requests.", ["transport", "method", "status"], registry=own
        )
        self._seconds = Histogram(
            "evenhand_gateway_request_seconds",
            "Time from a request's arrival to its answer.",
            ["transport", "method"],
            buckets=REQUEST_BUCKETS,
            registry=own,
        )
        self._inferences = Counter(
            "evenhand_gateway_inferences", "Model calls of callers.", ["model", "status"], registry=own
        )
        self._running = Gauge(
            "evenhand_gateway_running", "Requests being served.", ["queue"], multiprocess_mode="livesum", registry=own
        )
        self._waiting = Gauge(
            "evenhand_gateway_waiting",
            "Requests admitted but waiting.",
            ["queue"],
            multiprocess_mode="livesum",
            registry=own,
        )
        self._ready = Gauge(  # by app: without a label every process that never set it would say 0
            "evenhand_ready", "1 while all replicas can take work.", ["app"], multiprocess_mode="livemin", registry=own
        )
        self._arrivals = Counter(
            "evenhand_gateway_arrival_rows", "Rows that arrived for monitors.", ["kind", "outcome"], registry=own
        )
        self._batch_rows = Histogram(
            "evenhand_batch_rows",
            "Rows of a network call before padding.",
            ["app", "model"],
            buckets=BATCH_ROWS,
            registry=own,
        )
        self._batch_seconds = Histogram(
            "evenhand_batch_seconds", "Time of a network call.", ["app", "model"], buckets=BATCH_SECONDS, registry=own
        )
        self._padding = Counter(
            "evenhand_batch_padding_rows", "Rows computed only to fill a batch up.", ["app", "model"], registry=own
        )

    def request(self, *, transport: str, method: str, status: str, seconds: float) -> None:
        self._requests.labels(transport, method, status).inc()
        self._seconds.labels(transport, method).observe(seconds)

    def inference(self, *, model: str, status: str) -> None:
        self._inferences.labels(model, status).inc()

    def batch(self, *, app: str, model: str, size: int, padded: int, seconds: float) -> None:
        self._batch_rows.labels(app, model).observe(size)
        self._batch_seconds.labels(app, model).observe(seconds)
        self._padding.labels(app, model).inc(padded - size)

    def queue(self, *, queue: str, running: int, waiting: int) -> None:
        self._running.labels(queue).set(running)
        self._waiting.labels(queue).set(waiting)

    def rows(self, *, kind: str, outcome: str, count: int) -> None:
        self._arrivals.labels(kind, outcome).inc(count)

    def ready(self, *, app: str, ready: bool) -> None:
        self._ready.labels(app).set(ready)

    def exposition(self, collectors: Iterable[Collector] = ()) -> bytes:
        if self._folder is None:
            return _text([self._registry, *collectors])
        _forget_dead_processes(self._folder)
        return _text([MultiProcessCollector(None, str(self._folder)), *collectors])  # type: ignore[no-untyped-call]


def open_telemetry() -> Telemetry:
    """Telemetry of this process, shared with the platform's other processes where there is a folder for it."""
    folder = _shared_folder()
    if folder is None:
        return PrometheusTelemetry()
    folder.mkdir(parents=True, exist_ok=True)
    # prometheus_client chooses between files and memory when it is imported, which Ray may have done long before us.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    client_values.ValueClass = client_values.get_value_class()  # type: ignore[no-untyped-call]
    return PrometheusTelemetry(folder)


def _shared_folder() -> Path | None:
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if os.environ.get("EVENHAND_DATA_DIR"):
        folder = Path(os.environ["EVENHAND_DATA_DIR"]) / "metrics"
        return folder if folder.is_dir() else None
    return None


def _text(collectors: Iterable[Collector]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)  # type: ignore[arg-type]
    return generate_latest(registry)


def _forget_dead_processes(folder: Path) -> None:
    """Gauges of a killed replica would lie for ever; counters and histograms of the dead stay, as they must."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
