"""The time-conditioned U-Net of IR-SDE (Luo et al. 2023), with linear attention at every level.

Inputs are the image in work and the degraded one, stacked; ``width`` 64 and ``depth`` 4 are the published size.
``patch`` > 1 moves that many pixels a side into channels first, which makes small models quick on a CPU.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from services.maths.networks.diffusion_unet import timestep_embedding


class RestorationUNet(nn.Module):
    """(N, in_channels, H, W) and times (N,) → (N, out_channels, H, W); H and W divisible by patch × 2 ** (depth - 1).

    A 7 × 7 convolution, two residual blocks and linear attention a level, widths doubling from level to level. Channels
    are normalised at each pixel, and in front of attention only: a row's result cannot depend on its neighbours.
    """

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 1,
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        head_width: int = 32,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.width, self.patch = width, patch
        signal = 4 * width
        sizes = {"signal": signal, "heads": heads, "head_width": head_width}
        widths = [width * 2**level for level in range(depth + 1)]
        self.stem = nn.Conv2d(in_channels * patch**2, width, 7, padding=3)
        self.time = nn.Sequential(nn.Linear(width, signal), nn.GELU(), nn.Linear(signal, signal))
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, (narrow, wide) in enumerate(pairwise(widths)):
            deepest = level == depth - 1
            down = nn.Conv2d(narrow, wide, 3, padding=1) if deepest else nn.Conv2d(narrow, wide, 4, 2, 1)
            self.down.append(_Level(narrow, narrow, down, **sizes))
            up: list[nn.Module] = [] if level == 0 else [nn.Upsample(scale_factor=2.0, mode="nearest")]
            change = nn.Sequential(*up, nn.Conv2d(wide, narrow, 3, padding=1))
            self.up.insert(0, _Level(wide + narrow, wide, change, skipped=narrow, **sizes))
        widest = widths[-1]
        self.middle = nn.ModuleList([_Block(widest, widest, signal), _Block(widest, widest, signal)])
        self.middle_attention = _LinearAttention(widest, heads, head_width)
        self.last = _Block(2 * width, width, signal)
        self.head = nn.Conv2d(width, out_channels * patch**2, 3, padding=1)

    def forward(self, inputs: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        signal = self.time(timestep_embedding(t, self.width).to(inputs.dtype))
        stem = features = self.stem(functional.pixel_unshuffle(inputs, self.patch) if self.patch > 1 else inputs)
        kept: list[torch.Tensor] = []
        for level in self.down:
            assert isinstance(level, _Level)
            features = level.first(features, signal)
            kept.append(features)
            features = level.attention(level.second(features, signal))
            kept.append(features)
            features = level.change(features)
        features = self.middle[1](self.middle_attention(self.middle[0](features, signal)), signal)
        for level in self.up:
            assert isinstance(level, _Level)
            features = level.first(torch.cat([features, kept.pop()], 1), signal)
            features = level.attention(level.second(torch.cat([features, kept.pop()], 1), signal))
            features = level.change(features)
        output: torch.Tensor = self.head(self.last(torch.cat([features, stem], 1), signal))
        return functional.pixel_shuffle(output, self.patch) if self.patch > 1 else output


class _Level(nn.Module):
    """Two blocks, attention, and the convolution that changes width and resolution; ``skipped`` joins the second."""

    def __init__(
        self, before: int, width: int, change: nn.Module, *, signal: int, heads: int, head_width: int, skipped: int = 0
    ) -> None:
        super().__init__()
        self.first = _Block(before, width, signal)
        self.second = _Block(width + skipped, width, signal)
        self.attention = _LinearAttention(width, heads, head_width)
        self.change = change


class _Block(nn.Module):
    """Two 3 × 3 convolutions with SiLU beside a shortcut; the time scales and shifts the first (FiLM)."""

    def __init__(self, before: int, after: int, signal: int) -> None:
        super().__init__()
        self.modulate = nn.Linear(signal, 2 * after)
        self.enter = nn.Conv2d(before, after, 3, padding=1)
        self.leave = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut: nn.Module = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, features: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(functional.silu(signal))[:, :, None, None].chunk(2, 1)
        inner = functional.silu(self.enter(features) * (1 + scale) + shift)
        result: torch.Tensor = functional.silu(self.leave(inner)) + self.shortcut(features)
        return result


class _LinearAttention(nn.Module):
    """Attention whose cost grows with the number of pixels, not its square (Shen et al. 2021), beside its input."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.before = nn.LayerNorm(channels, bias=False)
        self.ask = nn.Linear(channels, 3 * heads * head_width, bias=False)
        self.answer = nn.Linear(heads * head_width, channels)
        self.after = nn.LayerNorm(channels, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        height, width = features.shape[2:]
        pixels = features.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H W, C), as it lies in memory
        asked = self.ask(self.before(pixels)).unflatten(2, (3, self.heads, self.head_width))
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)  # each (N, heads, H W, head_width)
        query = query.softmax(dim=3) * self.head_width**-0.5
        context = key.softmax(dim=2).transpose(2, 3) @ (value / pixels.shape[1])
        mixed = (query @ context).transpose(1, 2).flatten(2)
        added: torch.Tensor = self.after(self.answer(mixed)).unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return features + added
