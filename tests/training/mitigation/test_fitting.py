"""The loop of a fine-tuning: what λ weighs in every family, what is kept, and going on after an interruption."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from services.adapters.restoration import read_restoration
from services.maths.mitigation.balance import gradient_length
from services.maths.mitigation.equalised_odds import count_cells, equalised_odds_loss, pass_degree
from services.maths.networks import build_network
from services.training.mitigation import fitting
from services.training.mitigation.cases import Cases
from services.training.mitigation.fitting import Parts, Plan, fit
from services.training.mitigation.terms import Adversary, EqualisedOdds
from services.training.objectives import objective_of, served_parameters
from services.training.recipes import RECIPES
from tests.training.test_objectives import FAMILIES

torch.set_num_threads(1)

ROWS, SIDE = 96, 16
RECIPE = replace(RECIPES["xray-unet"], batch=16, learning_rate=2e-3)


class Brightness(nn.Module):
    """A predictor: the logit is how bright the middle is, beyond .5."""

    def forward(self, images):
        return 8 * (images[:, :, 6:10, 6:10].mean(dim=(1, 2, 3)) - 0.5)[:, None]


@pytest.fixture
def cases():
    """A spot for the label, half as bright in group 1; the degraded image is dim."""
    rng = np.random.default_rng(0)
    label, group = rng.random(ROWS) < 0.5, rng.random(ROWS) < 0.5
    clean = 0.3 + 0.05 * rng.random((ROWS, 1, SIDE, SIDE))
    clean[:, :, 6:10, 6:10] += np.where(label, np.where(group, 0.25, 0.5), 0.0)[:, None, None, None]
    clean[:, :, :2] += 0.3 * group[:, None, None, None]  # the group shows
    clean = torch.from_numpy(clean.astype(np.float32))
    labels = torch.from_numpy(label.astype(np.float32))[:, None]
    return Cases(
        0.6 * clean + 0.1, clean, labels, (torch.from_numpy(group.astype(np.int64)),), np.arange(ROWS).astype(str)
    )


def parts_of(family, cases, term):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = build_network(*FAMILIES[family][:2])
    return Parts(network, Brightness(), objective_of(read_restoration(FAMILIES[family][2])), term, cases)


def odds():
    return EqualisedOdds(torch.zeros(1), 0.5, [2])


def adversary():
    return Adversary(1, [2], label_conditional=True, seed=1, device=torch.device("cpu"))


TERMS = {"equalised-odds": odds, "adversarial": adversary}


@pytest.mark.parametrize("family", ["unet", "pix2pix", "ir-sde", "flow"])
def test_lambda_weighs_the_same_in_every_family(family, cases, monkeypatch):
    """Over a run, the term's contribution to the gradient is λ times as long as the own loss's, within a fifth.

    The own losses' gradients differ a hundred thousand times.
    """
    own, contributed = [], []
    descend = fitting._Tuner._descend

    def noted(self, loss, term, *, measured):
        served = served_parameters(self._parts.network)
        lengths = [
            gradient_length(torch.autograd.grad(one, served, retain_graph=True, allow_unused=True))
            for one in (loss, term)
        ]
        descend(self, loss, term, measured=measured)
        own.append(lengths[0])
        contributed.append(self._balance.factor(self._plan.weight) * lengths[1])

    monkeypatch.setattr(fitting._Tuner, "_descend", noted)
    fit(
        parts_of(family, cases, odds()),
        Plan(replace(RECIPE, learning_rate=3e-4), 0.7, 3, 16),
        preferred=rising(),
    )
    assert np.sum(contributed) / np.sum(own) == pytest.approx(0.7, rel=0.2)


def rising():
    """A judge for whom each epoch is better than the one before."""
    scores = iter(range(1000))
    return lambda network: float(next(scores))


def gap(network, cases):
    with torch.no_grad():
        logits = Brightness()(network.eval()(cases.degraded).clamp(0, 1))
    return float(
        equalised_odds_loss([count_cells(pass_degree(logits, torch.zeros(1), 0.5), cases.labels, cases.groups[0], 2)])
    )


def test_equalised_odds_closes_the_gap_that_the_own_loss_leaves(cases):
    gaps = {}
    for name, term, weight in (("own loss alone", None, 0.0), ("with the term", odds(), 4.0)):
        parts = parts_of("unet", cases, term)
        fit(parts, Plan(RECIPE, weight, 3, 25), preferred=rising())
        gaps[name] = gap(parts.network, cases)
    assert gaps["own loss alone"] > 0.02
    assert gaps["with the term"] < 0.3 * gaps["own loss alone"]


@pytest.mark.parametrize("term", TERMS)
def test_a_resumed_fine_tuning_ends_in_the_same_weights(term, cases):
    snapshots = []
    undisturbed = fit(
        parts_of("unet", cases, TERMS[term]()),
        Plan(RECIPE, 1.0, 3, 4),
        preferred=rising(),
        report=lambda epoch: snapshots.append(save(epoch.snapshot())),
    )
    later = iter(range(3, 1000))
    resumed = fit(
        parts_of("unet", cases, TERMS[term]()),
        Plan(RECIPE, 1.0, 3, 4),
        preferred=lambda network: float(next(later)),
        resume=load(snapshots[1]),
    )
    assert resumed.epochs == undisturbed.epochs == 4
    assert all(torch.equal(undisturbed.state[name], resumed.state[name]) for name in undisturbed.state)


def test_it_stops_early_and_keeps_the_best_epoch(cases):
    scores, reported = iter([0.0, 1.0, 3.0, 2.0, 2.5, 2.9, 9.0]), []
    found = fit(
        parts_of("unet", cases, odds()),
        Plan(RECIPE, 1.0, 3, 50),
        preferred=lambda network: next(scores),
        report=lambda epoch: reported.append(epoch.snapshot()),
    )
    assert len(reported) == 5
    assert found.epochs == 2
    assert all(torch.equal(reported[1][f"network/{name}"], tensor) for name, tensor in found.state.items())


def test_where_no_epoch_is_better_the_base_stays(cases):
    parts = parts_of("unet", cases, odds())
    base = {name: tensor.clone() for name, tensor in parts.network.state_dict().items()}
    scores = iter([0.0, -3.0, -2.0, -4.0, -3.0, -5.0])
    found = fit(parts, Plan(RECIPE, 1.0, 3, 50), preferred=lambda network: next(scores))
    assert found.epochs == 0
    assert all(torch.equal(base[name], tensor) for name, tensor in found.state.items())


def test_epochs_that_are_worse_than_the_base_but_better_each_time_go_on(cases):
    scores = iter([0.0, -5.0, -4.0, -3.0, -2.0, -1.0, 1.0])
    found = fit(parts_of("unet", cases, odds()), Plan(RECIPE, 1.0, 3, 6), preferred=lambda network: next(scores))
    assert found.epochs == 6


def test_rows_are_drawn_by_their_shares(cases):
    shares = np.where(np.arange(ROWS) < 8, 1.0, 0.0) / 8
    seen = []

    class Noting(EqualisedOdds):
        def __call__(self, logits, labels, groups):
            seen.append(len(labels))
            return super().__call__(logits, labels, groups)

    only = replace(cases, labels=torch.where(torch.arange(ROWS)[:, None] < 8, cases.labels, torch.nan))
    parts = parts_of("unet", only, Noting(torch.zeros(1), 0.5, [2]))
    fit(parts, Plan(RECIPE, 1.0, 3, 1, shares), preferred=rising())
    assert sum(seen) == ROWS
    assert float(parts.term.state()["0.rows"].sum()) > 0.9 * sum(0.9**k for k in range(6)) * RECIPE.batch
