"""A small world for monitors: SQLite and a directory in one folder, two labels, and traffic whose truth is known.

``Fleet`` runs workers in processes of their own, as ``python -m tests.monitoring.world FOLDER`` started them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from evenhand.monitoring.v1 import drift_pb2, monitor_pb2, monitoring_service_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import ParseDict

from services.adapters.arrivals import ArrivalLog, WatchSpec
from services.adapters.ledger import Ledger, open_ledger
from services.adapters.object_store import ObjectStore, open_object_store
from services.adapters.weights import DirectoryRegistry
from services.audit.results.formats import predictions_table
from services.audit.results.reduce import reduce, report_json
from services.hosting.calls import LocalModelCalls
from services.monitoring.derive import DeriveTask, settle
from services.monitoring.monitors import Monitors
from services.monitoring.settings import Settings
from services.monitoring.windows import Windows
from services.monitoring.worker import Worker
from tests.audit.world import Processes
from tests.monitoring.traffic import DAY, LABELS, LEVELS, THRESHOLDS, Traffic, predictions, truths
from tests.packages import write_classifier

QUICK: dict[str, Any] = {
    "lease_ttl_s": 1.0,
    "renew_every_s": 0.2,
    "watch_every_s": 0.05,
    "poll_every_s": 0.02,
    "look_every_s": 0.05,
    "folders_every_s": 0.05,
    "settle_s": 0.0,
    "quiet_s": 0.3,
}


# Days are counted back from the minute in which the tests began, not from midnight: traffic and monitors agree on it,
# and no further day ends while a test runs.
BEGAN = datetime.now(UTC).replace(second=0, microsecond=0)


@dataclass
class World:
    folder: Path
    models: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        places: dict[str, Any] = {"data_dir": self.folder, "ledger_url": "", "store_url": ""}
        return Settings(**{**places, "import_roots": (self.folder / "imports",), **QUICK, **self.more})

    def ledger(self) -> Ledger:
        return open_ledger(self.settings.ledger, skew_s=0.1)

    def store(self) -> ObjectStore:
        return open_object_store(self.settings.store)

    def calls(self) -> LocalModelCalls:
        return LocalModelCalls(DirectoryRegistry([self.folder / "models"]))

    def monitors(self) -> Monitors:
        return Monitors(self.ledger(), self.store(), self.calls(), self.settings)

    def windows(self) -> Windows:
        return Windows(self.ledger(), self.store())

    async def create(self, request_id: str = "", **spec: Any) -> monitor_pb2.Monitor:
        request = monitoring_service_pb2.CreateMonitorRequest(
            spec=monitor_spec(**spec), display_name="small", request_id=request_id
        )
        return monitor_pb2.Monitor.FromString(await self.monitors().create(request.SerializeToString()))

    async def get(self, name: str) -> monitor_pb2.Monitor:
        request = monitoring_service_pb2.GetMonitorRequest(name=name)
        return monitor_pb2.Monitor.FromString(await self.monitors().get(request.SerializeToString()))

    async def window(self, monitor: str, index: int) -> drift_pb2.MonitorWindow:
        request = monitoring_service_pb2.GetWindowRequest(name=f"{monitor}/windows/{index}")
        return drift_pb2.MonitorWindow.FromString(await self.windows().get(request.SerializeToString()))

    async def alarms(self, monitor: str) -> list[drift_pb2.Alarm]:
        request = monitoring_service_pb2.ListAlarmsRequest(parent=monitor)
        answer = await self.windows().alarms(request.SerializeToString())
        return list(monitoring_service_pb2.ListAlarmsResponse.FromString(answer).alarms)

    async def rederive(self, monitor: str, index: int) -> operations_pb2.Operation:
        request = monitoring_service_pb2.RederiveWindowRequest(name=f"{monitor}/windows/{index}")
        return operations_pb2.Operation.FromString(await self.windows().rederive(request.SerializeToString()))

    def record(self, monitor: str, origin: datetime, *traffic: Traffic, labels: bool = True) -> None:
        """Predictions and, by default, labels of traffic, in one batch each."""
        log = ArrivalLog(self.ledger(), self.store())
        spec = WatchSpec.of(self.body(monitor))
        for part in traffic:
            frame = part.frame()
            log.append_predictions(monitor, spec, predictions(frame, spec, origin, part), datetime.now(UTC))
            if labels:
                log.append_labels(monitor, spec, truths(frame), datetime.now(UTC))

    def body(self, monitor: str) -> dict[str, Any]:
        body = self.ledger().get_resource(monitor)
        assert body is not None
        return body

    def close(self, monitor: str, count: int) -> list[dict[str, Any]]:
        """Close windows 0 to ``count`` - 1, here and now, without any worker; their summaries."""
        ledger, store, settings = self.ledger(), self.store(), self.settings
        return [
            settle(ledger, store, DeriveTask(settings.ledger, settings.store, monitor, index)) for index in range(count)
        ]

    def worker(self, name: str = "worker", **settings: Any) -> Worker:
        ledger, store = self.ledger(), self.store()

        async def derive_here(task: DeriveTask) -> dict[str, Any]:
            return await asyncio.to_thread(settle, ledger, store, task)

        chosen = self.settings.model_copy(update=settings)
        return Worker(name, ledger=ledger, store=store, derive=derive_here, settings=chosen)

    async def until(self, done: Any, *workers: Worker, limit_s: float = 60) -> None:
        """Let the workers run until ``done()`` is true."""
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            async with asyncio.timeout(limit_s):
                while not await asyncio.to_thread(done):
                    await asyncio.sleep(0.02)
                    for task in running:
                        if task.done():
                            task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def digests(self, monitor: str) -> list[str]:
        summaries, _ = self.ledger().list_windows(monitor, page_size=1000)
        return [summary["digest"] for summary in summaries]

    def put_audit(self, traffic: Traffic, name: str = "audits/reference", pipeline: str = "original") -> str:
        """A finished audit of traffic, as the audit service leaves one behind."""
        frame = traffic.frame()
        parts = [
            pd.DataFrame(
                {
                    "record_id": frame["record_id"],
                    "patient_id": frame["patient_id"],
                    "pipeline": pipeline,
                    "task": "classification",
                    "label": label,
                    "y_true": frame[f"truth.{label}"],
                    "y_score": frame[f"score.{label}"],
                    "threshold": threshold,
                    **{f"attribute_{attribute}": frame[attribute] for attribute in LEVELS},
                }
            )
            for label, threshold in zip(LABELS, THRESHOLDS, strict=True)
        ]
        rows = pd.concat(parts, ignore_index=True)
        report = reduce(
            rows,
            pd.DataFrame(),
            attributes=list(LEVELS),
            baseline=pipeline,
            levels={key: list(levels) for key, levels in LEVELS.items()},
            min_patients=5,
            min_cases=10,
            permutations=19,
            replicates=0,
            provenance={},
        )
        store = self.store()
        files = {"report.json": report_json(report, {}), "predictions.parquet": predictions_table(rows)}
        artifacts = [{"filename": filename, **asdict(store.put(data))} for filename, data in files.items()]
        self.ledger().put_resource(name, "audit", {"name": name, "artifacts": artifacts, "state": "STATE_SUCCEEDED"})
        return name


def monitor_spec(**changes: Any) -> monitor_pb2.MonitorSpec:
    """Two labels, sex and age, windows of a day that began ten days ago; fields in the protos' JSON mapping."""
    plain: dict[str, Any] = {
        "labels": [
            {"label": label, "threshold": threshold} for label, threshold in zip(LABELS, THRESHOLDS, strict=True)
        ],
        "attributes": [{"attribute": name, "levels": list(levels)} for name, levels in LEVELS.items()],
        "window": {"length": "86400s", "origin": stamp(BEGAN - 10 * DAY)},
        "planned_windows": 20,
    }
    plain |= changes
    return ParseDict({key: value for key, value in plain.items() if value is not None}, monitor_pb2.MonitorSpec())


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def make_world(folder: Path, **more: Any) -> World:
    (folder / "imports").mkdir()
    thresholds = dict(zip(LABELS, THRESHOLDS, strict=True))
    write_classifier(folder / "models", name="chest", labels=LABELS, seed=1, thresholds=thresholds)
    write_classifier(
        folder / "models",
        name="sex",
        task="attribute-classification",
        labels=("Female", "Male"),
        label_column="sex",
        seed=2,
    )
    return World(folder, more=more)


class Fleet(Processes):
    """Monitoring workers of a world, each in a process of its own that closes windows in processes of theirs."""

    def __init__(self, world: World) -> None:
        super().__init__("tests.monitoring.world", world.folder)


def _work_forever(folder: Path) -> None:
    from services.monitoring.derive import SubprocessDeriver

    world = World(folder)
    name = f"process-{os.getpid()}-{time.time_ns()}-{uuid.uuid4().hex[:4]}"
    worker = Worker(
        name, ledger=world.ledger(), store=world.store(), derive=SubprocessDeriver(), settings=world.settings
    )
    asyncio.run(worker.run())


if __name__ == "__main__":
    _work_forever(Path(sys.argv[1]))
