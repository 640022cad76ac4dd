"""Classifier-free guidance (Ho & Salimans 2022), on an interval of noise levels and with a rescale of each sample.

The convention is g = null + scale (cond - null): 1 is the conditional prediction, 0 the unconditional one, and 4 what
Ho & Salimans call w = 3. Any output of a network will do (noise, v or the clean image): each is an affine function of
the others at one noise level, and the combination's weights add up to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Guidance:
    """How strongly the condition is pushed, and where.

    ``interval`` (Kynkäänniemi et al. 2024) is the range of t / T, both ends included, on which the scale holds; outside
    it the scale is 1. ``rescale`` is the phi of Lin et al. 2024, 0 (off) to 1. ValueError out of range.
    """

    scale: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.interval
        if not (math.isfinite(self.scale) and self.scale >= 0.0):
            raise ValueError(f"scale must be a number of at least 0, got {self.scale}")
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"interval must be 0 <= low <= high <= 1, got {self.interval}")
        if not 0.0 <= self.rescale <= 1.0:
            raise ValueError(f"rescale must lie in 0..1, got {self.rescale}")

    def active(self, t: int, steps: int) -> bool:
        """Whether timestep ``t`` of 0..steps-1 needs the null prediction; where not, guided() is the conditional."""
        low, high = self.interval
        return self.scale != 1.0 and low <= t / steps <= high


def guided(
    cond: torch.Tensor,
    null: torch.Tensor,
    scale: float | torch.Tensor,
    rescale: float | torch.Tensor = 0.0,
) -> torch.Tensor:
    """(B, C, H, W) guided prediction of the two; ``scale`` and ``rescale`` are one number, or (B,) one a row.

    A row of scale 1 is the conditional prediction to the bit. The standard deviations of the rescale are each sample's
    own, taken one row at a time: over the batch, an image would depend on its neighbours (the trap of paper 000's
    code), and a reduction over many rows may add in another order than over one.
    """
    scales, shares = _by_row(scale, cond), _by_row(rescale, cond)
    combined = null + scales * (cond - null)
    if bool((shares > 0).any()):
        combined = torch.where(shares > 0, combined * _rescaling(combined, cond, shares), combined)
    return torch.where(scales == 1, cond, combined)


def _rescaling(combined: torch.Tensor, cond: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Lin et al. 2024, equations 15 and 16, as one factor a row; 1 for a constant image: it has no spread to keep."""
    wanted, spread = _deviations(cond), _deviations(combined)
    ratio = torch.where(spread > 0, wanted / torch.where(spread > 0, spread, 1), 1)
    return shares * ratio + (1 - shares)


def _deviations(images: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1, 1), the standard deviation of each row by itself."""
    deviations = torch.stack([row.contiguous().std(correction=0) for row in images])
    return deviations.view(-1, *([1] * (images.ndim - 1)))


def _by_row(number: float | torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    numbers = torch.as_tensor(number, dtype=images.dtype, device=images.device)
    return numbers.expand(len(images)).view(-1, *([1] * (images.ndim - 1)))
