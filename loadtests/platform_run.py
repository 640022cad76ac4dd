"""A whole platform of a load test's own, in a temporary folder, on ports of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import yaml
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, audit_service_pb2_grpc

from services.adapters.ledger import Ledger, Operation, open_ledger
from services.adapters.object_store import ObjectStore, open_object_store
from services.audit.settings import Settings as AuditSettings
from services.hosting.shards import Record
from services.maths.phantoms import draw_cohort
from services.platform import supervisor
from services.platform.settings import Settings as PlatformSettings
from tests.audit.cohorts import put_cohort

ROOT = Path(__file__).resolve().parents[1]
COHORT = "cohorts/load"
PHOTONS = 1000.0
CLASSIFIER, RECONSTRUCTION = "chest-classifier", "xray-unet"


@dataclass(frozen=True)
class Platform:
    """A running platform; its ledger and store are opened beside it, to write cohorts and to watch."""

    settings: PlatformSettings
    ledger: Ledger
    store: ObjectStore

    @property
    def supervisor_pid(self) -> int:
        state = supervisor.running(self.settings)
        assert state is not None, f"the platform is gone; see {self.settings.log_file}"
        return int(state["pid"])

    def create_audit(self, seed: int, reconstruction: str = RECONSTRUCTION) -> Operation:
        """Baseline classify; candidate degrade → reconstruct → classify. Safe to repeat: one request id."""
        spec = audit_spec(seed, reconstruction)
        request = audit_service_pb2.CreateAuditRequest(spec=spec, request_id=str(uuid.uuid4()))
        deadline = time.monotonic() + 120
        with grpc.insecure_channel(f"{self.settings.host}:{self.settings.grpc_port}") as channel:
            stub = audit_service_pb2_grpc.AuditServiceStub(channel)  # type: ignore[no-untyped-call]
            while True:
                try:
                    return self.ledger.get_operation(stub.CreateAudit(request, timeout=60).name)
                except grpc.RpcError as error:
                    away = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                    if not away or time.monotonic() > deadline:
                        raise
                time.sleep(0.5)

    def wait(self, operation: Operation, *, limit_s: float) -> Operation:
        deadline = time.monotonic() + limit_s
        while not (now := self.ledger.get_operation(operation.name)).done:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{operation.name}: {now.rows_done} of {now.rows_total} rows after {limit_s:.0f} s")
            time.sleep(0.1)
        return now


def audit_spec(seed: int, reconstruction: str) -> audit_pb2.AuditSpec:
    low_dose = audit_pb2.Degradation(operator="low-dose-xray", photons=PHOTONS)
    classify = audit_pb2.Stage(classify=CLASSIFIER)
    candidate = [audit_pb2.Stage(degrade=low_dose), audit_pb2.Stage(reconstruct=reconstruction), classify]
    return audit_pb2.AuditSpec(
        cohort=COHORT,
        pipelines=[
            audit_pb2.Pipeline(name="original", stages=[classify]),
            audit_pb2.Pipeline(name="reconstructed", stages=candidate),
        ],
        attributes=["sex"],
        seed=seed,
    )


@contextlib.contextmanager
def platform(gateway: Mapping[str, Any] = MappingProxyType({}), **audit: Any) -> Iterator[Platform]:
    """Start it, wait until it is ready, and end it; arguments are settings of these two applications."""
    folder = Path(tempfile.mkdtemp(prefix="evenhand-load-"))
    config = folder / "serve.yaml"
    config.write_text(yaml.safe_dump(_serve_config({"audit": audit, "gateway": gateway})), "utf-8")
    http, grpc_port = _free_ports(2)
    # The supervisor hands its environment down to Ray and all replicas.
    os.environ |= {
        "EVENHAND_DATA_DIR": str(folder / "data"),
        "EVENHAND_HTTP_PORT": str(http),
        "EVENHAND_GRPC_PORT": str(grpc_port),
        "EVENHAND_SERVE_CONFIG": str(config),
    }
    settings = PlatformSettings(data_dir=folder / "data", http_port=http, grpc_port=grpc_port, config=config)
    opened = AuditSettings()
    try:
        supervisor.start(settings, patience_s=300, on_wait=lambda waited: None)
        yield Platform(settings, open_ledger(opened.ledger), open_object_store(opened.store))
    finally:
        supervisor.stop(settings)
        shutil.rmtree(folder, ignore_errors=True)


def _serve_config(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "deploy/serve/local.yaml").read_text("utf-8"))
    for application in config["applications"]:
        application["args"] = {**application["args"], **settings.get(application["name"], {})}
    return config


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def chest_records(rows: int, *, seed: int = 3) -> Iterator[Record]:
    """At least one image a patient, so ``rows`` patients are more than enough; 64 x 64, as the zoo's models take it."""
    drawn = 0
    for start in range(0, rows, 50):
        cohort = draw_cohort("chest", "planted", 50, seed + start, size=64)
        labels = [name for name in cohort.table.columns if cohort.table[name].dtype == "Int8"]
        for place, row in enumerate(cohort.table.to_dict("records")):
            if drawn == rows:
                return
            drawn += 1
            yield Record(
                record_id=f"{start:05d}-{row['record_id']}",
                patient_id=f"{start:05d}-{row['patient_id']}",
                image=cohort.images[place],
                mask=None,
                attributes={"sex": str(row["sex"])},
                labels={label: _known(row[label]) for label in labels},
                modality="DX",
            )


def _known(value: Any) -> int | None:
    return None if value not in (0, 1) else int(value)


def put_chest_cohort(ledger: Ledger, store: ObjectStore, rows: int) -> list[Record]:
    """The cohort ``cohorts/load``; its records come back for whoever computes the same without a platform."""
    records = list(chest_records(rows))
    put_cohort(ledger, store, COHORT, records, levels={"sex": ("Female", "Male")})
    return records
