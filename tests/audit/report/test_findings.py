"""What was found, and who was audited: nothing left out, nothing said that was not tested."""

import copy
import re

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
    assert "No gap between groups was found." in told
    assert "No candidate was found to change a gap." in told
    assert "not evidence of equality" in told
    assert "What could have been found" in told
    assert number(0.07) in told


def test_the_headline_counts_comparisons_in_plain_words(report, page):
    told = words(section(page, "found"))
    rows = [row for row in (*report["cells"], *report["gaps"]) if row["family"] == "primary" and row["verdict"]]
    counts = [sum(row["verdict"] == v for row in rows) for v in ("gap", "no_gap_shown", "insufficient_evidence")]
    found, none, few = counts
    assert sum(counts) == len(rows)
    assert f"{found} of {len(rows)} primary comparisons differ by more than chance; {none} show no gap" in told
    assert f"{few} have too little data to tell." in told
    gaps = [change for change in report["changes"] if change["attribute"] in ("sex", "age")]
    assert f"2 of {len(gaps)} changes of gaps differ by more than chance" in told


def test_one_finding_is_told_in_the_singular(report):
    changed = copy.deepcopy(report)
    found = [row for row in (*changed["cells"], *changed["gaps"]) if row["verdict"] == "gap"]
    for row in found[1:]:
        row["verdict"] = "insufficient_evidence"
    told = words(section(render_report(changed), "found"))
    assert "were found in 1 place. 1 of 136 primary comparisons differs by more than chance" in told


def test_changes_of_gaps_come_first_and_apart_from_changes_for_everyone(report):
    changed = copy.deepcopy(report)
    overall = [change for change in changed["changes"] if change["definition"] == "overall"]
    for change in overall:
        change["verdict"] = "change"
    found = section(render_report(changed), "found")
    told = words(found)
    gaps = told.index("Changes of gaps between groups: 2 findings in 2 places")
    everyone = told.index(f"Changes for everyone: {len(overall)} findings in 6 places")
    assert gaps < everyone
    assert "over everyone" not in told[gaps:everyone]
    assert told[everyone:].count("over everyone") == len(overall)
    assert f"<td>values for everyone</td><td><b>{len(overall)}</b></td>" in found
    assert "<td>gaps between groups</td><td><b>2</b></td>" in found


def test_many_changes_for_everyone_are_folded(report):
    changed = ReportSample(labels=tuple(f"Label {i}" for i in range(7))).report()
    for change in changed["changes"]:
        change["verdict"] = "change" if change["definition"] == "overall" else "insufficient_evidence"
    found = section(render_report(changed), "found")
    assert re.search(r'<details class="printed"><summary><b>Changes for everyone: ', found)
    assert "<h3>Changes" not in found


def test_rows_without_a_label_are_named_in_words(report):
    changed = copy.deepcopy(report)
    for cell in changed["cells"]:
        if cell["task"] in ("reconstruction", "segmentation") and cell["group"] == "Female":
            cell.update(verdict="gap", family="primary", p_adjusted=0.004)
    page = render_report(changed)
    told = words(section(page, "found"))
    assert "Image quality · by sex · unet not adjusted for view, body size or scanner" in told
    assert "Segmentation · by sex · unet" in told
    assert not re.search(r">\s*(reconstruction|segmentation)\b", page)


def test_gaps_in_image_quality_are_said_not_to_be_adjusted(page):
    caution = "not adjusted for view, body size or scanner"
    assert caution in section(page, "quality")
    assert section(page, "gaps").count(caution) == 2 * 2
    assert caution not in words(section(render_report(ReportSample(quality=False).report()), "gaps"))


def test_an_interval_across_zero_beside_a_change_is_explained(report, page):
    assert "holds both directions" in section(page, "found")
    clear = copy.deepcopy(report)
    for change in clear["changes"]:
        change.update(ci_low=0.01) if change["verdict"] == "change" else None
    assert "holds both directions" not in section(render_report(clear), "found")


def test_nothing_tested_is_not_called_nothing_found():
    told = words(section(render_report(ReportSample(undefined=True).report()), "found"))
    assert "Nothing was tested" in told
    assert "No gap between groups was found" not in told


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
