"""A metric taken apart by groups, with Fairlearn's names (``by_group``, ``overall``, ``difference``, ``ratio``).

Unlike Fairlearn's frame it knows the patients (``estimates``), keeps groups that have no value, and never lets a cell
that says too little into a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from services.maths.fairness.cells import Cell
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps.simultaneous import joint_limits, magnitudes, max_pair_interval
from services.maths.fairness.groups import MISSING, Grouping
from services.maths.fairness.limits import difference_limits, limits
from services.maths.fairness.logarithms import logarithm
from services.maths.fairness.sums import Floats

Method = Literal["between_groups", "to_overall", "to_reference"]


@dataclass(frozen=True)
class Differences:
    """(G,) float64 group minus everyone, and 95 % limits of each by itself; NaN where undefined."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Disaggregation:
    """One metric by the groups of one attribute.

    Attributes:
        metric: its name.
        cells: in the order of the levels, then "(missing)" if it has records.
        overall_cell: the metric over all records, those with a missing attribute included.
        sensitive_features: groups of the (N,) records that it was computed from, in their order.
        estimates: ``len(cells) + 1`` columns, the cells in order and then overall. ``estimates.patient_ids`` is the
            same for all disaggregations of one call.
    """

    metric: str
    cells: tuple[Cell, ...]
    overall_cell: Cell
    sensitive_features: Grouping
    estimates: Estimates

    @property
    def attribute(self) -> str:
        return self.sensitive_features.attribute

    @property
    def by_group(self) -> pd.Series[float]:
        """Estimates indexed by group; NaN where undefined."""
        estimates = [np.nan if cell.estimate is None else cell.estimate for cell in self.cells]
        return pd.Series(estimates, index=self._names, name=self.metric, dtype=float)

    @property
    def by_group_ci(self) -> pd.DataFrame:
        """95 % limits ``low`` and ``high`` of each group by itself, indexed by group; NaN where there are none."""
        pairs = [(cell.ci_low, cell.ci_high) for cell in self.cells]
        return pd.DataFrame(pairs, index=self._names, columns=["low", "high"], dtype=float)

    @property
    def overall(self) -> float:
        """The metric over all records, those with a missing attribute included; NaN where undefined."""
        return np.nan if self.overall_cell.estimate is None else self.overall_cell.estimate

    @property
    def overall_ci(self) -> tuple[float, float]:
        """95 % limits of ``overall``; NaN where there are none."""
        low, high = self.overall_cell.ci_low, self.overall_cell.ci_high
        return (np.nan if low is None else low), (np.nan if high is None else high)

    @property
    def comparable_groups(self) -> tuple[str, ...]:
        """Groups in state ok or wide. "(missing)" is not a group of patients and never among them."""
        return tuple(cell.group for cell in self.cells if cell.state in ("ok", "wide") and cell.group != MISSING)

    @property
    def testable_groups(self) -> tuple[str, ...]:
        """Groups in state ok: large enough for a test in the primary family."""
        return tuple(cell.group for cell in self.cells if cell.state == "ok" and cell.group != MISSING)

    def columns(self, groups: Sequence[str]) -> list[int]:
        """Columns of ``estimates`` for groups by name. Raises ValueError for a group that is not there."""
        places = {name: place for place, name in enumerate(self._names)}
        unknown = [group for group in groups if group not in places]
        if unknown:
            raise ValueError(f"attribute {self.attribute!r} has no group {unknown[0]!r}; it has {', '.join(places)}")
        return [places[group] for group in groups]

    @property
    def overall_difference(self) -> Differences:
        """Each cell minus everyone, zero meaning equal. Everyone includes the group: shared patients are counted."""
        low, high = difference_limits(self.estimates, *limits(self.estimates))
        value = self.estimates.value[:-1] - self.estimates.value[-1]
        return Differences(value, low[:-1, -1], high[:-1, -1])

    def difference(
        self, method: Method = "between_groups", *, groups: Sequence[str] | None = None, reference: str | None = None
    ) -> float:
        """Largest minus smallest over the comparable groups, or the largest distance to overall or to a group.

        Zero means equal. ``groups`` narrows the comparison; ``reference`` is the group of ``to_reference``. NaN with
        fewer than two groups: a single group has nothing to differ from.
        """
        values = self._values(groups)
        if len(values) < 2:
            return float("nan")
        if method == "between_groups":
            return float(values.max() - values.min())
        return float(np.abs(values - self._against(method, reference)).max())

    def ratio(
        self, method: Method = "between_groups", *, groups: Sequence[str] | None = None, reference: str | None = None
    ) -> float:
        """Smallest over largest, or the smallest ratio to overall or to a group (inverted above 1); one means equal.

        NaN with fewer than two groups and where the larger value is 0.
        """
        values = self._values(groups)
        if len(values) < 2:
            return float("nan")
        base = float(values.max()) if method == "between_groups" else self._against(method, reference)
        pairs = np.array([np.minimum(values, base), np.maximum(values, base)])
        return float("nan") if not pairs[1].all() else float((pairs[0] / pairs[1]).min())

    def difference_ci(
        self,
        method: Method = "between_groups",
        *,
        normals: Floats,
        groups: Sequence[str] | None = None,
        reference: str | None = None,
    ) -> tuple[float, float]:
        """95 % interval of ``difference``: it contains 0 when no two of the groups compared are apart.

        ``normals`` are draws of ``gaps.simultaneous.standard_normals``. Bands that hold for all the differences at once
        are turned into an interval of the largest; resampling the largest would never reach 0. (NaN, NaN) where the
        difference has no value.
        """
        return self._interval(self.estimates, method, normals, groups, reference)

    def ratio_ci(
        self,
        method: Method = "between_groups",
        *,
        normals: Floats,
        groups: Sequence[str] | None = None,
        reference: str | None = None,
    ) -> tuple[float, float]:
        """95 % interval of ``ratio``, as ``difference_ci`` on the logarithms: it contains 1 when no two are apart."""
        if np.isnan(self.ratio(method, groups=groups, reference=reference)):
            return float("nan"), float("nan")
        low, high = self._interval(logarithm(self.estimates), method, normals, groups, reference)
        return float(np.exp(-high)), float(np.exp(-low))

    def _interval(
        self,
        estimates: Estimates,
        method: Method,
        normals: Floats,
        groups: Sequence[str] | None,
        reference: str | None,
    ) -> tuple[float, float]:
        columns = self.columns(self.comparable_groups if groups is None else groups)
        against = [] if method == "between_groups" else [self._base_column(method, reference)]
        chosen = estimates.take([*(column for column in columns if column not in against), *against])
        if len(columns) < 2 or np.isnan(chosen.value).any():
            return float("nan"), float("nan")
        if not against:
            return max_pair_interval(chosen, normals)
        others = len(chosen.value) - 1
        contrasts = np.column_stack([np.eye(others), np.full(others, -1.0)])
        low, high = magnitudes(*joint_limits(chosen, contrasts, normals))
        return float(low.max()), float(high.max())

    @property
    def _names(self) -> list[str]:
        return [cell.group for cell in self.cells]

    def _values(self, groups: Sequence[str] | None) -> Floats:
        return self.estimates.value[self.columns(self.comparable_groups if groups is None else groups)]

    def _against(self, method: Method, reference: str | None) -> float:
        return float(self.estimates.value[self._base_column(method, reference)])

    def _base_column(self, method: Method, reference: str | None) -> int:
        if method == "to_overall":
            return len(self.cells)
        if method != "to_reference":
            raise ValueError(f"method must be between_groups, to_overall or to_reference, not {method!r}")
        if reference is None:
            raise ValueError("to_reference needs the name of the reference group")
        return self.columns([reference])[0]
