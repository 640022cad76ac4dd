"""Pix2Pix (Isola et al. 2017): a U-Net generator and a discriminator that judges patches.

The generator has ``levels`` downs of stride 2 ("unet_128" has 7) and, as in the study of reconstruction bias, a sigmoid
in place of the tanh, since images lie in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

DROPOUT = 0.5
_SLOPE = 0.2


@dataclass(frozen=True)
class Play:
    """One move of the game: the restored images, and the discriminator's logits (N, 1, h, w).

    ``real`` of clean images and ``fake`` of restored ones, for the discriminator: they do not reach the generator.
    ``fooled`` of restored images, for the generator: it does not reach the discriminator.
    """

    restored: torch.Tensor
    real: torch.Tensor
    fake: torch.Tensor
    fooled: torch.Tensor


class Pix2Pix(nn.Module):
    """Both players; called, it is the generator: (N, in_channels, H, W) → (N, out_channels, H, W) in [0, 1].

    Without ``discriminator`` there is none: for weights that are only served. It is served in evaluation mode, where
    dropout is off and batch normalisation uses its running statistics, so that a row does not see its neighbours.
    """

    def __init__(self, generator: Mapping[str, Any], discriminator: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.generator = Generator(**generator)
        self.discriminator = None if discriminator is None else PatchDiscriminator(**discriminator)

    def forward(self, degraded: torch.Tensor, clean: torch.Tensor | None = None) -> torch.Tensor | Play:
        """With the ``clean`` images, a :class:`Play`: one call, as wrappers for data parallelism need it."""
        restored: torch.Tensor = self.generator(degraded)
        if clean is None:
            return restored
        judge = self.discriminator
        if judge is None:
            raise ValueError("a generator without its discriminator can be served, not trained")
        made = torch.cat([degraded, restored], 1)
        fixed = {name: parameter.detach() for name, parameter in judge.named_parameters()}
        return Play(
            restored,
            real=judge(torch.cat([degraded, clean], 1)),
            fake=judge(made.detach()),
            fooled=functional_call(judge, fixed, (made,)),
        )


class Generator(nn.Module):
    """(N, in_channels, H, W) → (N, out_channels, H, W) in [0, 1]; H and W divisible by 2 ** levels.

    Widths double from ``width`` to at most ``widest`` (published: 64 to 512). Dropout follows those ups that keep the
    greatest width, as published, so a generator of fewer than 6 levels has none.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, width: int = 64, levels: int = 7, widest: int = 512
    ) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}")
        widths = [min(width * 2**level, widest) for level in range(levels)]
        self.down = nn.ModuleList([nn.Conv2d(in_channels, width, 4, 2, 1, bias=False)])
        for level, (before, after) in enumerate(pairwise(widths), 1):
            norm: list[nn.Module] = [nn.BatchNorm2d(after)] if level < levels - 1 else []
            self.down.append(nn.Sequential(nn.LeakyReLU(_SLOPE), nn.Conv2d(before, after, 4, 2, 1, bias=False), *norm))
        self.up = nn.ModuleList()
        for level in range(levels - 1, 0, -1):
            before, after = widths[level] * (1 if level == levels - 1 else 2), widths[level - 1]
            dropout: list[nn.Module] = [nn.Dropout(DROPOUT)] if 4 <= level < levels - 1 else []
            self.up.append(
                nn.Sequential(
                    nn.ReLU(),
                    nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(after),
                    *dropout,
                )
            )
        self.head = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, out_channels, 4, 2, 1), nn.Sigmoid())

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        features = degraded
        kept = []
        for block in self.down:
            features = block(features)
            kept.append(features)
        kept.pop()
        for block in self.up:
            features = torch.cat([kept.pop(), block(features)], 1)
        restored: torch.Tensor = self.head(features)
        return restored


class PatchDiscriminator(nn.Module):
    """A degraded and a clean or restored image, stacked (N, in_channels, H, W) → logits (N, 1, h, w), one a patch.

    ``layers`` convolutions of stride 2 and two of stride 1: with the published 3 a logit sees 70 × 70 pixels.
    """

    def __init__(self, in_channels: int = 2, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(_SLOPE)]
        widths = [width * min(2**layer, 8) for layer in range(layers + 1)]
        for layer, (before, after) in enumerate(pairwise(widths), 1):
            stride = 2 if layer < layers else 1
            blocks += [
                nn.Conv2d(before, after, 4, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(_SLOPE),
            ]
        self.blocks = nn.Sequential(*blocks, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.blocks(pair)
        return logits
