"""Images that are right already pull their classes alike, and those of all classes are held alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.maths.alignment import (
    aligned_targets,
    alignment_loss,
    balanced_weights,
    equal_weights,
    pseudo_labels,
)

ONE_PROMPT = torch.zeros(6, dtype=torch.int64)


def margins(*values):
    """Logits (B, 2) with these differences between the second and the first class."""
    return torch.tensor([[-value / 2, value / 2] for value in values])


def test_of_a_prompts_right_images_each_class_pulls_with_the_smallest_sum_by_hand():
    logits = margins(1.0, 3.0, -2.0, 0.5, -0.5, 4.0)
    labels = torch.tensor([1, 1, 0, 0, 1, 1])  # the fourth and the fifth are wrong
    sure = torch.tensor([True, True, True, True, True, False])
    low = torch.sigmoid(torch.tensor([-1.0, -3.0, -2.0]))  # 1 - p of the right ones that are sure
    of_one = float(low[2] / (low[0] + low[1]))
    expected = [of_one, of_one, 1.0, 1.0, 1.0, 0.0]
    assert balanced_weights(logits, labels, sure, ONE_PROMPT).tolist() == pytest.approx(expected)


def test_right_images_of_one_class_alone_do_not_pull_and_wrong_ones_do():
    labels, sure = torch.ones(6, dtype=torch.int64), torch.ones(6, dtype=torch.bool)
    weights = balanced_weights(margins(1.0, 2.0, 3.0, 4.0, 5.0, -1.0), labels, sure, ONE_PROMPT)
    assert weights.tolist() == [0, 0, 0, 0, 0, 1]


def test_prompts_are_balanced_by_themselves():
    logits, prompts = torch.randn(80, 3, generator=torch.Generator().manual_seed(1)), torch.arange(80) % 2
    labels, sure = logits.argmax(1), torch.ones(80, dtype=torch.bool)
    weights = balanced_weights(logits, labels, sure, prompts)
    for prompt in (0, 1):
        own = prompts == prompt
        assert torch.equal(weights[own], balanced_weights(logits[own], labels[own], sure[own], prompts[own]))
        pulls = 1 - logits.softmax(1).gather(1, labels[:, None])[:, 0]
        sums = [float((weights * pulls)[own & (labels == level)].sum()) for level in range(3)]
        assert sums == pytest.approx([sums[0]] * 3, rel=1e-5)
    assert (weights <= 1 + 1e-6).all()


def test_images_that_are_surely_right_have_finite_weights_and_no_gradient():
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [-1.0, 1.0]], requires_grad=True)
    labels, sure = torch.tensor([0, 1, 1]), torch.ones(3, dtype=torch.bool)
    weights = balanced_weights(logits, labels, sure, ONE_PROMPT[:3])
    alignment_loss(logits, labels, weights).backward()
    assert weights.isfinite().all()
    assert (logits.grad == 0).all()


def share_at_rest(share, rule, seed):
    """The share of the second class where a model of one number comes to rest, which moves all images alike.

    Both classes are plateaus, as of a generator that draws nothing between them, and the second is less clear to the
    classifier. As with inputs that are frozen, the gradient sees each image's margin move with the number, not that
    only images at the edge of a plateau change.
    """
    rng = np.random.default_rng(seed)
    place = torch.tensor(0.6, requires_grad=True)
    optimiser = torch.optim.Adam([place], lr=0.02, betas=(0.9, 0.92))
    shares = []
    for _ in range(400):
        half = torch.from_numpy(rng.standard_normal(50))
        x = torch.cat([half, -half]).float() + place.detach()
        shares.append(float((x > 0).float().mean()))
        margin = torch.where(x > 0, 1.0, 2.5) * torch.tanh(8 * x) + (place - place.detach())
        logits = torch.stack([-margin / 2, margin / 2], dim=1)
        q = aligned_targets(logits.detach().double().softmax(1).numpy(), [1 - share, share], rng=rng)
        labels, sure = (torch.from_numpy(each) for each in pseudo_labels(q, 0.6))
        optimiser.zero_grad()
        alignment_loss(logits, labels, rule(logits, labels, sure, torch.zeros(100, dtype=torch.int64))).backward()
        optimiser.step()
    return np.mean(shares[200:])


def only_sure(logits, labels, sure, prompts):
    return sure


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_shares_come_to_rest_at_the_target_and_with_all_pulls_alike_beside_it(share):
    balanced, alike = (
        np.mean([share_at_rest(share, rule, seed) for seed in range(3)]) for rule in (balanced_weights, only_sure)
    )
    assert abs(balanced - share) < 0.02
    assert abs(alike - share) > 0.03


def test_the_classes_of_a_prompt_weigh_the_same_together_by_hand():
    classes, prompts = torch.tensor([[0], [1], [1], [1], [0]]), torch.tensor([3, 3, 3, 3, 8])
    assert equal_weights(classes, prompts).tolist() == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3, 1])


def test_classes_of_several_attributes_are_those_of_their_crossing_and_the_mean_is_1_in_each_prompt():
    drawn = torch.Generator().manual_seed(1)
    classes, prompts = torch.randint(3, (90, 2), generator=drawn), torch.arange(90) % 3
    weights = equal_weights(classes, prompts)
    for prompt in range(3):
        own = prompts == prompt
        crossing = classes[own, 0] * 3 + classes[own, 1]
        sums = [float(weights[own][crossing == number].sum()) for number in crossing.unique()]
        assert sums == pytest.approx([30 / len(sums)] * len(sums), rel=1e-5)
