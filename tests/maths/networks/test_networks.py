"""Networks give what their package says, and a row's result does not depend on its neighbours."""

from __future__ import annotations

import pytest
import torch

from services.maths.networks import FAMILIES, build_network

ARCHITECTURES = {
    "unet": {"in_channels": 1, "out_channels": 2, "width": 4, "levels": 2},
    "resnet18": {"in_channels": 1, "outputs": 3, "width": 4},
    "pointwise": {"in_channels": 1, "out_channels": 1},
    "vgg": {"in_channels": 1, "outputs": 3, "width": 4},
}
ELSEWHERE = {"diffusion-unet", "pix2pix", "restoration-unet"}
"""Those that take a time or are two networks in one have tests of their own."""
OUTPUTS = {"unet": (5, 2, 32, 32), "resnet18": (5, 3), "pointwise": (5, 1, 32, 32), "vgg": (5, 3)}


def test_no_family_is_left_out():
    assert set(ARCHITECTURES) | ELSEWHERE == set(FAMILIES)


@pytest.fixture(params=ARCHITECTURES)
def family(request):
    return request.param


@pytest.fixture
def network(family):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build_network(family, ARCHITECTURES[family]).eval()


@pytest.fixture
def images():
    return torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_output_has_the_stated_shape(family, network, images):
    assert network(images).shape == OUTPUTS[family]


@torch.inference_mode()
def test_a_row_does_not_depend_on_its_neighbours_at_one_batch_size(network, images):
    alone = torch.zeros_like(images)
    alone[2] = images[2]
    assert torch.equal(network(images)[2], network(alone)[2])


@torch.inference_mode()
def test_every_parameter_takes_part_in_the_output(network, images):
    network.train()
    with torch.inference_mode(False):
        network(images.clone()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_a_residual_unet_with_a_zero_head_is_the_identity(images):
    network = build_network("unet", {"width": 4, "levels": 2, "residual": True})
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    assert torch.equal(network(images), images)


@torch.inference_mode()
def test_a_squeezed_unet_stays_between_black_and_white(images):
    network = build_network("unet", {"width": 4, "levels": 2, "sigmoid": True})
    network.head.bias.fill_(30.0)
    assert float(network(images).max()) <= 1.0


def test_the_published_width_gives_the_published_number_of_parameters():
    """11.17 million for ResNet-18 with a 3 × 3 stem and 10 outputs, the figure usual for CIFAR-10."""
    network = build_network("resnet18", {"in_channels": 3, "outputs": 10, "width": 64})
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_173_962


def test_the_published_convolutions_of_vgg_11():
    """9.22 million parameters in the convolutions of VGG-11, and 5,504 of batch normalisation."""
    network = build_network("vgg", {"in_channels": 3, "outputs": 10, "width": 64})
    convolutions = sum(p.numel() for p in network.features.parameters() if p.ndim == 4)
    normalisations = sum(p.numel() for p in network.features.parameters() if p.ndim == 1)
    assert (convolutions, normalisations) == (9_217_728, 5_504)


@pytest.mark.parametrize(
    ("family", "architecture", "message"),
    [
        ("transformer", {}, "family must be one of unet, resnet18, diffusion-unet, pix2pix, pointwise"),
        ("unet", {"depth": 3}, "architecture of unet"),
        ("unet", {"in_channels": 2, "residual": True}, "as many channels as it takes"),
        ("unet", {"residual": True, "sigmoid": True}, "not both"),
    ],
)
def test_an_unknown_family_or_argument_is_named(family, architecture, message):
    with pytest.raises(ValueError, match=message):
        build_network(family, architecture)
