"""A registry with an untrained encoder, and generators whose faults are known because they are planted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save

from services.adapters.weights import ModelRecord
from services.maths.networks import build_network
from services.maths.phantoms.captions import attributes_of, parse
from services.maths.pixels import PixelSpec
from services.training.generative.images import TRAINING, VALIDATION, draw_pictures

ORGAN, SEED, PATIENTS = "chest", 7, 60
SPEC = PixelSpec(1, 64, 64)
RANGE = {"low": -1.0, "high": 1.0}
MODEL = {
    "name": "tiny-text",
    "version": "1",
    "task": "text-to-image",
    "family": "latent-diffusion",
    "input": {"channels": 1, "height": 64, "width": 64, **RANGE},
    "output": {"channels": 1, "height": 64, "width": 64, **RANGE},
    "diffusion": {},
    "licence": "Apache-2.0",
    "training": {"recipe": "tiny-text", "world": "null", "organs": [ORGAN], "patients": PATIENTS, "seed": SEED},
}
Ask = Callable[[Mapping[str, Any]], Iterator[tuple[int, np.ndarray, dict[str, str]]]]


def write_registry(root: Path, **changed: Any) -> Path:
    """An encoder of random weights, which see enough of a phantom, and the record of a generator."""
    torch.manual_seed(0)
    architecture = {"in_channels": 3, "outputs": 8, "width": 8}
    network = build_network("resnet18", architecture)
    data = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    encoder = {
        "name": "phantom-clip",
        "version": "1",
        "task": "image-embedding",
        "family": "resnet18",
        "architecture": architecture,
        "input": {"channels": 3, "height": 64, "width": 64, **RANGE},
        "licence": "Apache-2.0",
        "files": {"weights.safetensors": hashlib.sha256(data).hexdigest()},
    }
    for plain in (encoder, {**MODEL, **changed}):
        record = ModelRecord.model_validate(plain)
        folder = root / record.name / record.version
        folder.mkdir(parents=True)
        (folder / "model.yaml").write_text(yaml.safe_dump(record.model_dump(mode="json", exclude_defaults=True)))
    (root / "phantom-clip" / "1" / "weights.safetensors").write_bytes(data)
    return root


class Pool:
    """Phantoms of one role and world, looked up by what a prompt names."""

    def __init__(self, world: str, role: int, patients: int) -> None:
        pictures = draw_pictures(ORGAN, world, role, patients=patients, seed=SEED, pixels=SPEC)
        self.pixels = pictures.pixels.numpy()
        self.attributes = [attributes_of(ORGAN, row) for row in pictures.table.to_dict("records")]

    def rows(self, wanted: Mapping[str, str]) -> list[int]:
        fits = (all(told[name] == level for name, level in wanted.items()) for told in self.attributes)
        return [row for row, fitting in enumerate(fits) if fitting]


def faultless(pool: Pool) -> Ask:
    """Real images of other patients under the condition asked for."""
    rng = np.random.default_rng(1)

    def ask(wanted: Mapping[str, Any]) -> Iterator[tuple[int, np.ndarray, dict[str, str]]]:
        rows = pool.rows(parse(wanted["prompt"])[1])
        for number in range(wanted["count"]):
            index = wanted["first_index"] + number
            yield index, pool.pixels[rng.choice(rows)], {"noise_digest": f"{index}"}

    return ask


def without_effusions_in_women(pool: Pool) -> Ask:
    """Drops one group's finding."""
    right = faultless(pool)

    def ask(wanted: Mapping[str, Any]) -> Iterator[tuple[int, np.ndarray, dict[str, str]]]:
        prompt = str(wanted["prompt"])
        if "Female" in prompt:
            prompt = prompt.replace("left pleural effusion", "no pleural effusion")
            prompt = prompt.replace("right pleural effusion", "no pleural effusion")
        yield from right({**wanted, "prompt": prompt})

    return ask


def collapsed(pool: Pool) -> Ask:
    """One image for each condition, from one noise."""

    def ask(wanted: Mapping[str, Any]) -> Iterator[tuple[int, np.ndarray, dict[str, str]]]:
        row = pool.rows(parse(wanted["prompt"])[1])[0]
        for number in range(wanted["count"]):
            yield wanted["first_index"] + number, pool.pixels[row], {"noise_digest": "the same"}

    return ask


def copying(pool: Pool) -> Ask:
    """Half of the images are training images with a little noise."""
    right, taught = faultless(pool), Pool("null", TRAINING, PATIENTS)
    rng = np.random.default_rng(2)

    def ask(wanted: Mapping[str, Any]) -> Iterator[tuple[int, np.ndarray, dict[str, str]]]:
        rows = taught.rows(parse(wanted["prompt"])[1])
        for index, image, record in right(wanted):
            copy = bool(rows) and rng.random() < 0.5
            shown = taught.pixels[rng.choice(rows)] + rng.normal(0, 0.003, SPEC.shape) if copy else image
            yield index, np.clip(shown, 0, 1).astype(np.float32), record

    return ask


def other_patients(world: str = "null") -> Pool:
    return Pool(world, VALIDATION, 220)
