"""IR-SDE: the published numbers, the published optimum, and samplers that have the errors they must have."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from services.maths.restoration.ir_sde import IrSde
from services.maths.restoration.plans import E, X, sample
from tests.maths.restoration.gaussian_oracle import DEGRADED, exact_ir_sde, moments

PUBLISHED = IrSde()
TRUTH = (0.7, 0.05)


def drawn(process, sampler, steps, truth=TRUTH, pixels=4000):
    """Sampled pixels of the exact network, in float64."""
    generator = torch.Generator().manual_seed(0)
    degraded = torch.full((10, 1, 1, pixels // 10), DEGRADED, dtype=torch.float64)

    def noise(_):
        return torch.randn(degraded.shape, generator=generator, dtype=torch.float64)

    return sample(exact_ir_sde(process, *truth), degraded, process.plan(sampler, steps), noise)


def test_the_schedule_has_the_published_numbers():
    np.testing.assert_allclose(
        PUBLISHED.thetas[[0, 1, 50, 100]], [6.14e-4, 1.69e-3, 0.506, 0.99977], rtol=3e-3, atol=5e-6
    )
    assert len(PUBLISHED.thetas) == 101
    assert PUBLISHED.cumulative[-1] == pytest.approx(50.899, abs=5e-4)
    assert PUBLISHED.dt == pytest.approx(0.104094, abs=5e-7)
    at = [1, 10, 25, 50, 75]
    np.testing.assert_allclose(
        PUBLISHED.deviations[at] / PUBLISHED.deviation, [0.01878, 0.17046, 0.52177, 0.93263, 0.99824], atol=6e-6
    )
    np.testing.assert_allclose(PUBLISHED.weights[at], [0.99982, 0.98536, 0.85309, 0.36082, 0.05924], atol=6e-6)
    assert PUBLISHED.weights[-1] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("sampler", "mean", "spread"),
    [("posterior", 0.6999, 0.0484), ("sde", 0.6957, 0.0501), ("ode", 0.6869, 0.0497)],
)
@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_the_samplers_show_the_published_errors_of_discretisation(sampler, mean, spread, prediction):
    """The published figures are of samples, whose own noise is about 1e-4."""
    process = IrSde(prediction=prediction)
    found = moments(exact_ir_sde(process, *TRUTH), process.plan(sampler, 100))
    assert found == pytest.approx((mean, spread), abs=2e-4)


def test_samples_are_what_their_moments_say():
    """That the exact moments, by which all else is judged, are those of images drawn with ordinary noise."""
    found = drawn(PUBLISHED, "sde", 100, pixels=40_000)
    mean, spread = moments(exact_ir_sde(PUBLISHED, *TRUTH), PUBLISHED.plan("sde", 100))
    assert float(found.mean()) == pytest.approx(mean, abs=4 * spread / 200)
    assert float(found.std()) == pytest.approx(spread, rel=4 / np.sqrt(2 * 40_000))


@pytest.mark.parametrize("steps", [5, 7, 20, 33])
def test_the_posterior_is_exact_on_any_grid_where_the_clean_image_is_certain(steps):
    """With nothing to guess, skipping times costs nothing: it ends in the clean image, without any noise."""
    found = drawn(PUBLISHED, "posterior", steps, truth=(0.7, 0.0))
    assert float((found - 0.7).abs().max()) < 1e-9


@pytest.mark.parametrize("steps", [5, 20, 50])
def test_a_transition_between_distant_times_is_that_of_the_times_between(steps):
    """Marginals of the forward process: weights and variances of two steps compose to those of one."""
    grid = PUBLISHED.grid(steps)
    for t, s in pairwise(grid):
        kept, clean, deviation = PUBLISHED.posterior(t, s)
        b, c = PUBLISHED.weights[t], PUBLISHED.weights[s]
        assert kept * b + clean == pytest.approx(c)
        assert (kept * PUBLISHED.deviations[t]) ** 2 + deviation**2 == pytest.approx(
            PUBLISHED.deviations[s] ** 2, abs=1e-15
        )


@pytest.mark.parametrize(
    ("sampler", "steps", "mean"), [("sde", 20, 0.6957), ("ode", 20, 0.6869), ("posterior", 20, 0.6999)]
)
def test_fewer_steps_keep_the_mean(sampler, steps, mean):
    found, _ = moments(exact_ir_sde(PUBLISHED, *TRUTH), PUBLISHED.plan(sampler, steps))
    assert found == pytest.approx(mean, abs=1.5e-3)


def test_only_the_last_step_of_the_sde_still_adds_noise():
    assert not PUBLISHED.plan("posterior", 100).draws(99)
    assert not any(PUBLISHED.plan("ode", 100).draws(k) for k in range(100))
    last = PUBLISHED.plan("sde", 100)
    assert last.draws(99)
    assert last.coefficients[99, 0].max() < 1.01
    assert abs(last.coefficients[99, 0, 5] - 7.4e-4) < 2e-5  # 0.19 of 255 grey levels


def test_the_optimum_is_the_mean_of_the_posterior():
    """By Bayes' rule for Gaussians: p(x_{t-1} | x0) and p(x_t | x_{t-1}) multiplied, at every time."""
    generator = torch.Generator().manual_seed(3)
    shape = (100, 1, 4, 4)
    clean, degraded, z = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    t = torch.arange(1, 101)
    x = PUBLISHED.noisy(clean, degraded, z, t)
    found = PUBLISHED.optimum(clean, x, degraded, t)
    a = np.exp(-PUBLISHED.thetas[1:] * PUBLISHED.dt)
    prior = PUBLISHED.deviations[:-1] ** 2
    added = PUBLISHED.deviation**2 * (1 - a**2)
    a, prior, added, before = (
        torch.from_numpy(np.asarray(v)).view(-1, 1, 1, 1) for v in (a, prior, added, PUBLISHED.weights[:-1])
    )
    expected = degraded + (added * before * (clean - degraded) + prior * a * (x - degraded)) / (added + a**2 * prior)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_the_true_noise_gives_the_clean_image_and_nearly_the_optimum(prediction):
    process = IrSde(prediction=prediction)
    generator = torch.Generator().manual_seed(4)
    clean = torch.rand((100, 1, 4, 4), generator=generator, dtype=torch.float64)
    degraded = torch.rand((100, 1, 4, 4), generator=generator, dtype=torch.float64)
    z = torch.randn((100, 1, 4, 4), generator=generator, dtype=torch.float64)
    t = torch.arange(1, 101)
    x = process.noisy(clean, degraded, z, t)
    of_x, of_e = (torch.from_numpy(table)[t].view(-1, 1, 1, 1) for table in process.noise_from)
    output = (z - of_x * (x - degraded)) / of_e
    torch.testing.assert_close(process.clean_estimate(output, x, degraded, t), clean, rtol=0, atol=1e-9)
    # Euler's step differs from the exact posterior by the second order of theta dt.
    difference = (process.expected(output, x, degraded, t) - process.optimum(clean, x, degraded, t)).abs()
    bound = torch.from_numpy((process.thetas[1:] * process.dt) ** 2).view(-1, 1, 1, 1)
    assert bool((difference <= bound * ((x - degraded).abs() + z.abs())).all())


class Affine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.5))
        self.shift = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, inputs, t):
        return self.gain * inputs[:, :1] + self.shift


def pair(rows=6):
    generator = torch.Generator().manual_seed(5)
    clean = torch.rand((rows, 1, 8, 8), generator=generator)
    return (0.5 * clean + 0.2).clamp(0, 1), clean


def test_the_loss_is_the_published_one():
    degraded, clean = pair()
    network = Affine()
    loss, restored = PUBLISHED.loss(network, degraded, clean, torch.Generator().manual_seed(6))
    generator = torch.Generator().manual_seed(6)
    t = torch.randint(1, 101, (6,), generator=generator)
    z = torch.randn(clean.shape, generator=generator)
    total = 0.0
    for row, at in enumerate(t.tolist()):
        theta, dt, lam = PUBLISHED.thetas[at], PUBLISHED.dt, 10 / 255
        a, b = np.exp(-theta * dt), np.exp(-PUBLISHED.cumulative[at] * dt)
        c = np.exp(-PUBLISHED.cumulative[at - 1] * dt)
        sigma = lam * np.sqrt(1 - b**2)
        mu, x0 = degraded[row].double(), clean[row].double()
        x = mu + (x0 - mu) * b + sigma * z[row].double()
        noise = 0.5 * (x - mu) + 0.1
        score = -noise / sigma
        step = x - (theta * (mu - x) - 2 * lam**2 * theta * score) * dt
        star = a * (1 - c**2) / (1 - b**2) * (x - mu) + c * (1 - a**2) / (1 - b**2) * (x0 - mu) + mu
        total += float((step - star).abs().mean()) / 6
        torch.testing.assert_close(restored[row].double(), (x - mu - sigma * noise) / b + mu, rtol=1e-3, atol=1e-3)
    assert float(loss.detach()) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_the_clean_estimate_feels_the_weights_and_the_optimum_does_not(prediction):
    """The public code's fairness term acted on the optimum: its gradient is exactly none."""
    process = IrSde(prediction=prediction)
    degraded, clean = pair()
    network = Affine()
    _, restored = process.loss(network, degraded, clean, torch.Generator().manual_seed(1))
    restored.mean().backward()
    assert float(network.gain.grad.abs()) > 0
    assert float(network.shift.grad.abs()) > 0
    t = torch.full((6,), 30)
    assert not process.optimum(clean, degraded, degraded, t).requires_grad


def test_velocity_and_noise_are_two_names_of_one_network():
    """Both predictions of the exact network sample the same images from the same noise."""
    images = [drawn(IrSde(prediction=prediction), "posterior", 20) for prediction in ("noise", "velocity")]
    torch.testing.assert_close(*images, rtol=0, atol=1e-6)


def test_the_velocity_s_inputs_and_targets_have_unit_size():
    process = IrSde(prediction="velocity", spread=0.08)
    of_x, of_e = process.noise_from
    generator = np.random.default_rng(1)
    clean, z = 0.08 * generator.standard_normal(200_000), generator.standard_normal(200_000)
    for t in (1, 20, 60, 100):
        away = process.weights[t] * clean + process.deviations[t] * z
        assert np.sqrt(np.mean((away * process.gains[t]) ** 2)) == pytest.approx(1.0, abs=0.01)
        assert np.sqrt(np.mean(((z - of_x[t] * away) / of_e[t]) ** 2)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("steps", range(5, 101))
def test_every_number_of_steps_has_its_grid(steps):
    grid = PUBLISHED.grid(steps)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (100, 0)
    assert all(t > s for t, s in pairwise(grid))


def test_the_plan_asks_for_what_the_network_learned():
    plan = PUBLISHED.plan("posterior", 100)
    assert plan.times.tolist() == list(range(100, 0, -1))
    assert plan.start == pytest.approx(10 / 255)
    assert np.isfinite(plan.coefficients).all()
    assert plan.coefficients[-1, 0, X] + plan.coefficients[-1, 0, 2] == pytest.approx(1.0)
    assert plan.coefficients[0, 0, E] != 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": 4}, "times"),
        ({"deviation": 0.0}, "deviation"),
        ({"remaining": 1.0}, "remaining"),
        ({"prediction": "score"}, "prediction"),
        ({"spread": -1.0}, "spread"),
    ],
)
def test_impossible_processes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        IrSde(**arguments)


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 20), ("posterior", 4), ("posterior", 101), ("sde", 0)])
def test_impossible_plans_are_refused(sampler, steps):
    with pytest.raises(ValueError, match=r"sampler must be one of|steps of .* must lie in 5\.\.100"):
        PUBLISHED.plan(sampler, steps)
