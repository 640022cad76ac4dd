"""Single requests of one image at 80 % load: how long do callers wait, in times of a full batch?

    python loadtests/single_requests.py [--rounds 3] [--seconds 15] [--json] [MODEL ...]

For each family of reconstruction, over gRPC of the Open Inference Protocol, on a platform of its own. A full batch is
one call of 32 images while nothing else is served. The capacity is what 64 callers reach, each with one image after
another. Then requests of one image arrive at random (Poisson) at 80 % of that capacity; each is timed from when it was
due, so a client that falls behind cannot hide it. Dynamic batching must keep the 99th percentile near a batch's time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from loadtests.bulk import MODELS
from loadtests.figures import Figures, told
from loadtests.platform_run import PHOTONS, chest_records, platform
from services.maths.imaging.degradation import degrade

METHOD = "/inference.GRPCInferenceService/ModelInfer"
BATCH, CALLERS, LOAD = 32, 64, 0.8
FULL_BATCHES = 7
AS_MANY_CALLERS = {"requests_per_caller": 4096, "waiting_per_queue": 4096}
"""Limits of the gateway under which one client can stand for many."""

Infer = Callable[[bytes], Awaitable[bytes]]


def degraded_images(count: int) -> np.ndarray:
    """(count, 1, 64, 64) float32 in [0, 1]."""
    records = list(chest_records(count))
    images = np.stack([record.image for record in records])
    names = [record.record_id for record in records]
    return degrade(images, names, seed=1, operator="low-dose-xray", photons=PHOTONS)


def request_bytes(model: str, images: np.ndarray) -> bytes:
    request: Any = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[images.tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=images.shape)
    return bytes(request.SerializeToString())


async def seconds_of(infer: Infer, request: bytes) -> float:
    started = time.perf_counter()
    await infer(request)
    return time.perf_counter() - started


async def capacity(infer: Infer, requests: Sequence[bytes], seconds: float) -> float:
    """Calls per second with CALLERS under way."""
    until, done = time.perf_counter() + seconds, 0

    async def caller(first: int) -> None:
        nonlocal done
        number = first
        while time.perf_counter() < until:
            await infer(requests[number % len(requests)])
            number, done = number + CALLERS, done + 1

    started = time.perf_counter()
    await asyncio.gather(*(caller(first) for first in range(CALLERS)))
    return done / (time.perf_counter() - started)


async def waits(infer: Infer, requests: Sequence[bytes], rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds from when each request was due to its answer, at ``rate`` random arrivals per second."""
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, size=int(rate * seconds)))
    started = time.perf_counter() + 1.0  # until then all tasks exist

    async def arrival(number: int) -> float:
        await asyncio.sleep(max(0.0, started + due[number] - time.perf_counter()))
        await infer(requests[number % len(requests)])
        return float(time.perf_counter() - started - due[number])

    gc.collect()
    gc.disable()  # the client's pauses are not the platform's
    try:
        return list(await asyncio.gather(*map(arrival, range(len(due)))))
    finally:
        gc.enable()


async def measure(address: str, models: Sequence[str], rounds: int, seconds: float) -> Figures:
    images = degraded_images(256)
    found: Figures = {}
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)  # type: ignore[call-arg]

        async def infer(request: bytes) -> bytes:
            return bytes(await call(request, timeout=60.0))

        for model in models:
            full = request_bytes(model, images[:BATCH])
            singles = [request_bytes(model, image[None]) for image in images]
            await capacity(infer, singles, 2.0)  # warms up
            batch, most, slowest, middle = [], [], [], []
            for seed in range(rounds):
                batch.append(statistics.median([await seconds_of(infer, full) for _ in range(FULL_BATCHES)]))
                most.append(await capacity(infer, singles, seconds))
                times = np.asarray(await waits(infer, singles, LOAD * most[-1], seconds, seed))
                slowest.append(float(np.percentile(times, 99)))
                middle.append(float(np.percentile(times, 50)))
            name = model.replace("-", "_")
            figures = {
                f"{name}_batch_ms": 1000 * statistics.median(batch),
                f"{name}_capacity_per_s": statistics.median(most),
                f"{name}_p50_ms": 1000 * statistics.median(middle),
                f"{name}_p99_ms": 1000 * statistics.median(slowest),
                f"{name}_p99_in_batches": statistics.median(a / b for a, b in zip(slowest, batch, strict=True)),
            }
            print(json.dumps(figures), file=sys.stderr)
            found |= figures
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with platform(gateway=AS_MANY_CALLERS) as running:
        address = f"{running.settings.host}:{running.settings.grpc_port}"
        found = asyncio.run(measure(address, options.models or MODELS, options.rounds, options.seconds))
    return 0 if told(found, "single_requests", as_json=options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
