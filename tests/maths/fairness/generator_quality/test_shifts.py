"""Shifts of measured numbers, and the overlap of masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.generator_quality import overlap, shift


def test_a_shift_is_the_paired_t_test_in_units_of_the_real_spread():
    rng = np.random.default_rng(1)
    real = rng.normal(10, 2, 50)
    made = real + 1.0 + rng.normal(0, 1, 50)
    found = shift(made, real)
    expected = stats.ttest_rel(made, real)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.limits == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.in_sd == pytest.approx((made - real).mean() / real.std(ddof=1))


def test_another_draw_is_no_shift_at_the_stated_rate():
    rng = np.random.default_rng(2)
    p = [shift(rng.normal(size=40), rng.normal(size=40)).p_value for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_what_cannot_be_read_is_counted_and_left_out():
    made, real = np.arange(10.0), np.arange(10.0) + 1
    made[:3] = np.nan
    found = shift(made, real)
    assert (found.n, found.unread, found.difference) == (7, 3, -1.0)
    assert found.p_value == 0.0  # every pair differs by the same
    assert shift(made[:6], real[:6]) is None


def test_overlap_is_the_mean_dice_of_the_labels_that_are_there():
    first = np.zeros((2, 1, 4, 4), np.uint8)
    second = first.copy()
    first[0, 0, :2], second[0, 0, :2] = 1, 1
    first[0, 0, 2, :2], second[0, 0, 2, 1:3] = 2, 2
    assert overlap(first, second, 3)[0] == pytest.approx((1.0 + 0.5) / 2)
    assert np.isnan(overlap(first, second, 3)[1])
