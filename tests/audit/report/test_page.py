"""The page: one complete document that asks for nothing, the same bytes every time, deaf to markup in names."""

import json
import re
import subprocess
import sys
from importlib import resources
from xml.etree import ElementTree

import jsonschema
import pytest

from services.audit.report import render_report
from services.audit.report.spelling import clipped
from tests.audit.report.pages import charts, parsed, renamed, section

HOSTILE = '</text></svg><script>alert("x")</script><img src=x onerror=alert(1)> $x_1$ style="fill:red" §'


def test_the_sample_is_a_valid_report(report):
    schema = json.loads(resources.files("services.audit.results").joinpath("report.schema.json").read_text())
    jsonschema.validate(report, schema)


def test_page_is_one_well_formed_document(page):
    tags = [tag for tag, _ in parsed(page).tags]
    assert page.startswith("<!doctype html>")
    assert (tags.count("html"), tags.count("h1"), tags.count("main")) == (1, 1, 1)


def test_sections_come_in_the_order_in_which_a_reader_asks(page):
    sections = [attributes["id"] for tag, attributes in parsed(page).tags if tag == "section"]
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
        "published",
        "intersections",
        "excluded",
        "methods",
        "provenance",
    ]


def test_page_asks_nothing_of_the_network_and_runs_nothing(page):
    tags = parsed(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    links = [value for _, attributes in tags for name, value in attributes.items() if name in ("href", "src")]
    assert all(link.startswith("#") for link in links)
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert not re.search(r"url\((?!#)|@import|https?:|//www", page)


def test_every_link_and_reference_meets_one_id(page):
    tags = parsed(page).tags
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


@pytest.mark.parametrize(
    "suffix", [HOSTILE, " $\\frac{1}{2}$ ^ _ %", " " + "long" * 60, " עברית العربية", " 中文 \u0000\u0007\ud800"]
)
def test_names_are_shown_not_run(report, page, suffix):
    hostile = renamed(report, ("original", "unet", "Edema", "Female", "hospital record", "Phantom audit"), suffix)
    before = len(charts(page))
    page = render_report(hostile)
    assert page.encode().decode() == page
    tags = parsed(page).tags
    assert not {"script", "img"} & {tag for tag, _ in tags}
    assert "onerror" not in {name for _, attributes in tags for name in attributes}
    assert not [a for _, a in tags if "fill:red" in a.get("style", "")]
    assert len(charts(page)) == before
    for chart in charts(page):
        ElementTree.fromstring(chart)


def test_dollar_signs_stay_dollar_signs_in_figures(report):
    page = render_report(renamed(report, ("Female",), "$x_1$"))
    assert any("Female$x_1$</text>" in chart for chart in charts(page))


def test_right_to_left_names_are_isolated_in_sentences(report):
    page = render_report(renamed(report, ("Female",), " עברית"))
    assert "<bdi>Female עברית</bdi>" in section(page, "found")


def test_a_name_is_cut_to_one_clean_line():
    assert clipped("a\nb\tc", 20) == "a b c"
    assert clipped("x\u0000\ud800", 20) == "x\ufffd\ufffd"
    assert clipped("abcdefgh", 5) == "abcd…"
