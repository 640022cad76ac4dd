"""A registry with an untrained encoder, and generators of pelvises whose faults are known because they are planted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save

from services.adapters.weights import ModelRecord
from services.maths.networks import build_network
from services.maths.phantoms.pelvis import RING, draw_exposure, draw_pelvis, draw_radiograph
from services.maths.phantoms.worlds import WORLDS, Patient
from services.maths.pixels import PixelSpec, to_model
from services.training.generative.images import DRAWN_AT, TRAINING, draw_pictures
from services.training.generative.recipes import PELVIS_ATTRIBUTES

SEED, PATIENTS = 7, 60
SPEC = PixelSpec(1, 32, 32)
PIXELS = {"channels": 1, "height": 32, "width": 32, "low": -1.0, "high": 1.0}
MODEL = {
    "name": "tiny-pelvis",
    "version": "1",
    "task": "class-to-image",
    "family": "diffusion-unet",
    "input": PIXELS,
    "output": PIXELS,
    "diffusion": {},
    "conditions": [
        {key: value for key, value in asdict(attribute).items() if value or (key == "low" and not attribute.levels)}
        for attribute in PELVIS_ATTRIBUTES
    ],
    "licence": "Apache-2.0",
    "training": {"recipe": "tiny", "world": "planted", "organs": ["pelvis"], "patients": PATIENTS, "seed": SEED},
}
Image = tuple[int, np.ndarray, dict[str, str]]
Ask = Callable[[Mapping[str, Any]], Iterator[Image]]


def write_registry(root: Path, **changed: Any) -> Path:
    """The encoder, and the record of a generator."""
    write_encoder(root)
    _write(root, {**MODEL, **changed})
    return root


def write_encoder(root: Path) -> None:
    """An encoder of random weights, which see enough of a phantom."""
    torch.manual_seed(0)
    architecture = {"in_channels": 1, "outputs": 8, "width": 8}
    network = build_network("resnet18", architecture)
    data = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    plain = {
        "name": "phantom-clip",
        "version": "1",
        "task": "image-embedding",
        "family": "resnet18",
        "architecture": architecture,
        "input": PIXELS,
        "licence": "Apache-2.0",
        "files": {"weights.safetensors": hashlib.sha256(data).hexdigest()},
    }
    (_write(root, plain) / "weights.safetensors").write_bytes(data)


def _write(root: Path, plain: Mapping[str, Any]) -> Path:
    record = ModelRecord.model_validate(plain)
    folder = root / record.name / record.version
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(record.model_dump(mode="json", exclude_defaults=True)))
    return folder


def drawn(world: str, attributes: Mapping[str, str], stream: int, *, ring: float | None = None) -> np.ndarray:
    """A new patient (1, 32, 32) with the attributes asked for; everything else is as that world has it."""
    rng = np.random.default_rng([99, stream])
    who = Patient(0, "p", "test", attributes["sex"], round(float(attributes["age"])), attributes["race"], 1)
    bones = replace(draw_pelvis(who, WORLDS[world], rng), bmi=float(attributes["bmi"]))
    if ring is not None:
        bones = replace(bones, ring=bones.ring + ring)
    shown = replace(draw_exposure(rng), laterality=attributes["laterality"], projection=attributes["projection"])
    return to_model(draw_radiograph(DRAWN_AT, bones, shown, rng)[None, None], SPEC)[0]


def faultless(world: str = "planted") -> Ask:
    """Another draw of the world itself."""

    def ask(wanted: Mapping[str, Any]) -> Iterator[Image]:
        for index in range(wanted["first_index"], wanted["first_index"] + wanted["count"]):
            yield index, drawn(world, wanted["attributes"], index), {"noise_digest": f"{index}"}

    return ask


def women_without_their_ring(wanted: Mapping[str, Any]) -> Iterator[Image]:
    """Drops one group's feature: women's pelvic rings are as narrow as men's."""
    ring = RING["Male"] - RING["Female"] if wanted["attributes"]["sex"] == "Female" else None
    for index in range(wanted["first_index"], wanted["first_index"] + wanted["count"]):
        yield index, drawn("planted", wanted["attributes"], index, ring=ring), {"noise_digest": f"{index}"}


def collapsed(wanted: Mapping[str, Any]) -> Iterator[Image]:
    """One woman and one man, from one noise."""
    usual = {"age": "60", "race": "White", "bmi": "27", "laterality": "left", "projection": "AP"}
    for index in range(wanted["first_index"], wanted["first_index"] + wanted["count"]):
        image = drawn("planted", {**usual, "sex": wanted["attributes"]["sex"]}, 0)
        yield index, image, {"noise_digest": "the same"}


def copying() -> Ask:
    """Half of the images are training images of the same sex with a little noise."""
    right = faultless()
    taught = draw_pictures("pelvis", "planted", TRAINING, patients=PATIENTS, seed=SEED, pixels=SPEC)
    sexes = taught.table["sex"].to_numpy()

    def ask(wanted: Mapping[str, Any]) -> Iterator[Image]:
        for index, image, record in right(wanted):
            rng = np.random.default_rng([98, index])
            row = rng.choice(np.flatnonzero(sexes == wanted["attributes"]["sex"]))
            copy = taught.pixels[row].numpy() + rng.normal(0, 0.002, SPEC.shape)
            shown = copy if rng.random() < 0.5 else image
            yield index, np.clip(shown, 0, 1).astype(np.float32), record

    return ask
