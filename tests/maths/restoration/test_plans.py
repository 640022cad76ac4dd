"""What every process and sampler must keep; a new one joins the lists here and inherits the tests."""

from __future__ import annotations

import pytest
import torch

from services.maths.networks import build_network
from services.maths.restoration.flow import Flow
from services.maths.restoration.ir_sde import IrSde
from services.maths.restoration.noise import pixel_noise
from services.maths.restoration.plans import advance, first_state, sample

PROCESSES = {
    "published": IrSde(),
    "velocity": IrSde(prediction="velocity", deviation=0.1),
    "flow": Flow(),
}
SAMPLERS = [(name, sampler) for name, process in PROCESSES.items() for sampler in process.samplers]


@pytest.fixture(params=SAMPLERS, ids="-".join)
def plan(request):
    name, sampler = request.param
    return PROCESSES[name].plan(sampler, 6)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build_network(
            "restoration-unet", {"width": 4, "depth": 2, "patch": 2, "heads": 2, "head_width": 4}
        ).eval()


@pytest.fixture
def degraded():
    return torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(8))


def keyed(images):
    return lambda draw: torch.stack([torch.from_numpy(pixel_noise(row.numpy(), 5, draw)) for row in images])


@torch.inference_mode()
def test_a_row_does_not_see_its_batch_mates(plan, network, degraded):
    others = torch.zeros_like(degraded)
    others[2] = degraded[2]
    with_mates = sample(network, degraded, plan, keyed(degraded))[2]
    with_nobody = sample(network, others, plan, keyed(others))[2]
    assert torch.equal(with_mates, with_nobody)


@torch.inference_mode()
def test_the_same_noise_gives_the_same_image_and_other_noise_another(plan, network, degraded):
    once, again = (sample(network, degraded, plan, keyed(degraded)) for _ in range(2))
    assert torch.equal(once, again)
    other = sample(network, degraded, plan, lambda draw: keyed(degraded)(draw + 50))
    assert not torch.equal(once, other)


@torch.inference_mode()
def test_sampling_in_single_steps_is_sampling_at_once(plan, network, degraded):
    noise = keyed(degraded)
    state = first_state(plan, degraded, noise(0))
    for k in range(plan.evaluations):
        state = advance(plan, k, state, degraded, network, z=noise(k + 1) if plan.draws(k) else None)
    assert torch.equal(state.x, sample(network, degraded, plan, noise))


def test_a_sampled_image_is_differentiable_in_the_weights(plan, network, degraded):
    network.zero_grad()
    sample(network, degraded, plan, keyed(degraded)).mean().backward()
    assert float(network.head.weight.grad.abs().sum()) > 0


def test_noise_that_a_plan_needs_must_be_given(network, degraded):
    plan = PROCESSES["published"].plan("sde", 6)
    state = first_state(plan, degraded, torch.zeros_like(degraded))
    with pytest.raises(ValueError, match="sde adds noise"):
        advance(plan, 0, state, degraded, network)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_loss_draws_from_its_generator_alone(name, network, degraded):
    clean = degraded.flip(3)
    first, again, other = (
        float(PROCESSES[name].loss(network, degraded, clean, torch.Generator().manual_seed(seed))[0].detach())
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_plans_have_finite_numbers_at_every_number_of_steps():
    for process in PROCESSES.values():
        for sampler in process.samplers:
            fewest, most = process.step_range(sampler)
            for steps in range(fewest, most + 1):
                assert torch.isfinite(torch.from_numpy(process.plan(sampler, steps).coefficients)).all()
