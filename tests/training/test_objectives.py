"""One function a family: what it is by the papers, and what a term on the restored image can reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional

from services.adapters.restoration import read_restoration
from services.maths.networks import build_network
from services.training.examples import Examples
from services.training.learning import train
from services.training.objectives import objective_of, served_parameters
from services.training.recipes import RECIPES
from services.training.runs import Run, fit_here
from services.training.scoring import predict
from tests.packages import FLOW, IR_SDE, PIX2PIX

torch.set_num_threads(1)

SAMPLER = ("restoration-unet", {"width": 4, "depth": 2, "heads": 2, "head_width": 4, "patch": 4})
PLAYERS = ("pix2pix", {"generator": {"width": 4, "levels": 3}, "discriminator": {"width": 4, "layers": 2}})
FAMILIES = {
    "unet": ("unet", {"width": 4, "levels": 2, "residual": True}, {}),
    "pix2pix": (*PLAYERS, PIX2PIX),
    "ir-sde": (*SAMPLER, IR_SDE),
    "published ir-sde": (*SAMPLER, IR_SDE | {"prediction": "noise"}),
    "flow": (*SAMPLER, FLOW),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def network_of(family):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return build_network(family[0], family[1])


def pairs(rows=6, side=16):
    clean = torch.rand(rows, 1, side, side, generator=torch.Generator().manual_seed(4))
    return 0.6 * clean + 0.1, clean


def test_a_loss_and_estimates_of_the_clean_images(family):
    degraded, clean = pairs()
    loss, restored = objective_of(read_restoration(family[2]))(
        network_of(family), degraded, clean, torch.Generator().manual_seed(1)
    )
    assert loss.shape == ()
    assert restored.shape == clean.shape
    assert bool(torch.isfinite(loss)) and bool(torch.isfinite(restored).all())


def test_a_term_on_the_restored_image_reaches_every_served_parameter(family):
    """The public code's fairness term on IR-SDE has a gradient of exactly zero: it acted on the optimum instead."""
    network = network_of(family)
    degraded, clean = pairs()
    _, restored = objective_of(read_restoration(family[2]))(network, degraded, clean, torch.Generator().manual_seed(1))
    restored[:3].square().mean().backward()
    served = served_parameters(network)
    assert served
    assert all(parameter.grad is not None and bool(parameter.grad.abs().sum() > 0) for parameter in served)


def test_it_draws_from_its_generator_alone(family):
    degraded, clean = pairs()
    objective = objective_of(read_restoration(family[2]))

    def loss(seed):
        torch.manual_seed(seed + 100)
        return float(objective(network_of(family), degraded, clean, torch.Generator().manual_seed(seed))[0].detach())

    assert loss(1) == loss(1)
    assert (loss(1) == loss(2)) == (family[0] in ("unet", "pix2pix"))  # these have nothing to draw


def test_neither_player_s_loss_reaches_the_other():
    """Gradients of the one sum are those of the two published losses, each on its own player."""
    degraded, clean = pairs()
    network = network_of(FAMILIES["pix2pix"])
    loss, _ = objective_of(read_restoration(PIX2PIX))(network, degraded, clean, torch.Generator())
    loss.backward()
    ours = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    apart = network_of(FAMILIES["pix2pix"])
    ones = torch.ones(6, 1, *apart.discriminator(torch.cat([degraded, clean], 1)).shape[2:])
    made = apart.generator(degraded)
    judged = apart.discriminator(torch.cat([degraded, made], 1))
    of_generator = functional.binary_cross_entropy_with_logits(judged, ones) + 1000 * (made - clean).abs().mean()
    generator = torch.autograd.grad(of_generator, list(apart.generator.parameters()))
    real = apart.discriminator(torch.cat([degraded, clean], 1))
    fake = apart.discriminator(torch.cat([degraded, made.detach()], 1))
    of_discriminator = 0.5 * (
        functional.binary_cross_entropy_with_logits(real, ones)
        + functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(ones))
    )
    discriminator = torch.autograd.grad(of_discriminator, list(apart.discriminator.parameters()))
    names = [*(f"generator.{n}" for n, _ in apart.generator.named_parameters())]
    names += [f"discriminator.{n}" for n, _ in apart.discriminator.named_parameters()]
    for name, gradient in zip(names, [*generator, *discriminator], strict=True):
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_discriminator_is_not_served():
    network = network_of(FAMILIES["pix2pix"])
    ids = {id(parameter) for parameter in served_parameters(network)}
    assert ids == {id(parameter) for parameter in network.generator.parameters()}


@pytest.fixture(scope="module")
def blurred():
    """Bright squares whose degraded images are blurred and darkened."""
    rng = np.random.default_rng(5)
    clean = np.full((48, 1, 16, 16), 0.2, np.float32)
    for image in clean[:, 0]:
        top, left = rng.integers(1, 9, 2)
        image[top : top + 6, left : left + 6] = 0.8
    degraded = functional.avg_pool2d(torch.from_numpy(clean), 3, stride=1, padding=1)
    return Examples(degraded, torch.from_numpy(clean), np.arange(48).astype(str))


def recipe_of(family, **changes):
    ema = 0.0 if family[0] in ("unet", "pix2pix") else 0.98
    how = {"family": family[0], "architecture": family[1], "restoration": family[2], "ema": ema}
    return replace(RECIPES["xray-unet"], **how, batch=8, **changes)


def test_a_resumed_run_ends_in_the_same_weights_as_an_undisturbed_one(family, blurred):
    snapshots = []
    recipe = recipe_of(family)

    def run(**how):
        return train(recipe, blurred, blurred, seed=4, epochs=2, **how)

    undisturbed = run(report=lambda epoch: snapshots.append(load(save(epoch.snapshot()))))
    resumed = run(resume=snapshots[0])
    assert undisturbed
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_a_run_that_was_killed_between_epochs_goes_on_from_its_folder(blurred, tmp_path):
    class Killed(Exception):
        pass

    def die(epoch):
        raise Killed

    run = Run(recipe_of(FAMILIES["ir-sde"]), seed=4, epochs=2, patients=48)
    undisturbed = fit_here(run, blurred, blurred, lambda epoch: None)
    with pytest.raises(Killed):
        fit_here(run, blurred, blurred, die, work=tmp_path)
    seen = []
    resumed = fit_here(run, blurred, blurred, seen.append, work=tmp_path)
    assert [epoch.done for epoch in seen] == [2]
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)
    again = fit_here(run, blurred, blurred, die, work=tmp_path)  # nothing is left to do
    assert all(torch.equal(undisturbed[name], again[name]) for name in undisturbed)


def test_it_learns_to_restore_and_predictions_are_sampled_as_the_record_says(family, blurred):
    recipe = recipe_of(family, learning_rate=4e-3)
    scores = []
    state = train(recipe, blurred, blurred, seed=4, epochs=5, report=lambda epoch: scores.append(epoch.validation))
    network = network_of(family)
    network.load_state_dict(state)
    restored = predict(network, blurred.inputs, "reconstruction", restoration=read_restoration(family[2]))
    assert scores[-1] > scores[0]
    assert restored.min() >= 0 and restored.max() <= 1
    again = predict(network, blurred.inputs, "reconstruction", restoration=read_restoration(family[2]))
    np.testing.assert_array_equal(restored, again)
