"""States of cells."""

import math

import pytest

from services.maths.fairness.cells import Minimums, cell_state

MINIMUMS = Minimums(cases=10, patients=5)


@pytest.mark.parametrize(
    ("estimate", "patients", "cases", "state"),
    [
        (0.8, 30, 60, "ok"),
        (0.8, 29, 60, "wide"),
        (0.8, 30, 59, "wide"),
        (0.8, 5, 10, "wide"),
        (0.8, 4, 500, "insufficient"),
        (0.8, 99, 9, "insufficient"),
        (0.0, 30, 60, "ok"),
        (math.nan, 99, 500, "undefined"),
        (math.nan, 0, 0, "undefined"),
    ],
)
def test_state_follows_the_rules(estimate, patients, cases, state):
    assert cell_state(estimate, patients, cases, MINIMUMS) == state


def test_minimums_are_ten_cases_of_five_patients_unless_said_otherwise():
    assert Minimums() == MINIMUMS


@pytest.mark.parametrize("bad", [{"patients": 0}, {"cases": 0}])
def test_minimums_below_one_are_refused(bad):
    with pytest.raises(ValueError, match="at least 1"):
        Minimums(**bad)
