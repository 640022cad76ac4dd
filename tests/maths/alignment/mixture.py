"""Images of two modes, with the exact denoiser as the network: closed form, and as many parameters as can go wrong."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.plans import Plan, make_plan
from services.maths.diffusion.schedules import cosine_schedule, sampling_levels

SIDE = 4
SPREAD = 0.04
SHARED = torch.linspace(-0.6, 0.6, SIDE * SIDE).view(1, SIDE, SIDE)
"""(1, 4, 4): what both classes have, as all patients have one anatomy."""
PATTERN = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).repeat(2, 2)[None] * SPREAD
"""(1, 4, 4): class 1 has it more and class 0 less, so that they are eight standard deviations apart."""
PLASTICITY = 0.1
"""How far a unit of the nuisance moves the means, in standard deviations, and the logarithm of the spread."""


class Mixture(nn.Module):
    """E[x0 | x_t] of a mixture of N(mean_k, spread² I), k = 0, 1, as the raw output of a network.

    ``logit`` is that of class 1's share, which tuning is to move. ``offsets`` (2, 1, 4, 4) of the means and the
    ``widening`` are nuisance: moving them makes a classifier surer, too.
    """

    def __init__(self, scalings: Parameterisation, share: float = 0.75) -> None:
        super().__init__()
        self.scalings = scalings
        self.logit = nn.Parameter(torch.logit(torch.tensor(share)))
        self.offsets = nn.Parameter(torch.zeros(2, 1, SIDE, SIDE))
        self.widening = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = (
            torch.from_numpy(table)[t].to(x.dtype).view(-1, 1, 1, 1)
            for table in (self.scalings.schedule.alphas, self.scalings.schedule.sigmas)
        )
        spread = SPREAD * torch.exp(PLASTICITY * self.widening)
        variance = (alpha * spread) ** 2 + sigma**2
        low, high = (
            SHARED + sign * PATTERN + SPREAD * PLASTICITY * offset
            for sign, offset in zip((-1, 1), self.offsets, strict=True)
        )
        far = ((x - alpha * low) ** 2 - (x - alpha * high) ** 2).flatten(1).sum(1).view(-1, 1, 1, 1)
        mean = low + torch.sigmoid(self.logit + far / (2 * variance)) * (high - low)
        x0 = mean + alpha * spread**2 / variance * (x - alpha * mean)
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


def features(images: torch.Tensor) -> torch.Tensor:
    """(B, 256): what an encoder sees. Random Fourier features: their 1 - cos grows as |difference|² within about a
    standard deviation and is 1 where images differ by more, as of two classes.
    """
    rng = np.random.default_rng(5)
    frequencies, phases = rng.standard_normal((SIDE * SIDE, 256)), rng.uniform(0, 2 * np.pi, 256)
    waves = torch.from_numpy(frequencies).float() / (1.25 * SPREAD)
    return torch.cos(images.flatten(1) @ waves + torch.from_numpy(phases).float())


def sampler(prediction: str = "v", *, name: str = "dpmpp-2m", steps: int = 10) -> tuple[Parameterisation, Plan]:
    """With a zero terminal SNR where the prediction can have it."""
    schedule = cosine_schedule(zero_terminal_snr=prediction != "epsilon")
    levels = sampling_levels(schedule, steps, spacing="quadratic")
    return Parameterisation(prediction, schedule), make_plan(name, levels)


def noise(rows: int, seed: int = 0) -> torch.Tensor:
    """(rows, 1, 4, 4) float32."""
    drawn = np.random.default_rng(seed).standard_normal((rows, 1, SIDE, SIDE))
    return torch.from_numpy(drawn).float()
