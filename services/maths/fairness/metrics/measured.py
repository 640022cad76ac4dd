"""From estimates and counts of every group to cells and a disaggregation: the same for every metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.maths.fairness.cells import Cell, Minimums, cell_state
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates, everywhere
from services.maths.fairness.groups import Codes, Grouping
from services.maths.fairness.limits import limits


@dataclass(frozen=True)
class Counts:
    """(G,) int64 of each group. ``cases`` are those that the metric is over; ``positives`` None without labels."""

    records: Codes
    patients: Codes
    positives: Codes | None
    excluded: Codes
    cases: Codes


@dataclass(frozen=True)
class Overall:
    """The cell of everyone and its estimates, one column."""

    cell: Cell
    estimates: Estimates


def disaggregation(
    metric: str,
    grouping: Grouping,
    groups: Estimates,
    counts: Counts,
    *,
    overall: Overall | None,
    minimums: Minimums,
) -> Disaggregation:
    """The cells of one metric by one attribute, beside everyone's.

    ``groups`` and ``counts`` are over ``reported_names(grouping)``; ``overall`` is None where everyone is the group.
    """
    cells = _cells(reported_names(grouping), groups, counts, minimums)
    overall = overall or Overall(cells[0], groups)
    estimates = everywhere(groups, overall.estimates)
    return Disaggregation(metric, cells, overall.cell, grouping, estimates)


def reported_names(grouping: Grouping) -> tuple[str, ...]:
    """Every level, since an empty one is a finding, and "(missing)" if it has records."""
    return grouping.slot_names if (grouping.codes < 0).any() else grouping.groups


def _cells(names: tuple[str, ...], groups: Estimates, counts: Counts, minimums: Minimums) -> tuple[Cell, ...]:
    low, high = limits(groups)
    rows = zip(names, groups.value, groups.standard_error, low, high, groups.patients, strict=True)
    cells = []
    for place, (name, value, error, lowest, highest, deciding) in enumerate(rows):
        cells.append(
            Cell(
                group=name,
                records=int(counts.records[place]),
                patients=int(counts.patients[place]),
                deciding_patients=int(deciding),
                positives=None if counts.positives is None else int(counts.positives[place]),
                excluded_records=int(counts.excluded[place]),
                state=cell_state(float(value), int(deciding), int(counts.cases[place]), minimums),
                estimate=_known(value),
                standard_error=_known(error),
                ci_low=_known(lowest),
                ci_high=_known(highest),
            )
        )
    return tuple(cells)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
