"""What a judgement says, and which of two is better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from services.training.mitigation.cases import Cases
from services.training.mitigation.judging import Judgement, judge, preference

BASE = Judgement(30.0, 0.9, {"sex": 0.2}, {"sex": 0.3}, 0.15)


@pytest.fixture
def cases():
    rng = np.random.default_rng(3)
    labels = (rng.random((200, 2)) < 0.4).astype(np.float32)
    labels[:5, 0] = np.nan
    clean = torch.from_numpy(rng.random((200, 1, 12, 12)).astype(np.float32))
    sex = torch.from_numpy(rng.integers(0, 2, 200))
    return Cases(clean, clean, torch.from_numpy(labels), (sex,), np.arange(200).astype(str))


def test_a_judgement_is_what_is_counted(cases):
    rng = np.random.default_rng(4)
    logits = torch.nan_to_num(cases.labels) + torch.from_numpy(rng.normal(size=(200, 2)).astype(np.float32))
    restored = cases.clean.numpy() + 0.1
    thresholds = torch.tensor([0.3, 0.7])
    found = judge(restored, logits, cases, thresholds=thresholds, attributes=["sex"], counts=[2], temperature=1e-6)
    assert found.psnr == pytest.approx(20, abs=1e-3)
    known = ~torch.isnan(cases.labels)
    areas = [roc_auc_score(cases.labels[known[:, k], k], logits[known[:, k], k]) for k in range(2)]
    assert found.mean_auroc == pytest.approx(np.mean(areas))
    halves = []
    for k in range(2):
        rates = [
            [
                (logits[rows, k] >= thresholds[k]).float().mean()
                for sex in (0, 1)
                if (rows := (cases.groups[0] == sex) & (cases.labels[:, k] == value)).any()
            ]
            for value in (0, 1)
        ]
        halves.append([abs(float(some[0] - some[1])) for some in rates])
    assert found.eodd == {"sex": pytest.approx(np.mean(halves), abs=1e-6)}
    assert found.eop == {"sex": pytest.approx(np.mean([tpr for _, tpr in halves]), abs=1e-6)}
    assert found.soft_eodd == pytest.approx(found.eodd["sex"], abs=1e-4)


def test_scores_have_names_for_a_card():
    assert BASE.scores("base ") == {
        "base psnr": 30.0,
        "base mean_auroc": 0.9,
        "base eodd sex": 0.2,
        "base eop sex": 0.3,
    }


def test_the_smaller_gap_is_preferred_as_long_as_little_is_lost():
    better = replace(BASE, soft_eodd=0.05, psnr=29.6, mean_auroc=0.895)
    assert preference(better, BASE, by_fairness=True) > preference(BASE, BASE, by_fairness=True)


@pytest.mark.parametrize("lost", [{"psnr": 29.4}, {"mean_auroc": 0.885}])
def test_a_closed_gap_that_costs_too_much_comes_after_the_base(lost):
    closed = replace(BASE, soft_eodd=0.0, **lost)
    assert preference(closed, BASE, by_fairness=True) < preference(BASE, BASE, by_fairness=True)


def test_of_those_that_cost_too_much_the_dearer_comes_last():
    costly, dearer = replace(BASE, soft_eodd=0.1, psnr=29.3), replace(BASE, soft_eodd=0.0, psnr=25.9)
    assert preference(costly, BASE, by_fairness=True) > preference(dearer, BASE, by_fairness=True)


def test_without_a_method_fidelity_decides():
    assert preference(replace(BASE, psnr=31.0, soft_eodd=0.9), BASE, by_fairness=False) == pytest.approx(1)
