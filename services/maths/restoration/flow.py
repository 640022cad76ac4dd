"""Few-step restoration by a rectified flow from the degraded image to the clean one.

Flow matching (Lipman et al. 2023; Liu et al. 2023) with a coupling that depends on the data (Albergo et al. 2024): at
time 0 lies the degraded image mu with a little noise, at time 1 the clean image, between them a straight line,

    x_t = (1 - t) (mu + deviation · z) + t · clean,   velocity = clean - mu - deviation · z.

The network learns the mean velocity. One step from time 0 gives the mean of all clean images that fit; more steps trade
that smooth image for a likely one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from services.maths.restoration.plans import E, H, Network, Plan, X, Y, check_sampler, check_steps, stacked

MOST_STEPS = 20


@dataclass(frozen=True)
class Flow:
    """``deviation`` of the noise at time 0 in units of images in [0, 1]; ``spread`` the root mean square of
    clean - degraded, by which the network's input is divided and its output multiplied. The network is told
    ``clock`` · t.
    """

    deviation: float = 0.05
    spread: float = 0.1
    clock: float = 100.0

    def __post_init__(self) -> None:
        for name, value in (("deviation", self.deviation), ("spread", self.spread), ("clock", self.clock)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")

    @property
    def samplers(self) -> tuple[str, ...]:
        """Euler asks the network once a step, Heun twice but for the last step."""
        return ("euler", "heun")

    def step_range(self, sampler: str) -> tuple[int, int]:
        check_sampler(self, sampler)
        return 1, MOST_STEPS

    def plan(self, sampler: str, steps: int) -> Plan:
        """``steps`` equal steps from time 0 to time 1."""
        check_steps(self, sampler, steps)
        times, rows = [], []
        for t, later in pairwise(np.linspace(0.0, 1.0, steps + 1).tolist()):
            length = (later - t) * self.spread
            times.append(t)
            rows.append(_row({X: 1.0, E: length}, {X: 1.0}))
            if sampler == "heun" and later < 1.0:
                times.append(later)
                rows.append(_row({Y: 1.0, H: length / 2, E: length / 2}, {}))
        gains = np.full(len(times), 1.0 / self.spread)
        return Plan(sampler, self.deviation, self.clock * np.array(times), gains, np.array(rows))

    def loss(
        self, network: Network, degraded: torch.Tensor, clean: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean squared error of the velocity over ``spread``, at uniform times, and the one-step estimate of clean."""
        t = torch.rand((len(clean), *([1] * (clean.ndim - 1))), generator=generator).to(clean.device)
        z = torch.randn(clean.shape, generator=generator).to(clean.device)
        start = degraded + self.deviation * z
        x = torch.lerp(start, clean, t)
        output = network(stacked(x, degraded, 1.0 / self.spread), self.clock * t.flatten())
        loss = (output - (clean - start) / self.spread).square().mean()
        return loss, x + (1.0 - t) * self.spread * output


def _row(x: dict[int, float], y: dict[int, float]) -> list[list[float]]:
    return [[float(output.get(column, 0.0)) for column in range(6)] for output in (x, y)]
