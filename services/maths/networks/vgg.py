"""VGG-11 after Simonyan and Zisserman 2015 with batch normalisation, its three dense layers one after a mean."""

from __future__ import annotations

import torch
from torch import nn

_STAGES = (1, 1, 2, 2, 2)  # convolutions before each pooling


class VGG(nn.Module):
    """(N, in_channels, H, W), at least 32 pixels a side → logits (N, outputs). ``width`` 64 is the published size."""

    def __init__(self, in_channels: int = 1, outputs: int = 1, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = in_channels
        for stage, convolutions in enumerate(_STAGES):
            after = width * min(2**stage, 8)
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
                before = after
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits
