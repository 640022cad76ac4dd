"""IR-SDE's network gives what it should, row by row, and minds the time."""

from __future__ import annotations

import pytest
import torch

from services.maths.networks import build_network

SMALL = {"width": 8, "depth": 2, "heads": 2, "head_width": 4}


@pytest.fixture(params=[1, 2])
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build_network("restoration-unet", {**SMALL, "patch": request.param}).eval()


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, 2, 32, 32, generator=generator), 100 * torch.rand(5, generator=generator)


@torch.inference_mode()
def test_the_output_is_one_image_a_row(network, given):
    assert network(*given).shape == (5, 1, 32, 32)


@torch.inference_mode()
def test_a_row_does_not_depend_on_its_neighbours_or_their_times(network, given):
    inputs, t = given
    alone, other_times = torch.zeros_like(inputs), torch.zeros_like(t)
    alone[2], other_times[2] = inputs[2], t[2]
    assert torch.equal(network(inputs, t)[2], network(alone, other_times)[2])


@torch.inference_mode()
def test_the_time_matters_and_may_be_a_fraction(network, given):
    inputs, t = given
    assert not torch.equal(network(inputs, t), network(inputs, t + 0.25))


def test_every_parameter_takes_part_in_the_output(network, given):
    network(*given).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())
