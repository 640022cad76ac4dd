"""Tiny model packages, written as real ones: model.yaml + safetensors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.numpy import save

from services.maths.networks import build_network

PIXELS = {"channels": 1, "height": 8, "width": 8}
AFFINE = {"mix.weight": np.full((1, 1, 1, 1), 0.5, np.float32), "mix.bias": np.full(1, 0.25, np.float32)}
RESTORATION_UNET = {"width": 4, "depth": 2, "heads": 2, "head_width": 4}
IR_SDE = {
    "method": "ir-sde",
    "times": 100,
    "deviation": 0.04,
    "remaining": 0.005,
    "offset": 0.008,
    "prediction": "velocity",
    "spread": 0.1,
    "sampler": "posterior",
    "steps": 6,
    "seed": 3,
    "noise": "pixels",
}
FLOW = {
    "method": "flow",
    "deviation": 0.04,
    "spread": 0.1,
    "clock": 100.0,
    "sampler": "euler",
    "steps": 2,
    "seed": 3,
    "noise": "pixels",
}
PIX2PIX = {"method": "pix2pix", "mode": "evaluation", "l1_weight": 1000.0}


def write_package(root: Path, tensors: dict[str, np.ndarray] = AFFINE, **changes: Any) -> Path:
    """A reconstruction package ``affine`` (0.5 · x + 0.25), with some fields of its model.yaml changed."""
    data = save(tensors)
    record = {
        "name": "affine",
        "version": "1",
        "task": "reconstruction",
        "family": "pointwise",
        "input": PIXELS,
        "output": PIXELS,
        "licence": "Apache-2.0",
        "files": {"weights.safetensors": hashlib.sha256(data).hexdigest()},
    } | changes
    folder = root / record["name"] / record["version"]
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(data)
    (folder / "model.yaml").write_text(yaml.safe_dump(record))
    return folder


def write_classifier(root: Path, *, labels: tuple[str, ...] = ("sick", "tired"), seed: int = 0, **changes: Any) -> Path:
    """An untrained ResNet-18 of width 2 for 8 × 8 images, its weights drawn from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        architecture = {"in_channels": 1, "outputs": len(labels), "width": 2} | changes.pop("architecture", {})
        network = build_network("resnet18", architecture)
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    fields = {
        "name": "classifier",
        "task": "classification",
        "family": "resnet18",
        "architecture": architecture,
        "output": None,
        "labels": list(labels),
    }
    return write_package(root, tensors, **(fields | changes))


def write_sampled(root: Path, restoration: dict[str, Any], name: str = "sampled", **changes: Any) -> Path:
    """An untrained reconstruction network of width 4 for 8 × 8 images that is sampled as ``restoration`` says."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build_network("restoration-unet", RESTORATION_UNET)
    tensors = {key: value.numpy() for key, value in network.state_dict().items()}
    fields = {"name": name, "family": "restoration-unet", "architecture": RESTORATION_UNET, "restoration": restoration}
    return write_package(root, tensors, **fields | changes)
