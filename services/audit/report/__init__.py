"""report.html: one self-contained page, drawn from report.json and from nothing else.

    page.py      the sections, in the order a reader asks for them
    figures.py   which numbers go into which figure
    charts.py    dot plots, dumbbells and the heat map as SVG
    tables.py    HTML tables
    summary.py   the pipelines side by side
    markup.py    escaped elements and number spelling
    report.css   light and dark, screen and paper

No script, no request to anywhere; everything that comes from outside is escaped in one place (``markup.element``).
"""

from services.audit.report.page import render_report

__all__ = ["render_report"]
