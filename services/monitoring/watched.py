"""What a monitor watches, as arrays need it: labels with thresholds, groupings of attributes, metrics and windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from services.maths.fairness.drift.series import Series
from services.maths.fairness.groups import Grouping, intersect


@dataclass(frozen=True)
class Watched:
    """A filled-in MonitorSpec. ``attributes`` are (name, levels); ``groupings`` are names, or two joined by a comma."""

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    groupings: tuple[str, ...]
    metrics: tuple[str, ...]
    alpha: float
    planned_windows: int
    first_windows: int

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Watched:
        """Of a spec in the proto's JSON mapping with the proto's field names, as the ledger keeps it."""
        attributes = tuple((one["attribute"], tuple(one["levels"])) for one in spec["attributes"])
        return cls(
            labels=tuple(one["label"] for one in spec["labels"]),
            thresholds=tuple(float(one["threshold"]) for one in spec["labels"]),
            attributes=attributes,
            groupings=tuple(spec.get("groupings") or [name for name, _ in attributes]),
            metrics=tuple(spec["metrics"]),
            alpha=float(spec["alpha"]),
            planned_windows=int(spec["planned_windows"]),
            first_windows=int(spec.get("reference", {}).get("first_windows", 0)),
        )

    def groups(self, codes: np.ndarray) -> list[Grouping]:
        """Every grouping of N records, whose (A, N) ``codes`` are places in the attributes' levels, -1 for missing."""
        by_name = {
            name: Grouping(name, levels, codes[place].astype(np.int64))
            for place, (name, levels) in enumerate(self.attributes)
        }
        return [intersect([by_name[part] for part in grouping.split(",")]) for grouping in self.groupings]

    @property
    def cells(self) -> list[tuple[str, str]]:
        """(grouping, group) of every group, in the order of the spec."""
        levels = dict(self.attributes)
        return [
            (grouping, ", ".join(names))
            for grouping in self.groupings
            for names in product(*(levels[part] for part in grouping.split(",")))
        ]

    def series(self) -> list[Series]:
        """Every series, label by label."""
        return [
            Series(label, metric, attribute, group)
            for label in self.labels
            for metric in self.metrics
            for attribute, group in self.cells
        ]


def ambiguous_group(watched: Watched) -> str:
    """The name that two groups of a grouping share ("a" with "b, c" and "a, b" with "c"); "" if all differ."""
    seen: set[tuple[str, str]] = set()
    for cell in watched.cells:
        if cell in seen:
            return cell[1]
        seen.add(cell)
    return ""


def level_codes(values: Sequence[str | None], levels: Sequence[str]) -> np.ndarray:
    """(N,) int16 places of values in levels, -1 for None. Raises KeyError for another value."""
    places: dict[str | None, int] = {level: place for place, level in enumerate(levels)}
    places[None] = -1
    return np.array([places[value] for value in values], np.int16)
