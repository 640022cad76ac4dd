"""A study's page: its audits with their verdicts and findings, and links to their reports."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

from evenhand.reports import AuditReport
from evenhand.studies import Study
from evenhand.summary import findings, judged, pipeline_summary

SHOWN_FINDINGS = 20
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0 1.5rem;font-size:.9rem}
th,td{padding:.25rem .75rem;border-bottom:1px solid #ccc;text-align:left}"""


def study_page(study: Study, out: Path, done: Sequence[str]) -> str:
    """HTML; ``done`` names the audits whose report.json lies in ``out/<audit>/``."""
    parts = [_audit(name, AuditReport.load(out / name / "report.json")) for name in done]
    parts += [f"<h2>{escape(a.name)}</h2><p>No report.</p>" for a in study.audits if a.name not in done]
    title = escape(study.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>Study {title}</h1>{''.join(parts)}</html>\n"
    )


def verdict_line(report: AuditReport) -> str:
    """ "gaps between groups: 3 found, 20 none shown, 40 insufficient evidence; …"."""
    rows = judged(report).to_dict("records")
    return "; ".join(
        f"{row.pop('question')}: " + ", ".join(f"{number} {verdict}" for verdict, number in row.items())
        for row in map(dict, rows)
    )


def _audit(name: str, report: AuditReport) -> str:
    cohort = report.plain["cohort"]
    state = "digest verified" if report.verify() else "DIGEST DOES NOT MATCH"
    found = findings(report)
    more = f"<p>and {len(found) - SHOWN_FINDINGS} more in the report</p>" if len(found) > SHOWN_FINDINGS else ""
    return (
        f"<h2>{escape(name)}</h2>"
        f'<p><a href="{escape(name)}/report.html">report</a> · <a href="{escape(name)}/report.json">report.json</a> · '
        f"{cohort.get('patients')} patients, {cohort.get('records')} records · {report.digest[:12]} {state}</p>"
        f"<p>{escape(verdict_line(report))}</p>"
        f"<h3>Pipelines</h3>{_table(pipeline_summary(report), '#.3g')}"
        f"<h3>Findings</h3>{_table(found.head(SHOWN_FINDINGS)) if len(found) else '<p>none</p>'}{more}"
    )


def _table(frame: pd.DataFrame, numbers: str = ".3g") -> str:
    html: str = frame.to_html(index=False, border=0, na_rep="", float_format=lambda value: format(value, numbers))
    return html
