"""Bad groups, bad values of images, and sums that do not belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.maths.fairness.groups import Grouping, intersect, require_one_group_per_patient, varying_patients
from services.maths.fairness.sums import merge, patient_sums, units_of
from tests.maths.fairness.bad_inputs.cases import (
    CLUSTER,
    DICE,
    RECORDS,
    SEX,
    Cases,
    Kept,
    Refused,
    averaged,
    cell,
    spoiled,
    undefined,
)

CHANGING = Grouping("age", ("young", "old"), np.arange(RECORDS) % 2)
SUMS = patient_sums({"value": DICE}, cluster=CLUSTER, sensitive_features=[SEX])


def _grouping(codes, groups=("F", "M")):
    return lambda: Grouping("sex", groups, codes)


def _sums(columns=None, cluster=CLUSTER, groups=("F", "M"), attribute="sex"):
    grouping = Grouping(attribute, groups, SEX.codes)
    return patient_sums(columns or {"value": DICE}, cluster=cluster, sensitive_features=[grouping])


GROUPS: Cases = {
    "a level named as the missing ones": Refused(_grouping(SEX.codes, ("F", "(missing)")), "rename the level"),
    "two levels of one name": Refused(_grouping(SEX.codes, ("F", "F")), "two groups of one name"),
    "a code without a group": Refused(_grouping(np.array([0, 2])), r"must lie in -1\.\.1"),
    "a code below -1": Refused(_grouping(np.array([0, -2])), r"must lie in -1\.\.1"),
    "codes with a fraction": Refused(_grouping(np.array([0.0, 0.5])), "integers, got float64"),
    "codes NaN": Refused(_grouping(np.array([0.0, np.nan])), "integers, got float64"),
    "codes as words": Refused(_grouping(np.array(["F", "M"])), "integers, got <U1"),
    "codes of two columns": Refused(_grouping(np.zeros((2, 2), dtype=int)), r"\(N,\) integers"),
    "no groups, and a code": Refused(_grouping(np.array([0]), ()), r"must lie in -1\.\.-1"),
    "an intersection of nothing": Refused(lambda: intersect([]), "one attribute or more"),
    "an intersection of other records": Refused(
        lambda: intersect([SEX, SEX.take(np.arange(3))]), "of the same records"
    ),
    "an intersection of names that run together": Refused(
        lambda: intersect(
            [Grouping("a", ("x", "x, y"), SEX.codes), Grouping("b", ("y, z", "z"), SEX.codes)],
        ),
        "two groups of one name",
    ),
    "a patient in two groups of a patient's attribute": Refused(
        lambda: require_one_group_per_patient(CHANGING, CLUSTER), "40 patients are in more than one group of 'age'"
    ),
    "a patient in two groups is counted": Kept(lambda: varying_patients(CHANGING, CLUSTER), lambda count: count == 40),
    "a missing level is no second group": Kept(
        lambda: varying_patients(Grouping("age", ("young",), -(np.arange(RECORDS) % 2)), CLUSTER),
        lambda count: count == 0,
    ),
    "varying patients of other records": Refused(lambda: varying_patients(SEX, CLUSTER[1:]), "they must agree"),
    "varying patients without a name": Refused(
        lambda: varying_patients(SEX, spoiled(CLUSTER, np.nan)), "a patient for every record"
    ),
    "units of fewer groups": Refused(lambda: units_of(CLUSTER, [SEX.take(np.arange(3))]), "3 records, cluster has 80"),
}

MEANS: Cases = {
    "values are words": Refused(lambda: averaged(values=spoiled(DICE, "good")), "values must hold numbers"),
    "values in one column": Refused(lambda: averaged(values=DICE[:, None]), "values have shape"),
    "values fewer": Refused(lambda: averaged(values=DICE[1:]), "cluster has 80 records"),
    "patients fewer": Refused(lambda: averaged(cluster=CLUSTER[1:]), "cluster has 79 records"),
    "patients missing": Refused(lambda: averaged(cluster=spoiled(CLUSTER, np.nan)), "a patient for every record"),
    "value NaN": Kept(
        lambda: averaged(values=spoiled(DICE, np.nan)), lambda made: cell(made, "dice").excluded_records == 1
    ),
    "value None": Kept(
        lambda: averaged(values=spoiled(DICE, None)), lambda made: cell(made, "dice").excluded_records == 1
    ),
    "PSNR of one group infinite": Kept(
        lambda: averaged("psnr", np.where(SEX.codes == 0, np.inf, 30.0)),
        lambda made: undefined(cell(made, "psnr", "F")) and cell(made, "psnr", "F").excluded_records == 40,
    ),
    "PSNR all infinite": Kept(
        lambda: averaged("psnr", np.full(RECORDS, np.inf)),
        lambda made: all(undefined(cell(made, "psnr", group)) for group in ("overall", "F", "M")),
    ),
    "values all NaN": Kept(
        lambda: averaged(values=np.full(RECORDS, np.nan)), lambda made: undefined(cell(made, "dice", "M"))
    ),
    "values all equal": Kept(
        lambda: averaged(values=np.full(RECORDS, 0.75)),
        lambda made: cell(made, "dice").estimate == 0.75 and cell(made, "dice").standard_error == 0.0,
    ),
    "one patient": Kept(
        lambda: averaged(cluster=np.zeros(RECORDS, dtype=np.int64)),
        lambda made: cell(made, "dice").state == "insufficient" and cell(made, "dice").ci_low is None,
    ),
    "no images": Kept(
        lambda: averaged(
            values=np.zeros(0), cluster=np.zeros(0, dtype=int), sensitive_features=[SEX.take(np.zeros(0, dtype=int))]
        ),
        lambda made: undefined(cell(made, "dice", "F")),
    ),
}

SUMS_OF_SITES: Cases = {
    "sums of words": Refused(lambda: _sums({"value": spoiled(DICE, "good")}), "value must hold numbers"),
    "sums of fewer values": Refused(lambda: _sums({"value": DICE[1:]}), "value has 79 records"),
    "sums of two columns in one": Refused(lambda: _sums({"value": DICE[:, None]}), r"value must be \(N,\)"),
    "sums that were not added up": Refused(lambda: SUMS.column("brier"), "no sums of 'brier', only of value"),
    "merge of other columns": Refused(lambda: merge(SUMS, _sums({"psnr": DICE})), "columns differ"),
    "merge of other attributes": Refused(lambda: merge(SUMS, _sums(attribute="gender")), "attributes or their groups"),
    "merge of other levels": Refused(lambda: merge(SUMS, _sums(groups=("M", "F"))), "attributes or their groups"),
    "merge of more levels": Refused(lambda: merge(SUMS, _sums(groups=("F", "M", "X"))), "attributes or their groups"),
    "merge without attributes": Refused(
        lambda: merge(SUMS, replace(SUMS, sensitive_features=())), "attributes or their groups"
    ),
    "merge of numbered and named patients": Refused(
        lambda: merge(SUMS, _sums(cluster=CLUSTER.astype(str))), "the same kind of ids"
    ),
    "merge with itself": Kept(
        lambda: merge(SUMS, SUMS),
        lambda both: np.array_equal(both.values, 2 * SUMS.values) and len(both.patient_ids) == 40,
    ),
    "a value NaN stays NaN": Kept(
        lambda: _sums({"value": spoiled(DICE, np.nan)}), lambda sums: np.isnan(sums.values).sum() == 1
    ),
}

CASES: Cases = {**GROUPS, **MEANS, **SUMS_OF_SITES}
