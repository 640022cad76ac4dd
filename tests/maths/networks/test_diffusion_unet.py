"""The pelvis pair's network: published sizes, conditions, and rows that do not see each other."""

from __future__ import annotations

import pytest
import torch

from services.maths.networks.diffusion_unet import DiffusionUNet


def small(**changes):
    torch.manual_seed(0)
    options = {"width": 16, "multipliers": (1, 2), "attention_factors": (2,), "conditions": 3, "patch": 2} | changes
    network = DiffusionUNet(**options).eval()
    with torch.no_grad():  # the last convolutions start at zero, which would hide everything
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def test_the_published_configurations_have_the_published_sizes():
    """125.6 M parameters at 256 pixels and 29.7 M for super-resolution, counted on the published networks."""
    with torch.device("meta"):
        base = DiffusionUNet(in_channels=1, out_channels=2, conditions=12, embedding=512)
        upscaler = DiffusionUNet(in_channels=2, out_channels=2, width=64, attention_factors=(32,))
    assert sum(p.numel() for p in base.parameters()) / 1e6 == pytest.approx(125.6, abs=0.1)
    assert sum(p.numel() for p in upscaler.parameters()) / 1e6 == pytest.approx(29.7, rel=0.02)


def test_a_fresh_network_says_nothing():
    network = DiffusionUNet(width=16, multipliers=(1, 2), attention_factors=(), conditions=3)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 900])
    assert not network(x, t, network.embed(torch.zeros(2, 3))).any()


def test_a_row_does_not_see_its_neighbours_at_a_fixed_batch_shape():
    network = small()
    x, t = torch.randn(4, 1, 16, 16), torch.tensor([1, 50, 500, 999])
    vectors = torch.randn(4, 3)
    with torch.inference_mode():
        one = network(x, t, network.embed(vectors))
        others = x.clone()
        others[1:] = torch.randn(3, 1, 16, 16)
        two = network(others, torch.tensor([1, 7, 8, 9]), network.embed(vectors))
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])


def test_an_attribute_that_is_not_given_has_the_learned_value():
    network = small()
    with torch.no_grad():
        network.missing.fill_(0.25)
    absent, filled = torch.tensor([[1.0, float("nan"), 0.0]]), torch.tensor([[1.0, 0.25, 0.0]])
    assert torch.equal(network.embed(absent), network.embed(filled))


def test_conditions_and_time_change_the_output():
    network = small()
    x, t = torch.randn(1, 1, 16, 16), torch.tensor([500])
    said = network(x, t, network.embed(torch.tensor([[1.0, 0.0, 0.0]])))
    assert not torch.allclose(said, network(x, t, network.embed(torch.tensor([[0.0, 1.0, 0.0]]))), atol=1e-4)
    assert not torch.allclose(said, network(x, t, network.null_embedding[None]), atol=1e-4)
    assert not torch.allclose(said, network(x, t + 400, network.embed(torch.tensor([[1.0, 0.0, 0.0]]))), atol=1e-4)


def test_without_conditions_it_is_a_network_for_super_resolution():
    network = small(conditions=0, in_channels=2, patch=4)
    assert network(torch.randn(1, 2, 32, 48), torch.tensor([10])).shape == (1, 1, 32, 48)
