"""Differences and ratios over the comparable groups."""

import math

import numpy as np
import pytest

from services.maths.fairness.cells import Cell
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.groups import Grouping


def disaggregation(values, *, metric="tpr", states=None, overall=0.5, attribute="race"):
    """A disaggregation with one cell per value; None is undefined, everything else ok unless ``states`` says more."""
    names = tuple("ABCDEFGH"[: len(values)])
    states = states or ["undefined" if value is None else "ok" for value in values]
    cells = [Cell(n, 50, 50, 20, 0, s, v) for n, s, v in zip(names, states, values, strict=True)]
    whole = Cell("overall", 500, 500, 200, 0, "ok", overall)
    nobody = np.zeros(0, dtype=np.int64)
    return Disaggregation(metric, tuple(cells), whole, Grouping(attribute, names, nobody), nobody)


def test_difference_is_largest_minus_smallest():
    assert disaggregation([0.5, 0.9, 0.7]).difference() == pytest.approx(0.4)


def test_difference_to_overall_is_the_largest_distance():
    assert disaggregation([0.5, 0.9], overall=0.8).difference("to_overall") == pytest.approx(0.3)


def test_ratio_is_smallest_over_largest():
    assert disaggregation([0.5, 1.0]).ratio() == 0.5
    assert disaggregation([0.5, 1.0], overall=0.8).ratio("to_overall") == pytest.approx(0.625)


def test_ratio_of_zeros_is_not_a_number():
    assert math.isnan(disaggregation([0.0, 0.0]).ratio())


@pytest.mark.parametrize("state", ["insufficient", "undefined"])
def test_cells_that_say_too_little_stay_out(state):
    values = [0.5, 0.6, None if state == "undefined" else 0.0]
    part = disaggregation(values, states=["ok", "wide", state])
    assert part.difference() == pytest.approx(0.1)
    assert part.comparable_groups == ("A", "B")


def test_one_group_alone_has_no_difference():
    assert math.isnan(disaggregation([0.5, None]).difference())
    assert math.isnan(disaggregation([0.5, None]).ratio())


def test_by_group_keeps_undefined_groups_as_nan():
    assert disaggregation([0.5, None]).by_group.isna().tolist() == [False, True]
