"""What is printed: findings and what a reader on paper needs; long tables stay one line that says where they are."""

import copy
import re

import pytest

from services.audit.report import render_report
from services.audit.report.reading import Reading
from tests.audit.report.pages import section, words


def folds(page, anchor, summary):
    """The classes of the folds of a section whose line begins so."""
    return re.findall(
        rf'<details(?: class="([^"]*)")?[^>]*><summary>(?:<b>)?{re.escape(summary)}', section(page, anchor)
    )


def test_style_closes_on_paper_what_is_for_the_screen(page):
    style = page[page.index("<style>") : page.index("</style>")]
    screen, paper = style[: style.index("@media print")], style[style.index("@media print") :]
    assert ".on-paper { display: none; }" in screen
    assert "details.printed::details-content { content-visibility: visible" in paper
    assert "div.on-screen, details.on-screen > :not(summary) { display: none; }" in paper
    assert "in report.html and report.json" in paper
    assert not re.search(r"(?<!\.)details::details-content", paper)


def test_the_page_says_on_paper_where_the_rest_is(page):
    top = words(page[page.index("<header") : page.index("</header>")] + "</header>")
    for name in ("report.html", "report.json", "predictions.parquet", "quality.parquet"):
        assert name in top


def test_forests_are_printed_where_a_gap_was_found(page):
    assert folds(page, "groups", "True positive rate<") == ["figures printed"]
    assert folds(page, "groups", "AUROC<") == ["figures on-screen"]
    assert folds(page, "groups", "Brier score<") == ["figures"]
    told = words(section(page, "groups"))
    assert "True positive rate by age: no gap found; drawn in report.html." in told
    assert "True positive rate by sex: no gap found" not in told


@pytest.mark.parametrize(
    ("anchor", "summary"),
    [
        ("pipelines", "Each label in numbers"),
        ("groups", "AUROC by sex in numbers"),
        ("gaps", "EOP"),
        ("changes", "Changes by sex in numbers"),
        ("methods", "6 operating thresholds"),
        ("excluded", "By sex"),
        ("provenance", "Everything else"),
    ],
)
def test_long_tables_are_not_printed(page, anchor, summary):
    found = folds(page, anchor, summary)
    assert found
    assert not any("printed" in classes for classes in found)


@pytest.mark.parametrize(
    ("anchor", "summary"),
    [("heat", "AUROC"), ("bias", "EOP"), ("bias", "EODD"), ("methods", "Metric cards"), ("cohort", "2 labels")],
)
def test_what_a_reader_on_paper_needs_is_printed(page, anchor, summary):
    found = folds(page, anchor, summary)
    assert found
    assert all("printed" in classes for classes in found)


def test_changes_are_drawn_on_paper_where_a_gap_changed(page):
    told = words(section(page, "changes"))
    assert "By age: no gap was found to change" in told
    assert "By sex: no gap was found to change" not in told


def test_a_change_that_was_found_is_open_among_the_leading_ones(report, page):
    changed = copy.deepcopy(report)
    row = next(
        c for c in changed["changes"] if (c["definition"], c["metric"], c["attribute"]) == ("max_min", "brier", "sex")
    )
    row["verdict"] = "change"

    def leading(text):
        drawn = section(text, "changes")
        return drawn[: drawn.index("Other gaps by sex")]

    assert "<figcaption>Brier score, max-min" not in leading(page)
    assert "<figcaption>Brier score, max-min" in leading(render_report(changed))


def test_what_counts_as_found_is_a_gap_between_groups(report):
    changed = copy.deepcopy(report)
    for change in changed["changes"]:
        change["verdict"] = "change"
    reading = Reading(changed)
    assert reading.found("tpr", "sex")
    assert not reading.found("auroc", "sex")
    assert not reading.found("tpr", "")
