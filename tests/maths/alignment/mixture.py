"""Images of two modes, with the exact denoiser as the network: closed form, and as many parameters as can go wrong."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.plans import Plan, make_plan
from services.maths.diffusion.schedules import cosine_schedule, sampling_levels

SIDE = 4
PATTERN = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).repeat(2, 2)[None] * 0.5
"""(1, 4, 4): class 1 is this added to what both classes share, class 0 is it taken away."""
SHARED = torch.linspace(-0.6, 0.6, SIDE * SIDE).view(1, SIDE, SIDE)
SPREAD = 0.25


class Mixture(nn.Module):
    """E[x0 | x_t] of a mixture of N(mean_k, spread² I), k = 0, 1, as the raw output of a network.

    ``logit`` is that of class 1's share, which tuning is to move. ``means`` (2, 1, 4, 4) and ``spread`` are a nuisance:
    moving them would make a classifier surer, too.
    """

    def __init__(self, scalings: Parameterisation, share: float = 0.75) -> None:
        super().__init__()
        self.scalings = scalings
        self.logit = nn.Parameter(torch.logit(torch.tensor(share)))
        self.means = nn.Parameter(torch.stack([SHARED - PATTERN, SHARED + PATTERN]))
        self.spread = nn.Parameter(torch.tensor(SPREAD))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = (
            torch.from_numpy(table)[t].to(x.dtype).view(-1, 1, 1, 1)
            for table in (self.scalings.schedule.alphas, self.scalings.schedule.sigmas)
        )
        variance = (alpha * self.spread) ** 2 + sigma**2
        low, high = self.means[0], self.means[1]
        far = ((x - alpha * low) ** 2 - (x - alpha * high) ** 2).flatten(1).sum(1).view(-1, 1, 1, 1)
        mean = low + torch.sigmoid(self.logit + far / (2 * variance)) * (high - low)
        x0 = mean + alpha * self.spread**2 / variance * (x - alpha * mean)
        if self.scalings.prediction == "x0":
            return x0
        if self.scalings.prediction == "epsilon":
            return (x - alpha * x0) / sigma
        return (alpha * x - x0) / sigma

    def denoise(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.scalings.denoised(self(x, t), x, t)


def oracle_logits(images: torch.Tensor) -> torch.Tensor:
    """(B, 2) log posterior of the classes in the world as it was, up to a constant; even odds."""
    far = torch.stack([((images - (SHARED + sign * PATTERN)) ** 2).flatten(1).sum(1) for sign in (-1, 1)], dim=1)
    return -far / (2 * SPREAD**2)


def sampler(prediction: str = "v", *, name: str = "dpmpp-2m", steps: int = 10) -> tuple[Parameterisation, Plan]:
    """With a zero terminal SNR where the prediction can have it."""
    schedule = cosine_schedule(zero_terminal_snr=prediction != "epsilon")
    return Parameterisation(prediction, schedule), make_plan(name, sampling_levels(schedule, steps))


def noise(rows: int, seed: int = 0) -> torch.Tensor:
    """(rows, 1, 4, 4) float32."""
    drawn = np.random.default_rng(seed).standard_normal((rows, 1, SIDE, SIDE))
    return torch.from_numpy(drawn).float()
