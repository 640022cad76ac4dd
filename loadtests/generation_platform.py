"""Generation through a whole platform: the client's streams by the gRPC edge, and the memory of counterfactuals."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from evenhand import Client

from loadtests.figures import Figures
from loadtests.kills import replicas
from loadtests.pelvis_pair import BASE, HELD, SOURCE, TARGET, UPSCALER
from loadtests.platform_run import Platform

IMAGES = 16
LIMIT_S = 1800.0
STEPS, UPSCALE_STEPS = 4, 2  # memory does not depend on them
APPLICATIONS = ("generator", "upscaler")


def client_of(running: Platform) -> Client:
    return Client(f"{running.settings.host}:{running.settings.grpc_port}")


def arrivals(client: Client, count: int, seed: int) -> list[float]:
    """Seconds until each of ``count`` images was there."""
    started = time.perf_counter()
    images = client.generations.stream(model=BASE, attributes=HELD | SOURCE, seed=seed, count=count, timeout=600)
    return [time.perf_counter() - started for _ in images]


def streaming_figures(running: Platform, rounds: int) -> Figures:
    """All ways take turns in every round; ratios are of one round, and their median counts."""
    alone: list[float] = []
    first: list[float] = []
    together: list[float] = []
    apart: list[float] = []
    with client_of(running) as client, ThreadPoolExecutor(IMAGES) as callers:
        list(callers.map(lambda seed: arrivals(client, 1, seed), range(IMAGES)))  # warms up both sides
        for seed in range(100, 100 * (rounds + 1), 100):
            alone.append(arrivals(client, 1, seed)[0])
            times = arrivals(client, IMAGES, seed)
            first.append(times[0])
            together.append(IMAGES / times[-1])
            started = time.perf_counter()
            list(callers.map(lambda seed: arrivals(client, 1, seed), range(seed, seed + IMAGES)))
            apart.append(IMAGES / (time.perf_counter() - started))
    return {
        "one_image_seconds": median(alone),
        "first_of_16_seconds": median(first),
        "first_of_16_to_one_alone": median(a / b for a, b in zip(first, alone, strict=True)),
        "images_per_s_of_one_request": median(together),
        "images_per_s_of_16_requests": median(apart),
        "sixteen_requests_to_one": median(a / b for a, b in zip(apart, together, strict=True)),
    }


def memory_figures(running: Platform, frames: tuple[int, int]) -> Figures:
    """Peaks of the generator's and the upscaler's largest replica; a first, short job warms up all that is lazy."""
    with client_of(running) as client:
        _make(client, frames[0], seed=1)
        small, large = (_peaks(running, client, count, seed) for seed, count in enumerate(frames, start=2))
    found: Figures = {}
    for count, peaks in zip(frames, (small, large), strict=True):
        found |= {f"{name}_mib_at_{count}_frames": peaks[name] for name in APPLICATIONS}
    found["memory_growth_mib"] = max(large[name] - small[name] for name in APPLICATIONS)
    return found


def _make(client: Client, frames: int, seed: int) -> None:
    """A durable counterfactual with super-resolution and one PNG a frame."""
    client.counterfactuals.create(
        SOURCE,
        TARGET,
        model=BASE,
        held=HELD,
        frames=frames,
        seed=seed,
        steps=STEPS,
        upscale_model=UPSCALER,
        upscale_steps=UPSCALE_STEPS,
    ).result(timeout=LIMIT_S)


def _peaks(running: Platform, client: Client, frames: int, seed: int) -> dict[str, float]:
    """MiB that were resident at most, by application, while so many frames were made."""
    processes = {name: replicas(running.supervisor_pid, (f"{name}:",)) for name in APPLICATIONS}
    for pid in (pid for found in processes.values() for pid in found):
        Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")  # forget the peak so far
    _make(client, frames, seed)
    return {name: max(map(_peak_mib, found)) for name, found in processes.items()}


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
