"""Image restoration with a mean-reverting SDE (IR-SDE), Luo et al., ICML 2023.

    dx = theta_t (mu - x) dt + sigma_t dw,   sigma_t² = 2 lambda² theta_t

takes a clean image to its degraded version mu plus noise of deviation lambda, whatever lies between; a network learns
to run it backwards. Between any two times s < t it has a closed form: with c the running sum of theta,

    x_t - mu = e^{-(c_t - c_s) dt} (x_s - mu) + lambda sqrt(1 - e^{-2 (c_t - c_s) dt}) z,

so sampling may skip times without any error of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

from services.maths.restoration.plans import MU, Doubles, E, Network, Plan, X, Z, check_sampler, check_steps, stacked

Prediction = Literal["noise", "velocity"]
FEWEST_STEPS = 5


@dataclass(frozen=True)
class IrSde:
    """The process and what a network says about it. The defaults are the published ones.

    ``deviation`` is lambda in units of images in [0, 1]; ``remaining`` epsilon, the weight of the clean image at time
    T. ``prediction`` "noise" is the published meaning of the output: z of the forward marginal. "velocity" is that of
    Salimans & Ho 2022 (section 4, appendix D) for clean - degraded divided by ``spread``, its root mean square: inputs
    and outputs then have unit variance at every time, which a small network learns much faster.
    """

    times: int = 100
    deviation: float = 10 / 255
    remaining: float = 0.005
    offset: float = 0.008
    prediction: Prediction = "noise"
    spread: float = 0.1

    def __post_init__(self) -> None:
        if self.times < FEWEST_STEPS:
            raise ValueError(f"times must be at least {FEWEST_STEPS}, got {self.times}")
        if self.prediction not in ("noise", "velocity"):
            raise ValueError(f"prediction must be noise or velocity, not {self.prediction!r}")
        for name, value in (("deviation", self.deviation), ("spread", self.spread), ("offset", self.offset)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 < self.remaining < 1:
            raise ValueError(f"remaining must lie between 0 and 1, got {self.remaining}")

    @cached_property
    def thetas(self) -> Doubles:
        """(T + 1,) speed of reversion: 1 - f(i + 1) / f(0), a cumulative cosine as published; index 0 is unused."""
        at = np.arange(self.times + 2) / (self.times + 2)
        squared = np.cos((at + self.offset) / (1 + self.offset) * np.pi / 2) ** 2
        return np.asarray(1.0 - squared[1:] / squared[0])

    @cached_property
    def cumulative(self) -> Doubles:
        """(T + 1,) sum of theta_1 .. theta_t."""
        return np.asarray(np.cumsum(self.thetas) - self.thetas[0])

    @property
    def dt(self) -> float:
        """So long that the clean image's weight at time T is ``remaining``."""
        return float(-np.log(self.remaining) / self.cumulative[-1])

    @cached_property
    def weights(self) -> Doubles:
        """(T + 1,) B_t = e^{-c_t dt}: the weight of clean - degraded at time t."""
        return np.exp(-self.cumulative * self.dt)

    @cached_property
    def deviations(self) -> Doubles:
        """(T + 1,) sigma-bar_t, the deviation of the noise at time t."""
        return np.asarray(self.deviation * np.sqrt(-np.expm1(-2.0 * self.cumulative * self.dt)))

    @cached_property
    def gains(self) -> Doubles:
        """(T + 1,) what x - mu is multiplied by before the network sees it: 1, as published, or to unit variance."""
        return np.ones(self.times + 1) if self.prediction == "noise" else 1.0 / self._sizes

    @property
    def _sizes(self) -> Doubles:
        """Root mean square of x_t - mu."""
        return np.asarray(np.hypot(self.weights * self.spread, self.deviations))

    @cached_property
    def noise_from(self) -> tuple[Doubles, Doubles]:
        """Weights (T + 1,) of x - mu and of the output in the noise that the output stands for."""
        if self.prediction == "noise":
            return np.zeros(self.times + 1), np.ones(self.times + 1)
        return self.deviations / self._sizes**2, self.weights * self.spread / self._sizes

    @cached_property
    def clean_from(self) -> tuple[Doubles, Doubles]:
        """Weights (T + 1,) of x - mu and of the output in the estimate of clean - degraded."""
        if self.prediction == "noise":
            return 1.0 / self.weights, -self.deviations / self.weights
        return self.weights * self.spread**2 / self._sizes**2, -self.deviations * self.spread / self._sizes

    @property
    def samplers(self) -> tuple[str, ...]:
        """ "posterior" is the authors' later default; "sde" and "ode" are Euler's steps, as first published."""
        return ("posterior", "sde", "ode")

    def step_range(self, sampler: str) -> tuple[int, int]:
        check_sampler(self, sampler)
        return FEWEST_STEPS, self.times

    def plan(self, sampler: str, steps: int) -> Plan:
        """``steps`` evaluations at the times of :meth:`grid`."""
        check_steps(self, sampler, steps)
        grid = self.grid(steps)
        rows = [self._row(sampler, t, s) for t, s in pairwise(grid)]
        at = np.array(grid[:-1])
        return Plan(sampler, self.deviation, at.astype(np.float64), self.gains[at], np.array(rows))

    def grid(self, steps: int) -> list[int]:
        """``steps`` + 1 times from T down to 0."""
        return [int(t) for t in np.round(np.linspace(self.times, 0, steps + 1))]

    def _row(self, sampler: str, t: int, s: int) -> list[list[float]]:
        kept, clean, noise, drawn = self._step(sampler, t, s)
        of_x, of_e = self.noise_from[0][t], self.noise_from[1][t]
        if clean:
            of_x, of_e = self.clean_from[0][t], self.clean_from[1][t]
        moved = kept + (clean or noise) * of_x
        row = [0.0] * 6
        row[X], row[MU], row[E], row[Z] = moved, 1.0 - moved, (clean or noise) * of_e, drawn
        return [row, [0.0] * 6]

    def _step(self, sampler: str, t: int, s: int) -> tuple[float, float, float, float]:
        """x_s - mu as weights of x_t - mu, of the estimate of clean - degraded, of the noise, and fresh noise.

        Euler's samplers take every time between t and s, and hold the network's noise on the way.
        """
        if sampler == "posterior":
            kept, clean, drawn = self.posterior(t, s)
            return kept, clean, 0.0, drawn
        share, deviation = (1.0, 0.0) if sampler == "ode" else (2.0, self.deviation)
        kept, noise, variance = 1.0, 0.0, 0.0
        for length, sigma in zip(self.thetas[t:s:-1] * self.dt, self.deviations[t:s:-1], strict=True):
            kept *= 1.0 + length
            noise = (1.0 + length) * noise - share * self.deviation**2 * length / sigma
            variance = (1.0 + length) ** 2 * variance + 2.0 * deviation**2 * length
        return float(kept), 0.0, float(noise), float(np.sqrt(variance))

    def posterior(self, t: int, s: int) -> tuple[float, float, float]:
        """p(x_s | x_t, clean) for s < t: its mean's weights of x_t - mu and of clean - degraded, and its deviation.

        At s = 0 the mean is the clean image and the deviation 0.
        """
        a, b, c = self.weights[t] / self.weights[s], self.weights[t], self.weights[s]
        deviation = self.deviation * np.sqrt((1 - a**2) * (1 - c**2) / (1 - b**2))
        return float(a * (1 - c**2) / (1 - b**2)), float(c * (1 - a**2) / (1 - b**2)), float(deviation)

    def noisy(self, clean: torch.Tensor, degraded: torch.Tensor, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t (N, C, H, W) of the forward marginal, ``t`` (N,) int64 in 1..T."""
        return degraded + _at(self.weights, t, z) * (clean - degraded) + _at(self.deviations, t, z) * z

    def clean_estimate(
        self, output: torch.Tensor, x: torch.Tensor, degraded: torch.Tensor, t: torch.Tensor
    ) -> torch.Tensor:
        """x0-hat (N, C, H, W): the clean image that the network's output stands for."""
        of_x, of_e = self.clean_from
        return degraded + _at(of_x, t, x) * (x - degraded) + _at(of_e, t, x) * output

    def optimum(self, clean: torch.Tensor, x: torch.Tensor, degraded: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x*_{t-1}: the likeliest image one step back, the mean of the posterior. It depends on data only."""
        rows = np.array([(0.0, 0.0), *(self.posterior(i, i - 1)[:2] for i in range(1, self.times + 1))])
        return degraded + _at(rows[:, 0], t, x) * (x - degraded) + _at(rows[:, 1], t, x) * (clean - degraded)

    def expected(self, output: torch.Tensor, x: torch.Tensor, degraded: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """One reverse step of the SDE by Euler without its noise, by what the network says."""
        of_x, of_e = self.noise_from
        noise = _at(of_x, t, x) * (x - degraded) + _at(of_e, t, x) * output
        speed = self.thetas * self.dt
        pushed = 2.0 * self.deviation**2 * speed[1:] / self.deviations[1:]
        return x + _at(speed, t, x) * (x - degraded) - _at(np.append(0.0, pushed), t, x) * noise

    def loss(
        self, network: Network, degraded: torch.Tensor, clean: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean |expected - optimum| at uniform times (the paper's equation 15, with L1), and x0-hat."""
        t = torch.randint(1, self.times + 1, (len(clean),), generator=generator).to(clean.device)
        z = torch.randn(clean.shape, generator=generator).to(clean.device)
        x = self.noisy(clean, degraded, z, t)
        output = network(stacked(x, degraded, _at(self.gains, t, x)), t.float())
        difference = self.expected(output, x, degraded, t) - self.optimum(clean, x, degraded, t)
        return difference.abs().mean(), self.clean_estimate(output, x, degraded, t)


def _at(table: Doubles, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``table[t]`` (N, 1, 1, 1), looked up in float64 and rounded once."""
    values = torch.from_numpy(np.ascontiguousarray(table)).to(like.device)[t]
    return values.to(like.dtype).view(-1, *([1] * (like.ndim - 1)))
