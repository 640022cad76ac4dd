"""The bulk path against a bare loop: audit rows per second over the same models on the same cores.

    python loadtests/bulk.py [--rows 2000] [--rounds 3] [--json]

Ours: an audit of phantom radiographs, baseline classify and candidate degrade → reconstruct → classify, from the first
lease to the last committed row. Bare: the same three computations, batch by batch, in one process that holds all
pixels in memory already, reads, resizes, checks and writes nothing, and tries every number of torch threads that the
cores allow. Both take turns in every round, with the platform up all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loadtests.platform_run import CLASSIFIER, PHOTONS, RECONSTRUCTION, Platform, platform, put_chest_cohort
from services.adapters.ledger import Operation
from services.adapters.weights import DirectoryRegistry
from services.hosting.calls import LocalModelCalls
from services.hosting.shards import Record

HERE = Path(__file__).resolve().parent
BATCH = 32
PIPELINES = 2
LOW_DOSE = {"operator": "low-dose-xray", "photons": PHOTONS, "published_bowtie": False}


async def bare_loop(calls: LocalModelCalls, images: np.ndarray, record_ids: list[str], threads: int) -> float:
    """Rows per second; a row is one record through one pipeline, as in the audit."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    for start in range(0, len(images), BATCH):
        batch, names = images[start : start + BATCH], record_ids[start : start + BATCH]
        await calls.infer(CLASSIFIER, batch, batch=BATCH)
        degraded = await calls.degrade(batch, names, 1, LOW_DOSE)
        restored = await calls.infer(RECONSTRUCTION, degraded, batch=BATCH)
        await calls.infer(CLASSIFIER, restored, batch=BATCH)
    return PIPELINES * len(images) / (time.perf_counter() - started)


def audit_rate(running: Platform, seed: int) -> float:
    """Rows per second between the first lease and the last commit of rows, by the ledger's own journal."""
    done: Operation = running.wait(running.create_audit(seed), limit_s=3600)
    if done.state != "succeeded":
        raise RuntimeError(f"the audit ended as {done.state}: {done.error}")
    history = running.ledger.history(done.name)
    first = next(entry["time"] for entry in history if entry["event"] == "leased")
    last = max(entry["time"] for entry in history if entry["event"] == "committed" and entry["rows"])
    return float(done.rows_total / (last - first).total_seconds())


def measure(rows: int, rounds: int) -> dict[str, Any]:
    with platform() as running:
        records: list[Record] = put_chest_cohort(running.ledger, running.store, rows)
        images = np.stack([record.image for record in records])
        names = [record.record_id for record in records]
        zoo = Path(os.environ.get("EVENHAND_ZOO", HERE.parent / "deploy/zoo"))
        calls = LocalModelCalls(DirectoryRegistry([zoo]))
        audit_rate(running, seed=0)  # warms up replicas, page cache and connections
        ours, bare = [], []
        for round_number in range(1, rounds + 1):
            threads = range(1, len(os.sched_getaffinity(0)) + 1)
            rates = [asyncio.run(bare_loop(calls, images, names, count)) for count in threads]
            bare.append(max(rates))
            ours.append(audit_rate(running, seed=round_number))
    return {
        "load_average": os.getloadavg()[0],
        "audit_rows_per_s": statistics.median(ours),
        "bare_rows_per_s": statistics.median(bare),
        "ratio": statistics.median(mine / other for mine, other in zip(ours, bare, strict=True)),
        "rounds": [{"audit": mine, "bare": other} for mine, other in zip(ours, bare, strict=True)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="records of the cohort")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    budget = tomllib.loads((HERE / "budgets.toml").read_text("utf-8"))["bulk"]["ratio_at_least"]
    found = measure(options.rows, options.rounds)
    within = found["ratio"] >= budget
    if options.json:
        print(json.dumps({**found, "budget": budget, "within": within}))
    else:
        print(f"audit      {found['audit_rows_per_s']:8.1f} rows/s")
        print(f"bare loop  {found['bare_rows_per_s']:8.1f} rows/s")
        print(f"ratio      {found['ratio']:8.2f}   budget at least {budget}")
        print(f"load       {found['load_average']:8.2f}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
