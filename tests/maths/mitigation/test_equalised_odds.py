"""Soft error rates by group: what they tend to, what they ignore, and where their gradient points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from services.maths.mitigation.equalised_odds import (
    Cells,
    count_cells,
    equal_opportunity,
    equalised_odds,
    equalised_odds_loss,
    pass_degree,
    rate_gaps,
    remembered,
)
from tests.maths.mitigation.toy import CENTRE, SLOPE, Gains, scores, world

ZERO = torch.zeros(1)


def drawn(rows=600, labels=3, groups=4, seed=0):
    """Scores, labels with holes, groups and thresholds."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, labels)) < 0.3).astype(np.float32)
    truth[rng.random(truth.shape) < 0.05] = np.nan
    group = rng.integers(0, groups, rows)
    score = rng.normal(size=truth.shape) + np.nan_to_num(truth) + 0.4 * group[:, None]
    return (
        torch.from_numpy(score.astype(np.float32)),
        torch.from_numpy(truth),
        torch.from_numpy(group),
        torch.from_numpy(rng.normal(size=labels).astype(np.float32)),
    )


def cells_at(temperature, score, truth, group, thresholds, *, groups=4):
    return count_cells(pass_degree(score, thresholds, temperature), truth, group, groups)


def by_definition(score, truth, group, thresholds):
    """(K, 2) largest differences of FPR and of TPR, counted."""
    gaps = np.zeros((truth.shape[1], 2))
    for k in range(truth.shape[1]):
        for value in (0, 1):
            rates = [
                (score[rows, k] >= thresholds[k]).mean()
                for g in np.unique(group)
                if (rows := (group == g) & (truth[:, k] == value)).any()
            ]
            gaps[k, value] = max(rates) - min(rates)
    return gaps


def test_at_temperature_zero_the_gaps_are_those_that_are_counted():
    given = drawn()
    expected = by_definition(*(part.numpy() for part in given))
    cells = cells_at(0, *given)
    assert rate_gaps(cells).numpy() == pytest.approx(expected, abs=1e-6)
    assert equal_opportunity(cells).numpy() == pytest.approx(expected[:, 1], abs=1e-6)
    assert equalised_odds(cells).numpy() == pytest.approx(expected.mean(axis=1), abs=1e-6)


def test_soft_gaps_tend_to_the_hard_ones():
    given = drawn()
    hard = equalised_odds(cells_at(0, *given))
    errors = [float((equalised_odds(cells_at(t, *given)) - hard).abs().max()) for t in (1.0, 0.1, 0.01, 1e-4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.03
    assert errors[-1] < 1e-6


def test_a_temperature_of_a_third_on_probabilities_shrinks_a_gap_by_a_third():
    """Why thresholds and temperature belong on logits: no degree leaves .16 to .84 (SCIENCE, trap 6)."""
    probability = torch.tensor([[1.0], [0.0]])
    degrees = pass_degree(probability, torch.tensor([0.5]), 0.3)
    assert float(degrees[0] - degrees[1]) < 0.7


def test_gaps_and_their_gradients_do_not_depend_on_the_order_of_groups():
    score, truth, group, thresholds = drawn()
    relabelled = torch.tensor([2, 0, 3, 1])
    found = []
    for codes in (group, relabelled[group]):
        leaf = score.clone().requires_grad_()
        loss = equalised_odds_loss([cells_at(0.5, leaf, truth, codes, thresholds)])
        found.append((loss.detach(), torch.autograd.grad(loss, leaf)[0]))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-8)


def test_groups_that_tie_share_the_gradient():
    score = torch.tensor([[1.0], [1.0], [-1.0]], requires_grad=True)
    cells = cells_at(0.5, score, torch.ones(3, 1), torch.arange(3), ZERO, groups=3)
    (gradient,) = torch.autograd.grad(equalised_odds_loss([cells]), score)
    assert float(gradient[0]) == pytest.approx(float(gradient[1])) != 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_batch_of_one_class_is_safe_and_speaks_of_that_class_only(value):
    score, _, group, thresholds = drawn(60)
    leaf = score.requires_grad_()
    cells = cells_at(0.5, leaf, torch.full_like(score, value), group, thresholds)
    gaps = rate_gaps(cells)
    assert torch.isfinite(gaps).all()
    assert (gaps[:, int(1 - value)] == 0).all()
    assert (gaps[:, int(value)] > 0).all()
    (gradient,) = torch.autograd.grad(equalised_odds_loss([cells]), leaf)
    assert torch.isfinite(gradient).all()


def test_an_empty_cell_carries_no_gap():
    """A group without positives has no TPR; as a TPR of 0 it would make a gap out of nothing."""
    score = torch.tensor([[2.0], [2.0], [2.0]])
    truth = torch.tensor([[1.0], [1.0], [0.0]])
    cells = cells_at(0, score, truth, torch.tensor([0, 1, 2]), ZERO, groups=3)
    assert rate_gaps(cells).tolist() == [[0.0, 0.0]]


def test_nothing_to_compare_is_zero_with_a_gradient_of_zero():
    score = torch.zeros(4, 1, requires_grad=True)
    alone = cells_at(0.5, score, torch.ones(4, 1), torch.zeros(4, dtype=torch.int64), ZERO, groups=2)
    loss = equalised_odds_loss([alone])
    assert float(loss.detach()) == 0
    assert torch.equal(torch.autograd.grad(loss, score)[0], torch.zeros(4, 1))


def test_missing_labels_are_left_out():
    score, truth, group, thresholds = drawn()
    unread = torch.full((50, 3), float("nan"))
    more = torch.cat([score, torch.full((50, 3), 9.0)]), torch.cat([truth, unread]), torch.cat([group, group[:50]])
    expected = cells_at(0.3, score, truth, group, thresholds)
    assert torch.allclose(rate_gaps(cells_at(0.3, *more, thresholds)), rate_gaps(expected), atol=1e-5)


def test_several_attributes_and_labels_are_averaged():
    score, truth, group, thresholds = drawn()
    sex = group % 2
    one, two = cells_at(0.3, score, truth, group, thresholds), cells_at(0.3, score, truth, sex, thresholds, groups=2)
    each = torch.stack([equalised_odds(one), equalised_odds(two)])
    assert float(equalised_odds_loss([one, two])) == pytest.approx(float((each**2).mean()))


def test_batches_remembered_without_decay_are_the_whole():
    given = drawn()
    score, truth, group, thresholds = given
    memory: Cells | None = None
    for rows in torch.arange(600).split(50):
        memory = remembered(memory, cells_at(0.3, score[rows], truth[rows], group[rows], thresholds), 1.0)
    assert torch.allclose(rate_gaps(memory), rate_gaps(cells_at(0.3, *given)), atol=1e-5)


def test_what_is_remembered_has_no_gradient_and_steadies_the_gap():
    score, truth, group, thresholds = drawn(4000, groups=2)
    small = list(torch.arange(4000).split(20))
    whole = equalised_odds(cells_at(0.3, score, truth, group, thresholds, groups=2))
    leaf = score.clone().requires_grad_()
    memory, alone, steady = None, [], []
    for rows in small:
        batch = cells_at(0.3, leaf[rows], truth[rows], group[rows], thresholds, groups=2)
        memory = remembered(memory, batch, 0.95)
        alone.append(equalised_odds(batch))
        steady.append(equalised_odds(memory))
    (gradient,) = torch.autograd.grad(equalised_odds_loss([memory]), leaf)
    touched = gradient.abs().sum(dim=1) > 0
    assert touched.nonzero().min() >= small[-1][0]
    errors = [float((torch.stack(some[50:]).detach() - whole).abs().mean()) for some in (alone, steady)]
    assert errors[1] < 0.5 * errors[0]


def test_the_gap_of_the_two_parameter_reconstructor_has_its_closed_form():
    seen, restorer = world(200_000), Gains(1.0, 0.5)
    found = rate_gaps(cells_at(0, scores(restorer(seen), seen), seen.labels, seen.group, ZERO, groups=2))[0]
    expected = norm.cdf(SLOPE * (1.0 - CENTRE)) - norm.cdf(SLOPE * (0.5 - CENTRE))
    assert float(found[1]) == pytest.approx(expected, abs=0.01)
    assert float(found[0]) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("gains", "lower"), [((1.0, 0.5), 1), ((0.5, 1.0), 0)])
def test_its_gradient_points_towards_equal_gains(gains, lower):
    seen, restorer = world(), Gains(*gains)
    loss = equalised_odds_loss([cells_at(0.5, scores(restorer(seen), seen), seen.labels, seen.group, ZERO, groups=2)])
    (gradient,) = torch.autograd.grad(loss, [restorer.gain])
    assert float(gradient.norm()) > 1e-3
    assert float(gradient[lower]) < 0  # descent raises the smaller gain
    assert float(gradient[1 - lower]) > 0


def test_descent_closes_the_gap():
    seen, restorer = world(), Gains(1.0, 0.3)
    optimizer = torch.optim.Adam(restorer.parameters(), lr=0.05)
    for _ in range(120):
        cells = cells_at(0.5, scores(restorer(seen), seen), seen.labels, seen.group, ZERO, groups=2)
        loss = equalised_odds_loss([cells]) + 0.01 * (restorer(seen) - seen.lesion).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    hard = cells_at(0, scores(restorer(seen), seen), seen.labels, seen.group, ZERO, groups=2)
    assert float(equalised_odds(hard)) < 0.03


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: pass_degree(torch.zeros(2, 1), ZERO, -1), "temperature"),
        (lambda: pass_degree(torch.zeros(2, 1), torch.tensor([float("inf")]), 1), "thresholds"),
        (lambda: pass_degree(torch.zeros(2, 2), ZERO, 1), "thresholds"),
        (lambda: count_cells(torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([0, 2]), 2), "groups"),
        (lambda: count_cells(torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([0, -1]), 2), "groups"),
        (lambda: equalised_odds_loss([]), "cells"),
    ],
)
def test_bad_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
