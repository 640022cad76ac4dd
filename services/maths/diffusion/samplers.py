"""Samplers as functions of (denoise, x, levels): the plans of plans.py, run from the first step to the last.

``denoise(x, t)`` takes (B, C, H, W) and (B,) int64 and returns the prediction of x0; ``x`` is unit noise at the first
level; ``noise(k)`` gives the (B, C, H, W) unit noise of evaluation k, and only samplers that draw need it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from services.maths.diffusion.plans import Plan, advance, first_state, make_plan
from services.maths.diffusion.schedules import Levels

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Noise = Callable[[int], torch.Tensor]


def sample_ddim(
    denoise: Denoise, x: torch.Tensor, levels: Levels, *, noise: Noise | None = None, eta: float = 0.0
) -> torch.Tensor:
    """DDIM (Song et al. 2021): first order; ``eta`` 0 draws nothing, 1 is ancestral sampling."""
    return run_plan(make_plan("ddim", levels, eta=eta), denoise, x, noise=noise)


def sample_ddpm(denoise: Denoise, x: torch.Tensor, levels: Levels, *, noise: Noise | None = None) -> torch.Tensor:
    """Ancestral sampling (Ho et al. 2020)."""
    return run_plan(make_plan("ddpm", levels), denoise, x, noise=noise)


def sample_dpmpp_2m(denoise: Denoise, x: torch.Tensor, levels: Levels, *, noise: Noise | None = None) -> torch.Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022): second order at one call a step."""
    return run_plan(make_plan("dpmpp-2m", levels), denoise, x, noise=noise)


def sample_unipc(denoise: Denoise, x: torch.Tensor, levels: Levels, *, noise: Noise | None = None) -> torch.Tensor:
    """UniPC (Zhao et al. 2023) of order 2 with its corrector, at one call a step."""
    return run_plan(make_plan("unipc", levels), denoise, x, noise=noise)


def sample_heun(denoise: Denoise, x: torch.Tensor, levels: Levels, *, noise: Noise | None = None) -> torch.Tensor:
    """Heun's method (Karras et al. 2022): second order at two calls a step."""
    return run_plan(make_plan("heun", levels), denoise, x, noise=noise)


def run_plan(plan: Plan, denoise: Denoise, x: torch.Tensor, *, noise: Noise | None = None) -> torch.Tensor:
    """The image (B, C, H, W) at the end of ``plan``, all rows in step."""
    if plan.stochastic and noise is None:
        raise ValueError(f"{plan.sampler} draws noise at each step: noise is needed")
    state = first_state(x)
    for k, timestep in enumerate(plan.timesteps.tolist()):
        t = torch.full((len(x),), timestep, dtype=torch.int64, device=x.device)
        z = noise(k) if plan.stochastic and noise is not None else None
        state = advance(plan, torch.full((len(x),), k), state, denoise(state.x, t), z)
    return state.x


SAMPLER_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "ddim": sample_ddim,
    "ddpm": sample_ddpm,
    "dpmpp-2m": sample_dpmpp_2m,
    "unipc": sample_unipc,
    "heun": sample_heun,
}
