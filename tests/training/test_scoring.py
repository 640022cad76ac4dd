"""Thresholds and scores against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from services.training.examples import Examples
from services.training.recipes import RECIPES
from services.training.scoring import balanced_threshold, choose_thresholds, known_auroc, score


def test_the_balanced_threshold_of_two_normals_lies_halfway():
    rng = np.random.default_rng(1)
    truth = np.repeat([0.0, 1.0], 20_000)
    scores = rng.normal(0, 1, 40_000) + 1.6 * truth
    assert balanced_threshold(truth, scores) == pytest.approx(0.8, abs=0.03)


def test_missing_truth_is_left_out_of_threshold_and_auroc():
    truth, scores = np.array([0.0, 1.0, np.nan, np.nan]), np.array([0.1, 0.9, 0.0, 1.0])
    assert known_auroc(truth, scores) == 1.0
    assert balanced_threshold(truth, scores) == 0.9


def test_auroc_of_two_normals_is_the_closed_form():
    rng = np.random.default_rng(2)
    truth = np.repeat([0.0, 1.0], 10_000)
    assert known_auroc(truth, rng.normal(truth, 1)) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.01)


def test_psnr_gain_is_the_noise_removed():
    rng = np.random.default_rng(3)
    clean = np.full((4, 1, 64, 64), 0.5, np.float32)
    noise = rng.normal(0, 1, clean.shape).astype(np.float32)
    examples = Examples(torch.from_numpy(clean + 0.1 * noise), torch.from_numpy(clean), np.arange(4))
    scores = score(RECIPES["mri-unet"], clean + 0.01 * noise, examples, {})
    assert scores["psnr_gain"] == pytest.approx(20, abs=0.01)
    assert scores["psnr"] == pytest.approx(40, abs=0.2)


def test_the_segmentation_threshold_maximises_dice_and_empty_masks_do_not_count():
    recipe = replace(RECIPES["tumour-segmenter"])
    masks = np.zeros((3, 1, 64, 64), np.float32)
    masks[:2, :, 10:30, 10:30] = 1
    predicted = np.full(masks.shape, 0.3, np.float32)
    predicted[:2, :, 10:30, 10:30] = 0.5
    predicted[2] = 0.0
    examples = Examples(torch.from_numpy(masks), torch.from_numpy(masks), np.arange(3))
    thresholds = choose_thresholds(recipe, predicted, examples)
    assert 0.3 < thresholds["tumour"] <= 0.5
    assert score(recipe, predicted, examples, thresholds)["mean_dice"] == 1.0
