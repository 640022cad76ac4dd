import diffusers
import numpy as np
import pytest

from services.maths.diffusion.schedules import cosine_schedule, sampling_levels, scaled_linear_schedule

EVERY_SCHEDULE = [(make, zero) for make in (cosine_schedule, scaled_linear_schedule) for zero in (False, True)]


@pytest.mark.parametrize(("make", "zero"), EVERY_SCHEDULE)
@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_image_gives_way_to_noise_step_by_step(make, zero, steps):
    schedule = make(steps, zero_terminal_snr=zero)
    bars = schedule.alphas_bar
    assert bars.dtype == np.float64 and bars.shape == (steps,) == (schedule.steps,)
    assert (np.diff(bars) < 0).all() and bars[0] < 1 and (bars[-1] == 0 if zero else bars[-1] > 0)
    np.testing.assert_allclose(schedule.alphas**2 + schedule.sigmas**2, 1.0, rtol=1e-14)


@pytest.mark.parametrize("make", [cosine_schedule, scaled_linear_schedule])
def test_rescale_to_zero_terminal_snr_keeps_the_first_level(make):
    plain, rescaled = make(), make(zero_terminal_snr=True)
    np.testing.assert_allclose(rescaled.alphas_bar[0], plain.alphas_bar[0], rtol=1e-12)


def test_cosine_schedule_has_the_published_values():
    bars, rescaled = cosine_schedule().alphas_bar, cosine_schedule(zero_terminal_snr=True).alphas_bar
    betas = 1 - bars[1:] / bars[:-1]
    np.testing.assert_allclose(betas[-1], 0.999)  # clipped, Nichol & Dhariwal 2021
    assert betas[-2] < 0.9
    np.testing.assert_allclose(rescaled[995], 3.8e-5, rtol=0.01)
    np.testing.assert_allclose(
        bars[499], np.cos((0.5 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    )


def test_scaled_linear_schedule_is_stable_diffusions():
    bars = scaled_linear_schedule().alphas_bar
    betas = np.append(1 - bars[0], 1 - bars[1:] / bars[:-1])
    np.testing.assert_allclose(betas[[0, -1]], [0.00085, 0.012], rtol=1e-9)
    np.testing.assert_allclose(np.diff(np.sqrt(betas)), np.diff(np.sqrt(betas)).mean(), rtol=1e-6)
    np.testing.assert_allclose(bars[-1], 0.00466, rtol=1e-2)


@pytest.mark.parametrize("make", [cosine_schedule, scaled_linear_schedule])
def test_schedules_are_diffusers(make):
    names = {cosine_schedule: "squaredcos_cap_v2", scaled_linear_schedule: "scaled_linear"}
    settings = {"beta_schedule": names[make], "beta_start": 0.00085, "beta_end": 0.012}
    for zero in (False, True):
        theirs = diffusers.DDIMScheduler(**settings, rescale_betas_zero_snr=zero).alphas_cumprod.numpy()
        np.testing.assert_allclose(make(zero_terminal_snr=zero).alphas_bar, theirs, atol=2e-6)


def test_trailing_levels_begin_at_pure_noise_and_leading_ones_do_not():
    schedule = cosine_schedule(zero_terminal_snr=True)
    trailing, leading = sampling_levels(schedule, 50), sampling_levels(schedule, 50, spacing="leading")
    assert trailing.timesteps.tolist() == list(range(999, 0, -20)) and trailing.alphas[0] == 0.0
    assert leading.timesteps.tolist() == list(range(980, -1, -20)) and leading.alphas[0] > 0.01
    assert sampling_levels(schedule, 200, spacing="leading").timesteps[0] == 995


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "quadratic"])
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 180, 999, 1000])
def test_any_count_of_levels_is_exact_descends_and_ends_clean(spacing, steps):
    schedule = cosine_schedule()
    levels = sampling_levels(schedule, steps, spacing=spacing)
    assert levels.timesteps.shape == (steps,) and levels.timesteps.dtype == np.int64
    assert (np.diff(levels.timesteps) < 0).all()
    assert levels.timesteps.min() >= 0 and levels.timesteps.max() <= 999
    assert (levels.alphas[-1], levels.sigmas[-1]) == (1.0, 0.0)
    np.testing.assert_array_equal(levels.alphas[:-1], schedule.alphas[levels.timesteps])
    np.testing.assert_array_equal(levels.sigmas[:-1], schedule.sigmas[levels.timesteps])


def test_steps_out_of_range_and_unknown_spacings_are_refused():
    schedule = cosine_schedule(100)
    for steps in (0, -1, 101):
        with pytest.raises(ValueError, match=r"steps must lie in 1\.\.100"):
            sampling_levels(schedule, steps)
    with pytest.raises(ValueError, match="spacing must be"):
        sampling_levels(schedule, 10, spacing="karras")
