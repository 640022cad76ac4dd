"""Feature extractors: the zoo's in-domain image encoder, or FID's Inception network from a local weights file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from services.adapters.weights import DirectoryRegistry
from services.errors import FailedPrecondition, InvalidInput, UnsupportedFormat
from services.maths.networks import build_network
from services.maths.networks.inception import FidInception
from services.maths.networks.resnet import ResNet18
from services.maths.pixels import PixelSpec, to_model

PHANTOM_CLIP = "phantom-clip"
INCEPTION = "inception-v3-fid"
_INCEPTION_SIZE = 299
_BATCH = 64

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoder:
    """``encode`` takes (N, C, H, W) in [0, 1] to (N, d) float32, and calls back with the number of images done."""

    name: str
    version: str
    digest: str
    layer: str
    spec: PixelSpec
    network: Callable[[torch.Tensor], torch.Tensor]
    batch: int = _BATCH

    def encode(self, images: Pixels, on_images: Callable[[int], None] = lambda _: None) -> npt.NDArray[np.float32]:
        parts = []
        for at in range(0, len(images), self.batch):
            given = to_model(images[at : at + self.batch], self.spec)
            with torch.inference_mode():
                parts.append(self.network(torch.from_numpy(given)).numpy())
            on_images(len(given))
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def zoo_encoder(registry: Path, name: str = PHANTOM_CLIP) -> Encoder:
    """A package of task image-embedding and family resnet18; features are those before its last layer.

    Its output is trained to forget all that a caption does not say; what comes before still knows it.
    """
    packages = DirectoryRegistry([registry])
    record = packages.find(name)
    if record.task != "image-embedding" or record.family != "resnet18":
        raise InvalidInput(
            f"{name} is a {record.family} for {record.task}; distances need a resnet18 for image-embedding",
            field="encoder",
            reason="MODEL_TASK_MISMATCH",
        )
    network = build_network(record.family, record.architecture)
    tensors = {key: torch.from_numpy(value) for key, value in packages.load_tensors(record).items()}
    network.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    )
    network.eval()
    return Encoder(record.name, record.version, record.digest, "pooled", record.input.spec(), _pooled(network))


def _pooled(network: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    assert isinstance(network, ResNet18)
    return network.pooled


def inception_encoder(path: Path) -> Encoder:
    """FID's Inception-V3 (2048 pooled features) with the weights of a safetensors file; never downloaded.

    The file is pt_inception-2015-12-05 with its own key names, written by safetensors.torch.save_file. Raises
    FailedPrecondition without it, UnsupportedFormat and InvalidInput for anything else than these weights.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            "the file of Inception weights is not there; convert pt_inception-2015-12-05 with "
            "safetensors.torch.save_file, or use the zoo's encoder",
            field=str(path),
            reason="WEIGHTS_MISSING",
        ) from error
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise UnsupportedFormat(
            "not a safetensors file; write it with safetensors.torch.save_file",
            field=str(path),
            reason="WEIGHTS_FORMAT_REFUSED",
        ) from error
    network = FidInception()
    weights = {key: value for key, value in tensors.items() if not key.startswith("AuxLogits.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        lacking = sorted(network.state_dict().keys() ^ weights.keys())
        raise InvalidInput(
            f"these are not FID's Inception weights: {lacking[0] if lacking else 'a tensor has another shape'}",
            field=str(path),
            reason="WEIGHTS_INVALID",
        ) from error
    spec = PixelSpec(3, _INCEPTION_SIZE, _INCEPTION_SIZE, -1.0, 1.0)
    digest = hashlib.sha256(data).hexdigest()
    return Encoder(INCEPTION, "2015-12-05", digest, "pool3", spec, network.eval().features, batch=16)
