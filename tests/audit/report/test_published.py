"""The section in the published style: folded, explained, beside what the report finds, and outside its verdicts."""

import copy
import re

import pytest

from services.audit.report import render_report
from tests.audit.report.pages import parsed, section, words
from tests.audit.report.sample import ReportSample


def test_section_says_first_why_its_numbers_overstate(page):
    told = words(section(page, "published")).removeprefix("In the published style")
    assert told.startswith("These numbers overstate what is known, and no verdict rests on them")
    for fault in ("images are resampled", "threshold is chosen on the very images", "one side only"):
        assert fault in told


def test_every_table_is_folded(page):
    tags = [(tag, given) for tag, given in parsed(section(page, "published")).tags if tag in ("details", "table")]
    assert [tag for tag, _ in tags] == ["details", "table"] * (len(tags) // 2) and tags
    assert not any("open" in given for _, given in tags)


def test_published_change_stands_beside_the_findings(page):
    (block,) = re.findall(r"<details><summary><b>EOP</b>.*?</details>", section(page, "published"), flags=re.DOTALL)
    row = words(next(row for row in re.findall(r"<tr.*?</tr>", block, flags=re.DOTALL) if ">unet<" in row))
    assert row.startswith("Edemasexunet0.1000.140+0.041 (0.012)<0.001")
    assert row.endswith("+0.030[−0.010, +0.070]0.004change")


def test_summary_counts_both(page):
    told = words(section(page, "published"))
    # two labels, two attributes, two candidates; this report finds the two planted ones
    assert "EOP 8 of 8 with p < 0.05 in the published style, 2 found by this report" in told


def test_averages_stand_beside_chance(page):
    told = words(section(page, "published"))
    assert "0.041 0.021 0.059" in re.sub(r"(\d\.\d{3})(?=\d)", r"\1 ", told)


def test_spreads_are_in_percent(page):
    assert "1.23 (0.01)" in words(section(page, "published"))


def test_verdicts_do_not_depend_on_it(report, page):
    changed = copy.deepcopy(report)
    for row in changed["published"]["changes"]:
        row.update(mean=0.5, p_one_tailed=0.9)
    other = render_report(changed)
    assert section(other, "published") != section(page, "published")
    for anchor in ("found", "changes", "bias", "gaps", "methods"):
        assert section(other, anchor) == section(page, anchor)


@pytest.mark.parametrize("published", [None, {"replicates": 0, "changes": [], "averages": [], "spreads": []}])
def test_no_section_without_numbers(report, published):
    bare = {key: value for key, value in report.items() if key != "published"}
    page = render_report(bare if published is None else {**bare, "published": published})
    assert section(page, "published") == "" and "#published" not in page


def test_what_has_no_value_is_a_dash():
    told = words(section(render_report(ReportSample(undefined=True).report()), "published"))
    assert "0 of 8 with p < 0.05" in told and "None" not in told and "nan" not in told


def test_true_positive_rates_stand_beside_eop(report, page):
    block = re.search(
        r"<details[^>]*><summary><b>True positive rate by group beside EOP.*?</details>", page, re.DOTALL
    )[0]
    assert "printed" in block[:60]
    for cell in report["cells"]:
        if cell["metric"] == "tpr" and cell["attribute"] in ("sex", "age") and cell["group"] != "(missing)":
            assert f"<td>{cell['estimate']:.3f}" in block
    for gap in report["gaps"]:
        if gap["definition"] == "eop" and "," not in gap["attribute"]:
            assert f"<td><b>{gap['estimate']:.3f}</b></td>" in block
