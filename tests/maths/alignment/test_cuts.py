"""A class is the likeliest where its package's threshold says that it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit, softmax

from services.maths.alignment import cut_offsets


@pytest.mark.parametrize("threshold", [0.02, 0.5, 0.9])
def test_of_two_classes_the_cut_is_the_threshold(threshold):
    offsets = cut_offsets([threshold, 1 - threshold])
    assert offsets.sum() == pytest.approx(0)
    for p, first in ((threshold - 0.01, False), (threshold + 0.01, True)):
        shifted = np.log([p, 1 - p]) + offsets
        assert (shifted[0] > shifted[1]) == first


def test_between_two_thresholds_the_cut_is_the_middle_in_log_odds():
    offsets = cut_offsets([0.0759, 0.9883])
    assert offsets[0] - offsets[1] == pytest.approx(-(logit(0.0759) + logit(1 - 0.9883)) / 2)


def test_of_three_classes_it_is_exact_where_the_others_are_as_likely():
    offsets = cut_offsets([0.2, 1 / 3, 1 / 3])
    one = softmax(np.array([logit(0.2) + np.log(2), 0.0, 0.0]))
    assert one[0] == pytest.approx(0.2)
    weighed = np.log(one) + cut_offsets([0.2, 0.2, 0.2])
    np.testing.assert_allclose(weighed - weighed[1], np.log(one) - np.log(one[1]))  # alike thresholds change nothing
    assert offsets[0] > 0 > offsets[1] == offsets[2]


@pytest.mark.parametrize("thresholds", [[0.0, 0.5], [0.5, 1.0], [0.5, 0.5]])
def test_thresholds_that_decide_nothing_move_nothing(thresholds):
    assert not cut_offsets(thresholds).any()
