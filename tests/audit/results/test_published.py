"""The published block: derived from the rows alone, equal to the procedure done by hand, and outside every verdict."""

import copy
import json

import numpy as np
import pytest

from services.audit.results.formats import predictions_table, quality_table
from services.audit.results.reduce import reduce, report_digest, report_json
from services.audit.results.verification import rederive, verify_report
from services.maths.fairness.published import published_threshold
from tests.audit.results.worlds import world


def reduced(planted, **changed):
    given = {"attributes": ["sex", "sex,age"], "baseline": "original", "levels": planted.levels}
    given |= {"provenance": planted.provenance, "permutations": 99, "replicates": 128}
    return reduce(planted.predictions, planted.quality, **{**given, **changed})


@pytest.fixture(scope="module")
def report(planted):
    return reduced(planted)


def one(rows, **where):
    (found,) = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return found


def test_gaps_are_at_the_thresholds_that_each_pipeline_gets_from_the_audited_records(report, planted):
    row = one(report["published"]["changes"], label="Edema", definition="eodd_half", attribute="sex")
    for pipeline, key in (("original", "baseline_gap"), ("unet", "candidate_gap")):
        of = planted.predictions.query("pipeline == @pipeline and label == 'Edema' and y_true.notna()")
        limit = published_threshold(of["y_true"].to_numpy(dtype=int), of["y_score"].to_numpy())
        stated = one(report["published"]["thresholds"], pipeline=pipeline, label="Edema")
        assert stated["threshold"] == pytest.approx(limit, rel=1e-9)
        called = of.assign(called=of["y_score"] >= limit).dropna(subset="attribute_sex")
        rates = called.groupby(["y_true", "attribute_sex"])["called"].mean().unstack()
        assert row[key] == pytest.approx((rates["Female"] - rates["Male"]).abs().mean(), rel=1e-9)


def test_a_planted_change_is_the_one_of_the_findings_within_its_error(report):
    row = one(report["published"]["changes"], label="Edema", definition="eop", attribute="sex")
    assert row["mean"] == pytest.approx(row["candidate_gap"] - row["baseline_gap"], abs=2 * row["standard_error"])
    assert row["p_one_tailed"] == 0.0 and row["replicates"] == 128


def test_only_single_attributes_and_published_definitions_are_there(report):
    found = {(row["definition"], row["metric"], row["attribute"]) for row in report["published"]["changes"]}
    assert found == {
        *(("eodd_half", "tpr,fpr", "sex"), ("eop", "tpr", "sex")),
        *(("ser", "dice", "sex"), ("delta_dice", "dice", "sex")),
    }


def test_spreads_are_percent_of_the_best_group(report, planted):
    row = one(report["published"]["spreads"], pipeline="unet", attribute="sex")
    of = planted.quality.query("metric == 'psnr'").replace(np.inf, np.nan)
    means = of.groupby("attribute_sex")["value"].mean()
    assert (row["best"], row["worst"]) == (means.idxmax(), means.idxmin())
    assert row["percent"] == pytest.approx(100 * (means.max() - means.min()) / means.max(), rel=1e-9)
    gap = one(report["gaps"], definition="percent_max_min", attribute="sex", pipeline="unet")
    assert row["percent"] == pytest.approx(gap["estimate"], rel=1e-9)


def test_averages_are_of_absolute_changes_beside_what_chance_alone_makes(report):
    changes = [row for row in report["published"]["changes"] if row["definition"] == "eodd_half"]
    row = one(report["published"]["averages"], definition="eodd_half")
    assert row["tasks"] == len(changes) == 2
    assert row["absolute_mean"] == pytest.approx(np.mean([abs(change["mean"]) for change in changes]))
    assert 0 < row["by_chance"] < row["by_chance_high"] < row["absolute_mean"]
    assert one(report["published"]["averages"], definition="ser")["by_chance"] is None


def test_an_average_is_not_zero_but_within_chance_where_nothing_changed():
    report = reduce(**{**world(3, patients=150), "replicates": 64})
    for row in report["published"]["averages"]:
        assert row["absolute_mean"] > 0
        assert row["by_chance_high"] > row["by_chance"] > 0


def test_nothing_is_resampled_without_replicates(planted):
    block = reduced(planted, replicates=0)["published"]
    assert block == {"replicates": 0, "thresholds": [], "changes": [], "averages": [], "spreads": []}


def test_nothing_else_in_the_report_depends_on_it(report, planted):
    """More replicates move the published numbers and our bootstrap columns, and nothing that is judged."""
    other = reduced(planted, replicates=64)
    assert other["published"]["changes"] != report["published"]["changes"]
    for key in ("cells", "gaps", "families"):
        assert other[key] == report[key]
    plain = [[{k: v for k, v in row.items() if "bootstrap" not in k} for row in r["changes"]] for r in (other, report)]
    assert plain[0] == plain[1]


def test_a_changed_published_number_is_named(report, planted):
    files = predictions_table(planted.predictions), quality_table(planted.quality)
    assert verify_report(report_json(report, {}), *files).exact
    forged = copy.deepcopy(json.loads(report_json(report, {})))
    forged["published"]["changes"][0]["p_one_tailed"] = 0.9
    forged["digest"] = report_digest(forged)
    found = verify_report(json.dumps(forged).encode(), *files)
    assert found.digest_holds and [d.path for d in found.differences] == ["published.changes[0].p_one_tailed"]


def test_a_report_from_before_the_block_is_verified_without_it(report, planted):
    old = {key: value for key, value in report.items() if key != "published"}
    old["schema_version"] = "2.0"
    assert rederive(old, planted.predictions, planted.quality) == []


def test_a_report_of_this_version_cannot_do_without_the_block(report, planted):
    bare = {key: value for key, value in report.items() if key != "published"}
    assert [d.path for d in rederive(bare, planted.predictions, planted.quality)] == ["published"]
