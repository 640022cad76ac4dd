"""Pix2Pix: the discriminator's view, and what evaluation mode is for."""

from __future__ import annotations

import pytest
import torch

from services.maths.networks import build_network
from services.maths.networks.pix2pix import Generator, PatchDiscriminator

SMALL = {"generator": {"width": 4, "levels": 3}, "discriminator": {"width": 4, "layers": 2}}


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return build()


@pytest.fixture
def images():
    return torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_the_patch_that_the_paper_says(layers, side):
    """The gradient of one logit is non-zero inside a square of ``side`` pixels, and nowhere else."""
    judge = seeded(lambda: PatchDiscriminator(width=4, layers=layers)).eval()
    pair = torch.rand(1, 2, 160, 160, generator=torch.Generator().manual_seed(1)).requires_grad_()
    logits = judge(pair)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    touched = pair.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = torch.nonzero(touched.any(1)), torch.nonzero(touched.any(0))
    assert int(rows.max() - rows.min()) + 1 == side
    assert int(columns.max() - columns.min()) + 1 == side


def test_at_256_pixels_there_are_30_by_30_logits():
    with torch.device("meta"):
        assert PatchDiscriminator(width=8)(torch.zeros(1, 2, 256, 256)).shape == (1, 1, 30, 30)


@torch.inference_mode()
def test_in_evaluation_mode_a_row_does_not_see_its_neighbours_and_in_training_mode_it_does(images):
    network = seeded(lambda: build_network("pix2pix", SMALL))
    alone = torch.zeros_like(images)
    alone[2] = images[2]
    assert not torch.equal(network.train()(images)[2], network(alone)[2])
    assert torch.equal(network.eval()(images)[2], network(alone)[2])
    output = network(images)
    assert output.shape == images.shape
    assert 0 <= float(output.min()) <= float(output.max()) <= 1


def test_every_parameter_of_each_player_takes_part(images):
    network = seeded(lambda: build_network("pix2pix", SMALL))
    restored = network(images)
    network.discriminator(torch.cat([images, restored], 1)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@torch.inference_mode()
def test_a_generator_alone_is_served_without_a_judge(images):
    network = build_network("pix2pix", {"generator": SMALL["generator"]}).eval()
    assert network.discriminator is None
    assert network(images).shape == images.shape


def test_a_generator_needs_two_levels():
    with pytest.raises(ValueError, match="levels must be at least 2"):
        Generator(levels=1)
