"""One vector per patient: the most frequent one, and groups as unions of cells."""

import numpy as np
import pytest

from services.maths.fairness.groups import Grouping, intersect
from services.maths.fairness.testing.vectors import attribute_vectors

SEX = ("F", "M")
AGE = ("old", "young")


def _vectors(patients, sex, age):
    groupings = [Grouping("sex", SEX, np.array(sex)), Grouping("age", AGE, np.array(age))]
    return attribute_vectors(np.array(patients), [*groupings, intersect(groupings)])


def test_a_patient_takes_part_with_the_most_frequent_vector_and_is_counted():
    vectors = _vectors(["b", "a", "a", "a", "c"], [0, 1, 1, 1, 0], [0, 1, 0, 1, 1])
    assert vectors.patient_ids.tolist() == ["a", "b", "c"]
    assert vectors.varying_patients == 1
    sex, age, both = (grouping.codes[vectors.cell] for grouping in vectors.cells)
    assert (sex.tolist(), age.tolist()) == ([1, 0, 0], [1, 0, 1])
    assert both.tolist() == [3, 0, 1]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_ties_go_to_the_first_level_whatever_the_order_of_records(order):
    vectors = _vectors([7, 7], np.array([0, 0])[order], np.array([1, 0])[order])
    assert vectors.cells[1].codes[vectors.cell].tolist() == [0]


def test_a_missing_level_is_a_vector_and_no_member_of_any_group_of_that_attribute():
    vectors = _vectors([1, 2, 3], [0, -1, 1], [0, 0, 1])
    group, cell = vectors.members
    missing = vectors.cell[1]
    names = [name for grouping in vectors.cells for name in grouping.groups]
    assert [names[g] for g in group[cell == missing]] == ["old"]
    assert vectors.columns("age") == slice(2, 4)
    assert vectors.columns("sex,age") == slice(4, 8)


def test_many_vectors_get_wider_numbers():
    codes = np.arange(300)
    vectors = attribute_vectors(codes, [Grouping("site", tuple(f"s{i}" for i in codes), codes)])
    assert vectors.cell.dtype == np.uint16
    assert (vectors.cells[0].codes[vectors.cell] == codes).all()


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="has 2 records, cluster 3"):
        attribute_vectors(np.arange(3), [Grouping("sex", SEX, np.array([0, 1]))])
    with pytest.raises(ValueError, match="not among"):
        _vectors([1], [0], [0]).columns("race")
