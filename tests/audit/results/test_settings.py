"""What a report is asked for: refusals by name, and what each setting does to the rows and words of the report."""

import json
import math
import re
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from services.audit.results.methods import metric_cards
from services.audit.results.reduce import reduce, report_json
from services.audit.results.rounding import rounded
from services.errors import InvalidInput, NonFinite, OutOfRange, UnknownAttribute
from services.maths.fairness.gaps.definitions import DEFINITIONS, SPREADS
from tests.audit.results.worlds import LEVELS, world


def report(**changed):
    return reduce(**{**world(1, patients=120), **changed})


def with_column(name, value, rows=slice(None)):
    """The standard world with some values of one column replaced."""
    given = world(1, patients=300)
    frame = given["predictions"].astype({name: object})
    frame.loc[frame.index[rows], name] = value
    return {**given, "predictions": frame}


@pytest.mark.parametrize(
    ("changed", "error", "field"),
    [
        ({"min_patients": 0}, OutOfRange, "min_patients"),
        ({"min_cases": -1}, OutOfRange, "min_cases"),
        ({"min_cases": 2.5}, InvalidInput, "min_cases"),
        ({"min_patients": True}, InvalidInput, "min_patients"),
        ({"permutations": 0}, OutOfRange, "permutations"),
        ({"permutations": 10**9}, OutOfRange, "permutations"),
        ({"replicates": -1}, OutOfRange, "replicates"),
        ({"seed": -1}, OutOfRange, "seed"),
        ({"seed": 2**64}, OutOfRange, "seed"),
        ({"seed": "7"}, InvalidInput, "seed"),
        ({"provenance": {"seed": 1.5}}, InvalidInput, "seed"),
        ({"reference_groups": {"race": "White"}}, UnknownAttribute, "reference_groups"),
        ({"reference_groups": {"sex": "Other"}}, InvalidInput, "reference_groups"),
        ({"thresholds": [{"pipeline": "unet"}]}, InvalidInput, "thresholds"),
        ({"attributes": ["height"]}, UnknownAttribute, "attributes"),
        ({"baseline": ""}, InvalidInput, "baseline"),
    ],
)
def test_bad_settings_are_refused_by_name(changed, error, field):
    with pytest.raises(error) as caught:
        report(**changed)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("y_score", math.nan, NonFinite),
        ("y_score", math.inf, NonFinite),
        ("y_score", -0.001, OutOfRange),
        ("y_score", 1.001, OutOfRange),
        ("y_score", 73.0, OutOfRange),
        ("y_score", "0.5?", InvalidInput),
        ("threshold", math.inf, NonFinite),
        ("y_true", 2, InvalidInput),
        ("y_true", -1, InvalidInput),
        ("attribute_sex", "Unknown", InvalidInput),
    ],
)
def test_bad_values_are_refused_by_column(column, value, error):
    with pytest.raises(error) as caught:
        reduce(**with_column(column, value, slice(3, 4)))
    assert caught.value.field.endswith(column)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("y_score", 0.5, {("auroc", "ok"), ("tpr", "ok")}),
        ("y_score", 0.0, {("auroc", "ok"), ("fpr", "ok")}),
        ("threshold", math.nan, {("auroc", "ok"), ("tpr", "undefined"), ("balanced_accuracy", "undefined")}),
        ("y_true", 1, {("auroc", "undefined"), ("fpr", "undefined"), ("tpr", "ok"), ("prevalence", "ok")}),
        ("y_true", math.nan, {("auroc", "undefined"), ("prevalence", "undefined"), ("brier", "undefined")}),
        ("attribute_sex", None, {("auroc", "undefined")}),
        ("patient_id", "the same person", {("auroc", "insufficient")}),
    ],
)
def test_degenerate_rows_make_states_and_valid_json(column, value, expected):
    made = reduce(**with_column(column, value))
    text = report_json(made, {}).decode()
    assert not re.search(r"NaN|Infinity", text)
    states = {(row["metric"], row["state"]) for row in made["cells"] if row["attribute"] == "sex"}
    assert expected <= states
    assert made["families"] or not any(row["p_value"] for row in made["cells"])


def test_no_attribute_is_an_audit_of_everyone():
    made = report(attributes=[])
    assert made["gaps"] == [] and {row["group"] for row in made["cells"]} == {"overall"}
    assert [family["name"] for family in made["families"]] == ["changes"]


def test_thresholds_fitted_on_the_audited_records_are_refused_unless_flagged_and_then_printed():
    fitted = [{"pipeline": "unet", "label": "Edema", "source": "max F1 on this cohort", "fitted_on_audited": True}]
    with pytest.raises(InvalidInput, match="Edema") as caught:
        report(thresholds=fitted)
    assert (caught.value.field, caught.value.reason) == ("thresholds", "THRESHOLD_FITTED_ON_AUDITED")
    methods = report(thresholds=fitted, allow_fitted_thresholds=True)["methods"]
    assert [row for row in methods["thresholds"] if row["fitted_on_audited"]] == [{**fitted[0], "threshold": 0.5}]
    assert "Edema (unet) were fitted on the audited records" in " ".join(methods["text"])


def test_thresholds_of_masks_and_of_several_values_are_kept_apart():
    given = with_column("threshold", 0.123456789012345, slice(0, 100))
    not_fitted = {"fitted_on_audited": False}
    stated = [
        {"pipeline": "original", "label": "Edema", "threshold": 0.5, "source": "a"} | not_fitted,
        {"pipeline": "original", "label": "Edema", "threshold": 0.123456789012345, "source": "b"} | not_fitted,
        {"pipeline": "original", "label": "tumour", "threshold": 0.4, "source": "c"} | not_fitted,
    ]
    rows = reduce(**given, thresholds=stated)["methods"]["thresholds"]
    assert [(row["label"], row["threshold"], row["source"]) for row in rows if row["pipeline"] == "original"] == [
        ("Edema", 0.123456789, "b"),
        ("Edema", 0.5, "a"),
        ("tumour", 0.4, "c"),
    ]


def test_reference_groups_add_a_difference_and_a_ratio_of_every_other_group():
    rows = [row for row in report(reference_groups={"age": "old"})["gaps"] if row["reference"]]
    auroc = [row for row in rows if row["metric"] == "auroc" and row["pipeline"] == "unet"]
    assert {(row["definition"], row["group"], row["reference"]) for row in auroc} == {
        (definition, group, "old")
        for definition in ("difference_to_reference", "ratio_to_reference")
        for group in ("young", "middle")
    }
    assert {row["attribute"] for row in rows} == {"age"}
    for row in auroc:
        assert row["ci_low"] < row["estimate"] < row["ci_high"]


def test_a_reference_group_without_patients_leaves_nulls_that_say_why():
    levels = {**LEVELS, "age": [*LEVELS["age"], "ancient"]}
    rows = [row for row in report(levels=levels, reference_groups={"age": "ancient"})["gaps"] if row["reference"]]
    assert rows
    assert {row["estimate"] for row in rows} == {None}
    assert all("ancient" in row["excluded_groups"] for row in rows)


def test_a_patient_may_be_in_two_groups_and_is_counted():
    """Imaged at 59 and at 61: both records count, in their own groups."""
    given = world(1, patients=120)
    frame = given["predictions"]
    moved = frame["record_id"].isin([f"r{2 * i:05d}" for i in range(7)])
    frame.loc[moved, "attribute_age"] = np.where(frame.loc[moved, "attribute_age"] == "young", "old", "young")
    made = reduce(**{**given, "predictions": frame, "attributes": ["age", "sex,age"]})
    assert made["methods"]["varying_attributes"] == {"age": 7, "sex,age": 7}
    assert "age (7)" in made["methods"]["text"][0]
    assert report()["methods"]["varying_attributes"] == {}


def test_the_seed_moves_tests_and_not_estimates():
    one, other = report(seed=1), report(seed=2)
    assert [row["estimate"] for row in one["cells"]] == [row["estimate"] for row in other["cells"]]
    assert [row["p_value"] for row in one["cells"]] != [row["p_value"] for row in other["cells"]]
    assert report(provenance={"seed": 2})["cells"] == other["cells"]


def test_no_replicates_leave_the_bootstrap_columns_empty_and_out_of_the_text():
    made, with_them = report(replicates=0), report(replicates=64)
    assert {row["bootstrap_se"] for row in made["changes"]} == {None}
    assert "bootstrap" not in " ".join(made["methods"]["text"])
    assert "64 bootstrap samples" in " ".join(with_them["methods"]["text"])


def test_prevalence_is_counted_once_however_many_pipelines_there_are():
    made = report()
    assert {row["pipeline"] for row in (*made["cells"], *made["gaps"]) if row["metric"] == "prevalence"} == {"original"}
    assert not any(row["metric"] == "prevalence" for row in made["changes"])


def test_families_are_what_the_rows_say():
    made = report(attributes=["sex", "age", "sex,age"])
    for family in made["families"]:
        rows = made["changes"] if family["name"].startswith("changes") else made["cells"]
        tested = [row for row in rows if row["family"] == family["name"]]
        assert family["tests"] == len(tested)
        assert family["findings"] == sum(row["p_adjusted"] <= family["alpha"] for row in tested)
        assert all(row["p_adjusted"] >= row["p_value"] - 1e-12 for row in tested)
    assert {family["name"] for family in made["families"]} >= {"primary", "cohort", "changes"}


def test_the_text_states_the_reports_own_numbers_and_leaves_no_blank():
    made = report(software={"numpy": "9.9"})
    text = " ".join(made["methods"]["text"])
    primary = next(family for family in made["families"] if family["name"] == "primary")
    for fact in (
        "240 records",
        "120 patients",
        f"{primary['tests']} tests",
        "199 permutations",
        "numpy 9.9",
        "original",
    ):
        assert fact in text
    assert not re.search(r"[{}\[\]]|None|nan|TODO|  ", text)
    assert all(paragraph.endswith(".") for paragraph in made["methods"]["text"])
    assert "Dice" not in text and "SER" not in text and "eight or more" not in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 / 3, 0.3333333333),
        (-0.0, 0.0),
        (math.nan, None),
        (-math.inf, None),
        (np.float64(2 / 3), 0.6666666667),
        (np.int64(7), 7),
        (123456789012, 123456789012),
        (1.23456789012e-7, 1.23456789e-07),
        ({"a": [0.1 + 0.2, True, None, "x"]}, {"a": [0.3, True, None, "x"]}),
    ],
)
def test_rounding_to_ten_digits(value, expected):
    found = rounded(value)
    assert found == expected and type(found) is type(expected)
    assert json.dumps(found) == json.dumps(expected)


def test_rounding_twice_is_rounding_once():
    values = np.random.default_rng(1).normal(size=2000) * 10.0 ** np.arange(-10, 10).repeat(100)
    once = rounded(values.tolist())
    assert rounded(once) == once


def test_a_pipeline_that_lost_records_is_compared_on_what_both_have():
    given = world(1, patients=120)
    frame = given["predictions"]
    lost = (frame["pipeline"] == "unet") & (frame["patient_id"] < "p00010")
    made = reduce(**{**given, "predictions": frame[~lost], "replicates": 64})
    (change,) = [row for row in made["changes"] if row["metric"] == "auroc" and row["definition"] == "overall"]
    assert change["estimate"] is not None and change["p_value"] is not None and change["bootstrap_se"] is not None


def test_rows_of_no_table_at_all_are_refused():
    with pytest.raises(InvalidInput, match="no rows of the baseline"):
        report(predictions=pd.DataFrame(), quality=pd.DataFrame())


def test_every_number_that_a_report_may_hold_has_a_card():
    schema = json.loads(
        resources.files("services.audit.results").joinpath("report.schema.json").read_text(encoding="utf-8")
    )["$defs"]
    cards = metric_cards()
    assert set(cards["metrics"]) == set(schema["metric"]["enum"])
    assert set(cards["gaps"]) == {*schema["gap_definition"]["enum"], "overall"}
    for card in cards["metrics"].values():
        assert set(card) >= {"title", "formula", "unit", "range", "source", "interval", "test", "counting"}
    for card in cards["gaps"].values():
        assert set(card) >= {"title", "formula", "unit", "equal", "source", "interval", "test"}
    assert {definition.name for definition in (*DEFINITIONS, *SPREADS)} <= set(cards["gaps"])
