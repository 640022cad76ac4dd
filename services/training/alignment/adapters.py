"""Which weights of a U-Net learn, and how: the weights themselves, or low-rank additions to them (Hu et al. 2022).

The text encoder never learns. What meets the prompt in the U-Net are the keys and values of its cross-attentions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from services.training.tuning import Adapter, AdapterPart

_PROMPT = ("attn2.to_k", "attn2.to_v")
_PROJECTIONS = (".to_q", ".to_k", ".to_v", ".to_out.0", ".proj_in", ".proj_out")


class LowRank(nn.Module):
    """W → W + B A with A (rank, in) random and B (out, rank) zero, so that nothing changes before the first step."""

    def __init__(self, weight: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        out, into = weight.shape[0], weight[0].numel()
        rank = min(rank, out, into)
        start = torch.randn(rank, into, generator=generator) / math.sqrt(into)
        self.a = nn.Parameter(start.to(weight.device, weight.dtype))
        self.b = nn.Parameter(torch.zeros(out, rank, device=weight.device, dtype=weight.dtype))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + (self.b @ self.a).view_as(weight)


def make_trainable(unet: nn.Module, adapter: Adapter, *, seed: int) -> list[nn.Parameter]:
    """Let the chosen weights learn and no others; the parameters that do."""
    unet.requires_grad_(False)
    if adapter.method == "full":
        chosen = [p for name, p in unet.named_parameters() if adapter.part == "unet" or _meets_prompt(name)]
        for parameter in chosen:
            parameter.requires_grad_(True)
        return chosen
    generator = torch.Generator().manual_seed(seed)
    learning: list[nn.Parameter] = []
    for layer in [layer for _, layer in _projections(unet, adapter.part)]:
        added = LowRank(layer.weight, adapter.rank, generator)
        parametrize.register_parametrization(layer, "weight", added)
        layer.parametrizations.weight.original.requires_grad_(False)
        learning += [added.a, added.b]
    return learning


def merge(unet: nn.Module) -> None:
    """Add the low-rank weights to those that they were added to: what is left is a U-Net like any other."""
    for layer in list(unet.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _projections(unet: nn.Module, part: AdapterPart) -> Iterator[tuple[str, Any]]:
    for name, layer in unet.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d) or not name.endswith(_PROJECTIONS):
            continue
        if part == "unet" or _meets_prompt(name):
            yield name, layer


def _meets_prompt(name: str) -> bool:
    return any(place in name for place in _PROMPT)
