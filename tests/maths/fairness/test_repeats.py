"""The mean of a metric over repeats of a training: its interval is over patients, its changes are paired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.balanced_accuracy import balanced_accuracy
from services.maths.fairness.metrics.classification import disaggregate_classification
from services.maths.fairness.repeats import mean_over_repeats, named_change, named_gap, value_change

PATIENTS, EACH = 400, 2


def rates(seed, *, missed=0.1, extra=0.0):
    """TPR and FPR by two groups; ``extra`` is missed on top in the second. Patients are the same for every seed."""
    who = np.random.default_rng(1)
    patient = np.repeat(np.arange(PATIENTS), EACH)
    truth = np.repeat(who.integers(0, 2, PATIENTS), EACH)
    group = np.repeat(who.integers(0, 2, PATIENTS), EACH)
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < missed + extra * ((group == 1) & (truth == 1))
    found = disaggregate_classification(
        truth.astype(np.int8),
        np.where(wrong, 1 - truth, truth).astype(float),
        np.full(len(truth), 0.5),
        sensitive_features=[Grouping("half", ("a", "b"), group)],
        cluster=patient,
        minimums=Minimums(),
    )
    return [found.by[metric, "half"].estimates for metric in ("tpr", "fpr")]


def mean_rates(seeds, **settings):
    each = [rates(seed, **settings) for seed in seeds]
    return [mean_over_repeats([one[metric] for one in each]) for metric in (0, 1)]


def test_the_mean_is_the_mean_and_its_influences_are_the_means_of_influences():
    each = [rates(seed)[0] for seed in (1, 2, 3)]
    mean = mean_over_repeats(each)
    np.testing.assert_allclose(mean.value, np.mean([one.value for one in each], axis=0))
    expected = np.mean([one.influence.toarray() for one in each], axis=0)
    np.testing.assert_allclose(mean.influence.toarray(), expected, atol=1e-15)


def test_equal_repeats_are_no_more_certain_than_one():
    one = rates(5)[0]
    np.testing.assert_allclose(mean_over_repeats([one, one, one]).standard_error, one.standard_error)


def test_a_gap_and_its_change_are_found_where_they_are_planted_and_the_share_is_bounded():
    before, after = (balanced_accuracy(*mean_rates((1, 2, 3, 4), extra=extra)) for extra in (0.5, 0.1))
    value, low, high = named_gap(before, 0, 1)
    assert low < 0.25 < high and low > 0.1 and value == pytest.approx(0.25, abs=0.06)
    change = named_change(before, after, 0, 1)
    assert change.low < -0.2 < change.high and change.high < 0
    assert change.share_low < 0.8 < change.share_high and change.share == pytest.approx(0.8, abs=0.2)
    assert change.share_low > 0.37


def test_without_a_gap_nothing_changes_and_no_share_of_it_is_stated():
    before, after = (balanced_accuracy(*mean_rates(seeds)) for seeds in ((1, 2, 3), (4, 5, 6)))
    change = named_change(before, after, 0, 1)
    assert change.low < 0 < change.high
    assert np.isnan([change.share, change.share_low, change.share_high]).all()


def test_the_same_model_twice_changes_nothing():
    same = balanced_accuracy(*mean_rates((1, 2)))
    change = value_change(same, same, 0)
    assert change.value == 0 and change.low < 0 < change.high and np.isnan(change.share)


def test_the_paired_interval_covers_what_is_planted():
    """The change of the gap over draws of the errors of the same patients: the true change is -0.2."""
    inside = 0
    for draw in range(30):
        before = balanced_accuracy(*mean_rates((10 * draw, 10 * draw + 1), extra=0.5))
        after = balanced_accuracy(*mean_rates((10 * draw + 2, 10 * draw + 3), extra=0.1))
        change = named_change(before, after, 0, 1)
        inside += change.low <= -0.2 <= change.high
    assert inside >= 25  # of 30 at 95 %: the chance of fewer is one in 300


def test_repeats_of_other_patients_and_none_at_all_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        mean_over_repeats([])
    one = rates(1)[0]
    with pytest.raises(ValueError, match="same patients"):
        mean_over_repeats([one, replace(one, patient_ids=one.patient_ids + 1)])


def test_a_gap_that_points_the_other_way_has_the_same_share():
    before, after = (balanced_accuracy(*mean_rates((1, 2, 3, 4), extra=extra)) for extra in (0.5, 0.1))
    forth, back = named_change(before, after, 0, 1), named_change(before, after, 1, 0)
    assert back.value == pytest.approx(-forth.value)
    assert (back.share, back.share_low, back.share_high) == pytest.approx(
        (forth.share, forth.share_low, forth.share_high)
    )
