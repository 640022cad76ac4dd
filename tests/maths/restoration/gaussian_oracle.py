"""Networks that know the truth: clean pixels are independent Gaussians, so the exact answer has a closed form."""

from __future__ import annotations

import torch

from services.maths.restoration.flow import Flow
from services.maths.restoration.ir_sde import IrSde
from services.maths.restoration.plans import Plan, sample

DEGRADED = 0.3


def moments(network, plan: Plan, degraded: float = DEGRADED) -> tuple[float, float]:
    """Mean and deviation of the pixels that ``plan`` samples, exactly.

    With an affine network a sampled pixel is an affine function of its draws, so row 0 gets no noise at all and row i
    + 1 a one in draw i only: the first is the mean, the others differ from it by the draws' coefficients.
    """
    rows = plan.evaluations + 2
    images = torch.full((rows, 1, 1, 1), degraded, dtype=torch.float64)

    def noise(draw: int) -> torch.Tensor:
        unit = torch.zeros_like(images)
        unit[draw + 1] = 1.0
        return unit

    ends = sample(network, images, plan, noise).flatten()
    return float(ends[0]), float((ends[1:] - ends[0]).norm())


def exact_ir_sde(process: IrSde, mean: float, spread: float, degraded: float = DEGRADED):
    """What a perfect network says for clean pixels N(mean, spread²): the noise, or the velocity that stands for it."""

    def network(inputs: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        at = t.long()
        gain, weight, deviation = (
            torch.from_numpy(table)[at].view(-1, 1, 1, 1)
            for table in (process.gains, process.weights, process.deviations)
        )
        away = inputs[:, :1] / gain  # x - mu
        surprise = (away - weight * (mean - degraded)) / (weight**2 * spread**2 + deviation**2)
        noise = deviation * surprise
        if process.prediction == "noise":
            return noise
        clean = mean - degraded + weight * spread**2 * surprise
        size = torch.hypot(weight * process.spread, deviation)
        return weight * process.spread / size * noise - deviation / size * clean / process.spread

    return network


def exact_flow(process: Flow, mean: float, spread: float, degraded: float = DEGRADED):
    """The mean velocity over clean pixels N(mean, spread²), in units of the process's spread."""

    def network(inputs: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        t = (times.double() / process.clock).view(-1, 1, 1, 1)
        x = inputs[:, :1] * process.spread + degraded
        centre = (1 - t) * degraded + t * mean
        variance = ((1 - t) * process.deviation) ** 2 + (t * spread) ** 2
        covariance = t * spread**2 - (1 - t) * process.deviation**2
        return (mean - degraded + covariance / variance * (x - centre)) / process.spread

    return network
