"""The tables: every number of the report, spelled one way."""

import copy
import re

import pytest

from services.audit.report import render_report
from services.audit.report.bias_tables import nearest_to_equal
from services.audit.report.markup import Markup, element, share_styles
from services.audit.report.spelling import interval, number, p_value, signed, stars
from services.audit.report.tables import table
from tests.audit.report.pages import section, words


def test_every_cell_gap_and_change_is_in_a_table(report, page):
    for cell in report["cells"]:
        place = "pipelines" if not cell["attribute"] else ("intersections" if "," in cell["attribute"] else "groups")
        of = "dB" if cell["metric"] == "psnr" else ""
        if cell["metric"] != "prevalence" or cell["attribute"]:
            assert f">{number(cell['estimate'], of)}<" in section(page, place)
    for gap in report["gaps"]:
        of = {"percent_max_min": "%"}.get(gap["definition"], "dB" if gap["metric"] == "psnr" else "")
        place = "intersections" if "," in gap["attribute"] else "gaps"
        assert f"<td>{number(gap['estimate'], of)}</td>" in section(page, place)
        for group in gap["excluded_groups"]:
            assert group in section(page, place)


def test_bias_tables_hold_value_change_error_bold_and_stars(page):
    bias = section(page, "bias")
    assert "half the sum of the largest TPR and the largest FPR difference" in bias
    assert "the larger of the largest TPR and the largest FPR difference" in bias
    assert "+0.030 (0.020)<sup>*</sup>" in bias
    assert "+0.030 (0.020)<sup>**</sup>" in bias
    assert "* p &lt; 0.1, ** p &lt; 0.05" in bias
    rows = re.findall(r'<tr><th scope="row">Edema</th>.*?</tr>', bias)
    assert all("<b>" in row for row in rows)


@pytest.mark.parametrize(
    ("values", "definition", "bold"),
    [
        ([0.2, 0.1, 0.3], "eop", [1]),
        ([0.1004, 0.1, None], "eop", [0, 1]),
        ([1.2, 0.9, 1.3], "ser", [1]),
        ([0.2, None], "eop", []),
        ([None, None], "eop", []),
        ([0.2], "eop", []),
    ],
)
def test_bold_is_the_gap_nearest_to_equality_as_printed(values, definition, bold):
    assert nearest_to_equal(values, definition) == bold


def test_a_repeated_first_cell_spans_its_rows():
    drawn = table("c", ["A", "B"], [["x", 1], ["x", 2], ["y", 3], ["x", 4]], text_columns=2)
    body = re.findall(r"<tr.*?</tr>", drawn)[1:]
    assert body == [
        '<tr><th scope="rowgroup" rowspan="2">x</th><td>1</td></tr>',
        '<tr class="more"><td>2</td></tr>',
        '<tr><th scope="row">y</th><td>3</td></tr>',
        '<tr><th scope="row">x</th><td>4</td></tr>',
    ]


def test_small_groups_are_listed_with_what_they_lack(page):
    small = words(section(page, "excluded"))
    assert "(missing)" in small
    assert "fewer than 5 deciding patients or 10 cases" in small


def test_reference_gaps_have_tables_of_their_own(report):
    changed = copy.deepcopy(report)
    gap = next(g for g in changed["gaps"] if g["definition"] == "eop" and g["attribute"] == "age")
    both = (("difference_to_reference", -0.123, [-0.2, 0.1]), ("ratio_to_reference", 0.877, [0.7, 1.1]))
    for definition, value, (low, high) in both:
        row = {**gap, "definition": definition, "reference": "0-60", "group": "60+", "estimate": value}
        changed["gaps"].append({**row, "ci_low": low, "ci_high": high, "noise_floor": None, "corrected": None})
    gaps = section(render_report(changed), "gaps")
    assert "True positive rate against 0-60" in gaps
    assert "<td>−0.123</td><td>[−0.200, +0.100]</td><td>0.877</td><td>[0.700, 1.100]</td>" in gaps


def test_intersections_stay_out_of_the_primary_sections(page):
    for anchor in ("groups", "heat", "gaps", "changes", "bias", "quality"):
        assert "Female, 0-60" not in section(page, anchor)
    assert "Female, 0-60" in section(page, "intersections")


def test_methods_cards_thresholds_and_the_way_to_verify_are_on_the_page(report, page):
    methods = section(page, "methods")
    for text in report["methods"]["text"]:
        assert element("p", text) in methods
    for card in (*report["methods"]["metrics"].values(), *report["methods"]["gaps"].values()):
        if card["title"] in methods:
            assert element("dd", card["formula"]) in methods
    assert "model.yaml" in methods
    assert "evenhand reports verify report.json" in section(page, "provenance")
    assert "d" * 64 in section(page, "provenance")


def test_strings_are_escaped_and_markup_is_not():
    assert element("p", "<b>", Markup("<i></i>"), title='"') == '<p title="&quot;">&lt;b&gt;<i></i></p>'


def test_styles_are_shared_and_text_that_looks_like_one_is_not():
    body = element("div", element("i", style="width:3%"), element("b", style="width:3%"), 'x style="y"')
    style, shared = share_styles(body)
    assert style == ".k0{width:3%}"
    assert shared == '<div><i class="k0"></i><b class="k0"></b>x style=&quot;y&quot;</div>'


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0.000"), (-0.0001, "0.000"), (0.12, "+0.120"), (-0.12, "−0.120")]
)
def test_signed_numbers_have_one_spelling(value, text):
    assert signed(value) == text


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0005, "<0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_p_values_have_one_spelling(p, text):
    assert p_value(p) == text


@pytest.mark.parametrize(("p", "mark"), [(None, ""), (0.049, "**"), (0.05, "*"), (0.0999, "*"), (0.1, "")])
def test_stars_are_the_bands_that_the_legend_states(p, mark):
    assert stars(p) == mark


def test_half_an_interval_is_no_interval():
    assert interval(None, 0.3) == interval(0.1, None) == "–"
    assert interval(-0.1, 0.3, plus=True) == "[−0.100, +0.300]"
