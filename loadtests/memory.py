"""Peak memory of the audit worker on a small and on a large cohort.

    python loadtests/memory.py [--small 2000] [--large 50000] [--json]

Each audit runs in a process of its own that is nothing but the worker, over a real ledger and a directory store. The
models are stubs that answer at once, so that what grows can only be the worker's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from google.longrunning import operations_pb2

from services.adapters.ledger import open_ledger
from services.adapters.object_store import open_object_store
from services.audit.audits import Audits
from services.audit.publish import SubprocessPublisher
from services.audit.settings import Settings
from services.audit.synthesis.maker import RayImageMaker
from services.audit.worker import Worker
from services.hosting.shards import Record
from tests.audit.cohorts import put_cohort

HERE = Path(__file__).resolve().parent
COHORT = "cohorts/load"
SIZE = 32
LABELS = ("Edema", "Fracture", "Pneumothorax", "Atelectasis")
PIXELS = {"channels": 1, "height": SIZE, "width": SIZE, "low": 0.0, "high": 1.0}


class StubCalls:
    """Two models that answer at once: ``read`` with fixed columns of its input, ``restore`` with its input."""

    async def catalogue(self) -> list[dict[str, Any]]:
        common = {"version": "1", "input": PIXELS, "label_column": "", "degradation": None}
        read = {"name": "read", "task": "classification", "digest": "r", "output": None, "labels": list(LABELS)}
        restore = {"name": "restore", "task": "reconstruction", "digest": "i", "output": PIXELS, "labels": []}
        thresholds = dict.fromkeys(LABELS, 0.5)
        return [{**common, **read, "thresholds": thresholds}, {**common, **restore, "thresholds": {}}]

    async def infer(self, model: str, images: np.ndarray, *, batch: int) -> np.ndarray:
        return images[:, 0, 0, : len(LABELS)] if model == "read" else images

    async def degrade(
        self, images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
    ) -> np.ndarray:
        return images


def records(count: int) -> Iterator[Record]:
    for index in range(count):
        draw = np.random.default_rng(index)
        yield Record(
            record_id=f"r{index:06d}",
            patient_id=f"p{index // 2:06d}",
            image=draw.random((1, SIZE, SIZE), np.float32),
            mask=None,
            attributes={"sex": ("Female", "Male")[index // 2 % 2]},
            labels={label: int(draw.random() < 0.3) for label in LABELS},
            modality="DX",
        )


async def create(folder: Path, count: int) -> str:
    """Cohort and audit in ``folder``; the operation's name."""
    settings = Settings(data_dir=folder, ledger_url="", store_url="")
    ledger, store = open_ledger(settings.ledger), open_object_store(settings.store)
    put_cohort(ledger, store, COHORT, records(count), levels={"sex": ("Female", "Male")})
    restore = [audit_pb2.Stage(reconstruct="restore"), audit_pb2.Stage(classify="read")]
    spec = audit_pb2.AuditSpec(
        cohort=COHORT,
        pipelines=[
            audit_pb2.Pipeline(name="original", stages=restore[1:]),
            audit_pb2.Pipeline(name="restored", stages=restore),
        ],
        attributes=["sex"],
    )
    request = audit_service_pb2.CreateAuditRequest(spec=spec)
    answer = await Audits(ledger, store, StubCalls(), settings).create(request.SerializeToString())
    return str(operations_pb2.Operation.FromString(answer).name)


async def work(folder: Path, name: str) -> dict[str, Any]:
    """Be the worker until the operation is done; what it needed."""
    settings = Settings(data_dir=folder, ledger_url="", store_url="")
    ledger = open_ledger(settings.ledger)
    worker = Worker(
        "memory",
        ledger=ledger,
        store=open_object_store(settings.store),
        calls=StubCalls(),
        maker=RayImageMaker(),
        publish=SubprocessPublisher(settings.store),
        settings=settings,
    )
    running = asyncio.create_task(worker.run())
    while not (operation := await asyncio.to_thread(ledger.get_operation, name)).done:
        await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    if operation.state != "succeeded":
        raise RuntimeError(f"the audit ended as {operation.state}: {operation.error}")
    assert operation.start_time is not None
    seconds = (operation.update_time - operation.start_time).total_seconds()
    return {"peak_mib": _peak_mib(), "seconds": seconds, "rows": operation.rows_total}


def _peak_mib() -> float:
    """VmHWM: the most that was ever resident. Children, as the report's process, are not in it."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def measure(count: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="evenhand-load-"))
    try:
        name = asyncio.run(create(folder, count))
        command = [sys.executable, __file__, "--worker", str(folder), "--operation", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=2000, help="records of the small cohort")
    parser.add_argument("--large", type=int, default=50_000, help="records of the large cohort")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--operation", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(asyncio.run(work(options.worker, options.operation))))
        return 0
    budget = tomllib.loads((HERE / "budgets.toml").read_text("utf-8"))["memory"]["growth_at_most"]
    small, large = measure(options.small), measure(options.large)
    growth = large["peak_mib"] / small["peak_mib"] - 1
    if options.json:
        print(json.dumps({"small": small, "large": large, "growth": growth, "budget": budget}))
    else:
        for found in (small, large):
            print(f"{found['rows']:7d} rows  peak {found['peak_mib']:7.1f} MiB  {found['seconds']:6.1f} s")
        print(f"growth   {100 * growth:5.1f} %   budget at most {100 * budget:.0f} %")
    return 0 if growth <= budget else 1


if __name__ == "__main__":
    sys.exit(main())
