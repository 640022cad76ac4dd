"""LPIPS against torchmetrics' own network and heads, and what a distance must do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as theirs
from torch import nn

from services.maths.imaging.perceptual import encoder_distance, lpips
from services.maths.networks.lpips import LpipsNetwork
from services.maths.networks.resnet import ResNet18


def alexnet_features() -> nn.Sequential:
    layers = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2))


def vgg16_features() -> nn.Sequential:
    layers, before = [], 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2, 2)]
        before = width or before
    return nn.Sequential(*layers)


BACKBONES = {"alex": alexnet_features, "vgg": vgg16_features}


@pytest.fixture(params=["alex", "vgg"])
def pair(request, monkeypatch):
    """torchmetrics' network (random backbone, its published heads) and ours with the same weights."""
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_args, **_kwargs: BACKBONES[request.param]())
    heads = Path(theirs.__file__).parent / "lpips_models" / f"{request.param}.pth"
    with torch.random.fork_rng():
        torch.manual_seed(7)
        reference = theirs._NoTrainLpips(net=request.param, pretrained=False, pnet_rand=True)
    reference.load_state_dict(torch.load(heads, weights_only=True, map_location="cpu"), strict=False)
    state = {key: value for key, value in reference.state_dict().items() if not key.startswith("lins.")}
    ours = LpipsNetwork(request.param)
    ours.load_state_dict(state)
    return ours.eval(), reference.eval()


def images(rows: int, channels: int, side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, channels, side, side), dtype=np.float32)


@torch.inference_mode()
def test_it_is_torchmetrics_network_with_its_published_heads(pair):
    ours, reference = pair
    x, y = images(3, 3, 64, 1), images(3, 3, 64, 2)
    expected = reference(torch.from_numpy(x), torch.from_numpy(y), normalize=True).flatten().numpy()
    np.testing.assert_allclose(lpips(x, y, ours), expected, rtol=1e-4)


@torch.inference_mode()
def test_grayscale_is_three_equal_channels(pair):
    ours, _ = pair
    x, y = images(2, 1, 48, 3), images(2, 1, 48, 4)
    np.testing.assert_array_equal(lpips(x, y, ours), lpips(x.repeat(3, axis=1), y.repeat(3, axis=1), ours))


def test_a_row_has_the_same_bits_whatever_its_neighbours_and_equal_images_are_at_0(pair):
    ours, _ = pair
    x, y = images(4, 1, 40, 5), images(4, 1, 40, 6)
    y[1] = x[1]
    together = lpips(x, y, ours)
    assert together.dtype == np.float64 and together.shape == (4,)
    assert together[1] == 0.0 and (np.delete(together, 1) > 0).all()
    for row in range(4):
        assert lpips(x[row : row + 1], y[row : row + 1], ours)[0] == together[row]
    np.testing.assert_array_equal(lpips(x[::-1], y[::-1], ours), together[::-1])


def test_it_is_symmetric_and_grows_with_the_noise(pair):
    ours, _ = pair
    x = images(1, 1, 64, 8) * 0.5 + 0.25
    noise = np.random.default_rng(9).normal(size=x.shape).astype(np.float32)
    noisy = [np.clip(x + spread * noise, 0, 1) for spread in (0.02, 0.1, 0.3)]
    values = [lpips(part, x, ours)[0] for part in noisy]
    assert values == sorted(values) and values[0] < values[-1]
    assert lpips(x, noisy[1], ours)[0] == pytest.approx(values[1], rel=1e-12)


def test_flat_images_without_any_activation_are_finite(pair):
    ours, _ = pair
    assert np.isfinite(lpips(np.zeros((1, 1, 64, 64)), np.ones((1, 1, 64, 64)), ours)).all()
    assert lpips(np.zeros((0, 1, 64, 64)), np.zeros((0, 1, 64, 64)), ours).shape == (0,)


@pytest.mark.parametrize("variant", ["alex", "vgg"])
def test_the_smallest_image_is_the_stated_one(variant):
    network = LpipsNetwork(variant).eval()
    side = network.smallest
    lpips(images(1, 1, side, 1), images(1, 1, side, 2), network)
    with pytest.raises(ValueError, match=f"at least {side} pixels"):
        lpips(images(1, 1, side - 1, 1), images(1, 1, side - 1, 2), network)
    with pytest.raises(RuntimeError):
        too_small = torch.zeros(1, 3, side - 1, side - 1)
        network(too_small, too_small)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((1, 1, 64, 64)), np.zeros((1, 1, 64, 65)), "same shape"),
        (np.zeros((1, 2, 64, 64)), np.zeros((1, 2, 64, 64)), "1 or 3"),
        (np.zeros((1, 64, 64)), np.zeros((1, 64, 64)), "same shape"),
        (np.full((1, 1, 64, 64), 1.01), np.zeros((1, 1, 64, 64)), "images must lie in"),
        (np.zeros((1, 1, 64, 64)), np.full((1, 1, 64, 64), -0.1), "references must lie in"),
        (np.full((1, 1, 64, 64), np.nan), np.zeros((1, 1, 64, 64)), "images must lie in"),
    ],
)
def test_images_that_are_not_canonical_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        lpips(x, y, LpipsNetwork("alex"))


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="alex, vgg"):
        LpipsNetwork("squeeze")


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(9)
        return ResNet18(in_channels=3, outputs=2, width=4).eval()


def test_an_encoder_s_distance_is_that_of_unit_features_at_five_depths(encoder):
    x, y = images(2, 3, 32, 1), images(2, 3, 32, 2)
    with torch.inference_mode():
        expected = torch.zeros(2, dtype=torch.float64)
        for seen, wanted in zip(*(encoder.stages(torch.from_numpy(pixels)) for pixels in (x, y)), strict=True):
            apart = [
                part.double() / part.double().norm(dim=1, keepdim=True).clamp(min=1e-12) for part in (seen, wanted)
            ]
            expected += (apart[0] - apart[1]).square().sum(1).mean((1, 2))
        assert [part.shape[1:] for part in encoder.stages(torch.from_numpy(x))] == [
            (4, 32, 32),
            (4, 16, 16),
            (8, 8, 8),
            (16, 4, 4),
            (32, 2, 2),
        ]
        pooled = encoder.stages(torch.from_numpy(x))[-1].mean((2, 3))
        torch.testing.assert_close(encoder.head(pooled), encoder(torch.from_numpy(x)))
    np.testing.assert_allclose(encoder_distance(x, y, encoder), expected.numpy(), rtol=1e-5)


def test_an_encoder_sees_no_difference_where_there_is_none_and_more_where_there_is_more(encoder):
    x = images(3, 3, 32, 1)
    noise = np.random.default_rng(3).standard_normal(x.shape).astype(np.float32)
    distances = [encoder_distance(x + np.float32(amount) * noise, x, encoder) for amount in (0.0, 0.02, 0.1)]
    assert (distances[0] == 0).all()
    assert (distances[0] < distances[1]).all() and (distances[1] < distances[2]).all()
    np.testing.assert_array_equal(
        encoder_distance(x[1:2] + 0.1, x[1:2], encoder), encoder_distance(x + 0.1, x, encoder)[1:2]
    )


def test_an_encoder_compares_images_of_one_shape(encoder):
    with pytest.raises(ValueError, match="shape of their references"):
        encoder_distance(images(2, 3, 32, 1), images(1, 3, 32, 1), encoder)
