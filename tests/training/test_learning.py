"""The training loop learns, repeats itself exactly, and goes on after an interruption as if there had been none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from services.training.examples import Examples, draw_examples
from services.training.learning import train
from services.training.recipes import RECIPES

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def spots():
    """A classifier's toy: label 1 has a bright square."""
    rng = np.random.default_rng(5)
    images = 0.2 * rng.random((96, 1, 64, 64), dtype=np.float32)
    labels = (np.arange(96) % 2).astype(np.float32)[:, None]
    images[1::2, :, 20:40, 20:40] += 0.6
    labels[:3] = np.nan
    return Examples(torch.from_numpy(images), torch.from_numpy(labels), np.arange(96).astype(str))


@pytest.fixture(scope="module")
def recipe():
    chosen = RECIPES["tumour-type-classifier"]
    return replace(chosen, architecture={"in_channels": 1, "outputs": 1, "width": 8}, batch=16)


def learned(recipe, examples, *, epochs=3, **arguments):
    return train(recipe, examples, examples, seed=4, epochs=epochs, **arguments)


def test_it_learns_what_is_there_to_learn(recipe, spots):
    epochs = []
    learned(recipe, spots, report=epochs.append)
    assert epochs[-1].loss < epochs[0].loss
    assert max(epoch.validation for epoch in epochs) > 0.99


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(recipe, spots):
    first, second = learned(recipe, spots, epochs=1), learned(recipe, spots, epochs=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = train(recipe, spots, spots, seed=5, epochs=1)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_resumed_run_ends_in_the_same_weights_as_an_undisturbed_one(recipe, spots):
    snapshots = []
    undisturbed = learned(recipe, spots, report=lambda epoch: snapshots.append(epoch.snapshot()))
    resumed = learned(recipe, spots, resume=load(save(snapshots[0])))
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_the_best_epoch_is_kept_and_not_the_last(recipe, spots):
    """Weights are copied when they are best; a reference would go on changing."""
    scores, states = [], []

    def note(epoch):
        scores.append(epoch.validation)
        states.append({k: v for k, v in epoch.snapshot().items() if k.startswith("network/")})

    best = learned(replace(recipe, learning_rate=0.3), spots, epochs=4, report=note)
    expected = states[int(np.argmax(scores))]
    assert all(torch.equal(best[name.removeprefix("network/")], tensor) for name, tensor in expected.items())


def test_a_check_that_raises_stops_the_run(recipe, spots):
    class Enough(Exception):
        pass

    calls = iter([None, None])

    def check():
        if next(calls, "over") == "over":
            raise Enough

    with pytest.raises(Enough):
        learned(recipe, spots, check=check)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_a_step_on_its_own_examples(name):
    recipe = replace(RECIPES[name], batch=8)
    examples = draw_examples(recipe, 0, 8, 1)
    assert examples.inputs.shape[1:] == recipe.pixels.shape
    assert examples.inputs.dtype == torch.float32
    losses = []
    state = train(recipe, examples, examples, seed=1, epochs=1, report=lambda epoch: losses.append(epoch.loss))
    assert np.isfinite(losses).all()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_the_three_roles_share_no_image():
    recipe = RECIPES["sex-classifier"]
    images = [draw_examples(recipe, role, 3, seed).inputs.numpy() for seed in (0, 1) for role in (0, 1, 2)]
    flat = np.concatenate(images).reshape(sum(map(len, images)), -1)
    assert len(np.unique(flat, axis=0)) == len(flat)
