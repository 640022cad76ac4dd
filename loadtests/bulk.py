"""The bulk path against a bare loop: audit rows per second over the same models on the same cores.

    python loadtests/bulk.py [--rows 2000] [--rounds 3] [--json] [MODEL ...]

For each family of reconstruction, ours: an audit of phantom radiographs, baseline classify and candidate degrade →
reconstruct → classify, from the first lease to the last committed row. Bare: the same three computations, batch by
batch, in one process that holds all pixels in memory already, reads, resizes, checks and writes nothing, and tries
every number of torch threads that the cores allow. Both take turns in every round, with the platform up all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from loadtests.figures import Figures, told
from loadtests.platform_run import CLASSIFIER, PHOTONS, Platform, platform, put_chest_cohort
from services.adapters.ledger import Operation
from services.adapters.weights import DirectoryRegistry
from services.hosting.calls import LocalModelCalls
from services.hosting.shards import Record

HERE = Path(__file__).resolve().parent
BATCH = 32
PIPELINES = 2
MODELS = ("xray-unet", "xray-pix2pix", "xray-irsde", "xray-flow")
LOW_DOSE = {"operator": "low-dose-xray", "photons": PHOTONS, "published_bowtie": False}


async def bare_loop(
    calls: LocalModelCalls, model: str, images: np.ndarray, record_ids: list[str], threads: int
) -> float:
    """Rows per second; a row is one record through one pipeline, as in the audit."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    for start in range(0, len(images), BATCH):
        batch, names = images[start : start + BATCH], record_ids[start : start + BATCH]
        await calls.infer(CLASSIFIER, batch, batch=BATCH)
        degraded = await calls.degrade(batch, names, 1, LOW_DOSE)
        restored = await calls.infer(model, degraded, batch=BATCH)
        await calls.infer(CLASSIFIER, restored, batch=BATCH)
    return PIPELINES * len(images) / (time.perf_counter() - started)


def audit_rate(running: Platform, model: str, seed: int) -> float:
    """Rows per second between the first lease and the last commit of rows, by the ledger's own journal."""
    done: Operation = running.wait(running.create_audit(seed, model), limit_s=3600)
    if done.state != "succeeded":
        raise RuntimeError(f"the audit ended as {done.state}: {done.error}")
    history = running.ledger.history(done.name)
    first = next(entry["time"] for entry in history if entry["event"] == "leased")
    last = max(entry["time"] for entry in history if entry["event"] == "committed" and entry["rows"])
    return float(done.rows_total / (last - first).total_seconds())


def measure(models: Sequence[str], rows: int, rounds: int) -> Figures:
    with platform() as running:
        records: list[Record] = put_chest_cohort(running.ledger, running.store, rows)
        images = np.stack([record.image for record in records])
        names = [record.record_id for record in records]
        zoo = Path(os.environ.get("EVENHAND_ZOO", HERE.parent / "deploy/zoo"))
        calls = LocalModelCalls(DirectoryRegistry([zoo]))
        found: Figures = {}
        for model in models:
            audit_rate(running, model, seed=0)  # warms up replicas, page cache and connections
            ours, bare = [], []
            for round_number in range(1, rounds + 1):
                threads = range(1, len(os.sched_getaffinity(0)) + 1)
                rates = [asyncio.run(bare_loop(calls, model, images, names, count)) for count in threads]
                bare.append(max(rates))
                ours.append(audit_rate(running, model, seed=round_number))
            name = model.replace("-", "_")
            found |= {
                f"{name}_audit_rows_per_s": statistics.median(ours),
                f"{name}_bare_rows_per_s": statistics.median(bare),
                f"{name}_ratio": statistics.median(mine / other for mine, other in zip(ours, bare, strict=True)),
            }
    return found | {"load_average": os.getloadavg()[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--rows", type=int, default=2000, help="records of the cohort")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.models or MODELS, options.rows, options.rounds)
    return 0 if told(found, "bulk", as_json=options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
