"""Noise schedules of variance-preserving diffusion: x_t = alpha_t x0 + sigma_t eps with alpha² + sigma² = 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Spacing = Literal["trailing", "leading", "linspace", "quadratic"]

LARGEST_BETA = 0.999  # Nichol & Dhariwal 2021, section 3.2: beta is clipped near the last step


@dataclass(frozen=True)
class NoiseSchedule:
    """``alphas_bar`` (T,) float64, decreasing: the share of the image's variance that is left at step t."""

    alphas_bar: Doubles

    @property
    def steps(self) -> int:
        """T, the number of training steps."""
        return len(self.alphas_bar)

    @property
    def alphas(self) -> Doubles:
        """(T,) weight of the image."""
        return np.sqrt(self.alphas_bar)

    @property
    def sigmas(self) -> Doubles:
        """(T,) weight of the noise."""
        return np.sqrt(1.0 - self.alphas_bar)


@dataclass(frozen=True)
class Levels:
    """The noise levels that a sampler visits.

    ``timesteps`` (S,) int64, descending: where the network is asked. ``alphas`` and ``sigmas`` (S + 1,) float64 belong
    to them, and to the clean image (1, 0) at the end.
    """

    timesteps: npt.NDArray[np.int64]
    alphas: Doubles
    sigmas: Doubles


def cosine_schedule(steps: int = 1000, *, offset: float = 0.008, zero_terminal_snr: bool = False) -> NoiseSchedule:
    """Nichol & Dhariwal 2021, equation 17, with beta_t = 1 - abar_t / abar_{t-1} clipped to 0.999."""
    at = np.arange(steps + 1) / steps
    squared = np.cos((at + offset) / (1 + offset) * np.pi / 2) ** 2
    betas = np.clip(1.0 - squared[1:] / squared[:-1], 0.0, LARGEST_BETA)
    return _from_betas(betas, zero_terminal_snr)


def scaled_linear_schedule(
    steps: int = 1000, *, first: float = 0.00085, last: float = 0.012, zero_terminal_snr: bool = False
) -> NoiseSchedule:
    """Stable Diffusion's: the square root of beta is linear in t (Rombach et al. 2022, code)."""
    betas = np.linspace(np.sqrt(first), np.sqrt(last), steps) ** 2
    return _from_betas(betas, zero_terminal_snr)


def _from_betas(betas: Doubles, zero_terminal_snr: bool) -> NoiseSchedule:
    alphas_bar: Doubles = np.cumprod(1.0 - betas, dtype=np.float64)
    return NoiseSchedule(_rescaled(alphas_bar) if zero_terminal_snr else alphas_bar)


def _rescaled(alphas_bar: Doubles) -> Doubles:
    """Lin et al. 2024, algorithm 1: shift and stretch sqrt(abar) so that its last value is 0 and its first stays."""
    root = np.sqrt(alphas_bar)
    return np.asarray(((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)


def sampling_levels(schedule: NoiseSchedule, steps: int, *, spacing: Spacing = "trailing") -> Levels:
    """``steps`` of the schedule's T noise levels, from the noisiest to the cleanest.

    "trailing" (Lin et al. 2024) visits T - 1, where sampling starts from pure noise; "leading" does not, and with a
    zero terminal SNR it would start from a level at which training has seen some image; it is paper 000's. "linspace"
    visits both ends. "quadratic" (Song et al. 2021, appendix D.2) starts where "trailing" does and lets steps shrink
    towards the clean image: evenly spaced ones end in a long step from visible noise, which blurs fine structures.
    ValueError unless 1 <= steps <= T.
    """
    total = schedule.steps
    if not 1 <= steps <= total:
        raise ValueError(f"steps must lie in 1..{total}, got {steps}")
    if spacing == "trailing":
        timesteps = np.round(total - np.arange(steps) * (total / steps)).astype(np.int64) - 1
    elif spacing == "leading":
        timesteps = (np.arange(steps) * (total // steps)).astype(np.int64)[::-1].copy()
    elif spacing == "linspace":
        timesteps = np.round(np.linspace(total - 1, 0, steps)).astype(np.int64)
    elif spacing == "quadratic":
        even = np.round(total * (1.0 - np.arange(steps) / steps) ** 2).astype(np.int64) - 1
        timesteps = np.maximum(even, np.arange(steps)[::-1])  # no level twice
    else:
        raise ValueError(f"spacing must be trailing, leading, linspace or quadratic, not {spacing!r}")
    alphas = np.append(schedule.alphas[timesteps], 1.0)
    sigmas = np.append(schedule.sigmas[timesteps], 0.0)
    return Levels(timesteps, alphas, sigmas)
