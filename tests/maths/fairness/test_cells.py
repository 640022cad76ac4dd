"""States of cells."""

import math

import pytest

from services.maths.fairness.cells import Minimums, cell_state

MINIMUMS = Minimums(patients=10, cases=5)


@pytest.mark.parametrize(
    ("estimate", "patients", "cases", "state"),
    [
        (0.8, 30, (15, 15), "ok"),
        (0.8, 29, (15, 15), "wide"),
        (0.8, 30, (14, 99), "wide"),
        (0.8, 10, (5, 5), "wide"),
        (0.8, 9, (50, 50), "insufficient"),
        (0.8, 99, (4, 99), "insufficient"),
        (0.8, 99, (99, 4), "insufficient"),
        (0.8, 30, (), "ok"),
        (0.8, 9, (), "insufficient"),
        (math.nan, 99, (0, 99), "undefined"),
        (math.nan, 0, (), "undefined"),
    ],
)
def test_state_follows_the_rules(estimate, patients, cases, state):
    assert cell_state(estimate, patients, cases, MINIMUMS) == state


@pytest.mark.parametrize("bad", [{"patients": 0}, {"cases": 0}])
def test_minimums_below_one_are_refused(bad):
    with pytest.raises(ValueError, match="at least 1"):
        Minimums(**bad)
