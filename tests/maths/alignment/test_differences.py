"""Differences of classes are those within prompts, whatever classes the prompts have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.maths.alignment import class_effects, class_sums, features_of_class

LEVELS, WIDTH, PROMPTS = 3, 6, 12


@pytest.fixture
def world():
    """Images whose features add their prompt's and their class's, in prompts of very different classes."""
    draws = torch.Generator().manual_seed(4)
    of_class = torch.randn(LEVELS, WIDTH, generator=draws)
    of_prompt = 5.0 * torch.randn(PROMPTS, WIDTH, generator=draws)
    prompts = torch.arange(PROMPTS).repeat_interleave(40)
    mostly = (of_prompt[:, 0] > 0).long()  # confounded: prompts of large features have one class mostly
    classes = torch.where(torch.rand(len(prompts), generator=draws) < 0.7, mostly[prompts], prompts % 2 + 1)
    noise = 0.1 * torch.randn(len(prompts), WIDTH, generator=draws)
    return of_class[classes] + of_prompt[prompts] + noise, classes, prompts, of_class


def apart(effects):
    return torch.stack([effects[1] - effects[0], effects[2] - effects[0]])


def test_the_effects_are_the_planted_ones_where_prompts_and_classes_are_confounded(world):
    features, classes, prompts, of_class = world
    effects = class_effects(class_sums(features, classes, prompts, LEVELS))
    torch.testing.assert_close(apart(effects), apart(of_class), atol=0.06, rtol=0)
    assert effects.sum(0).abs().max() < 1e-5
    pooled = torch.stack([features[classes == level].mean(0) for level in range(LEVELS)])
    assert (apart(pooled) - apart(of_class)).abs().max() > 1.0, "the prompts' own features are no difference of classes"


def test_they_are_those_of_a_least_squares_fit_on_prompts_and_classes(world):
    features, classes, prompts, _ = world
    design = np.concatenate([np.eye(PROMPTS)[prompts], np.eye(LEVELS)[classes]], axis=1)
    fitted = np.linalg.lstsq(design, features.double().numpy(), rcond=None)[0][PROMPTS:]
    effects = class_effects(class_sums(features, classes, prompts, LEVELS)).numpy()
    np.testing.assert_allclose(effects - effects[0], fitted - fitted[0], atol=1e-5)


def test_batches_add_up_to_the_whole(world):
    features, classes, prompts, _ = world
    halves = [prompts < 6, prompts >= 6]
    parts = sum(class_sums(features[rows], classes[rows], prompts[rows], LEVELS) for rows in halves)
    torch.testing.assert_close(parts, class_sums(features, classes, prompts, LEVELS))


def test_a_prompt_of_one_class_says_nothing_and_a_class_that_stands_beside_no_other_has_no_effect():
    features, prompts = torch.randn(6, WIDTH), torch.tensor([0, 0, 0, 1, 1, 1])
    alone = class_sums(features, torch.tensor([0, 0, 0, 2, 2, 2]), prompts, LEVELS)
    assert not alone.any()
    effects = class_effects(class_sums(features, torch.tensor([0, 1, 0, 2, 2, 2]), prompts, LEVELS))
    assert effects[2].abs().max() < 1e-12
    torch.testing.assert_close(effects[1] - effects[0], features[1] - (features[0] + features[2]) / 2)


def test_an_image_that_changes_its_class_is_moved_and_another_keeps_every_bit():
    original, effects = torch.randn(3, WIDTH), torch.randn(LEVELS, WIDTH)
    moved = features_of_class(original, torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0]), effects)
    assert torch.equal(moved[1], original[1])
    torch.testing.assert_close(moved[0], original[0] + effects[2] - effects[0])
    torch.testing.assert_close(moved[2], original[2] + effects[0] - effects[2])
