"""A metric taken apart by groups, with Fairlearn's names (``by_group``, ``overall``, ``difference``, ``ratio``).

Unlike Fairlearn's frame it knows the patients (``cluster``), keeps groups that have no value, and never lets a cell
that says too little into a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.maths.fairness.cells import Cell
from services.maths.fairness.groups import MISSING, Codes, Grouping

Method = Literal["between_groups", "to_overall"]


@dataclass(frozen=True)
class Disaggregation:
    """One metric by the groups of one attribute.

    ``cells`` are in the order of the levels, then "(missing)" if it has records; ``sensitive_features`` and ``cluster``
    ((N,) patient numbers) are the records it was computed from, in their order.
    """

    metric: str
    cells: tuple[Cell, ...]
    overall_cell: Cell
    sensitive_features: Grouping
    cluster: Codes

    @property
    def attribute(self) -> str:
        return self.sensitive_features.attribute

    @property
    def by_group(self) -> pd.Series[float]:
        """Estimates indexed by group; NaN where undefined."""
        estimates = [np.nan if cell.estimate is None else cell.estimate for cell in self.cells]
        return pd.Series(estimates, index=[cell.group for cell in self.cells], name=self.metric, dtype=float)

    @property
    def overall(self) -> float:
        """The metric over all records, those with a missing attribute included; NaN where undefined."""
        return np.nan if self.overall_cell.estimate is None else self.overall_cell.estimate

    @property
    def comparable_groups(self) -> tuple[str, ...]:
        """Groups in state ok or wide. "(missing)" is not a group of patients and never among them."""
        return tuple(cell.group for cell in self.cells if cell.state in ("ok", "wide") and cell.group != MISSING)

    def difference(self, method: Method = "between_groups", *, groups: tuple[str, ...] | None = None) -> float:
        """Largest minus smallest over the comparable groups, or the largest distance to overall; zero means equal.

        ``groups`` narrows the comparison. NaN with fewer than two groups: a single group has nothing to differ from.
        """
        values = self._values(groups)
        if len(values) < 2:
            return float("nan")
        if method == "to_overall":
            return float(np.abs(values - self.overall).max())
        return float(values.max() - values.min())

    def ratio(self, method: Method = "between_groups", *, groups: tuple[str, ...] | None = None) -> float:
        """Smallest over largest, or the smallest ratio to overall (inverted above 1); one means equal.

        NaN with fewer than two groups and where the larger value is 0.
        """
        values = self._values(groups)
        if len(values) < 2:
            return float("nan")
        reference = self.overall if method == "to_overall" else float(values.max())
        pairs = np.array([np.minimum(values, reference), np.maximum(values, reference)])
        return float("nan") if not pairs[1].all() else float((pairs[0] / pairs[1]).min())

    def _values(self, groups: tuple[str, ...] | None) -> NDArray[np.float64]:
        names = self.comparable_groups if groups is None else groups
        return np.asarray(self.by_group[list(names)], dtype=np.float64)
