"""report.html: one self-contained page, drawn from report.json and from nothing else.

    page.py          the sections, in the order a reader asks for them
    findings.py      the verdict strip: what was found, or what could have been
    cohort.py        from the source's rows to the records that were compared
    pipelines.py     the pipelines side by side
    groups.py        forest plots, heat maps and the numbers behind them
    gaps.py          tables of gaps, dumbbells and tables of changes
    bias_tables.py   tables in the form of studies of reconstruction bias
    quality.py, crossed.py, excluded.py, methods.py, provenance.py     the sections of these names
    figures/         the drawings
    reading.py       looking things up in a report
    wording.py, spelling.py, legend.py      words, numbers, what marks mean
    tables.py, markup.py, report.css        HTML; everything from outside is escaped in ``markup.element``

No script, no request to anywhere. matplotlib is imported when a page is rendered and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def render_report(report: Mapping[str, Any]) -> str:
    """The page of a report.json, with or without its envelope, as HTML text.

    The same report gives the same text. A missing or malformed key raises KeyError or TypeError: check the report
    against report.schema.json first.
    """
    from services.audit.report.page import render_page

    return render_page(report)


__all__ = ["render_report"]
