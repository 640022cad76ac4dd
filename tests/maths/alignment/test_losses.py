"""Cross-entropy on logits, once; a preservation term that is exactly 0 until the model moves."""

from __future__ import annotations

import pytest
import torch

from services.maths.alignment import alignment_loss, crossed_logits, preservation_loss, preservation_weights


def features(rows=64, width=512, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_only_confident_images_count_and_all_of_them_divide():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, -5.0], [0.0, 0.0]], requires_grad=True)
    labels, confident = torch.tensor([1, 1, 1, 0]), torch.tensor([True, True, False, False])
    loss = alignment_loss(logits, labels, confident)
    by_hand = torch.log1p(torch.exp(torch.tensor(2.0))) + torch.log1p(torch.exp(torch.tensor(-1.0)))
    assert loss.item() == pytest.approx(by_hand.item() / 4)
    loss.backward()
    assert (logits.grad[2:] == 0).all()
    assert (logits.grad[:2] != 0).all()


def test_no_confident_image_is_a_loss_of_0_with_a_gradient_of_0_and_rows_of_nan_do_not_spread():
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 2.0]], requires_grad=True)
    loss = alignment_loss(logits, torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_a_batch_in_parts_has_the_loss_of_the_whole():
    logits, labels, sure = torch.randn(6, 3), torch.arange(6) % 3, torch.tensor([True, False, True, True, False, True])
    parts = sum(alignment_loss(logits[i : i + 2], labels[i : i + 2], sure[i : i + 2], batch=6) for i in (0, 2, 4))
    assert parts.item() == pytest.approx(alignment_loss(logits, labels, sure).item(), rel=1e-6)
    one, two, weights = features(6), features(6, seed=1), torch.rand(6)
    parts = sum(preservation_loss(one[i : i + 3], two[i : i + 3], weights[i : i + 3], batch=6) for i in (0, 3))
    assert parts.item() == pytest.approx(preservation_loss(one, two, weights).item(), rel=1e-6)


def pull(loss_of_logits) -> float:
    """The gradient of the logit of the true class, at a logit that is surely wrong."""
    logits = torch.tensor([[12.0, -12.0]], requires_grad=True)
    loss_of_logits(logits).backward()
    return logits.grad[0, 1].abs().item()


def test_a_confident_mistake_pulls_with_1_and_a_second_softmax_would_leave_nothing_of_it():
    label, sure = torch.tensor([1]), torch.tensor([True])
    assert pull(lambda logits: alignment_loss(logits, label, sure)) == pytest.approx(1.0, abs=1e-6)
    assert pull(lambda logits: alignment_loss(logits.softmax(1), label, sure)) < 1e-6


def test_crossed_logits_are_the_logits_of_the_product_of_probabilities():
    sex, age = torch.randn(5, 2), torch.randn(5, 3)
    product = (sex.softmax(1)[:, :, None] * age.softmax(1)[:, None, :]).flatten(1)
    torch.testing.assert_close(crossed_logits([sex, age]).softmax(1), product)


def test_equal_features_have_a_loss_and_a_gradient_of_exactly_0_where_the_plain_cosine_has_not():
    original = features()
    moved = original.clone().requires_grad_(True)
    loss = preservation_loss(moved, original, torch.ones(64))
    loss.backward()
    assert loss.item() == 0
    assert (moved.grad == 0).all()
    unit = original / original.norm(dim=1, keepdim=True)
    assert (1 - (unit * unit).sum(1)).abs().max() > 0


def test_equal_features_in_another_layout_have_a_loss_of_exactly_0():
    original = features()
    transposed = original.T.contiguous().T
    assert preservation_loss(transposed, original, torch.ones(64)).item() == 0


def test_the_loss_is_the_weighted_1_minus_cosine_and_keeps_its_digits_near_0():
    one, two, weights = features(), features(seed=1), torch.rand(64)
    by_hand = (weights * (1 - torch.cosine_similarity(one, two, dim=1))).sum() / 64
    assert preservation_loss(one, two, weights).item() == pytest.approx(by_hand.item(), rel=1e-5)
    near = one.double() + 1e-4 * two.double()
    exact = (1 - torch.cosine_similarity(near, one.double(), dim=1)).mean().item()
    assert preservation_loss(near.float(), one, torch.ones(64)).item() == pytest.approx(exact, rel=0.01)


def test_the_original_model_gets_no_gradient_and_features_of_zero_do_no_harm():
    moved, original = features().requires_grad_(True), features(seed=1).requires_grad_(True)
    preservation_loss(moved, original, torch.ones(64)).backward()
    assert original.grad is None
    nothing = torch.zeros(2, 8, requires_grad=True)
    preservation_loss(nothing, features(2, 8), torch.ones(2)).backward()
    assert torch.isfinite(nothing.grad).all()


def test_what_must_flip_is_held_less_in_any_attribute():
    weights = preservation_weights(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    torch.testing.assert_close(weights, torch.tensor([1.0, 0.2, 1.0]))
    several = preservation_weights(torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0, 2], [1, 0]]), flipped_weight=0.5)
    torch.testing.assert_close(several, torch.tensor([1.0, 0.5]))
    with pytest.raises(ValueError, match="flipped_weight"):
        preservation_weights(torch.tensor([0]), torch.tensor([1]), flipped_weight=1.5)
