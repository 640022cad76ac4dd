"""ResNet-18 after He et al. 2016, with the 3 × 3 stem that suits images of about 64 pixels."""

from __future__ import annotations

import torch
from torch import nn


class ResNet18(nn.Module):
    """(N, in_channels, H, W) → logits (N, outputs). ``width`` 64 is the published size.

    Batch normalisation: in evaluation mode, the only mode in which it is served, a row does not see its neighbours.
    """

    def __init__(self, in_channels: int = 1, outputs: int = 1, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        blocks = []
        for stage, (before, after) in enumerate(zip([width, *widths[:-1]], widths, strict=True)):
            blocks += [_Block(before, after, stride=1 if stage == 0 else 2), _Block(after, after, stride=1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(8 * width, outputs)

    def stages(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features (N, C, h, w) of the stem before its pooling and of the four stages, fine to coarse."""
        features = self.stem[:3](images)
        kept = [features]
        features = self.stem[3](features)
        for block in self.blocks:
            features = block(features)
            kept.append(features)
        return [kept[0], *kept[2::2]]

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 8 · width) features before the last layer, which forgets all that the training did not ask for."""
        features: torch.Tensor = self.blocks(self.stem(images)).mean(dim=(2, 3))
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pooled(images))
        return logits


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        changes = stride != 1 or before != after
        self.shortcut: nn.Module = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))
            if changes
            else nn.Identity()
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))
