"""What every sampler owes: one list of properties, inherited by each of them."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from services.maths.diffusion.plans import SAMPLERS, State, advance, first_state, make_plan
from services.maths.diffusion.samplers import SAMPLER_FUNCTIONS, run_plan
from services.maths.diffusion.schedules import cosine_schedule, sampling_levels
from tests.maths.diffusion.gaussian_oracle import REGION, SHIFT, SIZE, OneGaussian, TwoClasses, even_levels, normal

SCHEDULE = cosine_schedule(zero_terminal_snr=True)
ODD = (1, 7, 5)  # 35 pixels: wide registers do not divide it


def squashed(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A denoiser that is neither linear nor exact, and works pixel by pixel."""
    return torch.tanh(1.5 * x + t.view(-1, 1, 1, 1) / 2000)


class SamplerProperties:
    """Subclasses name the sampler and its settings, whether it draws noise, and its calls a step."""

    sampler: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}
    stochastic: ClassVar[bool] = False
    calls_per_step: ClassVar[int] = 1

    def plan(self, levels):
        return make_plan(self.sampler, levels, **self.settings)

    def noise(self, shape, seed=9):
        return (lambda k: normal(*shape, seed=1000 * seed + k)) if self.stochastic else None

    def sample(self, denoise, x, levels):
        noise = self.noise(x.shape)
        return SAMPLER_FUNCTIONS[self.sampler](denoise, x, levels, noise=noise, **self.settings)

    @pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "quadratic"])
    @pytest.mark.parametrize("steps", [1, 2, 3, 4, 20, 1000])
    def test_tables_are_finite_and_small_with_a_zero_terminal_snr(self, steps, spacing):
        plan = self.plan(sampling_levels(SCHEDULE, steps, spacing=spacing))
        assert plan.coefficients.shape == (plan.evaluations, 2, 6)
        # Weights of hundreds would turn the last digits of a network in half precision into a visible error. Heun's are
        # the largest, where few steps end in one from far away to t = 0.
        limit = 2.5 if spacing in ("trailing", "quadratic") else 60
        assert np.isfinite(plan.coefficients).all() and np.abs(plan.coefficients).max() < limit

    def test_image_from_pure_noise_is_finite_float32_and_keeps_its_shape(self):
        x = normal(3, *ODD)
        for steps in (1, 2, 5):
            image = self.sample(squashed, x, sampling_levels(SCHEDULE, steps))
            assert image.dtype == torch.float32 and image.shape == x.shape and bool(image.isfinite().all())

    def test_network_is_asked_at_the_levels_and_as_often_as_promised(self):
        asked = []
        levels = sampling_levels(SCHEDULE, 10)

        def denoise(x, t):
            assert t.dtype == torch.int64 and t.shape == (len(x),) and len(set(t.tolist())) == 1
            asked.append(int(t[0]))
            return squashed(x, t)

        self.sample(denoise, normal(2, *ODD), levels)
        assert len(asked) == self.plan(levels).evaluations == 10 * self.calls_per_step - (self.calls_per_step - 1)
        assert asked == self.plan(levels).timesteps.tolist() == sorted(asked, reverse=True)
        assert set(asked) == set(levels.timesteps.tolist())

    def test_known_image_is_reached_whatever_the_noise(self):
        known = normal(2, *ODD, seed=4)
        image = self.sample(lambda x, t: known, normal(2, *ODD), sampling_levels(SCHEDULE, 12))
        torch.testing.assert_close(image, known, atol=1e-6, rtol=0)

    def test_same_noise_gives_the_same_bits(self):
        levels = sampling_levels(SCHEDULE, 7)
        first, again = (self.sample(squashed, normal(3, *ODD), levels) for _ in range(2))
        assert torch.equal(first, again)

    @pytest.mark.parametrize("batch", [1, 2, 3, 5])
    def test_row_does_not_depend_on_its_neighbours_or_on_how_many_there_are(self, batch):
        plan, rows = self.plan(sampling_levels(SCHEDULE, 6)), 7
        x, z = normal(rows, *ODD), [normal(rows, *ODD, seed=k) for k in range(20)]
        whole = run_plan(plan, squashed, x, noise=lambda k: z[k])
        for start in range(0, rows, batch):
            part = slice(start, start + batch)
            assert torch.equal(run_plan(plan, squashed, x[part], noise=lambda k, p=part: z[k][p]), whole[part])

    def test_broken_neighbour_does_not_spread(self):
        levels = sampling_levels(SCHEDULE, 6)
        x = normal(3, *ODD)
        broken = torch.stack([x[0], torch.full(ODD, torch.nan), x[2]])
        assert torch.equal(self.sample(squashed, broken, levels)[[0, 2]], self.sample(squashed, x, levels)[[0, 2]])

    def test_rows_that_joined_later_end_with_the_same_bits(self):
        plan = self.plan(sampling_levels(SCHEDULE, 6))
        x, z = normal(3, *ODD), [normal(3, *ODD, seed=k) for k in range(plan.evaluations)]
        together = run_plan(plan, squashed, x, noise=lambda k: z[k])
        state, ended = first_state(x), torch.zeros_like(x)
        for tick in range(plan.evaluations + 4):  # row r joins at tick 2 r, and waits at its first or last state else
            k = torch.tensor([tick - 2 * row for row in range(3)])
            at = k.clamp(0, plan.evaluations - 1)
            d = squashed(state.x, torch.from_numpy(plan.timesteps)[at])
            after = advance(plan, at, state, d, torch.stack([z[int(step)][row] for row, step in enumerate(at)]))
            working = ((k >= 0) & (k < plan.evaluations)).view(-1, 1, 1, 1)
            names = ("x", "y", "h1", "h2")
            state = State(**{name: torch.where(working, getattr(after, name), getattr(state, name)) for name in names})
            ended = torch.where((k == plan.evaluations - 1).view(-1, 1, 1, 1), state.x, ended)
        assert torch.equal(ended, together)

    def test_half_precision_prediction_does_not_lower_the_precision_of_the_state(self):
        plan = self.plan(sampling_levels(SCHEDULE, 6))
        x = normal(2, *ODD)
        state = advance(plan, torch.tensor([0, 3]), first_state(x), squashed(x, torch.zeros(2)).bfloat16(), x)
        assert {state.x.dtype, state.y.dtype, state.h1.dtype, state.h2.dtype} == {torch.float32}

    def test_same_noise_difference_of_two_classes_is_the_planted_shift_and_nothing_elsewhere(self):
        world, x = TwoClasses(SCHEDULE), normal(8, 1, SIZE, SIZE)
        levels = sampling_levels(SCHEDULE, 50)
        majority, minority = (self.sample(world.denoise(share), x, levels) for share in (0.0, 1.0))
        difference = minority - majority
        assert float(difference[:, ~REGION].abs().max()) == 0.0
        assert abs(float(difference[:, REGION].mean()) - SHIFT) < 0.003
        assert float(difference[:, REGION].std(dim=0).max()) < 1e-4

    def test_generated_images_have_the_mean_and_at_most_the_spread_of_the_truth(self):
        world = OneGaussian(SCHEDULE)
        images = self.sample(world.denoise, normal(400, 1, 8, 8), sampling_levels(SCHEDULE, 100))
        assert abs(float(images.mean()) - world.mean) < 0.01
        assert 0.9 * world.spread < float(images.std()) < 1.01 * world.spread

    def test_noise_is_asked_for_only_when_the_sampler_draws(self):
        levels = sampling_levels(SCHEDULE, 4)
        assert self.plan(levels).stochastic == self.stochastic
        run = SAMPLER_FUNCTIONS[self.sampler]
        if not self.stochastic:
            run(squashed, normal(1, *ODD), levels, noise=lambda k: pytest.fail("drew noise"))
            return
        with pytest.raises(ValueError, match="noise is needed"):
            run(squashed, normal(1, *ODD), levels, **self.settings)
        with pytest.raises(ValueError, match="z is needed"):
            advance(self.plan(levels), torch.tensor([0]), first_state(normal(1, *ODD)), normal(1, *ODD))


class TrajectoryProperties(SamplerProperties):
    """What a sampler that draws no noise owes besides: it follows the probability-flow equation."""

    order: ClassVar[int]

    def test_constant_prediction_keeps_the_noise_on_the_straight_way(self):
        # x_t = alpha_t x0 + sigma_t eps at every level, so each row of the table has weights that fit together.
        levels = sampling_levels(SCHEDULE, 8)
        known, eps = normal(1, *ODD, seed=4, dtype=torch.float64), normal(1, *ODD, dtype=torch.float64)
        plan, state = self.plan(levels), first_state(eps)
        for k, t in enumerate(plan.timesteps):
            there = SCHEDULE.alphas[t] * known + SCHEDULE.sigmas[t] * eps
            torch.testing.assert_close(state.x, there, atol=1e-12, rtol=0)
            state = advance(plan, torch.tensor([k]), state, known)

    def test_error_falls_with_the_order_of_the_method(self):
        errors, deviate = [], torch.linspace(-2, 2, 9, dtype=torch.float64).view(1, 1, 3, 3)
        for steps in (80, 160):
            schedule, levels = even_levels(steps)
            world = OneGaussian(schedule)
            start = world.solution(deviate, levels.alphas[0], levels.sigmas[0])
            end = run_plan(self.plan(levels), world.denoise, start)
            errors.append(float((end - world.solution(deviate, 1.0, 0.0)).abs().max()))
        assert abs(np.log2(errors[0] / errors[1]) - self.order) < 0.1


class TestDDIM(TrajectoryProperties):
    sampler, order = "ddim", 1


class TestDDIMWithHalfTheNoise(SamplerProperties):
    sampler, stochastic = "ddim", True
    settings: ClassVar = {"eta": 0.5}


class TestDDPM(SamplerProperties):
    sampler, stochastic = "ddpm", True


class TestDPMSolverPlusPlus(TrajectoryProperties):
    sampler, order = "dpmpp-2m", 2


class TestUniPC(TrajectoryProperties):
    # Its corrector lends the second-order predictor one more order (Zhao et al. 2023, theorem 3.1).
    sampler, order = "unipc", 3


class TestHeun(TrajectoryProperties):
    sampler, order, calls_per_step = "heun", 2, 2


def test_every_sampler_inherits_the_properties():
    drawing, following = SamplerProperties.__subclasses__(), TrajectoryProperties.__subclasses__()
    tested = {subclass.sampler for subclass in (*drawing, *following) if subclass is not TrajectoryProperties}
    assert tested == set(SAMPLERS) == set(SAMPLER_FUNCTIONS)


def test_ancestral_sampling_is_ddim_with_all_of_its_noise():
    levels = sampling_levels(SCHEDULE, 50)
    full, ancestral = make_plan("ddim", levels, eta=1.0), make_plan("ddpm", levels)
    np.testing.assert_allclose(full.coefficients, ancestral.coefficients, atol=1e-13)


def test_unknown_sampler_and_misplaced_or_wild_eta_are_refused():
    levels = sampling_levels(SCHEDULE, 5)
    with pytest.raises(ValueError, match="sampler must be one of ddim, ddpm, dpmpp-2m, unipc, heun"):
        make_plan("euler", levels)
    with pytest.raises(ValueError, match="eta belongs to ddim"):
        make_plan("heun", levels, eta=0.5)
    for eta in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"eta must lie in 0\.\.1"):
            make_plan("ddim", levels, eta=eta)
