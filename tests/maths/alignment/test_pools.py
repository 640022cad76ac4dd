"""Prompts are aligned one by one: a pool can look fair while each of its prompts makes one group only."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.alignment import (
    aligned_targets,
    binomial_targets,
    by_attribute,
    by_prompt,
    crossed,
    pseudo_labels,
)
from tests.maths.alignment.brute_force import two_classes

HALF = [0.5, 0.5]


def generator():
    return np.random.default_rng(3)


def one_group_a_prompt(each=20):
    """Two prompts, of which one makes class 0 only and the other class 1 only: 50 % in the pool."""
    rng = np.random.default_rng(0)
    ones = np.concatenate([rng.uniform(0.01, 0.1, each), rng.uniform(0.9, 0.99, each)])
    return two_classes(ones), np.repeat(["a patient", "a patient with glioma"], each)


def asked_to_change(p, q) -> float:
    labels, confident = pseudo_labels(q, 0.8)
    return float((labels != p.argmax(axis=1))[confident].mean())


def test_the_pool_looks_fair_where_each_prompt_makes_one_group_and_prompt_by_prompt_it_does_not():
    p, prompts = one_group_a_prompt()
    assert asked_to_change(p, aligned_targets(p, HALF, rng=generator())) == 0
    q = by_prompt(p, prompts, HALF, rng=generator())
    assert asked_to_change(p, q) == pytest.approx(0.5, abs=0.05)
    for prompt in np.unique(prompts):
        assert q[prompts == prompt, 1].mean() == pytest.approx(0.5)


def test_each_prompts_targets_are_those_of_its_images_alone_in_any_order():
    p, prompts = one_group_a_prompt()
    order = np.random.default_rng(1).permutation(len(p))
    q = by_prompt(p[order], prompts[order], [0.7, 0.3], rng=generator())
    for prompt in np.unique(prompts):
        rows = prompts[order] == prompt
        np.testing.assert_array_equal(q[rows], binomial_targets(p[order][rows], 0.3))


def test_a_prompt_without_any_subject_stays_out_and_the_others_do_not_notice():
    p, prompts = one_group_a_prompt()
    found = prompts == "a patient"
    q = by_prompt(p, prompts, HALF, rng=generator(), valid=found)
    assert np.isnan(q[~found]).all()
    np.testing.assert_array_equal(q[found], binomial_targets(p[found], 0.5))
    with pytest.raises(ValueError, match="nothing to align"):
        by_prompt(p, prompts, HALF, rng=generator(), valid=np.zeros(len(p), dtype=bool))


def test_the_only_image_of_a_prompt_is_never_confident_and_of_four_two_are():
    for count, sure in ((1, 0), (4, 2)):
        p = two_classes(np.linspace(0.1, 0.9, count))
        assert pseudo_labels(by_prompt(p, np.zeros(count), HALF, rng=generator()), 0.8)[1].sum() == sure


def test_a_fixed_set_is_drawn_from_for_each_prompt():
    p, prompts = one_group_a_prompt()
    q = by_prompt(p, prompts, None, rng=generator(), draws=500, fixed=np.eye(2)[np.repeat([0, 1], [90, 210])])
    for prompt in np.unique(prompts):
        assert q[prompts == prompt, 1].mean() == pytest.approx(0.7, abs=0.02)


def test_each_attribute_is_aligned_with_its_own_target():
    p, prompts = one_group_a_prompt()
    ages = np.random.default_rng(4).dirichlet([1, 1, 1], len(p))
    sex, age = by_attribute([p, ages], prompts, [HALF, [0.2, 0.3, 0.5]], rng=generator(), draws=500)
    np.testing.assert_array_equal(sex, by_prompt(p, prompts, HALF, rng=generator()))
    assert np.abs(age.mean(axis=0) - [0.2, 0.3, 0.5]).max() < 0.03
    with pytest.raises(ValueError, match="1 targets for 2 attributes"):
        by_attribute([p, ages], prompts, [HALF], rng=generator())


def test_two_fair_attributes_can_have_an_unfair_crossing_which_a_joint_target_sees():
    sex = two_classes(np.repeat([0.02, 0.98], 30))
    q = by_attribute([sex, sex], np.zeros(60), [HALF, HALF], rng=generator())
    assert all(asked_to_change(sex, each) == 0 for each in q)
    joint = crossed([sex, sex])  # the young are all women, say
    labels, _ = pseudo_labels(aligned_targets(joint, [0.25] * 4, rng=generator()), 0.5)
    assert np.bincount(labels, minlength=4).min() > 8


def test_a_crossing_is_the_product_with_the_last_attribute_fastest():
    product = crossed([[[0.3, 0.7]], [[0.5, 0.2, 0.3]]])
    np.testing.assert_allclose(product, [[0.15, 0.06, 0.09, 0.35, 0.14, 0.21]])
    assert np.isnan(crossed([[[np.nan, np.nan]], [[0.5, 0.5]]])).all()
    with pytest.raises(ValueError, match="the same images"):
        crossed([[[0.3, 0.7]], [[0.5, 0.5], [0.5, 0.5]]])
    with pytest.raises(ValueError, match="one or more"):
        crossed([])


def test_every_image_has_a_prompt():
    with pytest.raises(ValueError, match="1 prompts for 2 images"):
        by_prompt([HALF, HALF], ["a patient"], HALF, rng=generator())
