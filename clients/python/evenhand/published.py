"""The tables of a report's ``published`` block: the same rows in the published style, to lay beside a paper's.

That style overstates: it fits thresholds on what it judges, resamples records instead of patients and chooses the side
of its test after seeing the sign. Findings are in :attr:`AuditReport.gaps` and :attr:`AuditReport.changes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.tables import Table

_RESAMPLED = {"mean": "float64", "standard_error": "float64", "p_one_tailed": "float64", "replicates": "Int64"}
THRESHOLD_COLUMNS = {"pipeline": "str", "task": "str", "label": "str", "threshold": "float64"}
CHANGE_COLUMNS = {
    "candidate": "str",
    "task": "str",
    "label": "str",
    "metric": "str",
    "attribute": "str",
    "definition": "str",
    "baseline_gap": "float64",
    "candidate_gap": "float64",
    **_RESAMPLED,
}
AVERAGE_COLUMNS = {
    "candidate": "str",
    "attribute": "str",
    "definition": "str",
    "metric": "str",
    "tasks": "Int64",
    "absolute_mean": "float64",
    "by_chance": "float64",
    "by_chance_high": "float64",
}
SPREAD_COLUMNS = {
    "pipeline": "str",
    "metric": "str",
    "attribute": "str",
    "best": "str",
    "worst": "str",
    "percent": "float64",
    **_RESAMPLED,
}


class Published:
    """``report.published``. All tables are empty of an audit without replicates, and of a report before 2.1."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._plain = plain

    @property
    def thresholds(self) -> Table:
        """One row per pipeline × label: where sensitivity and specificity are closest on the audited records."""
        return self._table("thresholds", THRESHOLD_COLUMNS)

    @property
    def changes(self) -> Table:
        """One row per candidate × label × attribute × definition of a gap: bootstrapped candidate minus baseline."""
        return self._table("changes", CHANGE_COLUMNS)

    @property
    def averages(self) -> Table:
        """One row per candidate × attribute × definition: mean |change| over tasks, beside what chance alone makes."""
        return self._table("averages", AVERAGE_COLUMNS)

    @property
    def spreads(self) -> Table:
        """One row per pipeline × attribute: by how many percent the best group's PSNR exceeds the worst's."""
        return self._table("spreads", SPREAD_COLUMNS)

    def _table(self, name: str, kinds: Mapping[str, str]) -> Table:
        return Table(self._plain.get(name, []), kinds)
