"""Means of per-record values by group."""

import numpy as np

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.means import disaggregate_mean


def _by_sex(values, codes, cluster=None):
    return disaggregate_mean(
        "dice",
        np.array(values, dtype=float),
        sensitive_features=[Grouping("sex", ("Female", "Male"), np.array(codes))],
        cluster=np.arange(len(values)) if cluster is None else np.array(cluster),
        minimums=Minimums(1, 1),
    )["dice", "sex"]


def test_undefined_slices_are_excluded_and_counted_never_zero():
    female, male = _by_sex([0.8, np.nan, 0.6, np.nan], [0, 0, 0, 1]).cells
    assert (female.records, female.excluded_records, female.estimate) == (2, 1, 0.7)
    assert (male.records, male.excluded_records, male.estimate, male.state) == (0, 1, None, "undefined")


def test_infinite_psnr_is_excluded_and_counted():
    female, _ = _by_sex([30.0, np.inf], [0, 0]).cells
    assert (female.records, female.excluded_records, female.estimate) == (1, 1, 30.0)


def test_mean_does_not_depend_on_the_order_of_rows_by_a_single_bit():
    draw = np.random.default_rng(1)
    values, codes = draw.normal(size=999) * 10.0 ** draw.integers(-8, 8, 999), draw.integers(0, 2, 999)
    shuffle = draw.permutation(999)
    assert _by_sex(values, codes).by_group.tolist() == _by_sex(values[shuffle], codes[shuffle]).by_group.tolist()


def test_patients_are_not_images():
    female, _ = _by_sex([0.5, 0.5, 0.5], [0, 0, 0], cluster=[4, 4, 9]).cells
    assert (female.records, female.patients, female.positives) == (3, 2, None)


def test_missing_attribute_is_in_the_overall_mean_and_in_a_cell_of_its_own():
    result = _by_sex([1.0, 0.0, 0.5], [0, 1, -1])
    assert [cell.group for cell in result.cells] == ["Female", "Male", "(missing)"]
    assert result.overall == 0.5
    assert result.comparable_groups == ("Female", "Male")
