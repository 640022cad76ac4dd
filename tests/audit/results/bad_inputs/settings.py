"""Bad settings of a report, thresholds fitted on what they are judged on above all."""

from __future__ import annotations

from typing import Any

from services.audit.pipeline import ModelStage, ResolvedPipeline
from services.audit.thresholds import threshold_records
from services.errors import FailedPrecondition, InvalidInput, OutOfRange, UnknownAttribute
from tests.audit.results.bad_inputs.cases import Cases, Kept, Refused, audit
from tests.audit.results.worlds import LEVELS

ORIGIN = {"pipeline": "unet", "label": "Edema", "source": "max F1", "fitted_on_audited": False}
FITTED = {**ORIGIN, "fitted_on_audited": True}


def _asked(error, field, match, **changed):
    return Refused(lambda: audit(**changed), error, field, match)


def _levels(**changed):
    return {**LEVELS, **changed}


def _origin(match, reason="", **changed):
    stated = {key: value for key, value in {**ORIGIN, **changed}.items() if value is not ...}
    return Refused(lambda: audit(thresholds=[stated]), InvalidInput, "thresholds", match, reason)


def _records(source: dict[str, Any], *, allow: bool = False) -> list[Any]:
    """The thresholds of one pipeline with one classifier whose model.yaml says this of their source."""
    size: Any = {}
    stage = ModelStage("classify", "chest", "1", "d", "classification", size, labels=("Edema",), thresholds=(0.4,))
    pipeline = ResolvedPipeline("original", 16, 16, (stage,))
    catalogue = [{"digest": "d", "thresholds": {"Edema": 0.4}, "threshold_source": source}]
    return list(threshold_records([pipeline], catalogue, cohort_digest="c0", allow_test=allow))


def _unfit(source, match):
    field = "spec.pipelines[0].stages[0].classify"
    return Refused(lambda: _records(source), FailedPrecondition, field, match, "THRESHOLDS_FITTED_ON_TEST")


def _text(report):
    return " ".join(report["methods"]["text"])


THRESHOLDS: Cases = {
    "fitted on the audited records": _origin(
        "choose them on other", "THRESHOLD_FITTED_ON_AUDITED", fitted_on_audited=True
    ),
    "fitted, by their number": _origin("Edema", "THRESHOLD_FITTED_ON_AUDITED", fitted_on_audited=True, threshold=0.5),
    "fitted masks": _origin(
        "tumour", "THRESHOLD_FITTED_ON_AUDITED", fitted_on_audited=True, threshold=0.4, label="tumour"
    ),
    "fitted, and flagged": Kept(
        lambda: audit(thresholds=[FITTED], allow_fitted_thresholds=True),
        lambda report: "Edema (unet) were fitted on the audited records" in _text(report),
    ),
    "flagged, and not fitted": Kept(
        lambda: audit(thresholds=[ORIGIN], allow_fitted_thresholds=True),
        lambda report: "fitted on the audited records" not in _text(report),
    ),
    "of nobody's pipeline": Kept(
        lambda: audit(thresholds=[{**ORIGIN, "pipeline": "nobody"}]),
        lambda report: {row["pipeline"] for row in report["methods"]["thresholds"]} == {"original", "unet"},
    ),
    "without a source": _origin("needs 'source'", source=...),
    "with an empty source": _origin("in words", source=""),
    "without a word on fitting": _origin("needs 'fitted_on_audited'", fitted_on_audited=...),
    "fitted in words": _origin("needs 'fitted_on_audited'", fitted_on_audited="no"),
    "of a numbered label": _origin("needs 'label'", label=3),
    "a word": _origin(r"lie in \[0, 1\]", threshold="auto"),
    "NaN": _origin(r"lie in \[0, 1\]", threshold=float("nan")),
    "infinite": _origin(r"lie in \[0, 1\]", threshold=float("inf"), label="tumour"),
    "in percent": _origin(r"lie in \[0, 1\]", threshold=50),
    "True": _origin(r"lie in \[0, 1\]", threshold=True),
    "not a mapping": Refused(lambda: audit(thresholds=["max F1"]), InvalidInput, "thresholds", "origin needs"),
    "model's, of test data": _unfit({"split": "test"}, "fitted on test data"),
    "model's, of this cohort": _unfit({"split": "validation", "cohort": "c0"}, "the very cohort"),
    "model's, of test data, and flagged": Kept(
        lambda: _records({"split": "test"}, allow=True),
        lambda found: [each.fitted_on_audited for each in found] == [True],
    ),
    "model's, of another cohort": Kept(
        lambda: _records({"split": "validation", "cohort": "c1"}),
        lambda found: [each.fitted_on_audited for each in found] == [False],
    ),
    "model's, of unknown origin": Kept(lambda: _records({}), lambda found: found[0].source == "unknown"),
}

SETTINGS: Cases = {
    "unknown attribute": _asked(UnknownAttribute, "attributes", "no attribute 'race'", attributes=["race"]),
    "unknown part of an intersection": _asked(UnknownAttribute, "attributes", "'race'", attributes=["sex,race"]),
    "empty attribute": _asked(UnknownAttribute, "attributes", "no attribute ''", attributes=[""]),
    "attribute twice": _asked(InvalidInput, "attributes", "twice", attributes=["sex", "sex"]),
    "attribute with itself": _asked(InvalidInput, "attributes", "twice", attributes=["sex,sex"]),
    "attribute as a number": _asked(InvalidInput, "attributes", "by name", attributes=[3]),
    "level twice": _asked(InvalidInput, "levels", "'sex'", levels=_levels(sex=["Female", "Male", "Male"])),
    "level named as the missing": _asked(
        InvalidInput, "attributes", "cannot be levels", levels=_levels(sex=["(missing)"])
    ),
    "level named as everyone": _asked(InvalidInput, "attributes", "cannot be levels", levels=_levels(sex=["overall"])),
    "levels that run together": _asked(
        InvalidInput,
        "levels",
        "two groups of 'sex,age'",
        attributes=["sex,age"],
        levels={"sex": ["Female", "Male", "Male, young"], "age": ["young", "middle", "old", "young, old"]},
    ),
    "no levels": _asked(InvalidInput, "attribute_sex", "not among its levels", levels=_levels(sex=[])),
    "baseline that does not exist": _asked(
        InvalidInput, "baseline", "no rows of the baseline 'nobody'", baseline="nobody"
    ),
    "baseline without a name": _asked(InvalidInput, "baseline", "no rows of the baseline ''", baseline=""),
    "reference of an unknown attribute": _asked(
        UnknownAttribute, "reference_groups", "not audited", reference_groups={"race": "White"}
    ),
    "unknown reference group": _asked(InvalidInput, "reference_groups", "no group 'X'", reference_groups={"sex": "X"}),
    "missing as the reference group": _asked(
        InvalidInput, "reference_groups", "no group", reference_groups={"sex": "(missing)"}
    ),
    "no permutation": _asked(OutOfRange, "permutations", "at least 1", permutations=0),
    "permutations with a fraction": _asked(InvalidInput, "permutations", "whole number", permutations=9.5),
    "permutations NaN": _asked(InvalidInput, "permutations", "whole number", permutations=float("nan")),
    "too many permutations": _asked(OutOfRange, "permutations", "at most", permutations=10**7),
    "replicates below 0": _asked(OutOfRange, "replicates", "at least 0", replicates=-1),
    "replicates None": _asked(InvalidInput, "replicates", "whole number", replicates=None),
    "seed below 0": _asked(OutOfRange, "seed", "at least 0", seed=-1),
    "seed beyond 64 bits": _asked(OutOfRange, "seed", "at most", seed=2**64),
    "seed of the provenance in words": _asked(InvalidInput, "seed", "whole number", provenance={"seed": "x"}),
    "minimum of no patients": _asked(OutOfRange, "min_patients", "at least 1", min_patients=0),
    "minimum of no cases": _asked(OutOfRange, "min_cases", "at least 1", min_cases=0),
    "minimum in words": _asked(InvalidInput, "min_cases", "whole number", min_cases="10"),
    "one permutation": Kept(
        lambda: audit(permutations=1, min_patients=1, min_cases=1),
        lambda report: {row["p_value"] for row in report["changes"]} <= {None, 0.5, 1.0},
    ),
    "one replicate": Kept(
        lambda: audit(replicates=1), lambda report: {row["bootstrap_se"] for row in report["changes"]} == {None}
    ),
    "minimums beyond the cohort": Kept(
        lambda: audit(min_patients=10**6),
        lambda report: {row["state"] for row in report["cells"]} == {"insufficient"} and report["families"] == [],
    ),
    "no attribute": Kept(lambda: audit(attributes=[]), lambda report: report["gaps"] == []),
    "candidate as the baseline": Kept(
        lambda: audit(baseline="unet"), lambda report: report["methods"]["candidates"] == ["original"]
    ),
}

CASES: Cases = {**{f"threshold {name}": case for name, case in THRESHOLDS.items()}, **SETTINGS}
