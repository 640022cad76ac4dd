"""The drawings: counts on every row, hatching where the interval crosses zero, one drawing for light and dark."""

import copy
import re
from xml.etree import ElementTree

import pytest

from services.audit.report.figures.dumbbells import dumbbells
from services.audit.report.figures.forest import forest_panel, group_rows, shared_scale
from services.audit.report.figures.heat_map import crosses_zero, heat_cell, heat_map
from services.audit.report.figures.ink import ink
from services.audit.report.reading import Reading
from tests.audit.report.pages import charts


def test_every_figure_has_a_title_a_description_and_a_label(page):
    drawn = charts(page)
    assert len(drawn) > 40
    titles = []
    for chart in drawn:
        root = ElementTree.fromstring(chart)
        assert [child.tag for child in root[:2]] == ["title", "desc"]
        assert root.get("role") == "img"
        assert root[0].text in root.get("aria-label")
        titles.append(root[0].text)
    assert len(titles) == len(set(titles))
    assert not re.search(r"\b(nan|inf)\b", " ".join(drawn))


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
    told = [node.text for node in chart.iter("text")]
    assert len(rows) == 3
    assert told.count("211") == 3
    assert (told.count("123"), told.count("7")) == (2, 1)
    assert (told.count("ok"), told.count("insufficient")) == (2, 1)


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
