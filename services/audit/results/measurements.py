"""From canonical rows to disaggregations, one label at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from services.audit.results.attributes import GroupSpec
from services.errors import InvalidInput
from services.maths.fairness.cells import Minimums
from services.maths.fairness.classification import disaggregate_classification
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.means import disaggregate_mean

# (metric, attribute) -> disaggregation, for one pipeline, task and label.
ByMetric = dict[tuple[str, str], Disaggregation]

QUALITY_TASKS = {"dice": "segmentation", "psnr": "reconstruction", "ssim_gaussian11": "reconstruction"}


@dataclass(frozen=True)
class Measurement:
    """What was measured of one label (of a structure for Dice, "" for image quality), by pipeline, baseline first."""

    task: str
    label: str
    by_pipeline: dict[str, ByMetric]


def measure_predictions(
    rows: pd.DataFrame, pipelines: list[str], specs: list[GroupSpec], minimums: Minimums
) -> Iterator[Measurement]:
    """Measurements by task and label, sorted. Lazy, so that memory holds the arrays of one label only."""
    for (task, label), by_pipeline in _slices(rows, ("task", "label"), pipelines):
        results = {}
        for pipeline, part in by_pipeline.items():
            results[pipeline] = disaggregate_classification(
                part["y_true"].to_numpy(dtype=np.int8, na_value=-1),
                part["y_score"].to_numpy(),
                part["threshold"].to_numpy(),
                sensitive_features=[spec.group(part) for spec in specs],
                cluster=part["patient_id"].cat.codes.to_numpy(),
                minimums=minimums,
            )
        yield Measurement(task, label, results)


def measure_quality(
    rows: pd.DataFrame, pipelines: list[str], specs: list[GroupSpec], minimums: Minimums
) -> Iterator[Measurement]:
    """Measurements by metric, sorted. Raises InvalidInput for a metric that has no definition here."""
    for (name,), by_pipeline in _slices(rows, ("metric",), pipelines):
        metric, _, structure = name.partition("/")
        if metric not in QUALITY_TASKS:
            raise InvalidInput(f"unknown metric {name!r}; known: {', '.join(QUALITY_TASKS)}", field="quality.metric")
        results = {}
        for pipeline, part in by_pipeline.items():
            results[pipeline] = disaggregate_mean(
                metric,
                part["value"].to_numpy(),
                sensitive_features=[spec.group(part) for spec in specs],
                cluster=part["patient_id"].cat.codes.to_numpy(),
                minimums=minimums,
            )
        yield Measurement(QUALITY_TASKS[metric], structure, results)


def _slices(
    rows: pd.DataFrame, keys: tuple[str, ...], pipelines: list[str]
) -> Iterator[tuple[tuple[str, ...], dict[str, pd.DataFrame]]]:
    """Rows by the values of ``keys`` (sorted), then by pipeline in the order given."""
    grouped = rows.groupby([*keys, "pipeline"], observed=True, sort=True)
    places = cast("dict[tuple[str, ...], np.ndarray]", grouped.indices)
    for key in sorted({place[:-1] for place in places}):
        yield key, {name: rows.iloc[places[(*key, name)]] for name in pipelines if (*key, name) in places}
