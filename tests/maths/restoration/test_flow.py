"""The flow: straight where it must be, of the right order elsewhere, and trained on the velocity it is sampled with."""

from __future__ import annotations

import math

import pytest
import torch

from services.maths.restoration.flow import Flow
from tests.maths.restoration.gaussian_oracle import exact_flow, moments

FLOW = Flow(deviation=0.05, spread=0.2)


def ends(sampler, steps, truth):
    return moments(exact_flow(FLOW, *truth), FLOW.plan(sampler, steps))


@pytest.mark.parametrize("sampler", FLOW.samplers)
def test_a_certain_image_is_reached_in_one_step(sampler):
    assert ends(sampler, 1, (0.7, 0.0)) == pytest.approx((0.7, 0.0), abs=1e-9)


def test_one_step_gives_the_mean_of_all_images_that_fit():
    assert ends("euler", 1, (0.7, 0.04)) == pytest.approx((0.7, 0.0), abs=1e-9)


@pytest.mark.parametrize(("sampler", "steps", "error"), [("euler", 20, 3e-3), ("heun", 12, 5e-4)])
def test_more_steps_give_images_as_various_as_the_truth(sampler, steps, error):
    mean, spread = ends(sampler, steps, (0.7, 0.04))
    assert mean == pytest.approx(0.7, abs=5e-4)
    assert spread == pytest.approx(0.04, abs=error)


def test_heun_is_of_higher_order_than_euler():
    def error(sampler, steps):
        return abs(ends(sampler, steps, (0.7, 0.03))[1] - 0.03)

    exact = error("heun", 20)
    assert exact < 2e-4
    euler = error("euler", 8) / error("euler", 16)
    assert 1.5 < euler < 3.0  # halving the step halves the error
    assert error("heun", 8) < 0.3 * error("euler", 16)


@pytest.mark.parametrize(("sampler", "steps", "calls"), [("euler", 4, 4), ("heun", 4, 7), ("heun", 1, 1)])
def test_the_number_of_calls_is_told(sampler, steps, calls):
    plan = FLOW.plan(sampler, steps)
    assert plan.evaluations == calls
    assert not any(plan.draws(k) for k in range(calls))
    assert plan.times[0] == 0.0


def test_the_loss_is_that_of_the_velocity_and_the_estimate_is_one_step_ahead():
    generator = torch.Generator().manual_seed(2)
    clean = torch.rand((5, 1, 4, 4), generator=generator)
    degraded = torch.rand((5, 1, 4, 4), generator=generator)
    seen = {}

    def network(inputs, times):
        seen.update(inputs=inputs, times=times)
        return torch.zeros_like(inputs[:, :1], requires_grad=True)

    loss, restored = FLOW.loss(network, degraded, clean, torch.Generator().manual_seed(9))
    t = seen["times"].view(-1, 1, 1, 1) / 100.0
    x = seen["inputs"][:, :1] * 0.2 + degraded
    start = (x - t * clean) / (1 - t)
    assert float(loss.detach()) == pytest.approx(float(((clean - start) / 0.2).square().mean()), rel=1e-5)
    torch.testing.assert_close(restored, x)
    assert 0.02 < float((start - degraded).std()) < 0.08
    torch.testing.assert_close(seen["inputs"][:, 1:], degraded)


def test_a_perfect_network_restores_exactly_and_gradients_flow():
    degraded, clean = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    weight = torch.nn.Parameter(torch.tensor(1.0))

    def network(inputs, times):
        t = (times / FLOW.clock).view(-1, 1, 1, 1)
        x = inputs[:, :1] * FLOW.spread + inputs[:, 1:]
        return weight * (clean - x) / (1 - t) / FLOW.spread

    loss, restored = FLOW.loss(network, degraded, clean, torch.Generator().manual_seed(1))
    assert float(loss.detach()) < 1e-8
    torch.testing.assert_close(restored, clean, rtol=0, atol=1e-4)
    restored.sum().backward()
    assert float(weight.grad.abs()) > 0


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("name", ["deviation", "spread", "clock"])
def test_impossible_processes_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Flow(**{name: value})


@pytest.mark.parametrize(("sampler", "steps"), [("rk4", 4), ("euler", 0), ("heun", 21)])
def test_impossible_plans_are_refused(sampler, steps):
    with pytest.raises(ValueError, match=r"sampler must be one of euler, heun|must lie in 1\.\.20"):
        FLOW.plan(sampler, steps)
