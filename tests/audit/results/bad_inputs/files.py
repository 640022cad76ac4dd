"""Damaged files: a report that is verified against its evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from services.audit.results.formats import predictions_table, quality_table
from services.audit.results.reduce import report_digest, report_json
from services.audit.results.verification import Verification, verify_report
from services.errors import InvalidInput, OutOfRange, Undecodable, UnknownAttribute, UnsupportedFormat
from tests.audit.results.bad_inputs.cases import Cases, Kept, Refused, audit, predictions, quality
from tests.audit.results.worlds import world

Plain = dict[str, Any]
Files = tuple[bytes, bytes, bytes]
JSON = "report.json"
PARQUET = ("predictions.parquet", "quality.parquet")


@cache
def _files() -> Files:
    """A sound audit: report.json, predictions.parquet, quality.parquet."""
    return report_json(audit(), {"host": "a"}), predictions_table(predictions()), quality_table(quality())


def _verified(change: Callable[[Plain], object], *, reseal: bool = True, raw: Callable[[str], str] | None = None):
    def call() -> Verification:
        report, *tables = _files()
        plain = json.loads(report)
        change(plain)
        if reseal:
            plain["digest"] = report_digest(plain)
        text = json.dumps(plain)
        return verify_report((raw(text) if raw else text).encode(), *tables)

    return call


def _methods(**changed):
    return _verified(lambda plain: plain["methods"].update(changed))


def _against(place, data):
    def call() -> Verification:
        files = list(_files())
        files[place] = data()
        return verify_report(*files)

    return call


def _setting(value, name, error=InvalidInput, match="none$"):
    return Refused(_methods(**{name: value}), error, f"methods.{name}", match)


def _first(rows):
    return next(row for row in rows if row["estimate"] is not None)


def _shape(match, **changed):
    return Refused(_verified(lambda plain: plain.update(changed), reseal=False), Undecodable, JSON, match)


def _nothing(plain):
    return None


def _found(*paths):
    """Only these places, and every number beside them exact."""
    return lambda found: {difference.path for difference in found.differences} == set(paths) and not found.exact


def _somewhere(path):
    return lambda found: any(difference.path.startswith(path) for difference in found.differences) and not found.exact


def _other_cohort() -> Verification:
    other = world(4, patients=40, dice=True)
    return verify_report(_files()[0], predictions_table(other["predictions"]), quality_table(other["quality"]))


CHANGED: Cases = {
    "untouched": Kept(_verified(_nothing, reseal=False), lambda found: found.exact),
    "the envelope changed": Kept(
        _verified(lambda plain: plain.update(envelope={"host": "b"}), reseal=False), lambda found: found.exact
    ),
    "a cell's estimate changed": Kept(
        _verified(lambda plain: plain["cells"][0].update(estimate=0.123)), _found("cells[0].estimate")
    ),
    "a cell's estimate null": Kept(
        _verified(lambda plain: plain["cells"][0].update(estimate=None)), _found("cells[0].estimate")
    ),
    "a cell's estimate in words": Kept(
        _verified(lambda plain: plain["cells"][0].update(estimate="good")), _found("cells[0].estimate")
    ),
    "a cell's count changed": Kept(
        _verified(lambda plain: plain["cells"][0].update(records=10**6)), _found("cells[0].records")
    ),
    "a cell renamed": Kept(_verified(lambda plain: plain["cells"][0].update(group="all")), _found("cells[0].group")),
    "a cell's field gone": Kept(_verified(lambda plain: plain["cells"][0].pop("state")), _found("cells[0].state")),
    "a cell too many": Kept(_verified(lambda plain: plain["cells"].append(plain["cells"][0])), _found("cells.length")),
    "a cell that is no object": Kept(_verified(lambda plain: plain["cells"].__setitem__(0, 7)), _found("cells[0]")),
    "no cells": Kept(_verified(lambda plain: plain["cells"].clear()), _somewhere("cells.length")),
    "cells in another order": Kept(_verified(lambda plain: plain["cells"].reverse()), _somewhere("cells[0]")),
    "a gap's p changed": Kept(
        _verified(lambda plain: plain["gaps"][0].update(p_adjusted=1e-9)), _found("gaps[0].p_adjusted")
    ),
    "a gap's verdict changed": Kept(
        _verified(lambda plain: plain["gaps"][0].update(verdict="gap")), _found("gaps[0].verdict")
    ),
    "a change's sign turned": Kept(
        _verified(lambda plain: _first(plain["changes"]).update(estimate=-5.0)), _somewhere("changes[")
    ),
    "no families": Kept(_verified(lambda plain: plain["families"].clear()), _somewhere("families.length")),
    "a sentence changed": Kept(
        _verified(lambda plain: plain["methods"]["text"].__setitem__(0, "All is well.")), _found("methods.text[0]")
    ),
    "a rule changed": Kept(_methods(alpha=0.5), _found("methods.alpha")),
    "a true seed changed": Kept(_methods(seed=99), _somewhere("")),
    "a cohort changed": Kept(
        _verified(lambda plain: plain["cohort"].update(patients=10**6)), _found("cohort.patients")
    ),
    "a number changed without a new digest": Kept(
        _verified(lambda plain: plain["cells"][0].update(records=1), reseal=False), lambda found: not found.digest_holds
    ),
    "another digest": Kept(
        _verified(lambda plain: plain.update(digest="0" * 64), reseal=False),
        lambda found: not found.digest_holds and not found.differences,
    ),
    "a digest that is a number": Kept(
        _verified(lambda plain: plain.update(digest=7), reseal=False), lambda found: not found.digest_holds
    ),
    "another digest of the rows": Kept(
        _verified(lambda plain: plain["provenance"]["rows"]["predictions"].update(sha256="0" * 64)),
        lambda found: not found.rows_hold and not found.exact,
    ),
    "no digest of the rows": Kept(
        _verified(lambda plain: plain["provenance"].pop("rows")), lambda found: not found.rows_hold
    ),
    "rows of another cohort": Kept(
        _other_cohort, lambda found: not found.rows_hold and found.digest_holds and not found.exact
    ),
    "rows lost": Kept(
        _against(1, lambda: predictions_table(predictions()[1:])), lambda found: not found.rows_hold and not found.exact
    ),
    "predictions of another cohort": Refused(
        _against(1, lambda: predictions_table(world(4, patients=40)["predictions"])),
        InvalidInput,
        "quality.attribute_age",
        "than in the predictions",
    ),
    "quality lost": Kept(_against(2, lambda: quality_table(quality()[:0])), lambda found: not found.rows_hold),
}

SHAPES: Cases = {
    "nothing": Refused(_against(0, bytes), Undecodable, JSON, "not JSON"),
    "half a report": Refused(_against(0, lambda: _files()[0][:500]), Undecodable, JSON, "not JSON"),
    "bytes that are no text": Refused(_against(0, lambda: b"\xff\xfe\x00"), Undecodable, JSON, "not JSON"),
    "a list": Refused(_against(0, lambda: b"[]"), Undecodable, JSON, "schema_version"),
    "a number NaN": Refused(
        _verified(_nothing, raw=lambda text: text.replace('"records": 80', '"records": NaN', 1)),
        Undecodable,
        JSON,
        "none",
    ),
    "a number Infinity": Refused(
        _verified(_nothing, raw=lambda text: text.replace('"records": 80', '"records": -Infinity', 1)),
        Undecodable,
        JSON,
        "none",
    ),
    "a number beyond all": Refused(
        _verified(_nothing, raw=lambda text: text.replace('"records": 80', '"records": 1e999', 1)),
        Undecodable,
        JSON,
        "none",
    ),
    "no version": _shape("no schema_version", schema_version=None),
    "a version that is a number": _shape("no schema_version", schema_version=2.0),
    "an older version": Refused(
        _verified(lambda plain: plain.update(schema_version="1.0")), UnsupportedFormat, JSON, "schema 1.0"
    ),
    "a later version": Refused(
        _verified(lambda plain: plain.update(schema_version="3.0")), UnsupportedFormat, JSON, "schema 3.0"
    ),
    "no methods": Refused(_verified(lambda plain: plain.pop("methods")), Undecodable, JSON, "no methods"),
    "no cohort": Refused(_verified(lambda plain: plain.pop("cohort")), Undecodable, JSON, "no cohort"),
    "no digest": Refused(_verified(lambda plain: plain.pop("digest"), reseal=False), Undecodable, JSON, "no digest"),
    "methods in words": _shape("methods is no object", methods="as usual"),
    "cells in an object": _shape("cells is no list", cells={}),
    "gaps null": _shape("gaps is no list", gaps=None),
    "cohort a number": _shape("cohort is no object", cohort=40),
    "provenance a list": _shape("provenance is no object", provenance=[]),
    "provenance's cohort in words": _shape("provenance.cohort is no object", provenance={"cohort": "c"}),
    "provenance's rows in words": _shape("provenance.rows is no object", provenance={"rows": "r"}),
    "attributes in words": _setting("sex", "attributes"),
    "attributes of numbers": _setting([3], "attributes"),
    "levels in a list": _setting(["Female"], "levels"),
    "levels of numbers": _setting({"sex": [0, 1]}, "levels"),
    "baseline null": _setting(None, "baseline"),
    "reference groups in a list": _setting(["Male"], "reference_groups"),
    "thresholds in an object": _setting({}, "thresholds"),
    "thresholds of words": _setting(["0.5"], "thresholds"),
    "thresholds without a source": _setting([{"pipeline": "unet", "label": "Edema"}], "thresholds"),
    "software in a list": _setting(["numpy"], "software"),
    "seed in words": _setting("7", "seed"),
    "permutations True": _setting(True, "permutations"),
    "min_cases with a fraction": _setting(2.5, "min_cases"),
    "no permutations": Refused(_methods(permutations=0), OutOfRange, "permutations", "at least 1"),
    "a setting hidden": Refused(
        _verified(lambda plain: plain["methods"].pop("replicates")),
        InvalidInput,
        "methods.replicates",
        "does not state",
    ),
    "an attribute that the rows lack": Refused(
        _methods(attributes=["race"]), UnknownAttribute, "attributes", "no attribute 'race'"
    ),
    "a baseline that the rows lack": Refused(
        _methods(baseline="nobody"), InvalidInput, "baseline", "no rows of the baseline"
    ),
    "a level that the rows do not fit": Refused(
        _methods(levels={"sex": ["Female"], "age": ["young", "middle", "old"]}), InvalidInput, "attribute_sex", "levels"
    ),
    "predictions missing": Refused(_against(1, bytes), UnsupportedFormat, PARQUET[0], "not a readable Parquet"),
    "quality missing": Refused(_against(2, bytes), UnsupportedFormat, PARQUET[1], "not a readable Parquet"),
    "predictions cut short": Refused(
        _against(1, lambda: _files()[1][:-20]), UnsupportedFormat, PARQUET[0], "not a readable Parquet"
    ),
    "predictions and quality exchanged": Refused(
        _against(1, lambda: _files()[2]), UnsupportedFormat, PARQUET[0], "expected evenhand.predictions/1"
    ),
    "JSON for Parquet": Refused(_against(2, lambda: b"{}"), UnsupportedFormat, PARQUET[1], "not a readable Parquet"),
}

CASES: Cases = {f"report with {name}": case for name, case in {**CHANGED, **SHAPES}.items()}
