"""The page: complete, self-contained, and deaf to markup in names."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest

from services.audit.report import render_report
from services.audit.report.charts import Point, Row, dot_plot, dumbbells, scale
from services.audit.report.markup import Markup, element, number, signed
from services.audit.report.summary import POINT_ESTIMATES_ONLY
from services.audit.results.reduce import reduce, report_json

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
VOID = {"meta", "br", "img", "link", "input"}


class Tags(HTMLParser):
    """Every start tag with its attributes; fails on unbalanced elements."""

    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _tags(page):
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.tags


@pytest.fixture(scope="module")
def report(planted):
    cohort = {
        **planted.provenance["cohort"],
        "attributes": [
            {
                "name": "sex",
                "assigned_by": "hospital record",
                "missing": 41,
                "levels": [{"level": "Female", "records": 401, "patients": 201}],
            }
        ],
        "labels": [{"name": "Edema", "positives": 240, "negatives": 520, "missing": 41}],
        "refused": {"UNDECODABLE": 6, "DUPLICATE_RECORD": 1},
    }
    made = reduce(
        planted.predictions,
        planted.quality,
        attributes=["sex", "age", "sex,age"],
        baseline="original",
        levels=planted.levels,
        provenance={"cohort": cohort, "seed": 7},
    )
    return json.loads(report_json(made, {"create_time": "2026-01-02T03:04:05Z", "display_name": "Phantom audit"}))


@pytest.fixture(scope="module")
def page(report):
    return render_report(report)


def _hostile(value):
    """The same report with markup in every name that a caller chooses."""
    text = json.dumps(value)
    for name in ("original", "unet", "Edema", "Female", "hospital record", "Phantom audit"):
        text = text.replace(name, f"{name}{HOSTILE}".replace('"', '\\"'))
    return json.loads(text)


def test_page_is_one_well_formed_document(page):
    tags = [tag for tag, _ in _tags(page)]
    assert page.startswith("<!doctype html>")
    assert (tags.count("html"), tags.count("h1"), tags.count("main")) == (1, 1, 1)


def test_page_asks_nothing_of_the_network_and_runs_nothing(page):
    tags = _tags(page)
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [
        name for _, attributes in tags for name in attributes if name in ("src", "href") or name.startswith("on")
    ]
    assert not re.search(r"url\(|@import|https?:", page)


def test_markup_in_names_is_shown_not_run(report):
    hostile = _hostile(report)
    page = render_report(hostile)
    names = [tag for tag, _ in _tags(page)]
    assert not {"script", "img"} & set(names)
    assert "onerror" not in {name for _, attributes in _tags(page) for name in attributes}
    assert "&lt;script&gt;" in page


def test_every_chart_is_well_formed_with_a_title(page):
    charts = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    titled = [chart for chart in charts if "aria-hidden" not in chart]
    assert len(titled) > 20
    for chart in titled:
        assert ElementTree.fromstring(chart)[0].tag == "title"
    assert not re.search(r'="(nan|inf)', " ".join(charts))


def test_page_says_plainly_that_nothing_was_tested(page):
    assert POINT_ESTIMATES_ONLY in page


def test_verdicts_replace_that_sentence_once_there_are_any(report):
    first, *others = report["gaps"]
    page = render_report({**report, "gaps": [{**first, "verdict": "gap"}, *others]})
    assert POINT_ESTIMATES_ONLY not in page
    assert "1 gap" in page


def test_every_cell_and_gap_of_the_report_is_in_the_tables(report, page):
    for cell in report["cells"]:
        value = number(cell["estimate"], cell["metric"])
        assert f"{cell['group']}</td>" in page
        assert f">{value}</td>" in page
    rows = len(report["cells"]) + len(report["gaps"]) + len(report["changes"])
    assert page.count("<tr>") > rows


def test_undefined_groups_are_named_as_such_and_insufficient_ones_hollow(page):
    assert "undefined: no records" in page
    assert "hollow" in page


def test_cohort_flow_counts_what_was_refused(page):
    assert "<b>808</b><span>rows in the source</span>" in page
    assert "rows refused · DUPLICATE_RECORD 1 · UNDECODABLE 6" in page
    assert "sex, assigned by: hospital record" in page


def test_title_is_the_display_name(page):
    assert "<h1>Phantom audit</h1>" in page


def test_groups_are_counted_from_the_cells_where_the_cohort_tables_are_not_given(planted):
    report = reduce(
        planted.predictions,
        pd.DataFrame(),
        attributes=["sex"],
        baseline="original",
        levels=planted.levels,
        provenance={},
    )
    women = planted.predictions.query("pipeline == 'unet' and label == 'Edema' and attribute_sex == 'Female'")
    assert f'Female</td><td class="number">{len(women)}</td>' in render_report(report)


def test_digests_and_the_way_to_verify_are_on_the_page(report, page):
    assert report["digest"] in page
    assert report["provenance"]["rows"]["predictions"]["sha256"] in page
    assert "To verify" in page


def test_every_card_is_on_the_page(report, page):
    for card in (*report["methods"]["metrics"].values(), *report["methods"]["gaps"].values()):
        assert element("dd", card["formula"]) in page


def test_same_report_gives_the_same_page(report):
    assert render_report(report) == render_report(json.loads(json.dumps(report)))


def test_a_baseline_alone_with_nothing_to_group_by_still_has_a_page(planted):
    report = reduce(
        planted.predictions.query("pipeline == 'original'"),
        pd.DataFrame(),
        attributes=[],
        baseline="original",
        levels=planted.levels,
        provenance={},
    )
    assert _tags(render_report(report))


def test_all_undefined_still_has_a_page(planted):
    report = reduce(
        planted.predictions.assign(y_true=None),
        pd.DataFrame(),
        attributes=["sex"],
        baseline="original",
        levels=planted.levels,
        provenance={},
    )
    assert "undefined" in render_report(report)


def test_interval_is_drawn_once_there_is_one():
    rows = [Row("Female", (Point(0, 0.5, low=0.4, high=0.6),))]
    assert "whisker" in dot_plot("t", rows, scale([0.4, 0.6]))
    assert "whisker" not in dot_plot("t", [Row("Female", (Point(0, 0.5),))], scale([0.4, 0.6]))


def test_gap_axis_starts_at_zero_and_holds_every_value():
    axis = scale([0.031, 0.12], zero=True)
    assert axis.low == 0.0
    assert axis.high >= 0.12
    assert all(b > a for a, b in zip(axis.ticks, axis.ticks[1:], strict=False))


@pytest.mark.parametrize("values", [[], [0.0], [0.5, 0.5], [1e-9, 2e-9], [-3.0, 40.0]])
def test_any_values_get_a_finite_axis(values):
    axis = scale(values)
    assert axis.low < axis.high
    assert len(axis.ticks) <= 8


def test_hollow_points_beyond_the_scale_stay_on_the_chart():
    axis = scale([0.8, 0.9])
    assert axis.at(0.1) == axis.at(axis.low)


def test_dumbbell_joins_baseline_and_candidate():
    chart = dumbbells("t", [Row("Edema", (Point(0, 0.1), Point(1, 0.3)))], scale([0.1, 0.3], zero=True))
    assert chart.count('class="bar s1"') == 1


def test_gaps_over_other_groups_are_drawn_but_not_joined(report):
    changes = [{**c, "estimate": None} if c["definition"] == "eop" else c for c in report["changes"]]
    before, after = render_report(report), render_report({**report, "changes": changes})
    assert "other groups" not in before.replace("unless other groups", "")
    assert after.count(">other groups<") == sum(c["definition"] == "eop" for c in changes)
    assert after.count('class="bar') == before.count('class="bar') - after.count(">other groups<")


def test_strings_are_escaped_and_markup_is_not():
    assert element("p", "<b>", Markup("<i></i>"), title='"') == '<p title="&quot;">&lt;b&gt;<i></i></p>'


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0.000"), (-0.0001, "0.000"), (0.12, "+0.120"), (-0.12, "−0.120")]
)
def test_signed_numbers_have_one_spelling(value, text):
    assert signed(value) == text
