"""What an audit could show before it runs: one row per cell, and the smallest gap that the cohort can show there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evenhand.audit.v1 import plan_pb2
from evenhand.listing import api_json
from evenhand.tables import Table

PLAN_COLUMNS = {
    "task": "str",
    "label": "str",
    "metric": "str",
    "attribute": "str",
    "group": "str",
    "records": "Int64",
    "patients": "Int64",
    "patients_with_positives": "Int64",
    "patients_with_negatives": "Int64",
    "positives": "Int64",
    "negatives": "Int64",
    "state": "str",
    "minimum_detectable_gap": "float64",
    "power": "float64",
    "tolerance": "float64",
}
_OPTIONAL = ("minimum_detectable_gap", "power", "tolerance")


class AuditPlan(Table):
    """One row per task, label, metric, attribute and group; the same for every pipeline."""

    def __init__(self, proto: plan_pb2.AuditPlan) -> None:
        super().__init__([_row(cell) for cell in proto.cells], PLAN_COLUMNS)
        self.proto = proto

    @property
    def digest(self) -> str:
        """sha256 that the audit would have."""
        return self.proto.digest

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the cohort or the models make doubtful."""
        return tuple(self.proto.warnings)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the forecast takes for granted."""
        return tuple(self.proto.assumptions)

    @property
    def acquisitions(self) -> tuple[str, ...]:
        """What each pipeline's degradation does, with the exact share of k-space sampled."""
        return tuple(self.proto.acquisitions)

    @property
    def tests(self) -> int:
        """Tests of the audit's primary family; error is controlled over all of them."""
        return self.proto.tests

    @property
    def alpha(self) -> float:
        """Error rate of the family."""
        return self.proto.alpha

    @property
    def target_power(self) -> float:
        """Power that the smallest detectable gaps are stated for."""
        return self.proto.target_power

    def detectable(self) -> pd.DataFrame:
        """One row per label and metric, one column per attribute: the smallest detectable gap of best and worst group.

        "0.04 to 0.21, 1 silent": between 0.04 and 0.21 in the groups that are tested, and one group that cannot be.
        "silent": no group can be tested.
        """
        cells = self.to_pandas()
        cells = cells[cells["attribute"] != ""]
        keys = ["label", "metric"]
        rows = list(dict.fromkeys(zip(cells["label"], cells["metric"], strict=True)))
        frame = pd.DataFrame(rows, columns=keys)
        for attribute, part in cells.groupby("attribute", sort=False):
            said = {key: _range(of_key["minimum_detectable_gap"]) for key, of_key in part.groupby(keys)}
            frame[str(attribute)] = [said.get(row, "") for row in rows]
        return frame

    def silent(self) -> pd.DataFrame:
        """One row per attribute and group: in how many of its cells nothing can be tested, and of how many."""
        cells = self.to_pandas()
        cells = cells[cells["attribute"] != ""].assign(untestable=lambda frame: frame["minimum_detectable_gap"].isna())
        counts = cells.groupby(["attribute", "group"], sort=False)["untestable"].agg(["sum", "size"])
        counts.columns = pd.Index(["untestable", "cells"])
        return counts[counts["untestable"] > 0].reset_index()

    def to_dict(self) -> dict[str, Any]:
        """The plan's own fields, without its cells."""
        names = ("digest", "tests", "alpha", "target_power", "warnings", "assumptions", "acquisitions")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def __repr__(self) -> str:
        return f"<AuditPlan {self.digest[:12]} {len(self)} cells, {self.tests} tests, {len(self.warnings)} warnings>"


def _row(cell: plan_pb2.PlannedCell) -> Mapping[str, Any]:
    row = {name: getattr(cell, name) for name in PLAN_COLUMNS}
    row["state"] = plan_pb2.PlannedCell.State.Name(cell.state).removeprefix("STATE_").lower()
    return row | {name: None for name in _OPTIONAL if not cell.HasField(name)}  # type: ignore[arg-type]


def _range(gaps: pd.Series) -> str:
    known, silent = gaps.dropna(), int(gaps.isna().sum())
    if known.empty:
        return "silent"
    low, high = f"{known.min():.2g}", f"{known.max():.2g}"
    words = low if low == high else f"{low} to {high}"
    return f"{words}, {silent} silent" if silent else words
