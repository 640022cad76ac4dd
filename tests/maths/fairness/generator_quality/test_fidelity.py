"""Reading attributes back: shares, their limits, and what counts as worse than real images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.generator_quality import confusion, holm, proportion_limits, read_back


def flipped(levels: list[str], share: float, seed: int) -> list[str | None]:
    other = {"present": "absent", "absent": "present"}
    wrong = np.random.default_rng(seed).random(len(levels)) < share
    return [other[level] if flip else level for level, flip in zip(levels, wrong, strict=True)]


ASKED = ["present", "absent"] * 60


def test_a_generator_no_worse_than_real_images_is_no_finding_at_the_stated_rate():
    found = [read_back(ASKED, flipped(ASKED, 0.1, 2 * k), flipped(ASKED, 0.1, 2 * k + 1)).p_value for k in range(200)]
    assert np.mean(np.array(found) <= 0.05) <= 0.09


def test_a_dropped_finding_is_found_where_the_reader_is_sure():
    asked = ["present"] * 40
    found = read_back(asked, flipped(asked, 0.5, 1), asked)
    assert found.real_share == 1.0
    assert found.share < 0.7
    assert found.p_value < 1e-3


def test_a_bad_reader_is_no_bad_generator():
    found = read_back(ASKED, flipped(ASKED, 0.4, 1), flipped(ASKED, 0.4, 2))
    assert found.share < 0.75
    assert found.p_value > 0.05


def test_the_test_is_the_sign_test_on_discordant_pairs():
    asked = ["a"] * 10
    read, real = ["b"] * 6 + ["a"] * 4, ["a"] * 6 + ["b"] + ["a"] * 3
    expected = stats.binomtest(6, 7, 0.5, alternative="greater").pvalue
    assert read_back(asked, read, real).p_value == pytest.approx(expected)


def test_what_was_not_asked_for_does_not_count_and_what_cannot_be_read_is_not_correct():
    found = read_back(["a", None, "a"], [None, "a", "a"], ["a", "a", "a"])
    assert (found.n, found.correct, found.real_correct) == (2, 1, 2)
    assert read_back([None], ["a"], ["a"]) is None


def test_confusion_keeps_the_unreadable_in_a_column_of_their_own():
    counts = confusion(("a", "b"), ["a", "a", "b", None, "b"], ["a", "b", None, "a", "something else"])
    assert counts.tolist() == [[1, 1, 0], [0, 0, 2]]


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (7, 20), (20, 20), (490, 500)])
def test_wilson_limits_are_those_of_scipy(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert proportion_limits(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_holm_steps_down_and_leaves_out_what_was_not_tested():
    adjusted = holm([0.01, float("nan"), 0.04, 0.02])
    np.testing.assert_allclose(adjusted, [0.03, np.nan, 0.04, 0.04])
    np.testing.assert_allclose(holm([0.01, 0.02], families=4), [0.08, 0.08])
    assert holm([]).tolist() == []
