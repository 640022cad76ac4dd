"""U-Net after Ronneberger et al. 2015, with padding, for reconstruction and segmentation."""

from __future__ import annotations

import torch
from torch import nn


class UNet(nn.Module):
    """(N, in_channels, H, W) → (N, out_channels, H, W); H and W divisible by 2 ** levels.

    Two 3 × 3 convolutions with ReLU a level, max-pooling down, transposed convolutions up, no normalisation: a row's
    result cannot depend on its neighbours. With ``residual`` the output is the input plus a correction, which suits
    restoring an image; with ``sigmoid`` it lies in [0, 1]; segmentation has neither, but mask logits.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 16,
        levels: int = 3,
        *,
        residual: bool = False,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        if residual and sigmoid:
            raise ValueError("a U-Net's output is a correction (residual) or squeezed (sigmoid), not both")
        if residual and in_channels != out_channels:
            raise ValueError(f"a residual U-Net gives as many channels as it takes, not {in_channels} → {out_channels}")
        widths = [width * 2**level for level in range(levels + 1)]
        self.residual = residual
        self.sigmoid = sigmoid
        self.down = nn.ModuleList(
            _double_convolution(before, after)
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.rise = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.up = nn.ModuleList(_double_convolution(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.down[0](images)
        skipped = []
        for block in list(self.down)[1:]:
            skipped.append(features)
            features = block(self.pool(features))
        for rise, block, skip in zip(self.rise, self.up, reversed(skipped), strict=True):
            features = block(torch.cat([skip, rise(features)], dim=1))
        output: torch.Tensor = self.head(features)
        if self.sigmoid:
            return output.sigmoid()
        return images + output if self.residual else output


def _double_convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    )
