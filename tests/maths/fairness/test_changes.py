"""Changes: candidate minus baseline, on the same groups or not at all."""

import pytest

from services.maths.fairness.changes import gap_change
from services.maths.fairness.gaps.definitions import Gap


def _gap(estimate, groups=("A", "B")):
    return Gap("eop", "tpr", "sex", estimate, groups, ())


def test_change_is_candidate_minus_baseline():
    assert gap_change(_gap(0.10), _gap(0.25)) == pytest.approx(0.15)
    assert gap_change(_gap(0.25), _gap(0.10)) == pytest.approx(-0.15)


def test_gaps_over_other_groups_are_not_compared():
    assert gap_change(_gap(0.1, ("A", "B", "C")), _gap(0.1)) is None


@pytest.mark.parametrize("pair", [(None, 0.1), (0.1, None), (None, None)])
def test_no_change_without_two_values(pair):
    assert gap_change(*map(_gap, pair)) is None
