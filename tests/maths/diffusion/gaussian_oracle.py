"""Worlds in which the best possible denoiser is known in closed form, so a sampler is judged with no network at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from services.maths.diffusion.schedules import Levels, NoiseSchedule

SPREAD = 0.15
SHIFT = 0.30  # what the minority's mean has more, in the planted region
MINORITY = 0.02  # its share, which is what the null embedding knows
SIZE = 16

REGION = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
REGION[:, 3:9, 5:11] = True
MAJORITY_MEAN = torch.full((1, SIZE, SIZE), -0.2, dtype=torch.float64)
MINORITY_MEAN = torch.where(REGION, MAJORITY_MEAN + SHIFT, MAJORITY_MEAN)

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class TwoClasses:
    """Images of a majority and a minority, each N(mean, SPREAD² I); E[x0 | x_t] when the minority has a given share.

    The share takes the part of a condition embedding: 0 and 1 are the classes, and MINORITY is the null.
    """

    schedule: NoiseSchedule

    def denoised(self, x: torch.Tensor, t: torch.Tensor, share: float | torch.Tensor) -> torch.Tensor:
        alpha, sigma = (_by_row(table, t, x) for table in (self.schedule.alphas, self.schedule.sigmas))
        low, high = MAJORITY_MEAN.to(x.dtype), MINORITY_MEAN.to(x.dtype)
        variance = (alpha * SPREAD) ** 2 + sigma**2
        evidence = (((x - alpha * low) ** 2 - (x - alpha * high) ** 2) / (2 * variance)).flatten(1).sum(1)
        prior = torch.logit(torch.as_tensor(share, dtype=x.dtype).expand(len(x)))
        mean = low + torch.sigmoid(prior + evidence).view(-1, 1, 1, 1) * (high - low)
        return mean + alpha * SPREAD**2 / variance * (x - alpha * mean)

    def denoise(self, share: float | torch.Tensor) -> Denoise:
        return lambda x, t: self.denoised(x, t, share)


def minority_share(images: torch.Tensor) -> float:
    """The share of images whose region is nearer to the minority's mean."""
    midpoint = (MAJORITY_MEAN + MINORITY_MEAN)[REGION].mean() / 2
    return float((images[:, REGION].mean(1) > midpoint).double().mean())


@dataclass(frozen=True)
class OneGaussian:
    """Images N(mean, spread²), for which the probability-flow equation has a solution in closed form."""

    schedule: NoiseSchedule
    mean: float = 0.7
    spread: float = 0.3

    def denoise(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = (_by_row(table, t, x) for table in (self.schedule.alphas, self.schedule.sigmas))
        variance = (alpha * self.spread) ** 2 + sigma**2
        return self.mean + alpha * self.spread**2 / variance * (x - alpha * self.mean)

    def solution(self, deviate: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
        """The trajectory that ends in mean + spread * deviate, at a level."""
        return alpha * self.mean + float(np.hypot(alpha * self.spread, sigma)) * deviate


def even_levels(steps: int) -> tuple[NoiseSchedule, Levels]:
    """Levels even in ln(alpha / sigma) from -4 to 12, where the last step, to no noise at all, costs nothing."""
    halves = np.linspace(12, -4, steps)
    schedule = NoiseSchedule(1 / (1 + np.exp(-2 * halves)))
    alphas, sigmas = schedule.alphas[::-1], (1 / np.sqrt(1 + np.exp(2 * halves)))[::-1]
    return schedule, Levels(np.arange(steps)[::-1].copy(), np.append(alphas, 1.0), np.append(sigmas, 0.0))


def normal(count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, *shape))).to(dtype)


def _by_row(table: np.ndarray, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(table)[t].to(x.dtype).view(-1, 1, 1, 1)
