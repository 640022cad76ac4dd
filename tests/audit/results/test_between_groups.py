"""Areas between groups in a report: BPSN, BNSP and the xAUC gap, against scikit-learn on the records they are about."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from services.audit.results.reduce import reduce
from tests.audit.results.worlds import LEVELS, world

AREAS = ("auroc_bpsn", "auroc_bnsp")


def _audit(given, **changed):
    return reduce(**{**given, "attributes": ["sex", "age", "sex,age"], **changed})


def _world(seed=6):
    """Men's scores are all shifted upward in the candidate, age is missing for some patients, some labels are too."""
    given = world(seed, patients=300)
    rows = given["predictions"]
    draw = np.random.default_rng(seed)
    candidate = (rows["pipeline"] == "unet") & (rows["attribute_sex"] == "Male")
    rows.loc[candidate, "y_score"] = np.sqrt(rows.loc[candidate, "y_score"])
    lost = draw.choice(rows["patient_id"].unique(), 20, replace=False)
    rows.loc[rows["patient_id"].isin(lost), "attribute_age"] = None
    unread = draw.choice(rows["record_id"].unique(), 30, replace=False)
    rows["y_true"] = rows["y_true"].astype(float).mask(rows["record_id"].isin(unread))
    return given


@pytest.fixture(scope="module")
def given():
    return _world()


@pytest.fixture(scope="module")
def report(given):
    return _audit(given)


def _of(rows, pipeline="unet"):
    return rows[(rows["pipeline"] == pipeline) & rows["y_true"].notna()]


def _area(rows, positives, negatives):
    kept = rows[((rows["y_true"] == 1) & positives) | ((rows["y_true"] == 0) & negatives)]
    return roc_auc_score(kept["y_true"], kept["y_score"])


def _rows(items, **where):
    return [item for item in items if all(item[key] == value for key, value in where.items())]


def _one(items, **where):
    (found,) = _rows(items, **where)
    return found


@pytest.mark.parametrize("pipeline", ["original", "unet"])
@pytest.mark.parametrize("attribute", ["sex", "age"])
def test_each_area_is_scikit_learns_on_the_records_of_both_sides(report, given, pipeline, attribute):
    rows = _of(given["predictions"], pipeline)
    for group in LEVELS[attribute]:
        mine = rows[f"attribute_{attribute}"] == group  # a missing attribute is among the others
        for metric, sides in (("auroc_bpsn", (~mine, mine)), ("auroc_bnsp", (mine, ~mine))):
            cell = _one(report["cells"], pipeline=pipeline, metric=metric, attribute=attribute, group=group)
            assert cell["estimate"] == pytest.approx(_area(rows, *sides), rel=1e-9)
            assert cell["ci_low"] < cell["estimate"] < cell["ci_high"]
            assert cell["records"] == mine.sum()
            assert cell["positives"] == int(rows.loc[mine, "y_true"].sum())
            own, others = (1, 0) if metric == "auroc_bnsp" else (0, 1)
            of_group = rows[mine & (rows["y_true"] == own)]["patient_id"].nunique()
            of_others = rows[~mine & (rows["y_true"] == others)]["patient_id"].nunique()
            assert cell["deciding_patients"] == min(of_group, of_others)


def test_difference_is_to_the_auroc_of_everyone(report, given):
    rows = _of(given["predictions"])
    for cell in report["cells"]:
        if cell["metric"] in AREAS and cell["pipeline"] == "unet":
            everyone = roc_auc_score(rows["y_true"], rows["y_score"])
            assert cell["difference"] == pytest.approx(cell["estimate"] - everyone, abs=1e-9)
            assert cell["difference_ci_low"] < cell["difference"] < cell["difference_ci_high"]


def test_they_stand_under_single_attributes_only(report):
    assert {cell["attribute"] for cell in report["cells"] if cell["metric"] in AREAS} == {"sex", "age"}
    assert {gap["attribute"] for gap in report["gaps"] if gap["metric"] in (*AREAS, "xauc")} == {"sex", "age"}


@pytest.mark.parametrize("metric", AREAS)
def test_gap_is_the_range_of_the_cells(report, metric):
    for gap in _rows(report["gaps"], metric=metric):
        place = {key: gap[key] for key in ("pipeline", "metric", "attribute")}
        values = [_one(report["cells"], **place, group=group)["estimate"] for group in gap["groups"]]
        assert gap["definition"] == "max_min"
        assert gap["estimate"] == pytest.approx(max(values) - min(values), abs=1e-9)
        assert gap["ci_low"] <= gap["estimate"] <= gap["ci_high"]
        assert 0 <= gap["corrected"] <= gap["estimate"]
        assert gap["noise_floor"] > 0


@pytest.mark.parametrize("attribute", ["sex", "age"])
@pytest.mark.parametrize("pipeline", ["original", "unet"])
def test_xauc_gap_is_the_most_uneven_pair(report, given, pipeline, attribute):
    rows = _of(given["predictions"], pipeline)
    level = rows[f"attribute_{attribute}"]
    uneven = [
        abs(_area(rows, level == a, level == b) - _area(rows, level == b, level == a))
        for a, b in combinations(LEVELS[attribute], 2)
    ]
    gap = _one(report["gaps"], pipeline=pipeline, definition="xauc_gap", attribute=attribute)
    assert gap["estimate"] == pytest.approx(max(uneven), abs=1e-9)
    assert gap["groups"] == LEVELS[attribute]
    assert gap["excluded_groups"] == (["(missing)"] if attribute == "age" else [])
    assert gap["ci_low"] <= gap["estimate"] <= gap["ci_high"]


def test_scores_shifted_in_one_group_show_between_groups_and_not_within(report):
    where = {"attribute": "sex", "pipeline": "unet"}
    assert _one(report["gaps"], **where, metric="auroc")["ci_low"] == 0
    assert _one(report["gaps"], **where, definition="xauc_gap")["ci_low"] > 0.2
    assert _one(report["cells"], **where, metric="auroc_bpsn", group="Male")["difference_ci_high"] < 0
    assert _one(report["cells"], **where, metric="auroc_bnsp", group="Female")["difference_ci_high"] < 0
    assert _one(report["gaps"], **{**where, "pipeline": "original"}, definition="xauc_gap")["ci_low"] == 0


def test_change_is_the_difference_of_the_gaps_and_is_not_tested(report):
    for metric in (*AREAS, "xauc"):
        change = _one(report["changes"], metric=metric, attribute="sex")
        before, after = (
            _one(report["gaps"], pipeline=name, metric=metric, attribute="sex") for name in ("original", "unet")
        )
        assert change["estimate"] == pytest.approx(after["estimate"] - before["estimate"], abs=1e-9)
        assert 0 < change["ci_low"] < change["estimate"] < change["ci_high"]
        assert change["p_value"] is change["family"] is change["verdict"] is None


def test_nothing_of_it_is_tested(report):
    for row in (*report["cells"], *report["gaps"]):
        if row["metric"] in (*AREAS, "xauc"):
            assert {row[key] for key in ("p_value", "p_adjusted", "family", "verdict")} == {None}


def test_families_are_those_of_an_audit_without_these_areas(report):
    tested = {"auroc", "tpr", "fpr"}
    primary = _one(report["families"], name="primary")
    assert primary["tests"] == sum(c["family"] == "primary" for c in report["cells"])
    assert {c["metric"] for c in report["cells"] if c["family"] == "primary"} == tested


def test_group_without_positives_has_its_negatives_still(given):
    rows = given["predictions"].copy()
    rows.loc[(rows["attribute_age"] == "old") & (rows["y_true"] == 1), "y_true"] = None
    report = _audit({**given, "predictions": rows})
    where = {"pipeline": "unet", "attribute": "age", "group": "old"}
    assert _one(report["cells"], **where, metric="auroc_bpsn")["state"] == "ok"
    cell = _one(report["cells"], **where, metric="auroc_bnsp")
    assert cell["state"] == "undefined"
    assert cell["estimate"] is cell["ci_low"] is cell["standard_error"] is cell["difference"] is None
    for name, taken in (("auroc_bpsn", LEVELS["age"]), ("auroc_bnsp", LEVELS["age"][:2]), ("xauc", LEVELS["age"][:2])):
        gap = _one(report["gaps"], pipeline="unet", metric=name, attribute="age")
        assert gap["groups"] == taken
        assert ("old" in gap["excluded_groups"]) == ("old" not in taken)


def test_few_cases_on_either_side_are_insufficient(given):
    rows = given["predictions"]
    positive = rows[(rows["attribute_sex"] == "Female") & (rows["y_true"] == 1)]["record_id"].unique()
    few = rows[~rows["record_id"].isin(positive[9:])]
    report = _audit({**given, "predictions": few})
    where = {"pipeline": "unet", "attribute": "sex"}
    # Nine positives of women: they are one side of women's BNSP, and all the others' side of men's BPSN.
    assert _one(report["cells"], **where, metric="auroc_bnsp", group="Female")["state"] == "insufficient"
    assert _one(report["cells"], **where, metric="auroc_bpsn", group="Male")["state"] == "insufficient"
    assert _one(report["cells"], **where, metric="auroc_bpsn", group="Female")["state"] == "ok"
    for metric in (*AREAS, "xauc"):
        gap = _one(report["gaps"], **where, metric=metric)
        assert gap["estimate"] is gap["ci_low"] is gap["noise_floor"] is None


def test_group_that_is_everyone_has_nobody_to_be_set_against(given):
    women = given["predictions"][given["predictions"]["attribute_sex"] == "Female"]
    report = _audit({**given, "predictions": women})
    for cell in report["cells"]:
        if cell["metric"] in AREAS and cell["attribute"] == "sex":
            assert cell["state"] == "undefined"


def test_reference_groups_get_these_areas_too(given):
    report = _audit(given, reference_groups={"sex": "Male"})
    gap = _one(
        report["gaps"], pipeline="unet", metric="auroc_bpsn", definition="difference_to_reference", group="Female"
    )
    cells = {c["group"]: c for c in _rows(report["cells"], pipeline="unet", metric="auroc_bpsn", attribute="sex")}
    assert gap["estimate"] == pytest.approx(cells["Female"]["estimate"] - cells["Male"]["estimate"], abs=1e-9)


def test_order_of_rows_changes_nothing(report, given):
    shuffled = given["predictions"].sample(frac=1.0, random_state=3)
    assert _audit({**given, "predictions": shuffled})["digest"] == report["digest"]


def test_methods_say_what_was_done(report):
    text = " ".join(report["methods"]["text"])
    assert "BPSN" in text
    assert "xAUC gap" in text
    assert {*AREAS} < {*report["methods"]["metrics"]}
    assert "xauc_gap" in report["methods"]["gaps"]
    crossed = _audit(_world(5), attributes=["sex,age"])
    assert "BPSN" not in " ".join(crossed["methods"]["text"])
    assert "xauc_gap" not in crossed["methods"]["gaps"]


def test_image_quality_alone_has_no_areas():
    given = world(5, patients=100, dice=True)
    report = _audit({**given, "predictions": pd.DataFrame()})
    assert {row["metric"] for row in (*report["cells"], *report["gaps"])} == {"dice"}
