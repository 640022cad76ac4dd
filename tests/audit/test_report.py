"""The page: complete, self-contained, honest about what is not known, and deaf to markup in names."""

import copy
import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from importlib import resources
from xml.etree import ElementTree

import jsonschema
import pytest

from services.audit.report import render_report
from services.audit.report.bias_tables import nearest_to_equal
from services.audit.report.figures.dumbbells import dumbbells
from services.audit.report.figures.forest import forest_panel, group_rows, shared_scale
from services.audit.report.figures.heat_map import crosses_zero, heat_cell, heat_map
from services.audit.report.figures.ink import ink
from services.audit.report.figures.svg import drawing_settings
from services.audit.report.markup import Markup, element, share_styles
from services.audit.report.reading import Reading
from services.audit.report.spelling import clipped, interval, number, p_value, p_words, signed, stars
from tests.audit.report_sample import ReportSample

HOSTILE = '</text></svg><script>alert("x")</script><img src=x onerror=alert(1)> $x_1$ style="fill:red" §'
VOID = {"meta", "br", "img", "link", "input"}


class Tags(HTMLParser):
    """Every start tag with its attributes, and all text; fails on unbalanced elements."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def _parsed(page):
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def _words(page):
    """What the page says, white space made plain."""
    return " ".join("".join(_parsed(page).text).split())


def _section(page, anchor):
    """One section's HTML; empty where the page has none."""
    found = re.search(rf'<section id="{anchor}".*?</section>', page, flags=re.DOTALL)
    return found[0] if found else ""


def _charts(page):
    return re.findall(r'<svg class="chart".*?</svg>', page, flags=re.DOTALL)


@pytest.fixture(scope="module")
def report():
    return ReportSample().report()


@pytest.fixture(scope="module")
def page(report):
    return render_report(report)


@pytest.fixture
def drawing():
    with drawing_settings():
        yield


def _renamed(value, names, suffix):
    text = json.dumps(value)
    for name in names:
        text = text.replace(name, f"{name}{json.dumps(suffix)[1:-1]}")
    return json.loads(text)


# The document


def test_the_sample_is_a_valid_report(report):
    schema = json.loads(resources.files("services.audit.results").joinpath("report.schema.json").read_text())
    jsonschema.validate(report, schema)


def test_page_is_one_well_formed_document(page):
    tags = [tag for tag, _ in _parsed(page).tags]
    assert page.startswith("<!doctype html>")
    assert (tags.count("html"), tags.count("h1"), tags.count("main")) == (1, 1, 1)


def test_sections_come_in_the_order_in_which_a_reader_asks(page):
    sections = [attributes["id"] for tag, attributes in _parsed(page).tags if tag == "section"]
    assert sections == [
        "found",
        "cohort",
        "pipelines",
        "groups",
        "heat",
        "gaps",
        "changes",
        "bias",
        "quality",
        "intersections",
        "excluded",
        "methods",
        "provenance",
    ]


def test_page_asks_nothing_of_the_network_and_runs_nothing(page):
    tags = _parsed(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    links = [value for _, attributes in tags for name, value in attributes.items() if name in ("href", "src")]
    assert all(link.startswith("#") for link in links)
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert not re.search(r"url\((?!#)|@import|https?:|//www", page)


def test_every_link_and_reference_meets_one_id(page):
    tags = _parsed(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    asked = {a["href"][1:] for _, a in tags if "href" in a} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert asked <= set(ids)


def test_same_report_gives_the_same_bytes_in_any_process(report, page, tmp_path):
    assert render_report(json.loads(json.dumps(report))) == page
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    code = (
        "import json, sys; from services.audit.report import render_report as r; print(r(json.load(open(sys.argv[1]))))"
    )
    other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert other.stdout == page + "\n"


def test_matplotlib_is_imported_when_a_page_is_rendered_and_not_before():
    code = "import sys, services.audit.report; print('matplotlib' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_rendering_leaves_matplotlibs_settings_as_they_were(report):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    render_report(report)
    assert dict(mpl.rcParams) == before


def test_title_and_digest_stand_at_the_top(page):
    top = page[: page.index("<section")]
    assert "<h1>Phantom audit</h1>" in top
    assert "f" * 64 in top


# Names from outside


@pytest.mark.parametrize(
    "suffix", [HOSTILE, " $\\frac{1}{2}$ ^ _ %", " " + "long" * 60, " עברית العربية", " 中文 \u0000\u0007\ud800"]
)
def test_names_are_shown_not_run(report, page, suffix):
    hostile = _renamed(report, ("original", "unet", "Edema", "Female", "hospital record", "Phantom audit"), suffix)
    charts = len(_charts(page))
    page = render_report(hostile)
    assert page.encode().decode() == page
    tags = _parsed(page).tags
    assert not {"script", "img"} & {tag for tag, _ in tags}
    assert "onerror" not in {name for _, attributes in tags for name in attributes}
    assert not [a for _, a in tags if "fill:red" in a.get("style", "")]
    assert len(_charts(page)) == charts
    for chart in _charts(page):
        ElementTree.fromstring(chart)


def test_dollar_signs_stay_dollar_signs_in_figures(report):
    page = render_report(_renamed(report, ("Female",), "$x_1$"))
    assert any("Female$x_1$</text>" in chart for chart in _charts(page))


def test_right_to_left_names_are_isolated_in_sentences(report):
    page = render_report(_renamed(report, ("Female",), " עברית"))
    assert "<bdi>Female עברית</bdi>" in _section(page, "found")


def test_a_name_is_cut_to_one_clean_line():
    assert clipped("a\nb\tc", 20) == "a b c"
    assert clipped("x\u0000\ud800", 20) == "x\ufffd\ufffd"
    assert clipped("abcdefgh", 5) == "abcd…"


# What was found


def test_every_finding_is_in_the_verdict_strip(report, page):
    told = _words(_section(page, "found"))
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
    told = _words(_section(render_report(changed), "found"))
    primary = told[told.index("(primary)") :]
    assert 0 < primary.index("Fracture · by sex") < primary.index("Edema · by sex")


def test_nothing_found_says_what_could_have_been_found():
    told = _words(_section(render_report(ReportSample(finding=False).report()), "found"))
    assert "No gap between groups was told from chance" in told
    assert "not evidence of equality" in told
    assert "What could have been found" in told
    assert number(0.07) in told


def test_an_interval_across_zero_beside_a_change_is_explained(report, page):
    assert "holds both directions" in _section(page, "found")
    clear = copy.deepcopy(report)
    for change in clear["changes"]:
        change.update(ci_low=0.01) if change["verdict"] == "change" else None
    assert "holds both directions" not in _section(render_report(clear), "found")


def test_nothing_tested_is_not_called_nothing_found():
    told = _words(_section(render_report(ReportSample(undefined=True).report()), "found"))
    assert "Nothing was tested" in told
    assert "No gap between groups was told from chance" not in told


def test_verdicts_are_counted_by_family(report, page):
    told = _section(page, "found")
    primary = [c for c in report["cells"] if c["family"] == "primary"]
    line = f"groups against everyone</td><td><b>{sum(c['verdict'] == 'gap' for c in primary)}</b></td>"
    assert line in told
    assert f"<td>{sum(c['verdict'] == 'insufficient_evidence' for c in primary)}</td>" in told


def test_fitted_thresholds_are_shouted_at_the_top_and_at_each_table():
    page = render_report(ReportSample(fitted=True).report())
    shout = "Thresholds were fitted on the audited cohort"
    assert shout in _section(page, "found")
    assert _section(page, "bias").count(shout) == 3
    assert _section(page, "groups").count(shout) == 3
    assert shout not in render_report(ReportSample().report())


# Who was audited


def test_cohort_flow_counts_what_was_refused_and_why(page):
    told = _words(_section(page, "cohort"))
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
    told = _section(render_report(bare), "cohort")
    assert '<th scope="row">Female</th><td>211</td><td>334</td>' in told


# Figures


def test_every_figure_has_a_title_a_description_and_a_label(page):
    charts = _charts(page)
    assert len(charts) > 40
    titles = []
    for chart in charts:
        root = ElementTree.fromstring(chart)
        assert [child.tag for child in root[:2]] == ["title", "desc"]
        assert root.get("role") == "img"
        assert root[0].text in root.get("aria-label")
        titles.append(root[0].text)
    assert len(titles) == len(set(titles))
    assert not re.search(r"\b(nan|inf)\b", " ".join(charts))


def test_one_drawing_serves_light_dark_and_paper(page):
    style = page[page.index("<style>") : page.index("</style>")]
    assert "var(--ink)" in style
    assert not re.search(r"#0a0b[0-9a-f]{2}", page)
    drawn = style[style.index("@media print") :]
    assert not re.search(r"(fill|stroke):#", drawn)
    named = set(re.findall(r"var\((--[\w-]+)\)", page))
    assert named <= set(re.findall(r"(--[\w-]+):", style))


def test_counts_and_state_stand_on_every_row_of_a_forest(report, drawing):
    reading = Reading(report)
    rows = group_rows(reading, ("classification", "Edema"), "auroc", "sex")
    chart = ElementTree.fromstring(forest_panel("t", rows, shared_scale(rows)))
    words = [node.text for node in chart.iter("text")]
    assert len(rows) == 3
    assert words.count("211") == 3
    assert (words.count("123"), words.count("7")) == (2, 1)
    assert (words.count("ok"), words.count("insufficient")) == (2, 1)


def test_pipelines_differ_by_shape_and_colour_and_insufficient_points_are_hollow(report, drawing):
    reading = Reading(report)
    rows = group_rows(reading, ("classification", "Edema"), "auroc", "sex")
    chart = ElementTree.fromstring(forest_panel("t", rows, shared_scale(rows)))
    shapes = {node.get("id"): node.get("d") for node in chart.iter("path") if node.get("id")}
    filled = [node for node in chart.iter() if "fill:var(--s" in node.get("style", "")]
    hollow = [node for node in chart.iter() if "fill:var(--paper)" in node.get("style", "")]
    assert len(set(shapes.values())) >= 3
    assert len({node.get("style") for node in filled}) >= 3
    assert len(hollow) == 3


def test_a_value_beyond_the_scale_ends_in_an_arrow_and_sets_no_scale(report, drawing):
    far = copy.deepcopy(report)
    for cell in far["cells"]:
        if cell["state"] == "insufficient":
            cell.update(estimate=9.0, ci_low=-8.0, ci_high=9.5)
    rows = group_rows(Reading(far), ("classification", "Edema"), "auroc", "sex")
    low, high = shared_scale(rows)
    assert (low > 0.5, high < 1.1) == (True, True)
    chart = forest_panel("t", rows, (low, high))
    beyond = [float(x) for x in re.findall(r'(?:x="|[ML])(-?[\d.]+)', chart)]
    assert max(beyond) < 376
    assert min(beyond) > -10


@pytest.mark.parametrize("limits", [(-0.01, 0.02), (0.0, 0.02), (-0.03, 0.0), (None, None)])
def test_hatch_says_that_the_interval_crosses_zero(report, limits):
    cell = next(c for c in report["cells"] if c["metric"] == "auroc" and c["group"] == "Female")
    low, high = limits
    assert crosses_zero({**cell, "difference_ci_low": low, "difference_ci_high": high})
    assert not crosses_zero({**cell, "difference_ci_low": 0.01, "difference_ci_high": 0.02})


def test_heat_map_hatches_those_cells_and_no_others(report, drawing):
    clear = copy.deepcopy(report)
    for cell in clear["cells"]:
        if cell["difference"] is not None:
            sure = cell["group"] == "Female"
            cell.update(
                difference=0.07, difference_ci_low=0.01 if sure else -0.01, difference_ci_high=0.2, verdict=None
            )
    chart = ElementTree.fromstring(heat_map(Reading(clear), "auroc", "unet", ["sex", "age"]))
    hatched = [node for node in chart.iter("path") if "url(#" in node.get("style", "")]
    assert len(hatched) == 1
    assert hatched[0].get("d").count("M") == 2 * 3
    assert len(list(chart.iter("pattern"))) == 1


def test_heat_map_greys_what_says_too_little_and_dashes_what_has_no_value(report):
    reading = Reading(report)
    cell = next(c for c in report["cells"] if c["metric"] == "auroc" and c["group"] == "Female")
    assert heat_cell(reading, {**cell, "state": "insufficient", "difference": 0.3}).depth is None
    assert heat_cell(reading, {**cell, "difference": None}).text == "–"
    assert heat_cell(reading, None).text == "–"
    assert heat_cell(reading, {**cell, "difference": -0.3}).depth == -4
    assert heat_cell(reading, {**cell, "difference": 0.001}).depth == 0
    assert heat_cell(reading, {**cell, "verdict": "gap"}).framed


def test_gaps_over_other_groups_are_drawn_but_not_joined(report, drawing):
    joined = dumbbells(Reading(report), "eop", "tpr", "sex")
    apart = copy.deepcopy(report)
    for change in apart["changes"]:
        change.update(estimate=None, ci_low=None, ci_high=None, verdict="insufficient_evidence")
    loose = dumbbells(Reading(apart), "eop", "tpr", "sex")
    assert "stroke-opacity" in joined
    assert "stroke-opacity" not in loose
    assert loose.count(">other groups entered<") == 4


def test_a_change_told_from_chance_is_filled_and_bold(report, drawing):
    chart = ElementTree.fromstring(dumbbells(Reading(report), "eop", "tpr", "sex"))
    bold = [
        node.text for node in chart.iter("text") if "bold" in node.get("style", "") or "700" in node.get("style", "")
    ]
    grouped = [t.text for g in chart.iter("g") if "700" in g.get("style", "") for t in g.iter("text")]
    assert [*bold, *grouped] == ["0.004", "0.004"]


def test_stand_in_colours_are_known_by_name_only():
    assert ink("ink") != ink("paper")
    with pytest.raises(KeyError):
        ink("red")


# Tables


def test_every_cell_gap_and_change_is_in_a_table(report, page):
    for cell in report["cells"]:
        place = "pipelines" if not cell["attribute"] else ("intersections" if "," in cell["attribute"] else "groups")
        of = "dB" if cell["metric"] == "psnr" else ""
        if cell["metric"] != "prevalence" or cell["attribute"]:
            assert f">{number(cell['estimate'], of)}<" in _section(page, place)
    for gap in report["gaps"]:
        of = {"percent_max_min": "%"}.get(gap["definition"], "dB" if gap["metric"] == "psnr" else "")
        place = "intersections" if "," in gap["attribute"] else "gaps"
        assert f"<td>{number(gap['estimate'], of)}</td>" in _section(page, place)
        for group in gap["excluded_groups"]:
            assert group in _section(page, place)


def test_bias_tables_hold_value_change_error_bold_and_stars(page):
    bias = _section(page, "bias")
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


def test_small_groups_are_listed_with_what_they_lack(page):
    small = _words(_section(page, "excluded"))
    assert "(missing)" in small
    assert "fewer than 5 deciding patients or 10 cases" in small


def test_reference_gaps_have_tables_of_their_own(report):
    changed = copy.deepcopy(report)
    gap = next(g for g in changed["gaps"] if g["definition"] == "eop" and g["attribute"] == "age")
    both = (("difference_to_reference", -0.123, [-0.2, 0.1]), ("ratio_to_reference", 0.877, [0.7, 1.1]))
    for definition, value, (low, high) in both:
        row = {**gap, "definition": definition, "reference": "0-60", "group": "60+", "estimate": value}
        changed["gaps"].append({**row, "ci_low": low, "ci_high": high, "noise_floor": None, "corrected": None})
    gaps = _section(render_report(changed), "gaps")
    assert "True positive rate against 0-60" in gaps
    assert "<td>−0.123</td><td>[−0.200, +0.100]</td><td>0.877</td><td>[0.700, 1.100]</td>" in gaps


def test_intersections_stay_out_of_the_primary_sections(page):
    for anchor in ("groups", "heat", "gaps", "changes", "bias", "quality"):
        assert "Female, 0-60" not in _section(page, anchor)
    assert "Female, 0-60" in _section(page, "intersections")


def test_methods_cards_thresholds_and_the_way_to_verify_are_on_the_page(report, page):
    methods = _section(page, "methods")
    for text in report["methods"]["text"]:
        assert element("p", text) in methods
    for card in (*report["methods"]["metrics"].values(), *report["methods"]["gaps"].values()):
        if card["title"] in methods:
            assert element("dd", card["formula"]) in methods
    assert "model.yaml" in methods
    assert "evenhand reports verify report.json" in _section(page, "provenance")
    assert "d" * 64 in _section(page, "provenance")


# Reports that lack something


@pytest.mark.parametrize(
    "sample",
    [
        ReportSample(candidates=()),
        ReportSample(quality=False),
        ReportSample(labels=(), attributes=("sex",)),
        ReportSample(attributes=()),
        ReportSample(attributes=("sex",), levels={"sex": ["Female"]}),
        ReportSample(attributes=("sex,age",)),
        ReportSample(labels=("Edema",), candidates=("unet",)),
        ReportSample(undefined=True),
        ReportSample(labels=("Edema",), attributes=("sex",), candidates=tuple(f"p{i}" for i in range(9))),
    ],
    ids=["baseline", "no-quality", "no-labels", "no-groups", "one-group", "crossed", "one-label", "undefined", "ten"],
)
def test_a_report_that_lacks_something_still_has_a_page(sample):
    page = render_report(sample.report())
    _parsed(page)
    for chart in _charts(page):
        ElementTree.fromstring(chart)
    assert not re.search(r"\bNone\b|\bnan\b", _words(page[page.index("<main>") : page.index("</body>")]))


def test_a_report_without_rows_still_has_a_page(report):
    empty = {**report, "cells": [], "gaps": [], "changes": [], "families": [], "provenance": {"rows": {}}}
    assert "Nothing was tested" in render_report(empty)


def test_zero_gaps_are_drawn_and_said_to_be_zero(report):
    flat = copy.deepcopy(report)
    for gap in flat["gaps"]:
        if gap["estimate"] is not None and gap["definition"] != "ser":
            gap.update(estimate=0.0, noise_floor=0.0, corrected=0.0, ci_low=0.0, ci_high=0.0)
    for change in flat["changes"]:
        if change["estimate"] is not None:
            change.update(estimate=0.0, ci_low=0.0, ci_high=0.0)
    page = render_report(flat)
    assert "<td>0.000</td><td>0.000</td><td>0.000</td><td>[0.000, 0.000]</td>" in _section(page, "gaps")


def test_what_is_undefined_is_a_dash_and_never_zero():
    page = render_report(ReportSample(undefined=True).report())
    assert "no value" in _section(page, "groups")
    assert "undefined" in _section(page, "groups")
    for anchor in ("groups", "gaps", "bias"):
        assert not re.search(r"<td>[+−]?0\.0+</td>", _section(page, anchor))
        assert "–" in _section(page, anchor)


def test_a_report_of_the_real_reduction_has_a_page(planted):
    from services.audit.results.reduce import reduce, report_json

    report = reduce(
        planted.predictions,
        planted.quality,
        attributes=["sex", "age", "sex,age"],
        baseline="original",
        levels=planted.levels,
        permutations=99,
        provenance=planted.provenance,
    )
    page = render_report(json.loads(report_json(report, {"display_name": "Real"})))
    assert "<h1>Real</h1>" in page
    assert report["digest"] in page
    assert len(_charts(page)) > 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_audit_of_chexperts_size_renders_in_seconds_into_megabytes():
    levels = {
        "sex": ["Female", "Male"],
        "age": ["0-40", "40-60", "60-70", "70-80", "80+"],
        "race": ["White", "Black", "Asian", "Other"],
        "view": ["AP", "PA", "Lateral"],
    }
    attributes = ("sex", "age", "race", "view", "sex,age", "sex,race", "age,race")
    labels = tuple(f"Finding number {i}" for i in range(12))
    report = ReportSample(labels=labels, levels=levels, attributes=attributes).report()
    start = time.process_time()
    page = render_report(report)
    assert time.process_time() - start < 20
    assert len(page.encode()) < 8_000_000


# Numbers and markup


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
