"""From estimates and counts of every group to cells and a disaggregation: the same for every metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.maths.fairness.cells import Cell, Minimums, cell_state, reported
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


def disaggregation(
    metric: str,
    grouping: Grouping,
    groups: Estimates,
    counts: Counts,
    *,
    overall: Disaggregation | None,
    minimums: Minimums,
) -> Disaggregation:
    """The cells of one metric by one attribute, beside everyone's.

    ``groups`` and ``counts`` are over ``grouping.slot_names``; ``overall`` is the disaggregation of the one group that
    holds everyone, None for that one itself.
    """
    cells = _cells(grouping.slot_names, groups, counts, minimums)
    kept = reported(cells)
    columns = [place for place, cell in enumerate(cells) if cell in kept]
    if overall is None:
        return Disaggregation(metric, kept, kept[0], grouping, groups.take(columns * 2))
    estimates = everywhere(groups if len(columns) == len(cells) else groups.take(columns), overall.estimates.take([0]))
    return Disaggregation(metric, kept, overall.overall_cell, grouping, estimates)


def _cells(names: tuple[str, ...], groups: Estimates, counts: Counts, minimums: Minimums) -> list[Cell]:
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
    return cells


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
