"""Bad questions about gaps and changes, and cohorts in which they have no answer."""

from __future__ import annotations

import numpy as np

from services.maths.fairness.gaps.changes import changes_of, overall_changes
from services.maths.fairness.gaps.definitions import gaps_of
from services.maths.fairness.gaps.references import reference_gaps
from services.maths.fairness.gaps.shrinkage import shrunken
from services.maths.fairness.gaps.simultaneous import deviations, standard_normals
from services.maths.fairness.gaps.swaps import Swaps
from services.maths.fairness.groups import Grouping
from tests.maths.fairness.bad_inputs.cases import (
    CLUSTER,
    DICE,
    PATIENTS,
    RECORDS,
    SEX,
    Y_SCORE,
    Y_TRUE,
    Cases,
    Kept,
    Refused,
    averaged,
    classified,
)

NORMALS = standard_normals(5, draws=256)
SWAPS = Swaps(5, np.arange(2 * PATIENTS), count=99)
FEMALE = SEX.codes == 0


def _by_sex(made):
    return {metric: part for (metric, attribute), part in made.by.items() if attribute == "sex"}


def _auroc(made=None):
    return (made or classified()).by["auroc", "sex"]


def _gaps(made, *definitions):
    return [gap for gap in gaps_of(_by_sex(made), NORMALS) if not definitions or gap.definition in definitions]


def _changes(baseline, candidate, swaps=SWAPS):
    overall = ({metric: part for (metric, name), part in made.by.items() if not name} for made in (baseline, candidate))
    return [*changes_of(_by_sex(baseline), _by_sex(candidate), NORMALS, swaps), *overall_changes(*overall, swaps)]


def _unknown(rows):
    return bool(rows) and all((row.estimate, row.ci_low, row.ci_high) == (None, None, None) for row in rows)


def _still(rows):
    return all((row.estimate, row.p_value) == (0.0, 1.0) for row in rows if row.estimate is not None)


def _elsewhere(**changed):
    """The same cohort, read in patients of whom the other pipeline read none."""
    return classified(cluster=CLUSTER + PATIENTS, **changed)


QUESTIONS: Cases = {
    "difference of an unknown method": Refused(
        lambda: _auroc().difference("to_best", reference="F"), "between_groups, to_overall or to_reference"
    ),
    "ratio of an unknown method": Refused(lambda: _auroc().ratio("to_best"), "between_groups, to_overall"),
    "difference to an unknown group": Refused(
        lambda: _auroc().difference("to_reference", reference="X"), "no group 'X'; it has F, M"
    ),
    "difference to no group": Refused(lambda: _auroc().difference("to_reference"), "name of the reference group"),
    "difference of unknown groups": Refused(lambda: _auroc().difference(groups=["F", "X"]), "no group 'X'"),
    "difference of no groups": Kept(lambda: _auroc().difference(groups=[]), np.isnan),
    "difference of one group": Kept(lambda: _auroc().difference(groups=["F"]), np.isnan),
    "interval of one group": Kept(
        lambda: _auroc().difference_ci(groups=["F"], normals=NORMALS), lambda found: np.isnan(found).all()
    ),
    "difference with an undefined group": Kept(
        lambda: _auroc(classified(y_true=np.where(FEMALE, 0, Y_TRUE))).difference(groups=["F", "M"]), np.isnan
    ),
    "ratio of nothing to nothing": Kept(
        lambda: _by_sex(classified(y_score=np.zeros(RECORDS)))["tpr"].ratio("between_groups"), np.isnan
    ),
    "ratio interval of nothing to nothing": Kept(
        lambda: classified(y_score=np.zeros(RECORDS)).by["tpr", "sex"].ratio_ci(normals=NORMALS),
        lambda found: np.isnan(found).all(),
    ),
    "gaps to an unknown group": Refused(lambda: reference_gaps(_auroc(), "X", NORMALS), "no group 'X'"),
    "gaps to an undefined group": Kept(
        lambda: reference_gaps(_auroc(classified(y_true=np.where(FEMALE, 0, Y_TRUE))), "F", NORMALS),
        lambda found: found == [],
    ),
    "ratios to a group at 0": Kept(
        lambda: reference_gaps(classified(y_score=np.where(FEMALE, 0.0, Y_SCORE)).by["tpr", "sex"], "F", NORMALS),
        lambda found: [gap.estimate is None for gap in found] == [False, True],
    ),
    "normals in one row": Refused(lambda: gaps_of(_by_sex(classified()), NORMALS[0]), "standard_normals"),
    "no normals": Refused(lambda: gaps_of(_by_sex(classified()), NORMALS[:0]), "standard_normals"),
    "covariance undefined": Refused(lambda: deviations(np.full((2, 2), np.nan), NORMALS), "undefined entries"),
    "normals of a negative seed": Refused(lambda: standard_normals(-1), r"seed must lie in 0\.\."),
    "no draws": Refused(lambda: standard_normals(1, draws=0), "at least 1"),
    "swaps of a negative seed": Refused(lambda: Swaps(-1, CLUSTER), r"seed must lie in 0\.\."),
    "no swaps": Refused(lambda: Swaps(1, CLUSTER, count=0), "at least 1"),
    "swaps of other patients": Refused(
        lambda: _changes(classified(), classified(), Swaps(1, np.arange(3), count=9)), "drawn for other patients"
    ),
}

GAPS: Cases = {
    "gaps of no metric": Kept(lambda: gaps_of({}, NORMALS), lambda found: found == []),
    "gaps where one group lacks positives": Kept(
        lambda: _gaps(classified(y_true=np.where(FEMALE, 0, Y_TRUE)), "eop", "eodd_half", "eodd_worst"),
        lambda found: _unknown(found) and all(gap.excluded_groups for gap in found),
    ),
    "gaps where all are missing": Kept(
        lambda: _gaps(classified(sensitive_features=[Grouping("sex", ("F", "M"), np.full(RECORDS, -1))])), _unknown
    ),
    "gaps of one group": Kept(
        lambda: _gaps(classified(sensitive_features=[Grouping("sex", ("all",), np.zeros(RECORDS, dtype=int))])),
        _unknown,
    ),
    "gaps without thresholds": Kept(
        lambda: _gaps(classified(threshold=np.full(RECORDS, np.nan)), "eop", "eodd_half", "eodd_worst"), _unknown
    ),
    "gaps of equal scores": Kept(
        lambda: _gaps(classified(y_score=np.full(RECORDS, 0.5)), "eop", "eodd_worst"),
        lambda found: all(gap.estimate == 0.0 and gap.ci_high > 0 for gap in found),
    ),
    "gaps of perfect separation": Kept(
        lambda: _gaps(classified(y_score=Y_TRUE.astype(float)), "max_min", "eop"),
        lambda found: found[0].estimate == 0.0 and found[0].ci_low == 0.0 < found[0].ci_high,
    ),
    "gaps of inverted scores": Kept(
        lambda: _gaps(classified(y_score=1.0 - Y_TRUE)), lambda found: found[0].estimate == 0.0
    ),
    "gaps of a perfect Dice": Kept(lambda: _gaps(averaged(values=np.ones(RECORDS)), "ser"), _unknown),
    "gaps of a Dice of 0": Kept(
        lambda: _gaps(averaged(values=np.zeros(RECORDS))), lambda found: [gap.estimate for gap in found] == [1.0, 0.0]
    ),
    "gaps of a PSNR that is all infinite": Kept(lambda: _gaps(averaged("psnr", np.full(RECORDS, np.inf))), _unknown),
    "percentage of a PSNR below 0": Kept(lambda: _gaps(averaged("psnr", DICE - 1.0), "percent_max_min"), _unknown),
    "shrinkage of two groups": Kept(lambda: shrunken(_auroc()), lambda values: np.isnan(values).all()),
}

CHANGES: Cases = {
    "a pipeline against itself": Kept(
        lambda: _changes(classified(), classified()),
        lambda found: any(row.estimate == 0.0 for row in found) and _still(found),
    ),
    "Dice against itself": Kept(lambda: _changes(averaged(), averaged()), _still),
    "equal scores against themselves": Kept(
        lambda: _changes(*[classified(y_score=np.full(RECORDS, 0.5)) for _ in range(2)]), _still
    ),
    "pipelines without a shared patient": Kept(lambda: _changes(classified(), _elsewhere()), _unknown),
    "images without a shared patient": Kept(
        lambda: _changes(averaged(), averaged(cluster=CLUSTER + PATIENTS)), _unknown
    ),
    "a candidate without thresholds": Kept(
        lambda: [
            row
            for row in _changes(classified(), classified(threshold=np.full(RECORDS, np.nan)))
            if "tpr" in row.metric or row.metric == "balanced_accuracy"
        ],
        _unknown,
    ),
    "a candidate that read nothing": Kept(
        lambda: _changes(classified(), classified(y_true=np.full(RECORDS, -1))), _unknown
    ),
    "a candidate without the metric": Kept(lambda: _changes(classified(), averaged()), lambda found: found == []),
    "a candidate with other groups": Kept(
        lambda: changes_of(
            _by_sex(classified()),
            _by_sex(classified(sensitive_features=[Grouping("sex", ("f", "m"), SEX.codes)])),
            NORMALS,
            SWAPS,
        ),
        _unknown,
    ),
}

CASES: Cases = {**QUESTIONS, **GAPS, **CHANGES}
