"""The rows of report.json before anything was tested: cells, gaps and changes, with nulls to be filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.gaps.changes import Change
from services.maths.fairness.gaps.definitions import Gap
from services.maths.fairness.gaps.references import DIFFERENCE_TO_REFERENCE, RATIO_TO_REFERENCE, reference_gaps
from services.maths.fairness.gaps.shrinkage import shrunken
from services.maths.fairness.groups import MISSING
from services.maths.fairness.sums import Floats

Row = dict[str, Any]

UNTESTED: Row = dict.fromkeys(("p_value", "p_adjusted", "family", "minimum_detectable_gap", "verdict"))


def cell_rows(at: Mapping[str, str], part: Disaggregation) -> Iterator[Row]:
    """One row per cell; differences to everyone and shrunken values only within an attribute."""
    grouped = part.attribute != ""
    nothing = np.full(len(part.cells), np.nan)
    differences = part.overall_difference if grouped else None
    pulled = shrunken(part) if grouped else nothing
    for place, cell in enumerate(part.cells):
        compared = differences is not None and cell.estimate is not None
        yield {
            **at,
            "metric": part.metric,
            "attribute": part.attribute,
            "group": cell.group,
            "records": cell.records,
            "patients": cell.patients,
            "deciding_patients": cell.deciding_patients,
            "positives": cell.positives,
            "excluded_records": cell.excluded_records,
            "state": cell.state,
            "estimate": cell.estimate,
            "standard_error": cell.standard_error,
            "ci_low": cell.ci_low,
            "ci_high": cell.ci_high,
            "shrunken": pulled[place] if cell.group != MISSING else None,
            "difference": differences.value[place] if differences is not None and compared else None,
            "difference_ci_low": differences.low[place] if differences is not None and compared else None,
            "difference_ci_high": differences.high[place] if differences is not None and compared else None,
            **UNTESTED,
        }


def gap_row(at: Mapping[str, str], gap: Gap) -> Row:
    """A gap between groups."""
    return {
        **at,
        "metric": gap.metric,
        "attribute": gap.attribute,
        "definition": gap.definition,
        "group": "",
        "reference": "",
        "estimate": gap.estimate,
        "noise_floor": gap.noise_floor,
        "corrected": gap.corrected,
        "ci_low": gap.ci_low,
        "ci_high": gap.ci_high,
        **UNTESTED,
        "groups": list(gap.groups),
        "excluded_groups": list(gap.excluded_groups),
    }


def reference_rows(at: Mapping[str, str], part: Disaggregation, reference: str, normals: Floats) -> Iterator[Row]:
    """Difference and ratio of every other group to the reference group; null where one of the two says too little."""
    found = {(gap.definition, gap.group): gap for gap in reference_gaps(part, reference, normals)}
    others = [cell.group for cell in part.cells if cell.group not in (reference, MISSING)]
    for definition in (DIFFERENCE_TO_REFERENCE, RATIO_TO_REFERENCE):
        for group in others:
            gap = found.get((definition, group))
            unfit = [name for name in (group, reference) if name not in part.comparable_groups]
            yield {
                **at,
                "metric": part.metric,
                "attribute": part.attribute,
                "definition": definition,
                "group": group,
                "reference": reference,
                "estimate": None if gap is None else gap.estimate,
                "noise_floor": None,
                "corrected": None,
                "ci_low": None if gap is None else gap.ci_low,
                "ci_high": None if gap is None else gap.ci_high,
                **UNTESTED,
                "groups": [] if unfit else [group, reference],
                "excluded_groups": unfit,
            }


def change_row(pair: Mapping[str, str], change: Change) -> Row:
    """A change from baseline to candidate; adjusted p, verdict and the bootstrap columns are filled in later."""
    return {
        **pair,
        "metric": change.metric,
        "attribute": change.attribute,
        "definition": change.definition,
        "estimate": change.estimate,
        "standard_error": change.standard_error,
        "ci_low": change.ci_low,
        "ci_high": change.ci_high,
        "p_value": change.p_value,
        "p_adjusted": None,
        "family": None,
        "verdict": None,
        "bootstrap_mean": None,
        "bootstrap_se": None,
    }
