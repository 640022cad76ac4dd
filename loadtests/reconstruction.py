"""Reconstruction by sampling: our default against the published 100 steps, on the same network, noise and thread.

    python loadtests/reconstruction.py [--quick] [--table] [--json]

For each shipped IR-SDE: CPU seconds of one thread for the same held-out phantoms by the published sampler (posterior,
100 steps) and by the model's own default, taking turns; and what the images lose by it: PSNR, and the perceptual
distance to the originals in the features of the zoo's image encoder (LPIPS with an encoder of such images). With
--table, for orientation and without a budget, the same for other numbers of steps, samplers and families.

Ends with 1 when a figure is over its budget. --quick takes a few images: it shows that everything works and never
fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from loadtests.figures import Figures, cpu_seconds, on_one_thread, ratio, told
from services.adapters.restoration import SampledRestoration
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.hosting.networks import load_network
from services.maths.imaging.perceptual import encoder_distance
from services.maths.imaging.quality import psnr
from services.maths.networks.resnet import ResNet18
from services.maths.pixels import to_model
from services.training.examples import HELD_OUT, Examples, draw_examples
from services.training.recipes import RECIPES
from services.training.scoring import predict

ZOO = Path(__file__).parents[1] / "deploy" / "zoo"
ENCODER = "phantom-clip"
PUBLISHED_STEPS = 100
BATCH = 32
FRESH_SEED = 9002
MODALITIES = {"xray": "xray-irsde", "mri": "mri-irsde"}
OTHERS = {"xray": ("xray-unet", "xray-pix2pix", "xray-flow"), "mri": ("mri-unet", "mri-pix2pix", "mri-flow")}


class Bench:
    """The zoo's networks, and the encoder that compares images."""

    def __init__(self) -> None:
        self._registry = DirectoryRegistry([ZOO])
        record, encoder = self.load(ENCODER)
        assert isinstance(encoder, ResNet18)
        self._spec, self._encoder = record.input.spec(), encoder

    def load(self, name: str) -> tuple[ModelRecord, torch.nn.Module]:
        record = self._registry.find(name)
        return record, load_network(record, self._registry.load_tensors(record))

    def judged(self, restored: np.ndarray, originals: np.ndarray) -> tuple[float, float]:
        """Mean PSNR in dB and mean perceptual distance."""
        seen, wanted = (to_model(images, self._spec) for images in (restored, originals))
        distances = encoder_distance(seen, wanted, self._encoder)
        return float(np.mean(psnr(restored, originals))), float(np.mean(distances))


def restored(network: torch.nn.Module, examples: Examples, how: SampledRestoration | None) -> np.ndarray:
    return predict(network, examples.inputs, "reconstruction", BATCH, restoration=how)


def with_steps(record: ModelRecord, sampler: str, steps: int) -> SampledRestoration:
    assert isinstance(record.restoration, SampledRestoration)
    return record.restoration.model_copy(update={"sampler": sampler, "steps": steps})


def compare(bench: Bench, modality: str, patients: int, rounds: int, *, more: bool) -> Figures:
    """The default of one shipped IR-SDE to the published sampler."""
    record, network = bench.load(MODALITIES[modality])
    stated = record.restoration
    assert isinstance(stated, SampledRestoration)
    published = with_steps(record, "posterior", PUBLISHED_STEPS)
    examples = draw_examples(RECIPES[record.name], HELD_OUT, patients, FRESH_SEED)
    originals = examples.targets.numpy()
    full, ours = (bench.judged(restored(network, examples, how), originals) for how in (published, stated))
    few = Examples(*(part[:BATCH] for part in (examples.inputs, examples.targets, examples.patients)))
    seconds = [
        (cpu_seconds(lambda: restored(network, few, published)), cpu_seconds(lambda: restored(network, few, stated)))
        for _ in range(rounds)
    ]
    if more:
        table(bench, modality, record, network, examples)
    return {
        f"{modality}_calls": float(stated.process().plan(stated.sampler, stated.steps).evaluations),
        f"{modality}_speed": ratio([theirs for theirs, _ in seconds], [own for _, own in seconds]),
        f"{modality}_psnr_lost_db": full[0] - ours[0],
        f"{modality}_perceptual_growth": ours[1] / full[1] - 1.0,
    }


def table(bench: Bench, modality: str, record: ModelRecord, network: torch.nn.Module, examples: Examples) -> None:
    """PSNR and perceptual distance by sampler and steps, and of the other families, as shipped."""
    originals = examples.targets.numpy()
    rows = {"degraded": examples.inputs.numpy()}
    for sampler in ("posterior", "sde", "ode"):
        for steps in (100, 20, 10) if sampler != "posterior" else (100, 50, 20, 15, 10, 7, 5):
            rows[f"{record.name} {sampler} {steps}"] = restored(network, examples, with_steps(record, sampler, steps))
    for name in OTHERS[modality]:
        other, its_network = bench.load(name)
        rows[name] = predict(its_network, examples.inputs, "reconstruction", BATCH, restoration=other.restoration)
    for name, images in rows.items():
        decibels, distance = bench.judged(images, originals)
        print(f"    {name:32} PSNR {decibels:6.2f} dB   perceptual {distance:.4f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few images; never fails")
    parser.add_argument("--table", action="store_true", help="also other steps, samplers and families, half an hour")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    on_one_thread()
    torch.set_num_threads(1)
    patients, rounds = (4, 1) if arguments.quick else (80, 3)
    bench = Bench()
    found: Figures = {}
    for modality in MODALITIES:
        found |= compare(bench, modality, patients, rounds, more=arguments.table)
    within = told(found, "reconstruction", as_json=arguments.json)
    return 0 if within or arguments.quick else 1


if __name__ == "__main__":
    sys.exit(main())
