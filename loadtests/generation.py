"""Generation: counterfactuals against the published recipe, streams, memory, and how well networks are batched.

    python loadtests/generation.py [--only counterfactual kid batching streaming memory steps] [--json]

    counterfactual  180 frames with super-resolution by the engine that serves, in CPU seconds of one thread, against
                    the recipe of Khosravi et al. 2024 on the same networks, noise and embeddings: DDIM of 200 steps at
                    both stages, guidance at every base step, frame by frame, float32. That recipe is timed on a few
                    frames, evenly spaced, and extrapolated in proportion; on the same frames, the features read from
                    the pixels must agree.
    kid             the distance between base images of 60 patients by that recipe and of 60 others by ours, with its
                    permutation test; and, more sharply, between the same patients by both.
    batching        each shipped network: milliseconds a row at 1, 4 and 16 rows a call, and the share of the core's own
                    matmul rate that its arithmetic reaches.
    streaming       through gateway, generator and gRPC: time to the first of 16 images to that of one image alone, and
                    images a second of 16 requests at once to that of one request for 16.
    memory          peak resident memory of generator and upscaler in counterfactuals of 45 and of 360 frames.
    steps           not by default: what each sampler and number of steps changes in the features, stage by stage. The
                    defaults were chosen by it.

Ends with 1 when a figure is over its budget. --quick takes a few frames, patients and steps: it shows that everything
works and never fails. Without the shipped models, networks with random weights of the same size take their place.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from loadtests.figures import Figures, budgets_of, on_one_thread, told
from loadtests.pelvis_pair import ZOO, Encoder, Pair, PlainRecipe, Recipe, random_registry, shipped
from services.hosting.diffusion.families import Condition
from services.maths.diffusion.guidance import Guidance
from services.maths.fairness.distributions import kid
from services.maths.phantoms.pelvis_reader import PELVIS_FEATURES, read_pelvis

PLAIN_STEPS = 200
BASE_TABLE = {
    "ddim": (20, 50, 200, 1000),
    "dpmpp-2m": (6, 8, 10, 12, 14, 16, 20, 30),
    "unipc": (6, 8, 10, 12, 14, 16, 20, 30),
}
UPSCALE_TABLE = {"ddim": (8, 20, 50, 200), "dpmpp-2m": (2, 4, 6, 8, 12, 20), "unipc": (2, 4, 6, 8, 12, 20)}


@dataclass(frozen=True)
class Sizes:
    """How much is computed."""

    frames: int = 180
    plain_frames: int = 6
    plain_steps: int = PLAIN_STEPS
    most_steps: int = 1000  # of the tables
    patients: int = 60
    rounds: int = 5
    memory_frames: tuple[int, int] = (45, 360)


QUICK = Sizes(frames=8, plain_frames=2, plain_steps=5, most_steps=6, patients=6, rounds=1, memory_frames=(4, 8))


@dataclass(frozen=True)
class Bench:
    """What the figures about sampling share."""

    pair: Pair
    recipe: Recipe
    registry: Path
    sizes: Sizes

    async def null(self) -> torch.Tensor:
        denoiser = self.pair.host.denoiser(self.pair.base)
        nothing: torch.Tensor = (await self.pair.host.engine.run(denoiser.null, Condition())).embedding
        return nothing

    async def plain(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Places of some frames, their base images and super-resolved ones by the published recipe, CPU s a frame."""
        places = np.linspace(0, self.sizes.frames - 1, self.sizes.plain_frames).round().astype(int)
        path, null = await self.pair.path(self.sizes.frames), await self.null()
        recipe = PlainRecipe(self.registry, self.pair.guidance, steps=self.sizes.plain_steps)
        started = time.process_time()
        made = [recipe.frame(path[place], null) for place in places]
        seconds = (time.process_time() - started) / len(places)
        small, large = (np.stack(images) for images in zip(*made, strict=True))
        return places, small, large, seconds


def differences(images: np.ndarray, reference: np.ndarray) -> pd.DataFrame:
    """|ours / theirs - 1| of every feature (columns) in every frame; infinite where only one of them has it."""
    ours, theirs = (read_pelvis(part)[list(PELVIS_FEATURES)] for part in (images, reference))
    apart = (ours / theirs - 1.0).abs()
    return apart.mask(ours.isna() & theirs.isna(), 0.0).fillna(np.inf)


async def counterfactual_figures(bench: Bench) -> Figures:
    places, small, large, plain_seconds = await bench.plain()
    path = await bench.pair.path(bench.sizes.frames)
    await bench.pair.frames(path[:1], Recipe("dpmpp-2m", 1, "dpmpp-2m", 1))  # first use is slow
    started = time.process_time()
    frames = await bench.pair.frames(path, bench.recipe)
    seconds = time.process_time() - started
    apart = differences(frames[places], large)
    return {
        "counterfactual_frames": bench.sizes.frames,
        "counterfactual_cpu_seconds": seconds,
        "counterfactual_plain_cpu_seconds": plain_seconds * bench.sizes.frames,
        "counterfactual_vs_plain": plain_seconds * bench.sizes.frames / seconds,
        "frames_compared": len(places),
        "feature_difference": float(apart.to_numpy().max()),
        **{f"{name}_median": float(apart[name].median()) for name in PELVIS_FEATURES},
        **{f"{name}_largest": float(apart[name].max()) for name in PELVIS_FEATURES},
        **await _same_arithmetic(bench, places[:1], small[:1]),
    }


async def _same_arithmetic(bench: Bench, places: np.ndarray, small: np.ndarray) -> Figures:
    """The engine asked for the published recipe's sampler gives its image: both sample the same model."""
    path = await bench.pair.path(bench.sizes.frames)
    same = await bench.pair.sample(path[places], "ddim", bench.sizes.plain_steps, spacing="trailing")
    return {"same_recipe_pixel_difference": float(np.abs(same - small).max())}


async def kid_figures(bench: Bench) -> Figures:
    """The published recipe in batches here, by the engine: only its time depends on that."""
    count, encoder = bench.sizes.patients, Encoder(bench.registry)
    embeddings, indices = await bench.pair.patients(2 * count), list(range(2 * count))
    recipe = bench.recipe
    plain = await bench.pair.sample(
        embeddings[:count], "ddim", bench.sizes.plain_steps, indices=indices[:count], spacing="trailing"
    )
    ours = await bench.pair.sample(embeddings, recipe.sampler, recipe.steps, indices=indices)
    theirs, mine, patients = encoder.features(plain), encoder.features(ours), np.arange(2 * count)
    others, same = patients[count:], patients[:count]
    apart = kid(theirs, mine[count:], first_cluster=same, second_cluster=others, seed=1)
    paired = kid(theirs, mine[:count], first_cluster=same, second_cluster=same, seed=1)
    return {
        "kid_patients": count,
        "kid": apart.value,
        "kid_standard_error": apart.standard_error,
        "kid_p_value": apart.p_value,
        "kid_of_same_patients": paired.value,
        "kid_of_same_patients_p_value": paired.p_value,
    }


async def steps_figures(bench: Bench) -> Figures:
    """Prints the tables; the figures are the fewest evaluations that keep every feature within the budget."""
    places, small, large, _ = await bench.plain()
    path = (await bench.pair.path(bench.sizes.frames))[places]
    most = bench.sizes.most_steps

    async def base(sampler: str, steps: int) -> pd.DataFrame:
        return differences(await bench.pair.sample(path, sampler, steps), small)

    async def upscaling(sampler: str, steps: int) -> pd.DataFrame:
        return differences(await bench.pair.upscale(small, sampler, steps), large)

    found: Figures = {}
    for name, table, measure in (("base", BASE_TABLE, base), ("upscaling", UPSCALE_TABLE, upscaling)):
        print(f"{name}: difference from DDIM of {bench.sizes.plain_steps} steps, {len(places)} frames", file=sys.stderr)
        print(f"{'sampler':10}{'steps':>6}  {'largest':>8}{'median':>8}  of which largest", file=sys.stderr)
        for sampler, choices in table.items():
            kept = [
                steps
                for steps in choices
                if steps <= most and _line(sampler, steps, await measure(sampler, steps)) <= budget_of_features()
            ]
            found[f"{name}_{sampler}_fewest_steps"] = min(kept, default=np.nan)
    return found


def _line(sampler: str, steps: int, apart: pd.DataFrame) -> float:
    largest = float(apart.to_numpy().max())
    worst = str(apart.max().idxmax())
    median = float(apart.median().max())
    print(f"{sampler:10}{steps:6d}  {largest:8.4f}{median:8.4f}  {worst}", file=sys.stderr)
    return largest


def budget_of_features() -> float:
    return budgets_of("generation")["feature_difference_at_most"]


async def batching_figures(bench: Bench) -> Figures:
    from loadtests.network_costs import network_costs

    registry = ZOO if shipped() else bench.registry
    return await asyncio.to_thread(network_costs, registry)


SAMPLING = {
    "counterfactual": counterfactual_figures,
    "kid": kid_figures,
    "batching": batching_figures,
    "steps": steps_figures,
}
PLATFORM = ("streaming", "memory")
DEFAULT = ["counterfactual", "kid", "batching", *PLATFORM]


async def sampling_figures(wanted: list[str], options: argparse.Namespace, sizes: Sizes, registry: Path) -> Figures:
    torch.set_num_threads(1)
    low, high = options.interval
    guidance = Guidance(options.guidance, (0.0, 1.0), options.rescale)
    pair = Pair(registry, guidance, interval=(low, high))
    recipe = Recipe(options.sampler, options.steps, options.upscale_sampler, options.upscale_steps)
    bench = Bench(pair, pair.filled(recipe), registry, sizes)
    found: Figures = {}
    try:
        for name in wanted:
            found |= await SAMPLING[name](bench)
    finally:
        pair.host.close()
    return found


def platform_figures(wanted: list[str], sizes: Sizes, registry: Path) -> Figures:
    from loadtests.generation_platform import memory_figures, streaming_figures
    from loadtests.platform_run import platform

    os.environ["EVENHAND_ZOO"] = os.pathsep.join(dict.fromkeys([str(ZOO), str(registry)]))
    found: Figures = {}
    with platform() as running:
        if "streaming" in wanted:
            found |= streaming_figures(running, sizes.rounds)
        if "memory" in wanted:
            found |= memory_figures(running, sizes.memory_frames)
    return found


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*SAMPLING, *PLATFORM], default=DEFAULT)
    parser.add_argument("--frames", type=int, default=Sizes.frames)
    parser.add_argument("--plain-frames", type=int, default=Sizes.plain_frames, help="frames of the published recipe")
    parser.add_argument("--patients", type=int, default=Sizes.patients, help="of each side of KID")
    parser.add_argument("--sampler", default="dpmpp-2m")
    parser.add_argument("--steps", type=int, default=0, help="0: the model's own")
    parser.add_argument("--upscale-sampler", default="dpmpp-2m")
    parser.add_argument("--upscale-steps", type=int, default=0, help="0: the model's own")
    parser.add_argument("--guidance", type=float, default=4.0, help="scale of both sides; published: 4")
    parser.add_argument("--rescale", type=float, default=0.7, help="of both sides; published: 0.7, here by sample")
    parser.add_argument("--interval", type=float, nargs=2, default=(0.0, 1.0), help="of ours; published: all of it")
    parser.add_argument("--quick", action="store_true", help="a few frames and steps; never fails")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    on_one_thread()
    options = parsed()
    sizes = QUICK if options.quick else Sizes(options.frames, options.plain_frames, patients=options.patients)
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="evenhand-load-") as folder:
        if not shipped():
            print("no pelvis pair in deploy/zoo: random weights, whose features mean nothing", file=sys.stderr)
        registry = ZOO if shipped() else random_registry(Path(folder))
        sampling = [name for name in options.only if name in SAMPLING]
        if sampling:
            found |= asyncio.run(sampling_figures(sampling, options, sizes, registry))
        if served := [name for name in options.only if name in PLATFORM]:
            found |= platform_figures(served, sizes, registry)
    found["load_average"] = os.getloadavg()[0]
    within = told(found, "generation", as_json=options.json)
    return 0 if within or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
