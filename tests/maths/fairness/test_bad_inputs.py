"""What bad input gets: an error that says what to do, or a stated cell state; never a number that means nothing.

The cases are tables in ``bad_inputs``. A refusal must come out of our own code: an error of numpy's that happens to be
a ValueError says nothing to the person who passed the wrong column.
"""

import json
import warnings
from dataclasses import asdict, is_dataclass
from pathlib import Path

import pytest

import services
from services.maths.fairness.metrics.classification import Classification
from services.maths.fairness.metrics.means import Means
from tests.maths.fairness.bad_inputs import (
    gaps_and_changes,
    generators_and_readers,
    groups_and_means,
    labels_and_scores,
    tests_and_power,
)
from tests.maths.fairness.bad_inputs.cases import Kept, Refused

OURS = Path(services.__path__[0])
TABLES = (labels_and_scores, groups_and_means, gaps_and_changes, tests_and_power, generators_and_readers)
CASES = {f"{table.__name__.rpartition('.')[2]}: {name}": case for table in TABLES for name, case in table.CASES.items()}
REFUSED = {name: case for name, case in CASES.items() if isinstance(case, Refused)}
KEPT = {name: case for name, case in CASES.items() if isinstance(case, Kept)}


def test_there_are_many_cases():
    assert len(CASES) == sum(len(table.CASES) for table in TABLES) >= 200


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_refused(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(case.error, match=case.match) as caught:
            case.call()
    assert type(caught.value) is case.error
    assert Path(caught.traceback[-1].path).is_relative_to(OURS)


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT.keys())
def test_kept(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = case.call()
        assert case.holds(made)
    json.dumps(_published(made), allow_nan=False)


def _published(made):
    """What of a result goes into a report as it is: cells, gaps and changes."""
    if isinstance(made, Classification | Means):
        return [asdict(cell) for part in made.by.values() for cell in (*part.cells, part.overall_cell)]
    if isinstance(made, list) and all(is_dataclass(each) for each in made):
        return [{key: value for key, value in vars(each).items() if key != "permuted"} for each in made]
    return None
