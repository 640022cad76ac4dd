"""Reports that lack something, and reports that have a great deal."""

import copy
import json
import re
import time
from xml.etree import ElementTree

import pytest

from services.audit.report import render_report
from services.audit.results.reduce import reduce, report_json
from tests.audit.report.pages import charts, parsed, section, words
from tests.audit.report.sample import ReportSample


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
    parsed(page)
    for chart in charts(page):
        ElementTree.fromstring(chart)
    assert not re.search(r"\bNone\b|\bnan\b", words(page[page.index("<main>") : page.index("</body>")]))


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
    assert "<td>0.000</td><td>0.000</td><td>0.000</td><td>[0.000, 0.000]</td>" in section(page, "gaps")


def test_what_is_undefined_is_a_dash_and_never_zero():
    page = render_report(ReportSample(undefined=True).report())
    assert "no value" in section(page, "groups")
    assert "undefined" in section(page, "groups")
    for anchor in ("groups", "gaps", "bias"):
        assert not re.search(r"<td>[+−]?0\.0+</td>", section(page, anchor))
        assert "–" in section(page, anchor)


def test_a_report_of_the_real_reduction_has_a_page(planted):
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
    assert len(charts(page)) > 20


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
