"""The networks behind LPIPS (Zhang et al. 2018): AlexNet or VGG16 features, compared with one weight a channel.

Layers and names are those of the official package, so its weights load by key: ``net.slice1.0.weight`` is the
first convolution, ``lin0.model.1.weight`` the channel weights of the first compared layer. Definitions only; weights
are read by ``services.adapters.perceptual``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Variant = Literal["alex", "vgg"]

# Mean and spread of ImageNet's channels on the scale [-1, 1], as the official scaling layer has them.
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# The official package divides by (norm + eps): a pixel without any activation stays 0 instead of becoming NaN.
_EPSILON = 1e-10

CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
SMALLEST = {"alex": 31, "vgg": 16}  # pixels a side that leave one pixel in the deepest layer


class LpipsNetwork(nn.Module):
    """(N, 3, H, W) images and references in [-1, 1] → (N,) distances, float64.

    distance = Σ over layers of mean over pixels of Σ over channels w_c (x_c / |x| - y_c / |y|)², with features x and y
    in float32 and everything after them in float64. 0 for equal images; there is no upper limit. The initial
    parameters mean nothing: load weights first.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        if variant not in CHANNELS:
            raise ValueError(f"variant must be one of {', '.join(CHANNELS)}, not {variant!r}")
        self.variant = variant
        self.metric = f"lpips_{variant}"
        self.digest = ""  # sha256 of the weights file, set by whoever loads one
        self.smallest = SMALLEST[variant]
        self.net = _alexnet() if variant == "alex" else _vgg16()
        for layer, channels in enumerate(CHANNELS[variant]):
            self.add_module(f"lin{layer}", _ChannelWeights(channels))

    def forward(self, images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        distance = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        for layer, (seen, wanted) in enumerate(zip(self._features(images), self._features(references), strict=True)):
            weights = self.get_submodule(f"lin{layer}").get_parameter("model.1.weight").double()
            apart = (direction(seen) - direction(wanted)).square()
            distance = distance + (weights * apart).sum(dim=1).mean(dim=(1, 2))
        return distance

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        shape = (1, 3, 1, 1)
        features = (images - images.new_tensor(_SHIFT).view(shape)) / images.new_tensor(_SCALE).view(shape)
        compared = []
        for part in self.net.children():
            features = part(features)
            compared.append(features)
        return compared


class _ChannelWeights(nn.Module):
    """One weight a channel as ``model.1.weight`` (1, C, 1, 1); ``model.0`` was the dropout of the original training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"1": nn.Conv2d(channels, 1, 1, bias=False)})


def direction(features: torch.Tensor) -> torch.Tensor:
    """Features (N, C, h, w) of unit length at each pixel, in float64; a pixel without any stays 0."""
    doubles = features.double()
    return doubles / (doubles.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)


def _alexnet() -> nn.Module:
    convolution, pool = nn.Conv2d, nn.MaxPool2d(3, 2)
    return _sliced(
        [
            [convolution(3, 64, 11, stride=4, padding=2), nn.ReLU()],
            [pool, convolution(64, 192, 5, padding=2), nn.ReLU()],
            [pool, convolution(192, 384, 3, padding=1), nn.ReLU()],
            [convolution(384, 256, 3, padding=1), nn.ReLU()],
            [convolution(256, 256, 3, padding=1), nn.ReLU()],
        ]
    )


def _vgg16() -> nn.Module:
    slices: list[list[nn.Module]] = []
    before = 3
    for convolutions, width in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        layers: list[nn.Module] = [nn.MaxPool2d(2, 2)] if slices else []
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        slices.append(layers)
    return _sliced(slices)


def _sliced(slices: list[list[nn.Module]]) -> nn.Module:
    """``slice1`` to ``slice5``; layers are numbered through, as in the networks they were cut from."""
    net, place = nn.Module(), 0
    for number, layers in enumerate(slices, 1):
        part = nn.Sequential()
        for layer in layers:
            part.add_module(str(place), layer)
            place += 1
        net.add_module(f"slice{number}", part)
    return net
