"""Planted truth, all the way through the report: what was planted is named, and what was not planted is not."""

import pytest

from services.audit.results.reduce import reduce
from tests.audit.results.worlds import true_auroc, true_tpr, world

ERROR_METRICS = ("auroc", "tpr", "fpr", "tpr,fpr")


def one(rows, **where):
    (found,) = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return found


@pytest.fixture(scope="module")
def planted():
    return reduce(**{**world(12, patients=500, loss=1.0, dice=True), "permutations": 999, "replicates": 200})


@pytest.mark.parametrize(
    ("metric", "definition", "truth"),
    [
        ("tpr", "eop", true_tpr() - true_tpr(1.0)),
        ("tpr,fpr", "eodd_worst", true_tpr() - true_tpr(1.0)),
        ("tpr,fpr", "eodd_half", (true_tpr() - true_tpr(1.0)) / 2),
        ("auroc", "max_min", true_auroc() - true_auroc(1.0)),
    ],
)
def test_the_planted_gap_lies_in_its_interval_and_is_called_a_gap(planted, metric, definition, truth):
    where = {"metric": metric, "definition": definition, "attribute": "sex"}
    gap = one(planted["gaps"], pipeline="unet", **where)
    assert gap["ci_low"] <= truth <= gap["ci_high"]
    assert gap["ci_low"] > 0
    assert gap["verdict"] == "gap"
    assert one(planted["gaps"], pipeline="original", **where)["verdict"] != "gap"


def test_the_group_that_lost_is_named_in_the_pipeline_that_lost_it(planted):
    found = {
        (row["pipeline"], row["metric"], row["group"]): row["difference"] < 0
        for row in planted["cells"]
        if row["verdict"] == "gap" and row["task"] == "classification"
    }
    assert found == {
        ("unet", metric, group): group == "Female" for metric in ("auroc", "tpr") for group in ("Female", "Male")
    }


def test_the_change_is_the_planted_one(planted):
    change = one(planted["changes"], attribute="sex", definition="eop")
    truth = true_tpr() - true_tpr(1.0)
    assert -truth / 3 < change["ci_low"] <= truth <= change["ci_high"]
    assert change["verdict"] == "change"
    assert abs(change["bootstrap_mean"] - change["estimate"]) < 2 * change["bootstrap_se"]
    assert 0.02 < change["bootstrap_se"] < 0.12
    everyone = one(planted["changes"], metric="tpr", definition="overall")
    assert everyone["ci_low"] < -truth / 2 < everyone["ci_high"]
    assert one(planted["changes"], metric="fpr", definition="overall")["verdict"] != "change"


def test_a_dice_gap_is_found_where_it_was_planted(planted):
    gap = one(planted["gaps"], metric="dice", attribute="age", definition="delta_dice")
    assert gap["ci_low"] <= 0.06 <= gap["ci_high"]
    assert (gap["verdict"], gap["family"]) == ("gap", "primary")
    ratio = one(planted["gaps"], metric="dice", attribute="age", definition="ser")
    assert ratio["ci_low"] <= 0.26 / 0.2 <= ratio["ci_high"]
    assert one(planted["gaps"], metric="dice", attribute="sex", definition="delta_dice")["verdict"] == "no_gap_shown"


def test_where_nothing_differs_reports_find_nothing():
    """Twelve audits; each errs with probability .05 at most in each family, so more than three is one in 500."""
    reports = [reduce(**world(seed, patients=150)) for seed in range(12)]
    for name in ("primary", "cohort"):
        findings = [one(report["families"], name=name)["findings"] for report in reports]
        assert sum(count > 0 for count in findings) <= 3, (name, findings)
    spurious = [
        row for report in reports for row in report["gaps"] if row["metric"] in ERROR_METRICS and row["ci_low"] > 0
    ]
    assert len(spurious) <= 12, "192 intervals at 95 %"


def test_unequal_prevalence_is_reported_as_such_and_not_as_unequal_error():
    report = reduce(**world(5, patients=500, prevalence={"Female": 0.2, "Male": 0.5}))
    prevalence = one(report["gaps"], metric="prevalence", attribute="sex")
    assert prevalence["ci_low"] <= 0.3 <= prevalence["ci_high"]
    assert (prevalence["verdict"], prevalence["family"]) == ("gap", "cohort")
    errors = [row for row in report["gaps"] if row["metric"] in ERROR_METRICS]
    assert errors
    assert all(row["verdict"] != "gap" for row in errors)
    assert all(row["ci_low"] == 0 for row in errors if row["attribute"] == "sex")
    assert one(report["families"], name="primary")["findings"] == 0


def test_no_verdict_without_a_test_and_no_equality_without_power():
    """Fifteen patients: whatever the numbers look like, the report must not call anything a gap, or equal."""
    report = reduce(**world(3, patients=15))
    assert {row["verdict"] for row in (*report["cells"], *report["gaps"])} == {None, "insufficient_evidence"}
    assert all(row["p_value"] is None for row in report["cells"])


def test_a_detectable_gap_is_as_good_as_it_says():
    """Worlds with exactly the gap that a first report calls detectable: the test finds it in about four of five."""
    first = one(reduce(**world(0, patients=300, loss=0.6))["gaps"], pipeline="unet", attribute="sex", definition="eop")
    detectable = first["minimum_detectable_gap"]
    losses = [step / 100 for step in range(200)]
    loss = min(losses, key=lambda value: abs(true_tpr() - true_tpr(value) - detectable))
    found = 0
    for seed in range(1, 11):
        report = reduce(**world(seed, patients=300, loss=loss))
        found += one(report["gaps"], pipeline="unet", attribute="sex", definition="eop")["verdict"] == "gap"
    assert found >= 6, "8 of 10 expected"
