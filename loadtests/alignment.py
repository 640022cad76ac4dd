"""An alignment's batch against a straightforward one: images per second and the memory that it takes.

    python loadtests/alignment.py [--images 24] [--steps 8] [--rounds 3] [--json]

Both tune the shipped skewed generator on the same prompts with the same guides, at the same number of sampler steps.
Straightforward: image by image, the original and the tuned model sampled for the targets, then the tuned model sampled
again with gradients, every step through a checkpoint that computes the network once more on the way back. Ours: one
sampling of each model in one batch, whose stored inputs are all that the gradient needs, through 2 steps an image drawn
at random, which is the same gradient in expectation. Ours with all steps that learn is told beside it. Each runs in a
process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from loadtests.figures import ALLOCATOR, Figures, told
from services.adapters.weights import DirectoryRegistry
from services.maths.alignment import equalised_coefficients
from services.maths.diffusion.plans import advance, first_state
from services.maths.phantoms.prompt_grids import prompt_grid
from services.training.alignment.adapters import make_trainable
from services.training.alignment.bench import Bench, set_up
from services.training.alignment.fitting import Fitting
from services.training.alignment.objective import judge, originals
from services.training.networks import pin_of
from services.training.tuning import Adapter, Alignment, Batches, Shares
from services.training.zoo import ZOO

HERE = Path(__file__).resolve().parent
OURS, OURS_ALL_STEPS, PLAIN = "ours", "ours_all_steps", "straightforward"
EVALUATIONS = Batches().evaluations


def bench() -> Bench:
    """The shipped generator, its guide, and the encoder."""
    registry = DirectoryRegistry([ZOO])
    base, guide, encoder = map(registry.find, ("cardiac-skewed-diffusion", "cardiac-sex-classifier", "phantom-clip"))
    training, test = prompt_grid("cardiac", "sex")
    shares = Shares("sex", pin_of(guide), guide.labels, (0.5, 0.5))
    prompts, others = (tuple(one.text for one in some) for some in (training, test))
    return set_up(
        Alignment(pin_of(base), (shares,), pin_of(encoder), prompts, others, (str(ZOO),), batches=Batches()),
        lambda network: network,
    )


def ours(images: int, steps: int, evaluations: int) -> Callable[[int], object]:
    """One batch of the product, by its number."""
    made = bench()
    learning = make_trainable(made.generator.unet, Adapter(), seed=1)
    how = Batches(prompts=2, images=images // 2, steps=(steps, steps), evaluations=evaluations, learning_rate=1e-5)
    fitting = Fitting(made.generator, learning, how)
    return lambda number: fitting.step(made.objective, made.alignment.prompts, 1, number)


def straightforward(images: int, steps: int) -> Callable[[int], object]:
    """One batch as one writes it down first: image by image, sampled twice."""
    made = bench()
    generator, objective = made.generator, made.objective
    learning = make_trainable(generator.unet, Adapter(), seed=1)
    optimizer = torch.optim.AdamW(learning, lr=1e-5)
    plan = generator.plan(steps)
    factors = equalised_coefficients(plan, generator.scalings)

    def with_gradient(x: torch.Tensor, prompt: str) -> torch.Tensor:
        states, state = generator.states([prompt]), first_state(x)
        for k, timestep in enumerate(plan.timesteps.tolist()):
            t = torch.full((1,), timestep)
            seen = state.x.detach()
            raw = checkpoint(generator.output, generator.unet, seen, t, states, use_reentrant=False)
            raw.register_hook(lambda gradient, factor=float(factors[k]): factor * gradient)
            clean = generator.scalings.denoised(raw, state.x, t)
            state = advance(plan, torch.full((1,), k), state, clean)
        return state.x

    def batch(number: int) -> None:
        rng = np.random.default_rng(number)
        draws = torch.Generator().manual_seed(number)
        chosen = rng.choice(len(made.alignment.prompts), size=2, replace=False)
        prompts = [made.alignment.prompts[row] for row in np.repeat(chosen, images // 2).tolist()]
        noise = torch.randn(images, *generator.shape, generator=draws)
        drawn = [
            [
                generator.sample(unet, noise[[row]], generator.states([prompt]), plan).image
                for row, prompt in enumerate(prompts)
            ]
            for unet in (generator.original, generator.unet)
        ]
        with torch.no_grad():
            before = originals(objective, generator.pictures(torch.cat(drawn[0])), draws)
        judged = judge(objective, generator.pictures, torch.cat(drawn[1]), before=before, prompts=prompts, rng=rng)
        optimizer.zero_grad(set_to_none=True)
        for row, prompt in enumerate(prompts):
            torch.autograd.backward(with_gradient(noise[[row]], prompt), judged.gradient[[row]])
        optimizer.step()

    return batch


def one(which: str, images: int, steps: int, batches: int) -> dict[str, float]:
    """Images per second of a fresh process, and its largest memory above what loading took, MiB."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if which == PLAIN:
        step = straightforward(images, steps)
    else:
        step = ours(images, steps, EVALUATIONS if which == OURS else steps)
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if which != PLAIN:
        step(0)  # warms up
    started = time.perf_counter()
    for number in range(batches):
        step(number)
    rate = batches * images / (time.perf_counter() - started)
    return {"rate": rate, "peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - loaded) / 1024}


def measure(images: int, steps: int, rounds: int) -> Figures:
    found: dict[str, list[dict[str, float]]] = {OURS: [], PLAIN: [], OURS_ALL_STEPS: []}
    for _ in range(rounds):
        for which, runs in found.items():
            options = ["--one", which, "--images", str(images), "--steps", str(steps)]
            told_by = subprocess.run(
                [sys.executable, str(HERE / "alignment.py"), *options],
                env={**os.environ, **ALLOCATOR},
                stdout=subprocess.PIPE,
                check=True,
            )
            runs.append(json.loads(told_by.stdout))
    figures: Figures = {}
    for which, runs in found.items():
        figures[f"{which}_images_per_s"] = statistics.median(run["rate"] for run in runs)
        figures[f"{which}_peak_mib"] = statistics.median(run["peak"] for run in runs)
    for which in (OURS, OURS_ALL_STEPS):
        pairs = zip(found[which], found[PLAIN], strict=True)
        figures[f"{which}_to_straightforward"] = statistics.median(a["rate"] / b["rate"] for a, b in pairs)
    return figures | {"load_average": os.getloadavg()[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24, help="of one batch, two prompts")
    parser.add_argument("--steps", type=int, default=8, help="of the sampler")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=[OURS, OURS_ALL_STEPS, PLAIN], help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.images, options.steps, batches=1)))
        return 0
    return 0 if told(measure(options.images, options.steps, options.rounds), "alignment", as_json=options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
