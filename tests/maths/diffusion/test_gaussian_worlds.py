"""Sampling, guidance and embedding paths against worlds whose best denoiser is known in closed form."""

import pytest
import torch

from services.maths.diffusion.guidance import Guidance, guided
from services.maths.diffusion.paths import embedding_path
from services.maths.diffusion.samplers import sample_ddim
from services.maths.diffusion.schedules import cosine_schedule, sampling_levels
from tests.maths.diffusion.gaussian_oracle import (
    MINORITY,
    REGION,
    SHIFT,
    SIZE,
    SPREAD,
    TwoClasses,
    minority_share,
    normal,
)

SCHEDULE = cosine_schedule(zero_terminal_snr=True)
WORLD = TwoClasses(SCHEDULE)


def sample(share, x, steps=50, scale=1.0, spacing="leading"):
    condition, null = WORLD.denoise(share), WORLD.denoise(MINORITY)
    denoise = condition if scale == 1.0 else lambda x, t: guided(condition(x, t), null(x, t), scale)
    return sample_ddim(denoise, x, sampling_levels(SCHEDULE, steps, spacing=spacing))


def noise(count, seed=0, dtype=torch.float32):
    return normal(count, 1, SIZE, SIZE, seed=seed, dtype=dtype)


@pytest.mark.parametrize(("steps", "shift", "tolerance"), [(50, 0.2988, 2e-4), (200, 0.2997, 1e-4)])
def test_same_noise_difference_is_the_published_recipes(steps, shift, tolerance):
    x = noise(8)
    difference = sample(1.0, x, steps) - sample(0.0, x, steps)
    assert abs(float(difference[:, REGION].mean()) - shift) < tolerance
    assert float(difference[:, REGION].std(dim=0).max()) < 1e-4
    assert float(difference[:, ~REGION].abs().max()) == 0.0


def test_difference_of_other_noise_is_drowned():
    difference = sample(1.0, noise(32)) - sample(0.0, noise(32, seed=1))
    assert abs(float(difference[:, REGION].std(dim=0).mean()) - 0.197) < 0.01
    assert float(difference[:, ~REGION].abs().max()) > 0.5


@pytest.mark.parametrize(("steps", "spread"), [(20, 0.122), (50, 0.138), (200, 0.147)])
def test_few_steps_of_ddim_shrink_the_spread_as_known(steps, spread):
    images = sample(0.0, noise(200), steps)
    assert abs(float(images.std()) - spread) < 0.001 < SPREAD - spread


def test_pure_noise_at_the_last_level_is_visited_and_stays_finite():
    levels = sampling_levels(SCHEDULE, 1000)
    assert levels.timesteps[0] == 999 and levels.alphas[0] == 0.0
    images = sample(0.0, noise(16), steps=1000, spacing="trailing")
    assert bool(images.isfinite().all())
    assert abs(float(images.std()) - SPREAD) < 0.005


def test_share_of_the_minority_follows_the_embedding_along_the_path():
    path = embedding_path(torch.tensor([0.0]), torch.tensor([1.0]), 5)
    shares = [minority_share(sample(float(embedding[0]), noise(400), steps=20)) for embedding in path]
    assert shares[0] == 0.0 and shares[4] == 1.0
    assert shares == sorted(shares)
    for share, embedding in zip(shares, path, strict=True):
        assert abs(share - float(embedding[0])) < 0.08  # 3 standard errors of 400


def test_guidance_exaggerates_the_minority_and_only_the_minority():
    x = noise(64)
    plain = {share: sample(share, x) for share in (0.0, 1.0)}
    pushed = {share: sample(share, x, scale=4.0) for share in (0.0, 1.0)}
    excess = {share: float((pushed[share] - plain[share])[:, REGION].mean()) for share in (0.0, 1.0)}
    assert abs(excess[1.0] - 0.073) < 0.006
    assert abs(excess[0.0] + 0.002) < 0.002
    shift = float((pushed[1.0] - pushed[0.0])[:, REGION].mean())
    assert abs(shift / SHIFT - 1.25) < 0.03
    assert float((pushed[1.0] - pushed[0.0])[:, ~REGION].abs().max()) == 0.0


def test_guidance_moves_the_middle_of_the_path_to_the_minority():
    x = noise(200)
    assert abs(minority_share(sample(0.5, x)) - 0.5) < 0.11
    assert minority_share(sample(0.5, x, scale=4.0)) > 0.9


def test_guidance_off_everywhere_equals_no_guidance():
    x, guidance = noise(4), Guidance(scale=4.0, interval=(1.0, 1.0))
    condition, null = WORLD.denoise(1.0), WORLD.denoise(MINORITY)

    def denoise(x, t):
        scale = guidance.scale if guidance.active(int(t[0]), SCHEDULE.steps) else 1.0
        return guided(condition(x, t), null(x, t), scale)

    images = sample_ddim(denoise, x, sampling_levels(SCHEDULE, 50, spacing="leading"))
    assert torch.equal(images, sample(1.0, x))
