"""Groups: every level, empty ones included, and missing values kept apart."""

import numpy as np
import pytest

from services.maths.fairness.groups import (
    Grouping,
    everyone,
    intersect,
    patients_per_group,
    require_one_group_per_patient,
    varying_patients,
)

SEX = Grouping("sex", ("Female", "Male"), np.array([0, 1, -1, 0]))
AGE = Grouping("age", ("0-60", "60-80"), np.array([1, 1, 0, -1]))


def test_intersections_are_all_pairs_in_the_order_of_the_levels():
    both = intersect([SEX, AGE])
    assert both.attribute == "sex,age"
    assert both.groups == ("Female, 0-60", "Female, 60-80", "Male, 0-60", "Male, 60-80")


def test_an_intersection_is_missing_where_any_part_is():
    np.testing.assert_array_equal(intersect([SEX, AGE]).codes, [1, 3, -1, -1])


def test_everyone_includes_records_with_missing_attributes():
    assert everyone(4).groups == ("overall",)
    np.testing.assert_array_equal(everyone(4).codes, 0)


def test_patients_are_counted_once_per_group():
    counts = patients_per_group(np.array([0, 0, 0, 2, 2]), 3, np.array([7, 7, 1, 1, 7]))
    np.testing.assert_array_equal(counts, [2, 0, 2])


def test_a_level_cannot_pass_for_missing():
    with pytest.raises(ValueError, match="rename the level"):
        Grouping("race", ("(missing)",), np.array([0]))


def test_a_code_without_a_group_is_refused():
    with pytest.raises(ValueError, match=r"-1\.\.1"):
        Grouping("sex", ("Female", "Male"), np.array([2]))


def test_patients_in_several_groups_are_counted_and_refused_for_attributes_of_patients():
    cluster = np.array(["p", "p", "q", "q", "r"])
    changing = Grouping("age", ("young", "old"), np.array([0, 1, 1, 1, -1]))
    assert varying_patients(changing, cluster) == 1
    with pytest.raises(ValueError, match="1 patients are in more than one group of 'age'"):
        require_one_group_per_patient(changing, cluster)


def test_a_missing_value_beside_a_known_one_is_not_another_group():
    cluster = np.array(["p", "p"])
    known_once = Grouping("sex", ("F", "M"), np.array([-1, 1]))
    assert varying_patients(known_once, cluster) == 0
    require_one_group_per_patient(known_once, cluster)
