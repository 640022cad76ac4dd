"""The report as a pure function of rows."""

import json
from importlib import resources

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from services.audit.results.reduce import reduce, report_digest, report_json
from services.errors import InvalidInput, UnknownAttribute


def _again(planted, **changed):
    given = {
        "predictions": planted.predictions,
        "quality": planted.quality,
        "attributes": ["sex", "sex,age"],
        "baseline": "original",
        "levels": planted.levels,
        "provenance": planted.provenance,
        "permutations": 199,
        "replicates": 64,
    }
    return reduce(**{**given, **changed})


@pytest.fixture(scope="module")
def report(planted):
    return _again(planted)


def _one(items, **where):
    (found,) = [item for item in items if all(item[key] == value for key, value in where.items())]
    return found


def test_report_satisfies_its_json_schema(report):
    schema = json.loads(
        resources.files("services.audit.results").joinpath("report.schema.json").read_text(encoding="utf-8")
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(report_json(report, {"create_time": "2026-01-01T00:00:00Z"})), schema)


def test_order_of_rows_does_not_change_a_byte(report, planted):
    shuffled = {name: getattr(planted, name).sample(frac=1.0, random_state=5) for name in ("predictions", "quality")}
    again = _again(planted, **shuffled)
    assert report_json(again, {}) == report_json(report, {})


def test_envelope_is_outside_the_digest(report):
    sealed = json.loads(report_json(report, {"host": "a"}))
    assert sealed["envelope"] == {"host": "a"}
    assert report_digest(sealed) == sealed["digest"] == report["digest"]


@pytest.mark.parametrize(
    ("table", "column"), [("predictions", "y_score"), ("predictions", "threshold"), ("quality", "value")]
)
def test_any_changed_row_changes_the_digest(report, planted, table, column):
    frame = getattr(planted, table).copy()
    frame.loc[frame.index[-1], column] += 1e-12
    assert _again(planted, **{table: frame})["digest"] != report["digest"]


def test_a_lost_row_changes_the_digest(report, planted):
    assert _again(planted, predictions=planted.predictions.iloc[1:])["digest"] != report["digest"]


def test_cell_is_what_scikit_learn_says_of_the_same_rows(report, planted):
    frame = planted.predictions.query("pipeline == 'unet' and label == 'Edema' and attribute_sex == 'Male'").dropna(
        subset="y_true"
    )
    cell = _one(report["cells"], pipeline="unet", label="Edema", metric="auroc", attribute="sex", group="Male")
    assert cell["estimate"] == pytest.approx(roc_auc_score(frame["y_true"], frame["y_score"]), rel=1e-9)
    assert cell["records"] == len(frame)
    assert cell["positives"] == int(frame["y_true"].sum())
    assert cell["patients"] == frame["patient_id"].nunique()


def test_overall_cell_counts_records_with_missing_attributes(report, planted):
    cell = _one(report["cells"], pipeline="unet", label="Edema", metric="auroc", attribute="", group="overall")
    frame = planted.predictions.query("pipeline == 'unet' and label == 'Edema'")
    assert cell["records"] == frame["y_true"].notna().sum()
    assert cell["excluded_records"] == frame["y_true"].isna().sum()


def test_baseline_values_come_from_baseline_rows(report, planted):
    """A published evaluation read the candidate's rows twice, so that nothing could change."""
    for pipeline in ("original", "unet"):
        frame = planted.predictions.query("pipeline == @pipeline and label == 'Edema' and y_true == 1")
        by_sex = (frame["y_score"] >= 0.5).groupby(frame["attribute_sex"]).mean()
        gap = _one(report["gaps"], pipeline=pipeline, label="Edema", attribute="sex", definition="eop")
        assert gap["estimate"] == pytest.approx(by_sex.max() - by_sex.min(), rel=1e-9)
    change = _one(report["changes"], candidate="unet", label="Edema", attribute="sex", definition="eop")
    assert change["baseline"] == "original"
    assert change["estimate"] > 0.2, "men lost a standard deviation"


def test_swapping_the_baseline_turns_every_change_around(report, planted):
    swapped = _again(planted, baseline="unet")["changes"]
    for change in report["changes"]:
        where = {key: change[key] for key in ("task", "label", "metric", "attribute", "definition")}
        turned = _one(swapped, **where)
        assert turned["estimate"] == (None if change["estimate"] is None else pytest.approx(-change["estimate"]))
        assert turned["p_value"] == change["p_value"], "the two pipelines are exchanged within patients either way"


def test_gap_of_an_unchanged_pipeline_does_not_change(planted):
    predictions = planted.predictions.query("pipeline == 'original'")
    twin = pd.concat([predictions, predictions.assign(pipeline="copy")])
    report = _again(planted, predictions=twin, quality=pd.DataFrame())
    known = [change for change in report["changes"] if change["estimate"] is not None]
    assert {change["estimate"] for change in known} == {0.0}
    tested = [change for change in known if change["family"]]
    assert {change["p_value"] for change in tested} == {1.0}
    assert not any(change["verdict"] == "change" for change in report["changes"])


def test_empty_level_is_reported_undefined_and_listed_as_excluded(report):
    cell = _one(report["cells"], pipeline="unet", label="Edema", metric="tpr", attribute="sex,age", group="Male, 80+")
    assert (cell["state"], cell["estimate"], cell["records"]) == ("undefined", None, 0)
    gap = _one(report["gaps"], pipeline="unet", label="Edema", attribute="sex,age", definition="eop")
    assert gap["excluded_groups"] == ["Female, 80+", "Male, 80+", "(missing)"]


def test_missing_attribute_is_a_cell_and_in_no_gap(report):
    cell = _one(report["cells"], pipeline="unet", label="Edema", metric="fpr", attribute="sex", group="(missing)")
    assert cell["records"] > 0
    gap = _one(report["gaps"], pipeline="unet", label="Edema", attribute="sex", definition="eop")
    assert gap["excluded_groups"] == ["(missing)"]


def test_undefined_dice_and_infinite_psnr_are_counted_not_averaged(report, planted):
    for metric, task in (("dice", "segmentation"), ("psnr", "reconstruction")):
        cell = _one(report["cells"], pipeline="unet", metric=metric, attribute="")
        value = planted.quality.query("pipeline == 'unet' and metric == @metric")["value"]
        assert (cell["task"], cell["records"], cell["excluded_records"]) == (task, 780, 20)
        assert cell["estimate"] == pytest.approx(value[np.isfinite(value)].mean(), rel=1e-9)


def test_structures_become_labels(planted):
    quality = planted.quality.query("metric == 'dice'").assign(metric="dice/left/upper lobe")
    report = _again(planted, quality=quality)
    assert {cell["label"] for cell in report["cells"] if cell["metric"] == "dice"} == {"left/upper lobe"}


def test_metric_that_the_baseline_lacks_has_gaps_but_no_changes(report):
    assert any(gap["metric"] == "psnr" for gap in report["gaps"])
    assert not any(change["metric"] == "psnr" for change in report["changes"])


def test_one_class_label_is_undefined_without_a_gap(planted):
    predictions = planted.predictions.assign(y_true=0)
    report = _again(planted, predictions=predictions)
    needs_positives = ("auroc", "tpr", "balanced_accuracy")
    cells = [cell for cell in report["cells"] if cell["metric"] in needs_positives]
    assert {(cell["state"], cell["estimate"]) for cell in cells} == {("undefined", None)}
    gaps = [gap for gap in report["gaps"] if gap["metric"] in (*needs_positives, "tpr,fpr")]
    assert {(gap["estimate"], gap["ci_low"], gap["p_value"]) for gap in gaps} == {(None, None, None)}
    assert {gap["verdict"] for gap in gaps if gap["metric"] != "balanced_accuracy"} == {"insufficient_evidence"}


def test_all_labels_missing_still_makes_a_report(planted):
    report = _again(planted, predictions=planted.predictions.assign(y_true=None), quality=pd.DataFrame())
    assert {cell["state"] for cell in report["cells"]} == {"undefined"}


def test_insufficient_cells_keep_their_value_and_leave_the_gap(planted):
    report = _again(planted, min_patients=150)
    cell = _one(report["cells"], pipeline="unet", label="Edema", metric="tpr", attribute="sex,age", group="Male, 0-60")
    assert cell["state"] == "insufficient"
    assert cell["estimate"] is not None
    gap = _one(report["gaps"], pipeline="unet", label="Edema", attribute="sex,age", definition="eop")
    assert gap["estimate"] is None
    assert "Male, 0-60" in gap["excluded_groups"]


def test_cohort_comes_from_the_manifest_and_else_from_the_rows(report, planted):
    assert report["cohort"] == {"digest": "c" * 64, "patients": 401, "records": 801}
    assert _again(planted, provenance={})["cohort"] == {"digest": "", "patients": 400, "records": 800}


def test_methods_hold_the_settings_and_a_card_for_every_number(report):
    methods = report["methods"]
    assert (methods["baseline"], methods["candidates"]) == ("original", ["unet"])
    assert methods["groups"]["sex"] == ["Female", "Male"]
    assert len(methods["groups"]["sex,age"]) == 6
    assert set(methods["metrics"]) == {cell["metric"] for cell in report["cells"]}
    assert set(methods["gaps"]) == {row["definition"] for row in (*report["gaps"], *report["changes"])}
    assert "never fitted" in str(methods) or "Nothing is fitted" in str(methods)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"attributes": ["race"]}, UnknownAttribute, "no attribute 'race'"),
        ({"attributes": ["sex,sex"]}, InvalidInput, "twice"),
        ({"attributes": ["sex,age", "sex, age"]}, InvalidInput, "twice"),
        ({"baseline": "nobody"}, InvalidInput, "no rows of the baseline"),
        ({"levels": {"sex": ["Female"], "age": ["0-60", "60-80"]}}, InvalidInput, "not among its levels"),
        ({"levels": {"sex": ["Female", "Male", "(missing)"], "age": []}}, InvalidInput, "cannot be levels"),
    ],
)
def test_bad_settings_are_named(planted, changed, error, message):
    with pytest.raises(error, match=message) as caught:
        _again(planted, **changed)
    assert caught.value.field


def test_unknown_quality_metric_is_refused(planted):
    with pytest.raises(InvalidInput, match="unknown metric 'lpips'"):
        _again(planted, quality=planted.quality.assign(metric="lpips").head(10))
