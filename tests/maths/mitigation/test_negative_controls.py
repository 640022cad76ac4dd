"""Four faults of public code of the reconstruction study, each against a check that the platform passes and they fail.

A check is a function of an implementation. Should one of them pass a fault one day, the check has become empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from services.audit.results.reduce import reduce
from services.maths.fairness.cells import Cell
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import ratio_of_sums
from services.maths.fairness.gaps.changes import changes_of
from services.maths.fairness.gaps.simultaneous import standard_normals
from services.maths.fairness.gaps.swaps import Swaps
from services.maths.fairness.groups import Grouping
from services.maths.fairness.sums import PatientSums
from services.maths.mitigation.balance import gradient_length
from services.maths.mitigation.correlation import attribute_predictor, class_strata, one_hot_columns
from services.maths.mitigation.equalised_odds import count_cells, equalised_odds_loss, pass_degree
from tests.audit.results.worlds import true_auroc
from tests.audit.results.worlds import world as audited_world
from tests.maths.mitigation.games import play
from tests.maths.mitigation.toy import Leak, linear_probe_r2, world

# 1. The fairness term of a diffusion model, on the analytic optimum of a step.

MU_WEIGHT, CLEAN_WEIGHT, SIGMA = 0.6, 0.4, 0.03
"""Of the state's mean at some step, and its standard deviation."""


def restored_from_the_network(network: nn.Module, state: torch.Tensor, mu: torch.Tensor, clean: torch.Tensor):
    """The estimate of the clean image that the network's noise gives."""
    noise = network(torch.cat([state - mu, mu], dim=1))
    return (state - MU_WEIGHT * mu - SIGMA * noise) / CLEAN_WEIGHT


def optimum_of_the_step(network: nn.Module, state: torch.Tensor, mu: torch.Tensor, clean: torch.Tensor):
    """x*: what the previous state is best, given the state and the clean image. The network does not occur in it."""
    network(torch.cat([state - mu, mu], dim=1))
    return mu + 0.7 * (state - mu) + 0.28 * (clean - mu)


def the_fairness_term_reaches_the_network(shown: Callable[..., torch.Tensor]) -> bool:
    rng = torch.Generator().manual_seed(0)
    clean = torch.rand(40, 1, 8, 8, generator=rng)
    mu = 0.5 * clean + 0.1
    state = MU_WEIGHT * mu + CLEAN_WEIGHT * clean + SIGMA * torch.randn(clean.shape, generator=rng)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network, predictor = nn.Conv2d(2, 1, 3, padding=1), nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    logits = predictor.requires_grad_(False)(shown(network, state, mu, clean))
    group, labels = torch.arange(40) % 2, (torch.arange(40) % 4 < 2).float()[:, None]
    loss = equalised_odds_loss([count_cells(pass_degree(logits, torch.zeros(1), 0.5), labels, group, 2)])
    assert float(loss.detach()) > 0  # there is a gap to close
    if not loss.requires_grad:
        return False
    return gradient_length(torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)) > 1e-6


def test_the_term_on_the_networks_own_estimate_has_a_gradient():
    assert the_fairness_term_reaches_the_network(restored_from_the_network)


def test_the_term_on_the_optimum_of_the_step_has_none():
    assert not the_fairness_term_reaches_the_network(optimum_of_the_step)


# 2. The adversary, played backwards.


def the_leak_falls(inverted: bool, seed: int) -> bool:
    """To less than .3 of where it started, and a fresh linear probe reads less."""
    seen, restorer = world(600), Leak(1.0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        predictor = attribute_predictor(1, 1)
    before = linear_probe_r2(restorer(seen), seen)
    play(
        predictor,
        lambda: restorer(seen)[:, None],
        restorer,
        one_hot_columns([seen.group], [2]),
        strata=class_strata(seen.labels),
        own_loss=restorer.own_loss,
        steps=150,
        inverted=inverted,
    )
    after = linear_probe_r2(restorer(seen), seen)
    assert not inverted or float(restorer.leak.detach()) > 1  # the public code makes it grow
    return abs(float(restorer.leak.detach())) < 0.3 and after < before


@pytest.mark.parametrize("seed", [0, 1])
def test_the_leak_falls_when_the_predictor_maximises(seed):
    assert the_leak_falls(inverted=False, seed=seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_leak_grows_when_the_game_is_inverted(seed):
    assert not the_leak_falls(inverted=True, seed=seed)


# 3. The baseline's row of a table, copied from a model.

Table = Mapping[str, float]


def audited(given: Mapping[str, Any]) -> Table:
    """Women's AUROC by pipeline, as an audit reports it."""
    report = reduce(**given)
    return {
        cell["pipeline"]: cell["estimate"]
        for cell in report["cells"]
        if (cell["attribute"], cell["group"], cell["metric"]) == ("sex", "Female", "auroc")
    }


def copied(given: Mapping[str, Any]) -> Table:
    """The model's numbers written into the baseline's row, which a table then shows."""
    table = audited(given)
    return dict.fromkeys(table, table["unet"])


def rows_are_their_own(table_of: Callable[[Mapping[str, Any]], Table]) -> bool:
    """Whether each pipeline's row has the truth that was planted in it."""
    table = table_of(audited_world(5, patients=700, loss=0.9))
    truth = {"original": true_auroc(), "unet": true_auroc(0.9)}
    return all(abs(table[name] - value) < 0.04 for name, value in truth.items())


def test_an_audits_rows_are_their_own():
    assert rows_are_their_own(audited)


def test_a_copied_baseline_is_not():
    assert not rows_are_their_own(copied)


# 4. A bootstrap over images, where patients have several.

IMAGES, SIZES = 4, (120, 60, 40, 30, 25, 20)
SETS, REPLICATES = 200, 200


def no_effect(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups of patients (K,) and hits (K, IMAGES) of two exchangeable pipelines; a patient's images are alike."""
    rng = np.random.default_rng([11, seed])
    codes = np.repeat(np.arange(len(SIZES)), SIZES)
    answers = []
    for _ in range(2):
        own = rng.random((len(codes), 1)) < 0.8
        answers.append(np.where(rng.random((len(codes), IMAGES)) < 0.9, own, rng.random((len(codes), IMAGES)) < 0.8))
    return codes, answers[0], answers[1]


def swapped_within_patients(codes: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Ours: the p value of a change of the largest gap."""
    pair = [{"tpr": _disaggregation(codes, hits.sum(axis=1))} for hits in (before, after)]
    (change,) = changes_of(*pair, NORMALS, Swaps(3, np.arange(len(codes)), count=199))
    assert change.p_value is not None
    return change.p_value


NORMALS = standard_normals(0)


def _disaggregation(codes: np.ndarray, hits: np.ndarray) -> Disaggregation:
    patients, count, names = np.arange(len(codes)), len(SIZES), tuple("ABCDEF")
    table = np.column_stack([hits, np.full(len(codes), IMAGES)]).astype(float)
    sums = PatientSums(patients, patients, (Grouping("race", names, codes),), ("hits", "images"), table)
    estimates = ratio_of_sums(sums, "hits", "images", slots=codes, count=count, scale="wilson")
    cells = tuple(Cell(n, 50, 50, 50, 20, 0, "ok", v) for n, v in zip(names, estimates.value, strict=True))
    whole = Cell("overall", 50, 50, 50, 20, 0, "ok", float(estimates.value[0]))
    nobody = Grouping("race", names, np.zeros(0, dtype=np.int64))
    return Disaggregation("tpr", cells, whole, nobody, estimates.take([*range(count), 0]))


def bootstrapped_images(codes: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Rows resampled as if they were people: the share of resamples on the other side of 0, doubled."""
    rng = np.random.default_rng(4)
    rows = np.repeat(codes, IMAGES)
    drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=REPLICATES)
    member = np.eye(len(SIZES))[rows]
    sizes = np.maximum(drawn @ member, 1)
    gaps = [np.ptp(drawn @ (member * hits.ravel()[:, None]) / sizes, axis=1) for hits in (before, after)]
    changes = gaps[1] - gaps[0]
    return float(2 * min((changes <= 0).mean(), (changes >= 0).mean()))


def it_rejects_rarely(p_value: Callable[..., float]) -> bool:
    """At .05 where nothing is: at most what chance explains (.05 + 2.3 standard errors of 200 audits)."""
    rejected = np.mean([p_value(*no_effect(seed)) <= 0.05 for seed in range(SETS)])
    return bool(rejected <= 0.05 + 2.3 * np.sqrt(0.05 * 0.95 / SETS))


def test_swaps_within_patients_reject_rarely_where_nothing_is():
    assert it_rejects_rarely(swapped_within_patients)


def test_a_bootstrap_of_images_finds_what_is_not_there():
    assert not it_rejects_rarely(bootstrapped_images)
