"""Means of per-record values by group."""

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.means import disaggregate_mean


def _measure(values, codes, cluster=None, minimums=None):
    return disaggregate_mean(
        "dice",
        np.array(values, dtype=float),
        sensitive_features=[Grouping("sex", ("Female", "Male"), np.array(codes))],
        cluster=np.arange(len(values)) if cluster is None else np.array(cluster),
        minimums=minimums or Minimums(1, 1),
    )


def _by_sex(values, codes, cluster=None):
    return _measure(values, codes, cluster).by["dice", "sex"]


def test_undefined_slices_are_excluded_and_counted_never_zero():
    female, male = _by_sex([0.8, np.nan, 0.6, np.nan], [0, 0, 0, 1]).cells
    assert (female.records, female.excluded_records, female.estimate) == (2, 1, 0.7)
    assert (male.records, male.excluded_records, male.estimate, male.state) == (0, 1, None, "undefined")
    assert (male.standard_error, male.ci_low, male.ci_high) == (None, None, None)


def test_infinite_psnr_is_excluded_and_counted():
    female, _ = _by_sex([30.0, np.inf, -np.inf], [0, 0, 0]).cells
    assert (female.records, female.excluded_records, female.estimate) == (1, 2, 30.0)


def test_interval_is_the_t_interval_of_the_patients_means():
    draw = np.random.default_rng(0)
    values = draw.normal(30, 2, 12)
    # Three equal images of each patient say no more than one.
    female, _ = _by_sex(np.repeat(values, 3), [0] * 36, cluster=np.repeat(np.arange(12), 3)).cells
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (female.ci_low, female.ci_high) == (pytest.approx(low), pytest.approx(high))
    assert female.standard_error == pytest.approx(stats.sem(values))


def test_mean_does_not_depend_on_the_order_of_rows():
    draw = np.random.default_rng(1)
    values, codes, cluster = draw.normal(30, 3, 999), draw.integers(0, 2, 999), draw.integers(0, 300, 999)
    shuffle = draw.permutation(999)
    straight, shuffled = _by_sex(values, codes, cluster), _by_sex(values[shuffle], codes[shuffle], cluster[shuffle])
    np.testing.assert_allclose(straight.by_group, shuffled.by_group, rtol=1e-14)
    np.testing.assert_allclose(straight.by_group_ci, shuffled.by_group_ci, rtol=1e-13)


def test_patients_are_not_images():
    female, _ = _by_sex([0.5, 0.6, 0.7], [0, 0, 0], cluster=[4, 4, 9]).cells
    assert (female.records, female.patients, female.deciding_patients, female.positives) == (3, 2, 2, None)


def test_a_single_patient_has_a_mean_and_no_interval():
    female, _ = _by_sex([0.5, 0.6, 0.7], [0, 0, 0], cluster=[4, 4, 4]).cells
    assert female.estimate == pytest.approx(0.6)
    assert (female.ci_low, female.ci_high) == (None, None)


def test_missing_attribute_is_in_the_overall_mean_and_in_a_cell_of_its_own():
    result = _by_sex([1.0, 0.0, 0.5], [0, 1, -1])
    assert [cell.group for cell in result.cells] == ["Female", "Male", "(missing)"]
    assert result.overall == 0.5
    assert result.comparable_groups == ("Female", "Male")
    assert result.estimates.value.tolist() == [1.0, 0.0, 0.5, 0.5]


def test_sums_hold_the_finite_values():
    measured = _measure([1.0, np.nan, 0.5, np.inf], [0, 0, 1, 1], cluster=[1, 1, 2, 2])
    assert measured.sums.columns == ("value", "records")
    assert measured.sums.values.tolist() == [[1.0, 1.0], [0.5, 1.0]]
    assert set(measured.by) == {("dice", ""), ("dice", "sex")}


def test_all_disaggregations_of_one_cohort_have_the_same_patients_whatever_is_excluded():
    one, other = _measure([1.0, np.nan, 0.5], [0, 0, 1]), _measure([np.nan, 0.2, 0.5], [0, 0, 1])
    np.testing.assert_array_equal(
        one.by["dice", "sex"].estimates.patient_ids, other.by["dice", ""].estimates.patient_ids
    )


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="values have shape"):
        _measure([1.0, 2.0], [0, 1], cluster=[1, 2, 3])
    with pytest.raises(ValueError, match="'sex' has 1 records"):
        _measure([1.0, 2.0], [0])
