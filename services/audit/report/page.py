"""The sections of report.html, in the order a reader asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from services.audit.report.bias_tables import bias_section
from services.audit.report.cohort import cohort_section
from services.audit.report.crossed import crossed_section
from services.audit.report.excluded import excluded_section
from services.audit.report.figures.svg import drawing_settings
from services.audit.report.findings import verdict_strip
from services.audit.report.gaps import changes_section, gaps_section
from services.audit.report.groups import groups_section, heat_section
from services.audit.report.legend import FOREST_WORDS, pipeline_legend
from services.audit.report.markup import Markup, element, isolated, join, share_styles
from services.audit.report.methods import methods_section
from services.audit.report.pipelines import pipelines_section
from services.audit.report.provenance import provenance_section
from services.audit.report.published import published_section
from services.audit.report.quality import quality_section
from services.audit.report.reading import Reading

_CONTENTS = {
    "found": "What was found",
    "cohort": "Who was audited",
    "pipelines": "Pipelines",
    "groups": "Metrics by group",
    "heat": "Against everyone",
    "gaps": "Gaps",
    "changes": "Changes",
    "bias": "Tables of bias",
    "quality": "Image quality",
    "published": "Published style",
    "intersections": "Intersections",
    "excluded": "Too small",
    "methods": "Methods",
    "provenance": "Provenance",
}

_ON_PAPER = (
    "On paper: what was found, the drawings behind it, and the methods. What is only named here opens in report.html "
    "on screen; every number is in report.json, and the rows behind it in predictions.parquet and quality.parquet."
)

# Control characters and lone surrogates are neither HTML nor UTF-8.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def render_page(report: Mapping[str, Any]) -> str:
    """The page of a report.json (with or without its envelope): one HTML file that asks nothing of the network."""
    reading = Reading(report)
    with drawing_settings():
        sections = join(*_sections(reading))
    shared, body = share_styles(element("main", _header(reading), _contents(sections), sections))
    style = resources.files("services.audit.report").joinpath("report.css").read_text(encoding="utf-8")
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", _title(reading)),
        Markup(f"<style>{style}{shared}</style>"),
    )
    page = "<!doctype html>\n" + element("html", element("head", head), element("body", body), lang="en") + "\n"
    return _NO_TEXT.sub("\ufffd", page)


def _sections(reading: Reading) -> Iterator[Markup]:
    yield verdict_strip(reading)
    yield cohort_section(reading)
    yield pipelines_section(reading, pipeline_legend(reading, "pipelines", *FOREST_WORDS[:1]))
    yield groups_section(reading)
    yield heat_section(reading)
    yield gaps_section(reading)
    yield changes_section(reading)
    yield bias_section(reading)
    yield quality_section(reading)
    yield published_section(reading)
    yield crossed_section(reading)
    yield excluded_section(reading)
    yield methods_section(reading)
    yield provenance_section(reading)


def _title(reading: Reading) -> str:
    return str(reading.report.get("envelope", {}).get("display_name") or "Fairness audit")


def _header(reading: Reading) -> Markup:
    """What was audited, when, and the digest that names the report."""
    report, envelope = reading.report, reading.report.get("envelope", {})
    cohort = report["cohort"]
    size = f"{cohort['patients']:,} patients, {cohort['records']:,} records"
    if report["provenance"].get("cohort", {}).get("synthetic"):
        size = f"synthetic: {cohort['records']:,} generated images, from masks of {cohort['patients']:,} patients"
    facts = [("Cohort", size), ("Baseline", reading.pipelines[0])]
    facts += [("Candidates", ", ".join(reading.pipelines[1:]) or "none")]
    facts += [("Groups by", "; ".join(reading.groups) or "nothing")]
    facts += [("Made", envelope["create_time"])] if envelope.get("create_time") else []
    listed = (join(element("dt", key), element("dd", isolated(value))) for key, value in facts)
    digest = element("p", "Report ", element("code", report["digest"]), f" · schema {report['schema_version']}")
    paper = element("p", _ON_PAPER, class_="on-paper")
    return element("header", element("h1", _title(reading)), element("dl", *listed, class_="facts"), digest, paper)


def _contents(sections: Markup) -> Markup:
    """Links to the sections that the page has."""
    links = [element("a", words, href=f"#{to}") for to, words in _CONTENTS.items() if f'<section id="{to}"' in sections]
    return element("nav", *links, aria_label="Contents")
