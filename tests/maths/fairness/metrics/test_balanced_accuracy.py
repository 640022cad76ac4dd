"""Balanced accuracy from its two rates."""

import numpy as np
import pytest

from services.maths.fairness.estimates import everywhere, ratio_of_sums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.limits import limits
from services.maths.fairness.metrics.balanced_accuracy import balanced_accuracy
from services.maths.fairness.sums import patient_sums


def rates(positive_hits, negative_hits, cluster=None):
    """One group; a record for every hit or miss."""
    positive_hits, negative_hits = np.asarray(positive_hits, float), np.asarray(negative_hits, float)
    positives, negatives = len(positive_hits), len(negative_hits)
    sums = patient_sums(
        {
            "positives": np.r_[np.ones(positives), np.zeros(negatives)],
            "negatives": np.r_[np.zeros(positives), np.ones(negatives)],
            "true": np.r_[positive_hits, np.zeros(negatives)],
            "false": np.r_[np.zeros(positives), negative_hits],
        },
        cluster=np.arange(positives + negatives) if cluster is None else np.asarray(cluster),
        sensitive_features=[Grouping("a", ("A",), np.zeros(positives + negatives, dtype=np.int64))],
    )
    slots = np.zeros(len(sums.patient), dtype=np.int64)
    return [
        ratio_of_sums(sums, above, below, slots=slots, count=1, scale="wilson")
        for above, below in (("true", "positives"), ("false", "negatives"))
    ]


def test_independent_rates_add_up_in_quadrature():
    tpr, fpr = rates([1] * 30 + [0] * 10, [1] * 6 + [0] * 54)
    result = balanced_accuracy(tpr, fpr)
    assert result.value[0] == pytest.approx((0.75 + 0.9) / 2)
    assert result.standard_error[0] == pytest.approx(np.hypot(tpr.standard_error, fpr.standard_error)[0] / 2, rel=0.01)
    (low, high), (true_low, true_high), (false_low, false_high) = limits(result), limits(tpr), limits(fpr)
    assert low[0] == pytest.approx(result.value[0] - np.hypot(0.75 - true_low, false_high - 0.1)[0] / 2)
    assert high[0] == pytest.approx(result.value[0] + np.hypot(true_high - 0.75, 0.1 - false_low)[0] / 2)


def test_patients_read_well_in_both_classes_make_it_less_certain():
    skilled = np.arange(40) < 28
    apart = balanced_accuracy(*rates(skilled, ~skilled))
    shared = balanced_accuracy(*rates(skilled, ~skilled, cluster=[*range(40), *range(40)]))
    assert shared.standard_error[0] == pytest.approx(np.sqrt(2) * apart.standard_error[0], rel=0.02)
    width = [limits(each)[1][0] - limits(each)[0][0] for each in (apart, shared)]
    assert width[1] == pytest.approx(np.sqrt(2) * width[0], rel=0.03)


def test_perfect_rates_have_an_honest_lower_limit():
    result = balanced_accuracy(*rates([1] * 8, [0] * 8))
    low, high = limits(result)
    assert (result.value[0], high[0]) == (1.0, 1.0)
    assert 0.5 < low[0] < 0.8


def test_without_a_class_there_is_none():
    result = balanced_accuracy(*rates([], [1, 0, 1]))
    assert np.isnan(result.value).all()
    assert np.isnan(limits(result)).all()
    assert not result.influence.toarray().any()


def test_own_limits_survive_standing_side_by_side():
    first, second = (balanced_accuracy(*rates([1] * 20 + [0] * n, [0] * 20 + [1] * n)) for n in (4, 4))
    stacked = everywhere(first, second).take([1])
    np.testing.assert_allclose(limits(stacked), limits(second))
