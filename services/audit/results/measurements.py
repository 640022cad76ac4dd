"""From canonical rows to disaggregations, one label at a time."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.audit.results.attributes import GroupSpec
from services.errors import InvalidInput, OutOfRange
from services.maths.fairness.cells import Minimums
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.classification import disaggregate_classification
from services.maths.fairness.metrics.cross_auroc import CrossAuroc
from services.maths.fairness.metrics.means import disaggregate_mean
from services.maths.fairness.sums import PatientSums

# (metric, attribute) -> disaggregation, for one pipeline, task and label.
ByMetric = dict[tuple[str, str], Disaggregation]

QUALITY_TASKS = {
    "dice": "segmentation",
    "psnr": "reconstruction",
    "ssim_gaussian11": "reconstruction",
    "lpips_alex": "reconstruction",
    "lpips_vgg": "reconstruction",
    "perceptual": "reconstruction",
}
# Smallest and largest value, with room for the last bits of single precision; identical images have an infinite PSNR.
QUALITY_RANGES = {
    "dice": (0.0, 1.0, "lie between 0 and 1"),
    "psnr": (-sys.float_info.max, math.inf, "be a number of decibels, infinite only for identical images"),
    "ssim_gaussian11": (-1.0, 1.0, "lie between -1 and 1"),
    "lpips_alex": (0.0, sys.float_info.max, "be finite and not below 0"),
    "lpips_vgg": (0.0, sys.float_info.max, "be finite and not below 0"),
    "perceptual": (0.0, sys.float_info.max, "be finite and not below 0"),
}
_ROUNDING = 1e-6
LABEL_METRICS = ("prevalence",)  # of the label itself, whatever a pipeline makes of the image


@dataclass(frozen=True)
class Patients:
    """Patient ids of both tables in one sorted list: a patient has one number in all labels, metrics and pipelines."""

    ids: NDArray[np.object_]
    of_category: dict[str, NDArray[np.int64]]

    @property
    def count(self) -> int:
        return len(self.ids)

    def numbers(self, rows: pd.DataFrame, table: str) -> NDArray[np.int64]:
        """(N,) patient numbers of the canonical rows of "predictions" or "quality"."""
        return self.of_category[table][rows["patient_id"].cat.codes.to_numpy()]


@dataclass(frozen=True)
class Scores:
    """(N,) arrays of one label in one pipeline; ``y_true`` is -1 where missing, ``record`` a number in the table."""

    record: NDArray[np.int64]
    y_true: NDArray[np.int8]
    y_score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    patient: NDArray[np.int64]
    groupings: tuple[Grouping, ...]


@dataclass(frozen=True)
class Values:
    """(N,) values of one quality metric in one pipeline; ``record`` is the record's number in the table."""

    record: NDArray[np.int64]
    value: NDArray[np.float64]
    groupings: tuple[Grouping, ...]


@dataclass(frozen=True)
class Reading:
    """What one pipeline made of one label: disaggregations, the sums behind them, and the rows they are of.

    ``rows`` are scores of classifiers, values of quality metrics. ``between`` has the areas between the groups of
    single attributes.
    """

    by: ByMetric
    sums: PatientSums
    rows: Scores | Values
    between: dict[str, CrossAuroc] = field(default_factory=dict)

    @property
    def scores(self) -> Scores | None:
        """The scores; None for means."""
        return self.rows if isinstance(self.rows, Scores) else None


@dataclass(frozen=True)
class Measurement:
    """What was measured of one label, by pipeline, baseline first.

    The label is the structure for Dice, the encoder for a perceptual distance, "" for other image quality.
    """

    task: str
    label: str
    readings: dict[str, Reading]


def common_patients(predictions: pd.DataFrame, quality: pd.DataFrame) -> Patients:
    """Number the patients of both canonical tables in the order of their ids."""
    tables = {"predictions": predictions, "quality": quality}
    categories = {name: rows["patient_id"].cat.categories.to_numpy(dtype=object) for name, rows in tables.items()}
    ids = np.array(sorted(set().union(*categories.values())), dtype=object)
    return Patients(ids, {name: np.searchsorted(ids, found) for name, found in categories.items()})


def measure_predictions(
    rows: pd.DataFrame, pipelines: list[str], specs: Sequence[GroupSpec], patients: Patients, minimums: Minimums
) -> Iterator[Measurement]:
    """Measurements by task and label, sorted. Lazy, so that memory holds the arrays of one label only."""
    for (task, label), by_pipeline in _slices(rows, ("task", "label"), pipelines):
        readings = {
            pipeline: _classified(_scores(part, specs, patients), specs, minimums)
            for pipeline, part in by_pipeline.items()
        }
        yield Measurement(task, label, _with_label_metrics_once(readings))


def measure_quality(
    rows: pd.DataFrame, pipelines: list[str], specs: Sequence[GroupSpec], patients: Patients, minimums: Minimums
) -> Iterator[Measurement]:
    """Measurements by metric, sorted. Raises InvalidInput for a metric that has no definition here and
    OutOfRange for values that it cannot have."""
    for (name,), by_pipeline in _slices(rows, ("metric",), pipelines):
        metric, _, label = name.partition("/")
        if metric not in QUALITY_TASKS:
            raise InvalidInput(f"unknown metric {name!r}; known: {', '.join(QUALITY_TASKS)}", field="quality.metric")
        _require_range(metric, pd.concat(by_pipeline.values())["value"].to_numpy())
        readings = {}
        for pipeline, part in by_pipeline.items():
            values = Values(_records(part), part["value"].to_numpy(), tuple(spec.group(part) for spec in specs))
            means = disaggregate_mean(
                metric,
                values.value,
                sensitive_features=values.groupings,
                cluster=patients.numbers(part, "quality"),
                minimums=minimums,
            )
            readings[pipeline] = Reading(means.by, means.sums, values)
        yield Measurement(QUALITY_TASKS[metric], label, readings)


def _require_range(metric: str, value: NDArray[np.float64]) -> None:
    smallest, largest, must = QUALITY_RANGES[metric]
    if ((value < smallest - _ROUNDING) | (value > largest + _ROUNDING)).any():
        raise OutOfRange(f"{metric} must {must}, or be missing", field="quality.value")


def _scores(part: pd.DataFrame, specs: Sequence[GroupSpec], patients: Patients) -> Scores:
    return Scores(
        record=_records(part),
        y_true=part["y_true"].to_numpy(dtype=np.int8, na_value=-1),
        y_score=part["y_score"].to_numpy(),
        threshold=part["threshold"].to_numpy(),
        patient=patients.numbers(part, "predictions"),
        groupings=tuple(spec.group(part) for spec in specs),
    )


def _records(part: pd.DataFrame) -> NDArray[np.int64]:
    """(N,) places of the rows' records among all records of the table."""
    return part["record_id"].cat.codes.to_numpy().astype(np.int64)


def _classified(scores: Scores, specs: Sequence[GroupSpec], minimums: Minimums) -> Reading:
    # Areas between the twenty groups of an intersection cost as much as all the rest of a large audit.
    found = disaggregate_classification(
        scores.y_true,
        scores.y_score,
        scores.threshold,
        sensitive_features=scores.groupings,
        cluster=scores.patient,
        minimums=minimums,
        between=[spec.name for spec in specs if len(spec.parts) == 1],
    )
    return Reading(found.by, found.sums, scores, found.between)


def _with_label_metrics_once(readings: dict[str, Reading]) -> dict[str, Reading]:
    """Prevalence with the first pipeline only: it is the same in all of them, and one finding must count once."""
    first, *others = readings.items()
    stripped = {}
    for name, reading in others:
        kept = {key: part for key, part in reading.by.items() if key[0] not in LABEL_METRICS}
        stripped[name] = replace(reading, by=kept)
    return {first[0]: first[1], **stripped}


def _slices(
    rows: pd.DataFrame, keys: tuple[str, ...], pipelines: list[str]
) -> Iterator[tuple[tuple[str, ...], dict[str, pd.DataFrame]]]:
    """Rows by the values of ``keys`` (sorted), then by pipeline in the order given."""
    grouped = rows.groupby([*keys, "pipeline"], observed=True, sort=True)
    places = cast("dict[tuple[str, ...], np.ndarray]", grouped.indices)
    for key in sorted({place[:-1] for place in places}):
        yield key, {name: rows.iloc[places[(*key, name)]] for name in pipelines if (*key, name) in places}
