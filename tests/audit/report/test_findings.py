"""What was found, and who was audited: nothing left out, nothing said that was not tested."""

import copy

from services.audit.report import render_report
from services.audit.report.spelling import number, p_words
from tests.audit.report.pages import section, words
from tests.audit.report.sample import ReportSample


def test_every_finding_is_in_the_verdict_strip(report, page):
    told = words(section(page, "found"))
    rows = [*report["gaps"], *report["cells"], *report["changes"]]
    found = [row for row in rows if row["verdict"] in ("gap", "change")]
    assert len(found) > 5
    for row in found:
        value = row["difference"] if "difference" in row else row["estimate"]
        assert number(abs(value)) in told
        assert p_words(row["p_adjusted"]) in told


def test_findings_come_largest_first_in_tolerances_of_their_metric(report):
    changed = copy.deepcopy(report)
    for gap in (g for g in changed["gaps"] if g["verdict"] == "gap"):
        gap["estimate"] = 0.31 if gap["label"] == "Fracture" else 0.02
    for cell in changed["cells"]:
        cell["verdict"] = None if cell["verdict"] == "gap" else cell["verdict"]
    told = words(section(render_report(changed), "found"))
    primary = told[told.index("(primary)") :]
    assert 0 < primary.index("Fracture · by sex") < primary.index("Edema · by sex")


def test_nothing_found_says_what_could_have_been_found():
    told = words(section(render_report(ReportSample(finding=False).report()), "found"))
    assert "No gap between groups was told from chance" in told
    assert "not evidence of equality" in told
    assert "What could have been found" in told
    assert number(0.07) in told


def test_an_interval_across_zero_beside_a_change_is_explained(report, page):
    assert "holds both directions" in section(page, "found")
    clear = copy.deepcopy(report)
    for change in clear["changes"]:
        change.update(ci_low=0.01) if change["verdict"] == "change" else None
    assert "holds both directions" not in section(render_report(clear), "found")


def test_nothing_tested_is_not_called_nothing_found():
    told = words(section(render_report(ReportSample(undefined=True).report()), "found"))
    assert "Nothing was tested" in told
    assert "No gap between groups was told from chance" not in told


def test_verdicts_are_counted_by_family(report, page):
    told = section(page, "found")
    primary = [c for c in report["cells"] if c["family"] == "primary"]
    line = f"groups against everyone</td><td><b>{sum(c['verdict'] == 'gap' for c in primary)}</b></td>"
    assert line in told
    assert f"<td>{sum(c['verdict'] == 'insufficient_evidence' for c in primary)}</td>" in told


def test_fitted_thresholds_are_shouted_at_the_top_and_at_each_table():
    page = render_report(ReportSample(fitted=True).report())
    shout = "Thresholds were fitted on the audited cohort"
    assert shout in section(page, "found")
    assert section(page, "bias").count(shout) == 3
    assert section(page, "groups").count(shout) == 3
    assert shout not in render_report(ReportSample().report())


def test_cohort_flow_counts_what_was_refused_and_why(page):
    told = words(section(page, "cohort"))
    assert "807 records ingested 7 refused 1 DUPLICATE_RECORD 6 UNDECODABLE" in told.replace(
        "refused1", "refused 1"
    ).replace("DUPLICATE_RECORD6", "DUPLICATE_RECORD 6").replace("ingested7", "ingested 7").replace(
        "807records", "807 records"
    )
    assert "sex, assigned by: hospital record" in told
    assert "age (37 patients)" in told


def test_groups_are_counted_from_the_cells_where_the_cohort_tables_are_not_given(report):
    bare = copy.deepcopy(report)
    bare["provenance"]["cohort"] = {}
    told = section(render_report(bare), "cohort")
    assert '<th scope="row">Female</th><td>211</td><td>334</td>' in told
