"""Learning a diagnosis: logits once, groups drawn alike, everything random from the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.training.classifying import (
    Fit,
    diagnosis_loss,
    fit_classifier,
    group_weights,
    probabilities,
    youden_threshold,
)

QUICK = Fit(width=2, steps=20, batch=16, learning_rate=3e-3)


def blobs(count, seed=0):
    """Images whose brightness is their class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = (0.25 + 0.4 * labels[:, None, None, None] + rng.uniform(0, 0.1, (count, 3, 16, 16))).astype(np.float32)
    return images, labels.astype(np.int64)


def learned(seed=1, count=64):
    images, labels = blobs(count)
    return fit_classifier(images, labels, np.full(count, 1 / count), QUICK, seed=seed)


def test_the_same_seed_learns_the_same_bits_and_another_seed_others():
    images, _ = blobs(8, seed=5)
    first, again, other = (probabilities(learned(seed), images) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_nothing_is_drawn_from_the_global_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    learned()
    assert torch.equal(before, torch.get_rng_state())


def test_a_class_that_shows_is_learned():
    images, labels = blobs(200, seed=9)
    called = probabilities(learned(), images) >= 0.5
    assert (called == labels).mean() > 0.95


def test_groups_are_drawn_alike_however_many_records_they_have():
    groups = np.array(["a"] * 90 + ["b"] * 9 + ["c"])
    weights = group_weights(groups)
    shares = [weights[groups == name].sum() for name in "abc"]
    np.testing.assert_allclose(shares, 1 / 3)


def test_the_gradient_at_a_confidently_wrong_logit_is_one_and_that_of_a_double_softmax_is_almost_none():
    def gradient(loss):
        logits = torch.tensor([[12.0, -12.0]], dtype=torch.float64, requires_grad=True)
        loss(logits, torch.tensor([1])).backward()
        return float(logits.grad.abs().max())

    assert gradient(diagnosis_loss) == pytest.approx(1.0, abs=1e-6)
    # What the released code of the paper does: softmax, and then cross-entropy, which takes another one.
    assert gradient(lambda logits, labels: diagnosis_loss(logits.softmax(dim=1), labels)) < 1e-6


def test_the_threshold_is_the_one_with_the_highest_balanced_accuracy():
    labels = np.array([0, 0, 0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.2, 0.3, 0.35, 0.4, 0.6, 0.9])
    chosen = youden_threshold(labels, scores)

    def accuracy(threshold):
        called = scores >= threshold
        return (called[labels == 1].mean() + 1 - called[labels == 0].mean()) / 2

    assert accuracy(chosen) == max(accuracy(threshold) for threshold in np.linspace(0, 1, 1001))
    assert youden_threshold(np.zeros(3, np.int64), scores[:3]) == 0.5


def test_lengths_that_differ_are_refused():
    images, labels = blobs(4)
    with pytest.raises(ValueError, match="as many images as labels"):
        fit_classifier(images, labels[:3], np.full(4, 0.25), QUICK, seed=0)
