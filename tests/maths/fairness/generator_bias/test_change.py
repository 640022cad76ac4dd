"""What tuning changed, in worlds where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.fairness.generator_bias import bias_change

PROMPTS, IMAGES = 12, 40
CLUSTER = np.repeat(np.arange(PROMPTS), IMAGES)
GROUPS = ("Female", "Male")


def pair(before, after, seed, *, spread=0.0, wrong=(0.0, 0.0)):
    """Codes (N,) of both models from the same noise; shares of women vary by ``spread`` over prompts."""
    rng = np.random.default_rng(seed)
    lean = rng.normal(0, spread, PROMPTS)[CLUSTER]
    noise, luck = rng.random(len(CLUSTER)), rng.random((2, len(CLUSTER)))
    true = [(noise >= np.clip(share + lean, 0, 1)).astype(np.int64) for share in (before, after)]
    return [np.where(luck[side] < np.array(wrong)[code], 1 - code, code) for side, code in enumerate(true)]


def change(codes, **known):
    return bias_change(*codes, groups=GROUPS, cluster=CLUSTER, **known)


def test_no_change_is_rarely_found_and_a_change_nearly_always():
    none = [change(pair(0.5, 0.5, seed, wrong=(0.1, 0.1))).reading("bias_to_target") for seed in range(200)]
    assert np.mean([one.ci_low <= 0 <= one.ci_high for one in none]) >= 0.97
    some = [change(pair(0.75, 0.5, seed, spread=0.05)).reading("bias_to_target") for seed in range(200)]
    truth = 2 * 0.05 * np.sqrt(2 / np.pi) - 0.5  # prompts that lean do so after, too
    assert np.mean([one.ci_low <= truth <= one.ci_high for one in some]) >= 0.95
    assert np.mean([one.ci_high < 0 for one in some]) >= 0.95


def test_a_change_of_shares_is_covered_also_through_a_classifier_that_errs():
    confusion = np.array([[80, 20], [5, 95]]) * 4
    found = []
    for seed in range(300):
        codes = pair(0.7, 0.4, seed, spread=0.08, wrong=(0.2, 0.05))
        found.append(change(codes, confusion=confusion).shares[0])
    assert np.mean([one.ci_low <= -0.3 <= one.ci_high for one in found]) >= 0.93
    assert np.mean([one.change for one in found]) == pytest.approx(-0.3, abs=0.01)
    raw = [change(pair(0.7, 0.4, seed, wrong=(0.2, 0.05))).shares[0].change for seed in range(50)]
    assert np.mean(raw) == pytest.approx(-0.3 * 0.75, abs=0.01)


def test_before_and_after_are_those_of_the_definition():
    codes = pair(0.9, 0.6, 3)
    share = [np.array([np.mean(side[prompt == CLUSTER] == 0) for prompt in range(PROMPTS)]) for side in codes]
    found = change(codes, target=(0.3, 0.7)).reading("bias_to_target")
    assert found.before == pytest.approx(np.mean(2 * np.abs(share[0] - 0.3)))
    assert found.after == pytest.approx(np.mean(2 * np.abs(share[1] - 0.3)))
    assert found.change == pytest.approx(found.after - found.before)
    assert found.reduction == pytest.approx(1 - found.after / found.before)


def test_a_model_beside_itself():
    codes = pair(0.7, 0.7, 5)
    found = change([codes[0], codes[0]])
    assert {one.change for one in found.readings} == {0.0}
    assert all(one.ci_low < 0 < one.ci_high for one in (*found.readings, *found.shares))
    assert found.prompts == PROMPTS


def test_the_order_of_the_groups_changes_nothing():
    codes = pair(0.7, 0.5, 6)
    one = change(codes, target=(0.3, 0.7))
    other = bias_change(*(1 - side for side in codes), groups=GROUPS[::-1], cluster=CLUSTER, target=(0.7, 0.3))
    for name in ("bias_pairwise", "bias_to_target", "total_variation"):
        assert one.reading(name).change == pytest.approx(other.reading(name).change)
    assert one.shares[0].change == pytest.approx(other.shares[1].change)


def test_prompts_without_an_image_in_either_model_are_left_out():
    before, after = pair(0.7, 0.5, 7)
    after[CLUSTER == 0] = -1
    assert change([before, after]).prompts == PROMPTS - 1
    with pytest.raises(ValueError, match="at least 5"):
        change([before, np.where(CLUSTER < 8, -1, after)])
    with pytest.raises(ValueError, match="the same images"):
        bias_change(before[:-1], after, groups=GROUPS, cluster=CLUSTER)
