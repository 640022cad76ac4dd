"""Paper 000's full configuration on one CUDA card: 180 frames at 1024 x 1024, by the engine that serves.

    python loadtests/pelvis_gpu.py [--frames 180] [--steps 20] [--upscale-steps 20] [--interval 0 1] [--json]
    python loadtests/pelvis_gpu.py --smoke

Base network 256 x 256 (width 128, multipliers 1 1 2 2 4 4, attention at factors 8, 16 and 32, embedding 512; 125.6 M
parameters, 505 GFLOP a row), super-resolution 1024 x 1024 (width 64, attention at 32; 29.7 M parameters, 1,984 GFLOP a
row), both with random weights, which serve for timing. bfloat16, channels-last, torch.compile, torch's attention
kernels; DPM-Solver++(2M), guidance 4 at every base step unless an interval is given. The published run took 101
minutes. A sweep over rows a call, not compiled, picks each network's quickest batch that fits the memory; compiling
and warming up are timed apart.

Without a CUDA card it says so and ends with 0. --smoke runs tiny networks on the CPU, to show that the script works.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loadtests.figures import Figures, budgets_of, show, within
from loadtests.network_costs import best_seconds, caller, gflop_a_row
from services.hosting.diffusion.families import Condition
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings
from services.maths.diffusion.guidance import Guidance
from services.maths.diffusion.paths import embedding_path
from tests.diffusion_packages import PELVIS, write_class_to_image, write_super_resolution

FRAMES, PUBLISHED_S = 180, 101 * 60
SEED = 11
# Dense bfloat16 TFLOP/s by their makers' data sheets; the longest name that fits counts.
PEAKS = {"B200": 2250.0, "H200": 989.4, "H100 PCIe": 756.0, "H100": 989.4, "A100": 311.9, "L40S": 362.1, "L4": 121.0}
H200_CLASS = 900.0  # from this peak on the budget applies


@dataclass(frozen=True)
class Configuration:
    """Both networks, the sizes of their images, and how the card is used."""

    base: Mapping[str, Any]
    upscaler: Mapping[str, Any]
    size: int
    device: str
    dtype: str
    compiled: str
    batches: Sequence[int]
    factor: int = 4


FULL = Configuration(
    base={"width": 128, "multipliers": [1, 1, 2, 2, 4, 4], "attention_factors": [8, 16, 32], "embedding": 512},
    upscaler={"width": 64, "multipliers": [1, 1, 2, 2, 4, 4], "attention_factors": [32]},
    size=256,
    device="cuda",
    dtype="bfloat16",
    compiled="on",
    batches=(1, 2, 4, 8, 16, 32, 64),
)
_TINY = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention_factors": [2], "heads": 2}
TINY = Configuration(_TINY, _TINY, 16, "cpu", "float32", "off", (1, 2))


class Tally:
    """Rows that the networks were called with, and the rows that they were filled up to."""

    def __init__(self) -> None:
        self.rows = self.padded = 0

    def __call__(self, model: str, rows: int, padded: int, seconds: float) -> None:
        self.rows += rows
        self.padded += padded


@dataclass(frozen=True)
class Stage:
    """One model in a host of its own, as generator and upscaler are, at its quickest batch."""

    host: DiffusionHost
    gflop: float
    ready_s: float
    swept: dict[int, float]
    tally: Tally


def write_models(folder: Path, configuration: Configuration) -> None:
    """Random weights, in two registries: each host serves one model."""
    places = sum(len(condition.get("levels", [1])) for condition in PELVIS)
    small, large = (
        {"channels": 1, "height": size, "width": size, "low": -1.0, "high": 1.0}
        for size in (configuration.size, configuration.size * configuration.factor)
    )
    base = {"in_channels": 1, "out_channels": 1, "conditions": places, **configuration.base}
    write_class_to_image(folder / "base", architecture=base, input=small, output=small)
    upscaler = {"in_channels": 2, "out_channels": 1, **configuration.upscaler}
    write_super_resolution(
        folder / "upscaler", architecture=upscaler, input=small, output=large, factor=configuration.factor
    )


def open_host(registry: Path, task: str, configuration: Configuration, tally: Tally, **changes: Any) -> DiffusionHost:
    device = {"device": configuration.device, "dtype": configuration.dtype}
    settings = DiffusionSettings(registries=(registry,), most_waiting=100_000, **device, **changes)
    return DiffusionHost(settings, (task,), on_call=tally)


async def prepare(registry: Path, task: str, configuration: Configuration) -> Stage:
    """Sweep, then open for serving: compiled and warm."""
    host = open_host(registry, task, configuration, Tally(), compile="off")
    record = host.find(host.catalogue()[0]["name"])
    denoiser, condition = host.denoiser(record), await host.any_condition(record)
    swept, gflop = sweep(denoiser, condition, configuration), gflop_a_row(denoiser, condition)
    host.close()
    del host, denoiser
    started, tally = time.perf_counter(), Tally()
    batch = min(swept, key=lambda rows: swept[rows])
    host = open_host(registry, task, configuration, tally, compile=configuration.compiled, batch=batch)
    await host.warm_up()
    tally.rows = tally.padded = 0  # warming up does not count
    return Stage(host, gflop, time.perf_counter() - started, swept, tally)


def sweep(denoiser: Any, condition: Condition, configuration: Configuration) -> dict[int, float]:
    """Milliseconds a row by rows a call, as far as memory goes."""
    found: dict[int, float] = {}
    for rows in configuration.batches:
        call = caller(denoiser, condition, rows)
        try:
            found[rows] = 1000 * best_seconds(lambda call=call: _finished(call), seconds=0.2) / rows
        except torch.OutOfMemoryError:
            break
        if configuration.device == "cuda":
            torch.cuda.empty_cache()
    return found


def _finished(call: Any) -> None:
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


async def sample_base(stage: Stage, frames: int, steps: int, guidance: Guidance) -> np.ndarray:
    host = stage.host
    record = host.find("pelvis-diffusion")
    denoiser, plan = host.denoiser(record), host.plan(record, "dpmpp-2m", steps)

    def walk() -> torch.Tensor:
        size = sum(attribute.places for attribute in record.attributes())
        return embedding_path(denoiser.embed(np.zeros(size)), denoiser.embed(np.ones(size)), frames)

    path = await host.engine.run(walk)
    null = await host.engine.run(denoiser.null, Condition(path[0]))
    orders = [Order(Condition(embedding), plan, SEED, guidance=guidance, null=null) for embedding in path]
    return await host.images(record, orders)


async def upscale(stage: Stage, images: np.ndarray, steps: int) -> np.ndarray:
    host = stage.host
    record = host.find("pelvis-upscaler")
    denoiser, plan = host.denoiser(record), host.plan(record, "dpmpp-2m", steps)
    hints = [await host.engine.run(denoiser.enlarge, image) for image in images]
    return await host.images(record, [Order(Condition(hint=hint), plan, SEED, stage="upscale") for hint in hints])


async def measure(folder: Path, configuration: Configuration, options: argparse.Namespace) -> Figures:
    write_models(folder, configuration)
    base = await prepare(folder / "base", "class-to-image", configuration)
    upscaler = await prepare(folder / "upscaler", "super-resolution", configuration)
    cuda = configuration.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    guidance = Guidance(options.guidance, tuple(options.interval))
    images = await sample_base(base, options.frames, options.steps, guidance)
    base_s = time.perf_counter() - started
    large = await upscale(upscaler, images, options.upscale_steps)
    seconds = time.perf_counter() - started
    assert np.isfinite(large).all() and len(large) == options.frames
    tflop = (base.tally.rows * base.gflop + upscaler.tally.rows * upscaler.gflop) / 1000
    peak = peak_tflops(configuration)
    for stage in (base, upscaler):
        stage.host.close()
    return {
        "frames": options.frames,
        "base_gflop_a_row": base.gflop,
        "upscaler_gflop_a_row": upscaler.gflop,
        **{f"base_ms_a_row_of_{rows}": ms for rows, ms in base.swept.items()},
        **{f"upscaler_ms_a_row_of_{rows}": ms for rows, ms in upscaler.swept.items()},
        "compile_and_warm_up_seconds": base.ready_s + upscaler.ready_s,
        "base_seconds": base_s,
        "upscaler_seconds": seconds - base_s,
        "seconds": seconds,
        "published_to_ours": PUBLISHED_S * options.frames / FRAMES / seconds if cuda else np.nan,
        "rows_filled": (base.tally.rows + upscaler.tally.rows) / (base.tally.padded + upscaler.tally.padded),
        "tflops": tflop / seconds,
        "peak_tflops": peak,
        "fraction_of_peak": tflop / seconds / peak,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else np.nan,
    }


def peak_tflops(configuration: Configuration) -> float:
    """The data sheet's where the card is known, else what a large product of matrices reaches."""
    if configuration.device == "cuda":
        name = torch.cuda.get_device_name()
        known = [key for key in PEAKS if all(word in name for word in key.split())]
        if known:
            return PEAKS[max(known, key=len)]
    side = 8192 if configuration.device == "cuda" else 512
    a, b = torch.rand(2, side, side, device=configuration.device).to(getattr(torch, configuration.dtype))
    return 2e-12 * side**3 / best_seconds(lambda: _finished(lambda: a @ b))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--upscale-steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--interval", type=float, nargs=2, default=(0.0, 1.0), help="noise levels that are guided")
    parser.add_argument("--batches", type=int, nargs="+", default=None, help="rows a call to try")
    parser.add_argument("--smoke", action="store_true", help="tiny networks on the CPU")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    options = parsed()
    if not options.smoke and not torch.cuda.is_available():
        print("pelvis_gpu: there is no CUDA card here; nothing was measured")
        return 0
    configuration = TINY if options.smoke else FULL
    if options.smoke:
        options.frames, options.steps, options.upscale_steps = 5, 3, 2
    if options.batches:
        configuration = replace(configuration, batches=tuple(options.batches))
    with tempfile.TemporaryDirectory(prefix="evenhand-load-") as folder:
        found = asyncio.run(measure(Path(folder), configuration, options))
    budgets = budgets_of("pelvis_gpu") if options.frames == FRAMES and not options.smoke else {}
    over = [name for name in budgets if not within(name, budgets[name], found)]
    device = torch.cuda.get_device_name() if not options.smoke else "cpu (smoke)"
    if options.json:
        print(json.dumps({"device": device, **found, "budgets": budgets, "over": over}))
    else:
        print(device)
        show(found, budgets)
    return 1 if over and found["peak_tflops"] >= H200_CLASS else 0


if __name__ == "__main__":
    sys.exit(main())
