"""Our samplers against diffusers' schedulers, wherever both mean the same method on the same levels.

diffusers computes its tables in float32, so agreement is to float32. Left out, as the conventions differ: a zero
terminal SNR (diffusers replaces it by 2**-24), and Heun while noise prevails (see plans.py).
"""

import diffusers
import numpy as np
import pytest
import torch

from services.maths.diffusion.samplers import sample_ddim, sample_ddpm, sample_dpmpp_2m, sample_heun, sample_unipc
from services.maths.diffusion.schedules import Levels, sampling_levels, scaled_linear_schedule
from tests.maths.diffusion.gaussian_oracle import normal

SCHEDULE = scaled_linear_schedule()
STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SETTINGS = {**STABLE_DIFFUSION, "prediction_type": "sample", "timestep_spacing": "trailing"}
SHAPE = (2, 3, 8, 8)


def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.tanh(1.3 * x - t.view(-1, 1, 1, 1) / 3000)


def theirs(scheduler, steps, **step_settings):
    scheduler.set_timesteps(steps)
    x = normal(*SHAPE)
    for t in scheduler.timesteps:
        d = denoise(x, torch.full((len(x),), int(t)))
        settings = {name: value() for name, value in step_settings.items()}
        x = scheduler.step(d, t, x, **settings).prev_sample
    return x


def draws():
    """The noise of one run, call by call."""
    generator = torch.Generator().manual_seed(3)
    return lambda *_: torch.randn(SHAPE, generator=generator)


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)
    assert float(ours.std()) > 0.5  # an image, not zeros


@pytest.mark.parametrize("steps", [1, 5, 20, 50])
def test_ddim(steps):
    scheduler = diffusers.DDIMScheduler(**SETTINGS, clip_sample=False)
    ours = sample_ddim(denoise, normal(*SHAPE), sampling_levels(SCHEDULE, steps))
    assert_close(ours, theirs(scheduler, steps))


@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_ddim_with_noise(eta):
    scheduler = diffusers.DDIMScheduler(**SETTINGS, clip_sample=False)
    ours = sample_ddim(denoise, normal(*SHAPE), sampling_levels(SCHEDULE, 20), noise=draws(), eta=eta)
    assert_close(ours, theirs(scheduler, 20, eta=lambda: eta, variance_noise=draws()))


def test_ddpm():
    scheduler = diffusers.DDPMScheduler(**SETTINGS, clip_sample=False, variance_type="fixed_small")
    generator = torch.Generator().manual_seed(3)
    ours = sample_ddpm(denoise, normal(*SHAPE), sampling_levels(SCHEDULE, 50), noise=draws())
    assert_close(ours, theirs(scheduler, 50, generator=lambda: generator))


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20, 50])
def test_dpm_solver_plus_plus(steps):
    scheduler = diffusers.DPMSolverMultistepScheduler(**SETTINGS)
    ours = sample_dpmpp_2m(denoise, normal(*SHAPE), sampling_levels(SCHEDULE, steps))
    assert_close(ours, theirs(scheduler, steps))


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20, 50])
def test_unipc(steps):
    scheduler = diffusers.UniPCMultistepScheduler(**SETTINGS, final_sigmas_type="zero")
    ours = sample_unipc(denoise, normal(*SHAPE), sampling_levels(SCHEDULE, steps))
    assert_close(ours, theirs(scheduler, steps))


def test_heun_where_the_image_prevails():
    timesteps = np.arange(300, 0, -25)
    alphas, sigmas = SCHEDULE.alphas[timesteps], SCHEDULE.sigmas[timesteps]
    assert (alphas > sigmas).all()
    scheduler = diffusers.HeunDiscreteScheduler(**STABLE_DIFFUSION, prediction_type="epsilon")
    scheduler.set_timesteps(timesteps=timesteps.tolist())
    x = normal(*SHAPE)
    stretched = x / alphas[0]  # diffusers carries x / alpha
    for t in scheduler.timesteps:
        alpha, sigma = SCHEDULE.alphas[int(t)], SCHEDULE.sigmas[int(t)]
        seen = scheduler.scale_model_input(stretched, t)
        eps = (seen - alpha * denoise(seen, torch.full((2,), int(t)))) / sigma
        stretched = scheduler.step(eps, t, stretched).prev_sample
    levels = Levels(timesteps, np.append(alphas, 1.0), np.append(sigmas, 0.0))
    assert_close(sample_heun(denoise, x, levels), stretched.float())
