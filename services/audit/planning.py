"""What an audit could show, from its cohort's counts alone: the state of every cell, and the smallest gap it can find.

The counts come from the tables of the cohort's shards, never from pixels. They are read in a thread, by at most
``AT_ONCE`` requests, and kept for the requests after.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from services.adapters.object_store import ObjectStore
from services.audit.cohort.counts import count_groups, read_people
from services.audit.perceptual import changes_images
from services.audit.pipeline import ModelStage, ResolvedAudit
from services.audit.results.attributes import group_specs
from services.maths.fairness.cells import WIDE_FACTOR, Minimums, State
from services.maths.fairness.groups import Grouping, everyone
from services.maths.fairness.testing.families import PRIMARY
from services.maths.fairness.testing.planning import Assumptions, planned_cells
from services.maths.fairness.testing.power import POWER
from services.maths.fairness.testing.verdicts import ALPHA

AT_ONCE = 2
KEPT = 2
CALLED = ("tpr", "fpr")
"""Metrics that need a threshold."""


@dataclass(frozen=True)
class PlannedCell:
    """One cell of the report to come; the last three are None where no test will be made."""

    task: str
    label: str
    metric: str
    attribute: str
    group: str
    records: int
    patients: int
    patients_with_positives: int
    patients_with_negatives: int
    positives: int
    negatives: int
    state: State
    minimum_detectable_gap: float | None = None
    power: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class Forecast:
    """``tests`` is the size of the primary family over all pipelines; ``warnings`` go into the audit's plan."""

    cells: tuple[PlannedCell, ...]
    tests: int
    alpha: float
    target_power: float
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """A label that is read, a structure that is drawn, or images that are compared.

    ``attribute`` is the one whose level is the truth, for attribute classification. ``pipelines`` counts by metric how
    many of them give it a value.
    """

    task: str
    label: str
    attribute: str
    pipelines: Mapping[str, int]

    def truth(self, people: pd.DataFrame) -> np.ndarray | None:
        """(N,) 1, 0 or -1 for missing; None where there is no label."""
        if self.attribute:
            level = people[f"attribute_{self.attribute}"]
            return np.where(level.isna(), -1, (level == self.label).to_numpy()).astype(np.int8)
        return people[f"label_{self.label}"].to_numpy() if self.task == "classification" else None


class Planner:
    """Forecasts of one process."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="planning")
        self._kept: dict[str, pd.DataFrame] = {}

    async def forecast(self, plan: ResolvedAudit, manifest: Mapping[str, Any]) -> Forecast:
        """Raises what the store raises. A cohort's tables are read once while it is among the last asked for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._forecast, plan, manifest)

    def _forecast(self, plan: ResolvedAudit, manifest: Mapping[str, Any]) -> Forecast:
        people = self._kept.get(manifest["digest"])
        if people is None:
            people = read_people(self._store, manifest)
        # Reads and writes of a dict are whole; two threads that read the same cohort at once do so for nothing.
        self._kept = dict(list({**self._kept, manifest["digest"]: people}.items())[-KEPT:])
        return forecast(plan, people)


def forecast(plan: ResolvedAudit, people: pd.DataFrame) -> Forecast:
    """A pure function of the plan and the cohort's rows as :func:`read_people` gives them."""
    counts = _counts(plan, people)
    given = counts["pipelines"] > 0
    planned = planned_cells(counts[given], minimums=Minimums(cases=plan.min_cases, patients=plan.min_patients))
    planned.index = counts.index[given]
    # Without a threshold a rate has no value, however many cases there are.
    table = pd.concat([planned, counts[~given].assign(state="undefined")]).sort_index()
    cells = _cells(table)
    primary = planned.loc[planned["family"] == PRIMARY, "tests"]
    return Forecast(
        cells=cells,
        tests=int(primary.max()) if len(primary) else 0,
        alpha=ALPHA,
        target_power=POWER,
        assumptions=tuple(_assumptions(Assumptions(), {cell.metric for cell in cells})),
        warnings=tuple(_warnings(plan, _cells(planned))),
    )


def _cells(table: pd.DataFrame) -> tuple[PlannedCell, ...]:
    rows = table.reindex(columns=[field.name for field in fields(PlannedCell)]).to_dict("records")
    return tuple(_cell(row) for row in rows)


def _cell(row: Mapping[Any, Any]) -> PlannedCell:
    """NaN says that there is nothing to say, and so does a gap of 0: a group that is everyone differs from nobody."""
    plain: dict[str, Any] = {
        str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
    }
    if not plain["minimum_detectable_gap"]:
        plain |= {"minimum_detectable_gap": None, "power": None}
    return PlannedCell(**plain)


def _counts(plan: ResolvedAudit, people: pd.DataFrame) -> pd.DataFrame:
    """One row per reading, metric, grouping and group, as ``planned_cells`` takes them."""
    groupings = [everyone(len(people)), *(spec.group(people) for spec in group_specs(plan.attributes, plan.levels))]
    patients = people["patient"].to_numpy()
    rows = [
        {"task": reading.task, "label": reading.label, "metric": metric, "pipelines": pipelines, **group}
        for reading in readings(plan)
        for groups in [list(_groups(groupings, patients, reading.truth(people)))]
        for metric, pipelines in reading.pipelines.items()
        for group in groups
    ]
    return pd.DataFrame(rows)


def _groups(groupings: list[Grouping], patients: np.ndarray, truth: np.ndarray | None) -> Iterator[dict[str, Any]]:
    for grouping in groupings:
        counts = asdict(count_groups(grouping, patients, truth))
        for place, group in enumerate(grouping.groups):
            own = {name: int(values[place]) for name, values in counts.items()}
            yield {"attribute": grouping.attribute, "group": group, **own}


def readings(plan: ResolvedAudit) -> list[Reading]:
    """Everything that the report will have cells of, in the order in which the pipelines come to it."""
    found: dict[tuple[str, str], tuple[str, Counter[str]]] = {}
    for pipeline in plan.pipelines:
        for stage in pipeline.stages:
            if isinstance(stage, ModelStage) and stage.kind == "classify":
                for label, threshold in zip(stage.labels, stage.thresholds, strict=True):
                    _, metrics = found.setdefault((stage.task, label), (stage.attribute, Counter()))
                    metrics.update({"auroc": 1, **dict.fromkeys(CALLED, int(threshold is not None)), "prevalence": 1})
            elif isinstance(stage, ModelStage) and stage.kind == "segment":
                found.setdefault(("segmentation", ""), ("", Counter()))[1].update(["dice"])
        if changes_images(pipeline):
            for name in plan.quality_metrics:
                metric, _, encoder = name.partition("/")
                found.setdefault(("reconstruction", encoder), ("", Counter()))[1].update([metric])
    return [Reading(task, label, attribute, metrics) for (task, label), (attribute, metrics) in found.items()]


def _assumptions(assumed: Assumptions, metrics: set[str]) -> Iterator[str]:
    if metrics & {"auroc", *CALLED}:
        yield (
            f"true positive rates of {assumed.rate:.2g}, false positive rates of {1 - assumed.rate:.2g} and AUROCs of "
            f"{assumed.auroc:.2g}: what the models really do is known only afterwards"
        )
    named = {metric: "lpips" if metric.startswith("lpips") else metric for metric in sorted(metrics)}
    spreads = {metric: assumed.spread.get(name) for metric, name in named.items()}
    stated = [f"{spread:g} for {metric}" for metric, spread in spreads.items() if spread is not None]
    if stated:
        yield f"standard deviations between images of {', '.join(stated)}"
    yield f"variances {assumed.design_effect:g} times those of independent images, since patients have several"
    yield "each group is compared with everyone, each test at the family's error rate divided by its tests (Bonferroni)"


def _warnings(plan: ResolvedAudit, cells: tuple[PlannedCell, ...]) -> Iterator[str]:
    """Groups whose cells will say nothing: one by one for an attribute, summed up for an intersection."""
    for attribute in plan.attributes:
        of_attribute = [cell for cell in cells if cell.attribute == attribute]
        groups = dict.fromkeys(cell.group for cell in of_attribute)
        mute = {group: [cell for cell in of_attribute if cell.group == group and _mute(cell)] for group in groups}
        too_small = f"fewer than {plan.min_patients} patients or {plan.min_cases} cases that decide them"
        if "," in attribute:
            affected = sum(bool(found) for found in mute.values())
            if affected:
                yield f"attribute {attribute}: {affected} of {len(groups)} groups have cells with {too_small}"
        else:
            for group, found in mute.items():
                if found:
                    of_group = sum(cell.group == group for cell in of_attribute)
                    yield (
                        f"group {attribute}={group}: {len(found)} of its {of_group} cells have {too_small}: "
                        "they enter no gap"
                    )
        if not any(cell.minimum_detectable_gap for cell in of_attribute):
            yield (
                f"attribute {attribute}: no cell is large enough for a test, which takes "
                f"{WIDE_FACTOR * plan.min_patients} patients and {WIDE_FACTOR * plan.min_cases} cases"
            )


def _mute(cell: PlannedCell) -> bool:
    return cell.state in ("insufficient", "undefined")
