"""Rates by hand, and never a number where nothing is known."""

import numpy as np

from services.maths.fairness.rates import (
    balanced_accuracy,
    confusion_by_group,
    false_positive_rate,
    true_positive_rate,
)

Y_TRUE = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 0], dtype=np.int8)
Y_SCORE = np.array([0.9, 0.5, 0.4, 0.1, 0.9, 0.2, 0.5, 0.1, 0.9, 0.1])
GROUP = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2])


def _counts(threshold=0.5):
    return confusion_by_group(Y_TRUE, Y_SCORE, np.full(10, threshold), GROUP, 4)


def test_rates_by_hand_with_the_threshold_itself_called_positive():
    np.testing.assert_array_equal(true_positive_rate(_counts())[0], 2 / 4)
    np.testing.assert_array_equal(false_positive_rate(_counts())[0], 2 / 4)
    np.testing.assert_array_equal(balanced_accuracy(_counts(0.3))[0], (3 / 4 + 1 - 2 / 4) / 2)


def test_a_group_without_positives_has_no_true_positive_rate():
    # Public code gives such a group the rate 0 (or 1), and so a gap that nobody measured.
    np.testing.assert_array_equal(true_positive_rate(_counts())[1:], [1.0, np.nan, np.nan])


def test_a_group_without_negatives_has_no_false_positive_rate_nor_balanced_accuracy():
    np.testing.assert_array_equal(false_positive_rate(_counts())[1:], [np.nan, 0.0, np.nan])
    assert np.isnan(balanced_accuracy(_counts())[1:]).all()


def test_each_row_is_read_at_its_own_threshold():
    counts = confusion_by_group(
        np.array([1, 1], dtype=np.int8), np.array([0.4, 0.4]), np.array([0.3, 0.5]), np.array([0, 1]), 2
    )
    np.testing.assert_array_equal(true_positive_rate(counts), [1.0, 0.0])
