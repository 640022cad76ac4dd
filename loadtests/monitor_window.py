"""Closing a window of a monitor: time and memory.

    python loadtests/monitor_window.py [--rows 1000000] [--earlier 12] [--json]

A monitor of 12 labels and 53 groups (sex, age, race, sex by age, age by race) has ``--earlier`` closed windows of 5,000
rows. Then a window of ``--rows`` rows, two a patient, with all their labels, is closed by the very function that the
worker's child process runs, on one core: read from the log, added up, judged beside the windows before, written in one
transaction. Seconds are CPU time; memory is what the process's peak grows by from the small windows to the large one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from figures import ALLOCATOR, on_one_thread, told

LABELS, BATCH, SMALL = 12, 50_000, 5000
LEVELS = {"sex": 2, "age": 5, "race": 6}
GROUPINGS = ("sex", "age", "race", "sex,age", "age,race")
MONITOR = "monitors/load"
DAY = timedelta(days=1)


def body(origin: datetime) -> dict[str, Any]:
    attributes = [{"attribute": name, "levels": [f"{name}{i}" for i in range(n)]} for name, n in LEVELS.items()]
    spec = {
        "labels": [{"label": f"finding {place}", "threshold": 0.5} for place in range(LABELS)],
        "attributes": attributes,
        "groupings": list(GROUPINGS),
        "metrics": ["tpr", "fpr"],
        "alpha": 0.05,
        "planned_windows": 104,
        "window": {"length": "86400s", "origin": origin.isoformat().replace("+00:00", "Z")},
    }
    return {"name": MONITOR, "spec": spec, "digest": "0" * 64, "reference": None}


def record(folder: Path, earlier: int, rows: int) -> None:
    """Write ledger and store: the small windows, then the large one, as the API's batches would."""
    from services.adapters.arrivals import ArrivalLog, Labels, Predictions, WatchSpec
    from services.adapters.ledger import open_ledger
    from services.adapters.object_store import open_object_store

    origin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - (earlier + 1) * DAY
    ledger, store = open_ledger(f"sqlite:///{folder}/ledger.db"), open_object_store(f"file://{folder}/objects")
    ledger.put_resource(MONITOR, "monitor", body(origin))
    spec, log, draw = WatchSpec.of(body(origin)), ArrivalLog(ledger, store), np.random.default_rng(1)
    for day in range(earlier + 1):
        left = rows if day == earlier else SMALL
        while left:
            count = min(left, BATCH)
            left -= count
            records = draw.integers(0, 256, (count, 16), np.uint8)
            patients = draw.integers(0, 256, ((count + 1) // 2, 16), np.uint8).repeat(2, axis=0)[:count]
            start = int((origin + day * DAY).timestamp()) * 1_000_000
            codes = [draw.integers(-1 if n > 2 else 0, n, (count + 1) // 2).repeat(2)[:count] for n in LEVELS.values()]
            truth = (draw.random((LABELS, count)) < 0.2).astype(np.int8)
            scores = np.clip(draw.normal(0.3 + 0.4 * truth, 0.15), 0, 1).astype(np.float32)
            times = start + draw.integers(0, 86_400_000_000, count)
            log.append_predictions(
                MONITOR, spec, Predictions(records, patients, times, np.stack(codes).astype(np.int16), scores, "1"),
                datetime.now(UTC),
            )  # fmt: skip
            log.append_labels(MONITOR, spec, Labels(records, truth), datetime.now(UTC))


def close(folder: Path, earlier: int) -> dict[str, float]:
    """Be the process that closes windows."""
    from services.adapters.ledger import open_ledger
    from services.adapters.object_store import open_object_store
    from services.monitoring.derive import DeriveTask, settle

    ledger_url, store_url = f"sqlite:///{folder}/ledger.db", f"file://{folder}/objects"
    ledger, store = open_ledger(ledger_url), open_object_store(store_url)
    for index in range(earlier):
        settle(ledger, store, DeriveTask(ledger_url, store_url, MONITOR, index))
    before = peak_mib()
    cpu, wall = time.process_time(), time.perf_counter()
    summary = settle(ledger, store, DeriveTask(ledger_url, store_url, MONITOR, earlier))
    return {
        "rows": float(summary["records"]),
        "series": float(len(ledger.latest_points(MONITOR))),
        "close_seconds": time.process_time() - cpu,
        "close_wall_seconds": time.perf_counter() - wall,
        "growth_mib": peak_mib() - before,
    }


def peak_mib() -> float:
    """VmHWM: the most that was ever resident."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="records of the window that is measured")
    parser.add_argument("--earlier", type=int, default=12, help="windows that are closed before it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--in-folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    on_one_thread(ALLOCATOR if options.in_folder is None else None)
    if options.in_folder is not None:
        print(json.dumps(close(options.in_folder, options.earlier)))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="evenhand-load-"))
    try:
        record(folder, options.earlier, options.rows)
        command = [sys.executable, __file__, "--in-folder", str(folder), "--earlier", str(options.earlier)]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if told(found, "monitor_window", as_json=options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
