"""Network definitions only: no weights, no training, no scaling of inputs or outputs.

A package's ``model.yaml`` names a family and its architecture; :func:`build_network` is the only place that knows which
class that is. Networks give logits (classification (N, K), segmentation (N, S, H, W)) or images (reconstruction).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from services.maths.networks.diffusion_unet import DiffusionUNet
from services.maths.networks.pix2pix import Pix2Pix
from services.maths.networks.pointwise import Pointwise
from services.maths.networks.resnet import ResNet18
from services.maths.networks.restoration_unet import RestorationUNet
from services.maths.networks.unet import UNet
from services.maths.networks.vgg import VGG

FAMILIES: Mapping[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "resnet18": ResNet18,
    "diffusion-unet": DiffusionUNet,
    "pix2pix": Pix2Pix,
    "pointwise": Pointwise,
    "restoration-unet": RestorationUNet,
    "vgg": VGG,
}


def build_network(family: str, architecture: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised network (torch's generator seeds it). ValueError for an unknown family or argument."""
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    try:
        return FAMILIES[family](**architecture)
    except TypeError as error:
        raise ValueError(f"architecture of {family}: {error}") from error


__all__ = ["FAMILIES", "build_network"]
