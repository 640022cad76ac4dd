"""A run that was interrupted ends in the weights that it would have had."""

from __future__ import annotations

import pytest
import torch

from services.training.generative.fitting import Fit, fit

HOW = Fit(steps=12, batch=4, learning_rate=0.05, warmup=3, ema=0.9)


class Interrupted(Exception):
    pass


def line(module):
    def loss(generator):
        x = torch.randn(HOW.batch, 3, generator=generator)
        return (module(x) - x.sum(1, keepdim=True)).square().mean()

    return loss


def network():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1)


def test_a_resumed_run_ends_in_the_same_bits(tmp_path):
    straight = network()
    expected = fit(straight, line(straight), HOW, seed=3)
    module, calls = network(), 0

    def check():
        nonlocal calls
        calls += 1
        if calls == 8:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(module, line(module), HOW, seed=3, folder=tmp_path, checkpoint_every=5, check=check)
    torch.manual_seed(99)  # whatever the new process draws at its start
    again = torch.nn.Linear(3, 1)
    resumed = fit(again, line(again), HOW, seed=3, folder=tmp_path, checkpoint_every=5)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert torch.equal(straight.weight, again.weight)


def test_a_finished_run_is_not_run_again(tmp_path):
    module = network()
    first = fit(module, line(module), HOW, seed=3, folder=tmp_path)

    def never(generator):
        raise AssertionError("no step is left")

    second = fit(network(), never, HOW, seed=3, folder=tmp_path)
    assert torch.equal(first["weight"], second["weight"])


def test_another_seed_draws_other_batches():
    first, second = network(), network()
    a, b = fit(first, line(first), HOW, seed=1), fit(second, line(second), HOW, seed=2)
    assert not torch.equal(a["weight"], b["weight"])


def test_the_average_lags_behind_the_weights_and_forgets_the_first_ones():
    module = network()
    average = fit(module, line(module), Fit(steps=300, batch=4, learning_rate=0.05, ema=0.99), seed=0)
    assert not torch.equal(average["weight"], module.weight.detach())
    assert torch.allclose(average["weight"], torch.ones(1, 3), atol=0.05)


def test_the_rate_warms_up_and_ends_at_zero():
    how = Fit(steps=100, batch=1, learning_rate=1.0, warmup=10)
    rates = [how.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0 and rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_what_is_frozen_stays():
    module = torch.nn.Sequential(network(), torch.nn.Linear(1, 1))
    module[1].requires_grad_(False)
    before = module[1].weight.clone()
    fit(module, line(module), HOW, seed=0)
    assert torch.equal(before, module[1].weight)
