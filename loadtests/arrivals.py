"""Predictions recorded for a monitor: rows a second through one gateway process on one core, and kill -9 of it.

    python loadtests/arrivals.py [--batches 120] [--kills 5] [--json]

A real gateway process (ledger SQLite, store a directory, both flushed to disk) is pinned to one core; this process
sends it batches of 5,000 rows with 12 labels and 4 attributes over gRPC, four under way at a time, and counts what was
acknowledged. Then the gateway is killed at random moments while batches are under way and started again: every row of
every acknowledged batch must be there once, and a batch that is sent again must be found to be there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import grpc
import numpy as np
from evenhand.monitoring.v1 import monitoring_service_pb2 as pb

from loadtests.figures import Figures, told
from services.adapters.arrivals import ArrivalLog, WatchSpec, digest_ids
from services.adapters.ledger import Ledger, open_ledger
from services.adapters.object_store import DirectoryStore

MONITOR = "monitors/load"
METHOD = "/evenhand.monitoring.v1.MonitoringService/RecordPredictions"
ROWS = 5_000
UNDER_WAY = 4
Answers = dict[int, tuple[pb.RecordPredictionsResponse, float]]

LEVELS = ("one", "two", "three", "four")
LABELS = [f"label {number}" for number in range(12)]
BODY = {
    "name": MONITOR,
    "spec": {
        "labels": [{"label": label, "threshold": 0.5} for label in LABELS],
        "attributes": [{"attribute": f"attribute {number}", "levels": list(LEVELS)} for number in range(4)],
        "window": {"length": "864000000s", "origin": "2020-01-01T00:00:00Z"},
    },
}


def batch_bytes(number: int) -> bytes:
    """A serialized request of 5,000 rows, the same for the same number."""
    rng = np.random.default_rng(number)
    now = 1_780_000_000_000_000
    request = pb.RecordPredictionsRequest(
        monitor=MONITOR,
        record_ids=record_ids(number),
        patient_ids=[f"patient-{number}-{row // 2}" for row in range(ROWS)],
        time_micros=(now + rng.integers(0, 10**9, ROWS)).tolist(),
        attributes=[
            pb.AttributeColumn(attribute=f"attribute {place}", levels=LEVELS, codes=rng.integers(-1, 4, ROWS).tolist())
            for place in range(4)
        ],
        scores=[pb.ScoreColumn(label=label, scores=rng.random(ROWS, np.float32).tolist()) for label in LABELS],
        model_version="1",
    )
    return request.SerializeToString()


def record_ids(number: int) -> list[str]:
    return [f"study-{number:06d}-{row:05d}" for row in range(ROWS)]


async def serve(folder: Path) -> None:
    """One gateway process without models: what a replica does, but for Ray."""
    from services.adapters.telemetry import PrometheusTelemetry
    from services.gateway.backends import LocalBackends
    from services.gateway.edge import open_edge
    from services.gateway.replica import Replica
    from services.gateway.settings import Settings

    ledger, store = parts(folder)
    settings = Settings(data_dir=folder, grpc_port=0, http_port=0, drain_s=0.0)
    telemetry = PrometheusTelemetry()
    edge = open_edge(settings, backends=LocalBackends({}), ledger=ledger, store=store, telemetry=telemetry)
    replica = Replica(edge)
    await replica.start()
    print(replica.grpc_port, flush=True)
    await asyncio.Event().wait()


def parts(folder: Path) -> tuple[Ledger, DirectoryStore]:
    return open_ledger(f"sqlite:///{folder}/ledger.db"), DirectoryStore(folder / "objects")


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway process and its address."""
    command = [sys.executable, __file__, "--serve", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the gateway did not start"
        yield process, f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(30)


async def send(address: str, batches: dict[int, bytes], *, kill_after: tuple[int, float] | None = None) -> Answers:
    """Answers, and the seconds they took, of the batches that were acknowledged.

    ``kill_after``: a process to kill so many seconds after the first answer; what is under way then is not answered.
    """
    answered: Answers = {}
    left = list(batches.items())[::-1]

    async def sender(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
        while left:
            number, payload = left.pop()
            started = time.perf_counter()
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = pb.RecordPredictionsResponse.FromString(await call(payload, timeout=60))
                answered[number] = answer, time.perf_counter() - started

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)  # type: ignore[call-arg]
        sending = asyncio.gather(*(sender(call) for _ in range(UNDER_WAY)))
        if kill_after is not None:
            while not answered and not sending.done():
                await asyncio.sleep(0.005)
            await asyncio.sleep(kill_after[1])
            os.kill(kill_after[0], signal.SIGKILL)
        await sending
    return answered


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_rate(folder: Path, count: int) -> Figures:
    """Rows a second on the clock, and of the gateway's CPU time."""
    batches = {number: batch_bytes(number) for number in range(count)}
    with gateway(folder) as (process, address):
        asyncio.run(send(address, {count: batch_bytes(count)}))  # the first loads libraries
        before, started = cpu_seconds(process.pid), time.perf_counter()
        answered = asyncio.run(send(address, batches))
        seconds, cpu = time.perf_counter() - started, cpu_seconds(process.pid) - before
    recorded = sum(answer.recorded for answer, _ in answered.values())
    assert recorded == ROWS * count, f"{recorded} rows of {ROWS * count} were recorded"
    return {
        "rows_per_second": recorded / seconds,
        "rows_per_cpu_second": recorded / cpu,
        "batch_p50_ms": 1000 * median(took for _, took in answered.values()),
    }


def measure_kills(folder: Path, kills: int, chance: random.Random) -> Figures:
    """Rows of acknowledged batches that are lost or doubled after as many kills."""
    acknowledged: dict[int, bytes] = {}
    for kill in range(kills):
        batches = {number: batch_bytes(number) for number in range(1000 + 40 * kill, 1040 + 40 * kill)}
        with gateway(folder) as (process, address):
            done = asyncio.run(send(address, batches, kill_after=(process.pid, chance.uniform(0.0, 0.6))))
        assert len(done) < len(batches), "nothing was under way when the gateway was killed"
        acknowledged |= {number: batches[number] for number in done}
    with gateway(folder) as (_, address):
        again = asyncio.run(send(address, acknowledged))
    lost = sum(answer.recorded for answer, _ in again.values()) + ROWS * (len(acknowledged) - len(again))
    return {"acknowledged_before_kills": ROWS * len(acknowledged), "rows_lost": lost, "rows_doubled": doubled(folder)}


def doubled(folder: Path) -> int:
    """Records that lie in more than one segment, read past the log that would hide it."""
    import pyarrow as pa

    ledger, store = parts(folder)
    found = []
    for segment in ledger.segments(MONITOR, kind="predictions"):
        if segment.key:
            with pa.ipc.open_stream(store.get(segment.key)) as reader:
                found += reader.read_next_batch()["record"].to_pylist()
    rows = ArrivalLog(ledger, store).read_window(MONITOR, WatchSpec.of(BODY), 0)
    assert len(rows.patients) == len(set(found)), "the window has other records than the segments"
    assert {bytes(digest) for digest in digest_ids(record_ids(0))} <= set(found)
    return len(found) - len(set(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=120)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        asyncio.run(serve(options.serve))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="arrivals-"))
    try:
        ledger, _ = parts(folder)
        ledger.put_resource(MONITOR, "monitor", BODY)
        ledger.close()
        found = measure_rate(folder, options.batches)
        found |= measure_kills(folder, options.kills, random.Random(options.seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if told(found, "arrivals", as_json=options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
