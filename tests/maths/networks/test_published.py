"""The papers' networks have the papers' sizes; nothing is allocated to find out."""

from __future__ import annotations

import pytest
import torch

from services.maths.networks import build_network
from services.maths.networks.pix2pix import Generator, PatchDiscriminator
from services.maths.networks.published import PUBLISHED
from services.maths.networks.restoration_unet import RestorationUNet


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture
def meta():
    with torch.device("meta"):
        yield


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("unet-mri", 31_030_593),
        ("unet-xray", 31_030_593),
        ("pix2pix", 41_822_849 + 2_764_609),
        ("ir-sde", 137_154_625),
    ],
)
def test_the_published_networks_have_their_numbers_of_parameters(name, count, meta):
    family, architecture = PUBLISHED[name]
    assert parameters(build_network(family, architecture)) == count


def test_on_colour_images_they_have_the_figures_that_their_authors_print(meta):
    """Millions: unet_256 54.414, unet_128 41.829, the discriminator 2.769 (pix2pix's log); IR-SDE 137.1 (Refusion)."""
    assert parameters(Generator(3, 3, levels=8)) / 1e6 == pytest.approx(54.414, abs=5e-4)
    assert parameters(Generator(3, 3, levels=7)) / 1e6 == pytest.approx(41.829, abs=5e-4)
    assert parameters(PatchDiscriminator(6)) / 1e6 == pytest.approx(2.769, abs=5e-4)
    assert parameters(RestorationUNet(6, 3)) / 1e6 == pytest.approx(137.1, abs=0.1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_they_take_and_give_256_pixels_a_side(name, meta):
    family, architecture = PUBLISHED[name]
    network = build_network(family, architecture)
    given = (torch.zeros(1, 2, 256, 256), torch.zeros(1)) if name == "ir-sde" else (torch.zeros(1, 1, 256, 256),)
    assert network(*given).shape == (1, 1, 256, 256)


def test_the_generator_has_batch_normalisation_dropout_and_a_sigmoid():
    generator = Generator(levels=7)
    kinds = [type(module).__name__ for module in generator.modules()]
    assert kinds.count("Dropout") == 2  # unet_128: of the ups that keep 512 channels
    assert kinds.count("BatchNorm2d") == 11  # none after the first and the innermost down, none before the output
    assert kinds[-1] == "Sigmoid"
