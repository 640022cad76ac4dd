"""Which attributes a training can work with."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.fairness.groups import Grouping
from services.maths.mitigation.attributes import NOT_RECORDED, trainable

RACE = Grouping("race", ("White", "Black", "Asian", "Other"), np.array([0, 3, -1, 0, 3, 0]))


def test_groups_without_rows_are_left_out_and_the_others_keep_their_order():
    whole = Grouping("race", RACE.groups, np.array([3, 0, 3, 3, 0, 0]))
    (found,) = trainable([whole])
    assert found.groups == ("White", "Other")
    assert found.codes.tolist() == [1, 0, 1, 1, 0, 0]


def test_what_is_missing_is_refused_with_its_count():
    with pytest.raises(ValueError, match="'race' is missing in 1 of 6 rows"):
        trainable([RACE])


def test_what_is_missing_may_be_a_group():
    (found,) = trainable([RACE], missing="own-group")
    assert found.groups == ("White", "Other", NOT_RECORDED)
    assert found.codes.tolist() == [0, 1, 2, 0, 1, 0]


def test_a_level_and_missing_values_are_not_two_levels():
    with pytest.raises(ValueError, match="fewer than two levels"):
        trainable([Grouping("sex", ("Female", "Male"), np.array([0, -1, 0]))], missing="own-group")
