"""What a bad row, a bad setting or a damaged file gets: an error that names it, or a report that states it.

The cases are tables in ``bad_inputs``. Every report that comes out is valid by its schema and free of NaN and Infinity.
"""

import json
import math
import warnings
from importlib import resources

import jsonschema
import pytest

from services.audit.results.reduce import report_json
from tests.audit.results.bad_inputs import files, rows, settings, sites
from tests.audit.results.bad_inputs.cases import Kept, Refused

TABLES = (rows, settings, files, sites)
CASES = {f"{table.__name__.rpartition('.')[2]}: {name}": case for table in TABLES for name, case in table.CASES.items()}
REFUSED = {name: case for name, case in CASES.items() if isinstance(case, Refused)}
KEPT = {name: case for name, case in CASES.items() if isinstance(case, Kept)}


@pytest.fixture(scope="module")
def schema():
    text = resources.files("services.audit.results").joinpath("report.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def test_there_are_many_cases():
    assert len(CASES) == sum(len(table.CASES) for table in TABLES) >= 200


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_refused(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(case.error, match=case.match) as caught:
            case.call()
    assert type(caught.value) is case.error
    assert caught.value.field == case.field
    assert not case.reason or caught.value.reason == case.reason
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT.keys())
def test_kept(case, schema):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = case.call()
    if isinstance(made, dict):
        assert _finite(made)
        json.dumps(made, allow_nan=False)
        schema.validate(json.loads(report_json(made, {})))
    assert case.holds(made)


def _finite(value):
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
