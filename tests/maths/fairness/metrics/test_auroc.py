"""AUROC against scikit-learn, and where no AUROC exists."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from services.maths.fairness.auroc import auroc, auroc_by_group


@pytest.mark.parametrize("decimals", [0, 1, 6], ids=["heavy ties", "some ties", "hardly a tie"])
def test_every_group_equals_scikit_learn(decimals):
    draw = np.random.default_rng(decimals)
    y_true = (draw.random(3000) < 0.2).astype(np.int8)
    y_score = np.round(draw.normal(y_true, 1.0), decimals)
    slots = draw.integers(0, 7, 3000)
    ours = auroc_by_group(y_true, y_score, slots, 7, np.argsort(y_score, kind="stable"))
    theirs = [roc_auc_score(y_true[slots == g], y_score[slots == g]) for g in range(7)]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


def test_a_tie_counts_one_half():
    assert auroc(np.array([0, 1], dtype=np.int8), np.array([0.3, 0.3])) == 0.5


def test_order_of_rows_does_not_change_a_bit():
    draw = np.random.default_rng(5)
    y_true = (draw.random(500) < 0.3).astype(np.int8)
    y_score = np.round(draw.normal(y_true, 1.0), 1)
    shuffle = draw.permutation(500)
    assert auroc(y_true, y_score) == auroc(y_true[shuffle], y_score[shuffle])


@pytest.mark.parametrize("y_true", [[0, 0, 0], [1, 1, 1], []], ids=["no positives", "no negatives", "no rows"])
def test_one_class_has_no_auroc(y_true):
    assert math.isnan(auroc(np.array(y_true, dtype=np.int8), np.linspace(0, 1, len(y_true))))


def test_an_empty_group_between_full_ones_has_none_and_shifts_nothing():
    y_true = np.array([0, 1, 0, 1], dtype=np.int8)
    y_score = np.array([0.1, 0.9, 0.8, 0.2])
    areas = auroc_by_group(y_true, y_score, np.array([0, 0, 2, 2]), 4, np.argsort(y_score, kind="stable"))
    np.testing.assert_array_equal(areas, [1.0, np.nan, 0.0, np.nan])
