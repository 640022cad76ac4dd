"""Differences and ratios over the comparable groups, and their intervals."""

import math

import numpy as np
import pytest
from scipy import sparse

from services.maths.fairness.cells import Cell
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps.simultaneous import standard_normals
from services.maths.fairness.groups import Grouping
from services.maths.fairness.limits import limits

NORMALS = standard_normals(7)


def disaggregation(values, *, metric="dice", states=None, overall=0.5, attribute="race", error=0.02, patients=50):
    """A disaggregation with one cell per value; None is undefined, everything else ok unless ``states`` says more.

    Every group has patients of its own, and overall those of all: its influence is the mean of the groups'.
    """
    names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(values)])
    states = states or ["undefined" if value is None else "ok" for value in values]
    count = len(values)
    owner = np.repeat(np.arange(count), patients)
    sign = np.where(np.arange(count * patients) % 2, 1.0, -1.0) * error / math.sqrt(patients)
    known = np.array([value is not None for value in values])
    influence = np.zeros((count * patients, count + 1))
    influence[np.arange(count * patients), owner] = np.where(known[owner], sign, 0.0)
    influence[:, -1] = influence[:, :-1].sum(axis=1) / count
    estimates = Estimates(
        np.array([np.nan if value is None else value for value in (*values, overall)], dtype=float),
        sparse.csr_array(influence),
        sparse.csr_array(np.abs(influence)),
        np.array([patients if k else 0 for k in known] + [count * patients]),
        np.arange(count * patients),
        "identity",
    )
    low, high = limits(estimates)
    cells = [
        Cell(n, 50, 50, 50, 20, 0, s, v, *((None,) * 3 if v is None else (error, float(a), float(b))))
        for n, s, v, a, b in zip(names, states, values, low, high, strict=False)
    ]
    whole = Cell("overall", 500, 500, 500, 200, 0, "ok", overall, 0.01, float(low[-1]), float(high[-1]))
    grouping = Grouping(attribute, names, np.zeros(0, dtype=np.int64))
    return Disaggregation(metric, tuple(cells), whole, grouping, estimates)


def test_difference_is_largest_minus_smallest():
    assert disaggregation([0.5, 0.9, 0.7]).difference() == pytest.approx(0.4)


def test_difference_to_overall_and_to_a_group_is_the_largest_distance():
    part = disaggregation([0.5, 0.9, 0.7], overall=0.8)
    assert part.difference("to_overall") == pytest.approx(0.3)
    assert part.difference("to_reference", reference="C") == pytest.approx(0.2)


def test_ratio_is_smallest_over_largest():
    assert disaggregation([0.5, 1.0]).ratio() == 0.5
    assert disaggregation([0.5, 1.0], overall=0.8).ratio("to_overall") == pytest.approx(0.625)
    assert disaggregation([0.5, 1.0, 0.8]).ratio("to_reference", reference="C") == pytest.approx(0.625)


def test_ratio_of_zeros_is_not_a_number():
    part = disaggregation([0.0, 0.0])
    assert math.isnan(part.ratio())
    assert np.isnan(part.ratio_ci(normals=NORMALS)).all()


@pytest.mark.parametrize("state", ["insufficient", "undefined"])
def test_cells_that_say_too_little_stay_out(state):
    values = [0.5, 0.6, None if state == "undefined" else 0.0]
    part = disaggregation(values, states=["ok", "wide", state])
    assert part.difference() == pytest.approx(0.1)
    assert part.comparable_groups == ("A", "B")
    assert part.testable_groups == ("A",)


def test_one_group_alone_has_no_difference_and_no_interval():
    part = disaggregation([0.5, None])
    assert math.isnan(part.difference())
    assert math.isnan(part.ratio())
    assert np.isnan(part.difference_ci(normals=NORMALS)).all()
    assert np.isnan(part.ratio_ci(normals=NORMALS)).all()


def test_a_reference_must_be_named_and_known():
    with pytest.raises(ValueError, match="name of the reference"):
        disaggregation([0.5, 0.6]).difference("to_reference")
    with pytest.raises(ValueError, match="'race' has no group 'Z'; it has A, B"):
        disaggregation([0.5, 0.6]).difference("to_reference", reference="Z")


def test_by_group_keeps_undefined_groups_as_nan():
    part = disaggregation([0.5, None])
    assert part.by_group.isna().tolist() == [False, True]
    assert part.by_group_ci.isna().to_numpy().tolist() == [[False, False], [True, True]]
    assert list(part.by_group_ci.columns) == ["low", "high"]
    assert part.by_group_ci.index.tolist() == ["A", "B"]
    assert part.overall_ci[0] < part.overall < part.overall_ci[1]


def test_each_group_minus_everyone_counts_the_patients_they_share():
    part = disaggregation([0.7, 0.5], overall=0.6)
    differences = part.overall_difference
    np.testing.assert_allclose(differences.value, [0.1, -0.1])
    # A group is half of everyone: the difference moves by half of what the two groups' difference moves by.
    between = np.hypot(0.02, 0.02) / 2
    np.testing.assert_allclose((differences.high - differences.low) / 2 / between, 2.0, rtol=0.02)


def test_a_single_attribute_level_that_is_everyone_does_not_differ_from_everyone():
    part = disaggregation([0.7], overall=0.7)
    assert part.overall_difference.value.tolist() == [0.0]


@pytest.mark.parametrize("method", ["between_groups", "to_overall", "to_reference"])
def test_interval_holds_the_difference_and_zero_only_when_nothing_is_apart(method):
    reference = {"reference": "A"} if method == "to_reference" else {}
    apart = disaggregation([0.5, 0.9, 0.7], overall=0.7)
    low, high = apart.difference_ci(method, normals=NORMALS, **reference)
    assert 0 < low <= apart.difference(method, **reference) <= high
    alike = disaggregation([0.70, 0.71, 0.69], overall=0.70)
    low, high = alike.difference_ci(method, normals=NORMALS, **reference)
    assert low == 0
    assert high > alike.difference(method, **reference)


@pytest.mark.parametrize("method", ["between_groups", "to_overall", "to_reference"])
def test_interval_of_the_ratio_holds_it_and_one_only_when_nothing_is_apart(method):
    reference = {"reference": "A"} if method == "to_reference" else {}
    apart = disaggregation([0.5, 0.9, 0.7], overall=0.7)
    low, high = apart.ratio_ci(method, normals=NORMALS, **reference)
    assert 0 < low <= apart.ratio(method, **reference) <= high < 1
    alike = disaggregation([0.70, 0.71, 0.69], overall=0.70)
    assert alike.ratio_ci(method, normals=NORMALS, **reference)[1] == 1


def test_interval_of_two_groups_is_that_of_their_difference():
    low, high = disaggregation([0.9, 0.5]).difference_ci(normals=NORMALS)
    reach = np.hypot(0.02, 0.02) * 2.0096 * math.sqrt(50 / 49)
    assert (low, high) == (pytest.approx(0.4 - reach, rel=1e-3), pytest.approx(0.4 + reach, rel=1e-3))
