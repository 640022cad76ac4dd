"""LPIPS weights come from a file in the official layout or not at all."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from services.adapters.perceptual import load_lpips
from services.errors import FailedPrecondition, InvalidInput, UnsupportedFormat
from services.maths.networks.lpips import LpipsNetwork


@pytest.fixture(scope="module")
def weights():
    """Random AlexNet weights in exactly the official layout; channel weights are never negative there."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = LpipsNetwork("alex").state_dict()
    return {key: tensor.abs() if key.startswith("lin") else tensor for key, tensor in state.items()}


def write(folder, tensors, variant="alex"):
    save_file(tensors, folder / f"lpips_{variant}.safetensors")
    return folder


def test_weights_are_loaded_by_the_official_keys_and_identified_by_digest(tmp_path, weights):
    network = load_lpips(write(tmp_path, weights), "alex")
    assert network.variant == "alex" and network.metric == "lpips_alex" and not network.training
    assert all(torch.equal(tensor, weights[key]) for key, tensor in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network.digest == hashlib.sha256((tmp_path / "lpips_alex.safetensors").read_bytes()).hexdigest()


def test_duplicated_heads_and_scaling_buffers_of_the_official_package_are_passed_over(tmp_path, weights):
    doubled = {f"lins.{k}.model.1.weight": weights[f"lin{k}.model.1.weight"].clone() for k in range(5)}
    scaling = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
    load_lpips(write(tmp_path, weights | doubled | scaling), "alex")


def test_absent_weights_are_an_error_that_says_what_to_do_and_shows_no_path(tmp_path):
    with pytest.raises(FailedPrecondition, match="convert the official weights") as caught:
        load_lpips(tmp_path, "vgg")
    assert caught.value.reason == "LPIPS_WEIGHTS_ABSENT" and caught.value.field == "lpips_vgg.safetensors"
    assert str(tmp_path) not in caught.value.message


def test_a_pickle_in_disguise_is_refused(tmp_path, weights):
    torch.save(weights, tmp_path / "lpips_alex.safetensors")
    with pytest.raises(UnsupportedFormat) as caught:
        load_lpips(tmp_path, "alex")
    assert caught.value.reason == "WEIGHTS_FORMAT_REFUSED"


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (lambda w: w.pop("lin3.model.1.weight"), "lin3.model.1.weight", "lacks lin3"),
        (lambda w: w.pop("net.slice2.3.bias"), "net.slice2.3.bias", "lacks net.slice2.3.bias"),
        (lambda w: w.update({"head.weight": torch.zeros(3)}), "head.weight", "does not have"),
        (
            lambda w: w.update({"lin0.model.1.weight": torch.ones(1, 63, 1, 1)}),
            "lin0.model.1.weight",
            "must be float32",
        ),
        (lambda w: w.update({"net.slice1.0.bias": torch.zeros(64).half()}), "net.slice1.0.bias", "not float16"),
        (lambda w: w["net.slice4.8.bias"].fill_(float("nan")), "net.slice4.8.bias", "NaN"),
        (lambda w: w["lin1.model.1.weight"].neg_(), "lin1.model.1.weight", "negative"),
    ],
)
def test_weights_of_another_shape_key_or_value_are_refused_by_name(tmp_path, weights, change, field, message):
    altered = {key: tensor.clone() for key, tensor in weights.items()}
    change(altered)
    with pytest.raises(InvalidInput, match=message) as caught:
        load_lpips(write(tmp_path, altered), "alex")
    assert caught.value.reason == "LPIPS_WEIGHTS_INVALID" and caught.value.field == field


def test_weights_of_the_other_variant_are_refused(tmp_path, weights):
    write(tmp_path, weights, "vgg")
    with pytest.raises(InvalidInput):
        load_lpips(tmp_path, "vgg")
    with pytest.raises(InvalidInput, match="alex, vgg"):
        load_lpips(tmp_path, "squeeze")
