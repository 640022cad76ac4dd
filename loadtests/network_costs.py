"""What a call of each shipped network costs on one thread, and how near that is to what the core can do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from loadtests.figures import Figures
from services.hosting.diffusion.families import Condition, Denoiser, Window
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.loading import TASKS
from services.hosting.diffusion.settings import ROWS_ON_CPU, DiffusionSettings

ROWS = (1, ROWS_ON_CPU, 16)
MATRIX = 1024
SECONDS = 0.5  # of each measurement; the best call counts, as other work can only make one slower


Clock = Callable[[], float]


def best_seconds(
    call: Callable[[], object], *, seconds: float = SECONDS, clock: Clock = time.perf_counter, least: int = 3
) -> float:
    """Seconds of the quickest of several calls; with ``time.thread_time`` those of this thread, who else may run."""
    call()
    found: list[float] = []
    while len(found) < least or sum(found) < seconds:
        started = clock()
        call()
        found.append(clock() - started)
    return min(found)


def matmul_gflops() -> float:
    """What one thread reaches in a float32 product of large matrices."""
    a, b = torch.rand(2, MATRIX, MATRIX)
    return 2e-9 * MATRIX**3 / best_seconds(lambda: a @ b, clock=time.thread_time)


def caller(denoiser: Denoiser, condition: Condition, rows: int) -> Callable[[], torch.Tensor]:
    """A call of the network as the engine makes it, with ``rows`` rows."""
    device = next(part.device for part in (condition.embedding, condition.hint) if part is not None)
    x = torch.randn(rows, *denoiser.shape, device=device)
    t = torch.full((rows,), 500)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return denoiser.output(x, t, [condition] * rows, [Window()] * rows)

    return call


def gflop_a_row(denoiser: Denoiser, condition: Condition) -> float:
    """Attention by plain products here: the counter does not know every kernel."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        caller(denoiser, condition, 1)()
    return float(counter.get_total_flops()) / 1e9


def network_costs(registry: Path) -> Figures:
    torch.set_num_threads(1)
    host = DiffusionHost(DiffusionSettings(registries=(registry,), device="cpu"), TASKS)
    peak = matmul_gflops()
    found: Figures = {"matmul_gflops": peak}
    worst = 0.0
    for entry in host.catalogue():
        record = host.find(entry["name"], entry["version"])
        denoiser, condition = host.denoiser(record), asyncio.run(host.any_condition(record))
        seconds = {
            rows: best_seconds(caller(denoiser, condition, rows), clock=time.thread_time) / rows for rows in ROWS
        }
        work = gflop_a_row(denoiser, condition)
        found |= {f"{record.name}_ms_a_row_of_{rows}": 1000 * seconds[rows] for rows in ROWS}
        found[f"{record.name}_gflop_a_row"] = work
        found[f"{record.name}_share_of_matmul"] = work / seconds[ROWS_ON_CPU] / peak
        worst = max(worst, seconds[ROWS_ON_CPU] / min(seconds.values()))
    found["served_batch_to_best"] = worst
    host.close()
    return found
