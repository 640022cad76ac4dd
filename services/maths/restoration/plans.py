"""Samplers of restoration as tables, like those of ``services.maths.diffusion.plans``.

A step of any sampler here is one linear combination of the image in work, the degraded image, what the sampler carries
beside them, the network's output and fresh noise. What the output means (noise, velocity) is folded into the numbers,
so one function runs every sampler of every process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

Doubles = npt.NDArray[np.float64]
Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Inputs (B, 2C, H, W) and times (B,) float32 → (B, C, H, W)."""
Noise = Callable[[int], torch.Tensor]
"""Draw d → (B, C, H, W) of unit noise: 0 is where sampling starts, k + 1 belongs to evaluation k."""

X, Y, MU, H, E, Z = range(6)  # the columns of a plan


@dataclass(frozen=True)
class Plan:
    """One sampler of one process at one number of network evaluations K.

    ``start``: sampling starts at mu + start · z, mu the degraded image. ``times`` (K,) float64: what the network is
    told. ``gains`` (K,): its inputs are gain · (x - mu) and mu. ``coefficients`` (K, 2, 6) float64: the new x and the
    new y from x, y (what the sampler carries: the start of Heun's step), mu, h (the former output), e (this output) and
    z (unit noise).
    """

    sampler: str
    start: float
    times: Doubles
    gains: Doubles
    coefficients: Doubles

    @property
    def evaluations(self) -> int:
        """K, the number of network calls."""
        return len(self.times)

    def draws(self, k: int) -> bool:
        """Whether evaluation ``k`` adds noise."""
        return bool(self.coefficients[k, :, Z].any())


@dataclass(frozen=True)
class State:
    """What a sampler remembers of each row, all (B, C, H, W)."""

    x: torch.Tensor
    y: torch.Tensor
    h: torch.Tensor


class Process(Protocol):
    """A way from degraded to clean images: what a network is trained on, and how it is sampled."""

    @property
    def samplers(self) -> tuple[str, ...]:
        """Names for :meth:`plan`, the default first."""
        ...

    def step_range(self, sampler: str) -> tuple[int, int]:
        """Fewest and most steps that ``sampler`` can be asked for; ValueError for an unknown one."""
        ...

    def plan(self, sampler: str, steps: int) -> Plan:
        """ValueError for an unknown sampler or steps outside its range."""
        ...

    def loss(
        self, network: Network, degraded: torch.Tensor, clean: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss over rows (N, C, H, W) at random times, and the estimates of the clean images made there.

        Both are differentiable in the network's weights.
        """
        ...


def sample(network: Network, degraded: torch.Tensor, plan: Plan, noise: Noise) -> torch.Tensor:
    """(B, C, H, W) float32 restored images, not clipped; rows are in step, and none depends on its neighbours."""
    state = first_state(plan, degraded, noise(0))
    for k in range(plan.evaluations):
        state = advance(plan, k, state, degraded, network, z=noise(k + 1) if plan.draws(k) else None)
    return state.x


def first_state(plan: Plan, degraded: torch.Tensor, z: torch.Tensor) -> State:
    """Before the first evaluation: the degraded image and some noise."""
    x = degraded + plan.start * z
    return State(x, x, torch.zeros_like(x))


def advance(
    plan: Plan, k: int, state: State, degraded: torch.Tensor, network: Network, *, z: torch.Tensor | None = None
) -> State:
    """The state after evaluation ``k``; ``z`` (B, C, H, W) is unit noise, needed where ``plan.draws(k)``."""
    if z is None and plan.draws(k):
        raise ValueError(f"{plan.sampler} adds noise at evaluation {k}: z is needed")
    times = torch.full((len(degraded),), float(plan.times[k]), device=degraded.device)
    output = network(stacked(state.x, degraded, float(plan.gains[k])), times)
    terms = (state.x, state.y, degraded, state.h, output, z)
    x, y = (_combined(plan.coefficients[k, row].tolist(), terms) for row in (0, 1))
    return State(x, y, output)


def stacked(x: torch.Tensor, degraded: torch.Tensor, gain: float | torch.Tensor) -> torch.Tensor:
    """The network's inputs (B, 2C, H, W): how far x is from the degraded image, times ``gain``, and that image."""
    inputs = torch.cat([(x - degraded) * gain, degraded], 1)
    return inputs.contiguous(memory_format=torch.channels_last)


def _combined(weights: list[float], terms: tuple[torch.Tensor | None, ...]) -> torch.Tensor:
    """Products and sums of single pixels in one order: every bit is fixed."""
    total: torch.Tensor | None = None
    for weight, term in zip(weights, terms, strict=True):
        if weight != 0.0 and term is not None:
            total = weight * term if total is None else total + weight * term
    assert terms[0] is not None
    return torch.zeros_like(terms[0]) if total is None else total


def check_steps(process: Process, sampler: str, steps: int) -> None:
    """ValueError unless the process has the sampler and the sampler takes so many steps."""
    fewest, most = process.step_range(sampler)
    if not fewest <= steps <= most:
        raise ValueError(f"steps of {sampler} must lie in {fewest}..{most}, got {steps}")


def check_sampler(process: Process, sampler: str) -> None:
    """ValueError unless the process has the sampler."""
    if sampler not in process.samplers:
        raise ValueError(f"sampler must be one of {', '.join(process.samplers)}, not {sampler!r}")
