"""The U-Net of class-conditional diffusion and of super-resolution (Khosravi et al. 2024; Dhariwal & Nichol 2021).

With ``width`` 128, multipliers (1, 1, 2, 2, 4, 4) and attention at factors 8, 16 and 32 it is the published network for
256 × 256; with 64, six levels and attention at 32 the published super-resolution for 1024 × 1024. ``patch`` > 1 moves
that many pixels a side into channels first, which makes small models quick on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

GROUPS = 32
_LONGEST_PERIOD = 10_000.0


class DiffusionUNet(nn.Module):
    """(B, in_channels, H, W), t (B,) and an embedding (B, E) → (B, out_channels, H, W).

    ``conditions`` is the length V of the attribute vector; 0 means a network without conditions, whose embedding is
    None. ``embedding`` is E, by default 4 × width. H and W must be divisible by patch × 2 ** (levels - 1). Last
    convolutions start at zero, so that a fresh block is the identity. Group normalisation: no row sees its neighbours.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        attention_factors: Sequence[int] = (8, 16, 32),
        heads: int = 4,
        conditions: int = 0,
        embedding: int | None = None,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.width, self.patch, self.conditions = width, patch, conditions
        self.embedding = size = embedding or 4 * width
        self.time = nn.Sequential(nn.Linear(width, size), nn.SiLU(), nn.Linear(size, size))
        if conditions:
            self.label = nn.Sequential(nn.Linear(conditions, size), nn.SiLU(), nn.Linear(size, size))
            self.missing = nn.Parameter(torch.zeros(()))
            self.null_embedding = nn.Parameter(torch.randn(size))
        widths = [width * multiplier for multiplier in multipliers]
        self.stem = nn.Conv2d(in_channels * patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        kept = [widths[0]]
        now = widths[0]
        for level, wanted in enumerate(widths):
            attends = 2**level in attention_factors
            for _ in range(blocks):
                self.down.append(_Stage(now, wanted, size, heads if attends else 0))
                now = wanted
                kept.append(now)
            if level < len(widths) - 1:
                self.down.append(_Down(now))
                kept.append(now)
        self.middle = nn.ModuleList([_Stage(now, now, size, heads), _Stage(now, now, size, 0)])
        self.up = nn.ModuleList()
        for level, wanted in reversed(list(enumerate(widths))):
            attends = 2**level in attention_factors
            for _ in range(blocks + 1):
                self.up.append(_Stage(now + kept.pop(), wanted, size, heads if attends else 0))
                now = wanted
            if level:
                self.up.append(_Up(now))
        self.head = nn.Sequential(_norm(now), nn.SiLU(), _zeroed(nn.Conv2d(now, out_channels * patch**2, 3, padding=1)))

    def embed(self, vector: torch.Tensor) -> torch.Tensor:
        """Attribute vectors (B, V), NaN where an attribute was not given → (B, E)."""
        known = torch.where(torch.isnan(vector), self.missing, vector)
        embedded: torch.Tensor = self.label(known)
        return embedded

    def forward(self, x: torch.Tensor, t: torch.Tensor, embedding: torch.Tensor | None = None) -> torch.Tensor:
        signal = self.time(timestep_embedding(t, self.width).to(x.dtype))
        if embedding is not None:
            signal = signal + embedding
        signal = functional.silu(signal)
        features = self.stem(functional.pixel_unshuffle(x, self.patch) if self.patch > 1 else x)
        kept = [features]
        for block in self.down:
            features = block(features, signal)
            kept.append(features)
        for block in self.middle:
            features = block(features, signal)
        for block in self.up:
            features = block(features if isinstance(block, _Up) else torch.cat([features, kept.pop()], 1), signal)
        output: torch.Tensor = self.head(features)
        return functional.pixel_shuffle(output, self.patch) if self.patch > 1 else output


def timestep_embedding(t: torch.Tensor, size: int) -> torch.Tensor:
    """(B,) → (B, size) float32 sines and cosines of geometrically spaced periods (Vaswani et al. 2017)."""
    half = size // 2
    rates = torch.exp(-torch.log(torch.tensor(_LONGEST_PERIOD)) * torch.arange(half, device=t.device) / half)
    phases = t.float()[:, None] * rates[None]
    return torch.cat([phases.cos(), phases.sin()], 1)


class _Stage(nn.Module):
    """A residual block, and self-attention behind it where ``heads`` is not 0."""

    def __init__(self, before: int, after: int, embedding: int, heads: int) -> None:
        super().__init__()
        self.block = _Block(before, after, embedding)
        self.attention = _Attention(after, heads) if heads else None

    def forward(self, features: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        features = self.block(features, signal)
        return features if self.attention is None else self.attention(features)


class _Block(nn.Module):
    """Two convolutions; the embedding scales and shifts between them (FiLM)."""

    def __init__(self, before: int, after: int, embedding: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(_norm(before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.modulate = nn.Linear(embedding, 2 * after)
        self.norm = _norm(after)
        self.leave = _zeroed(nn.Conv2d(after, after, 3, padding=1))
        self.shortcut: nn.Module = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, features: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulate(signal)[:, :, None, None].chunk(2, 1)
        inner = self.norm(self.enter(features)) * (1 + scale) + shift
        result: torch.Tensor = self.shortcut(features) + self.leave(functional.silu(inner))
        return result


class _Attention(nn.Module):
    """Self-attention over all positions."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels)
        self.ask = nn.Conv2d(channels, 3 * channels, 1)
        self.answer = _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        rows, channels, height, width = features.shape
        asked = self.ask(self.norm(features)).reshape(rows, 3, self.heads, channels // self.heads, height * width)
        query, key, value = (part.transpose(-1, -2) for part in asked.unbind(1))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: torch.Tensor = features + self.answer(mixed.transpose(-1, -2).reshape(rows, channels, height, width))
        return result


class _Down(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, features: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.convolution(features)
        return result


class _Up(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.convolution(functional.interpolate(features, scale_factor=2.0, mode="nearest"))
        return result


def _norm(channels: int) -> nn.GroupNorm:
    groups = next(groups for groups in (GROUPS, 16, 8, 4, 2, 1) if channels % groups == 0 and channels // groups >= 2)
    return nn.GroupNorm(groups, channels)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
