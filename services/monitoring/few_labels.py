"""Rates where labels are few: prediction-powered, in a window and over all so far, beside what labels alone say.

They are shown and raise nothing: an alarm stands on labels. ``hint`` is what the scores would mean if they were
calibrated in every group (CBPE), which is what drift breaks first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from services.adapters.arrivals import WindowRows
from services.adapters.object_store import ObjectStore
from services.maths.canonical import canonical_json
from services.maths.fairness.drift.prediction_powered import PredictionPowered, cbpe, ppi_by_group, ppi_sequence
from services.maths.fairness.groups import Grouping
from services.monitoring.watched import Watched

ENOUGH = 0.9
"""Share of a label's scored records that have it, from which labels speak for themselves."""

Rate = dict[str, Any]


def few_label_rates(rows: WindowRows, watched: Watched) -> list[Rate]:
    """Fields of PredictionPoweredRate, one for each label with few labels, group and rate that has a value."""
    found = []
    groupings = watched.groups(rows.codes)
    for place, (label, threshold) in enumerate(zip(watched.labels, watched.thresholds, strict=True)):
        scores, labels = rows.scores[place], rows.labels[place]
        scored = ~np.isnan(scores)
        share = float((labels[scored] >= 0).mean()) if scored.any() else 0.0
        if 0 < share < ENOUGH:
            for grouping in groupings:
                found += [
                    {"label": label, "attribute": grouping.attribute, **rate}
                    for rate in _of_groups(scores, labels, rows.patients, threshold, grouping)
                ]
    return found


def _of_groups(
    scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, threshold: float, grouping: Grouping
) -> Iterator[Rate]:
    for place, (group, rates) in enumerate(ppi_by_group(scores, labels, patients, threshold, grouping).items()):
        own = scores[grouping.codes == place]
        hint = cbpe(own, threshold)
        for rate in rates:
            if math.isfinite(rate.value):
                yield {"group": group, **_told(rate), "hint": _finite(getattr(hint, rate.metric))}


def _told(rate: PredictionPowered) -> Rate:
    return {
        "metric": rate.metric,
        "value": rate.value,
        "variance": rate.variance,
        "low": _finite(rate.lower),
        "high": _finite(rate.upper),
        "labels_value": _finite(rate.labels_value),
        "labels_low": _finite(rate.labels_lower),
        "labels_high": _finite(rate.labels_upper),
        "labelled": rate.labelled,
        "unlabelled": rate.unlabelled,
    }


def with_running(rates: Sequence[Rate], earlier: Iterable[Sequence[Rate]]) -> list[Rate]:
    """The same with ``running`` and its limits, which hold at all windows at once, over these and earlier windows.

    Without rates nothing is read of the earlier ones.
    """
    if not rates:
        return []
    history: dict[tuple[str, ...], list[Rate]] = {}
    for window in earlier:
        for rate in window:
            history.setdefault(_key(rate), []).append(rate)
    told = []
    for rate in rates:
        series = [*history.get(_key(rate), []), rate]
        columns = ([one[name] for one in series] for name in ("value", "variance", "labelled"))
        found = ppi_sequence(*columns)
        running = {"running": found.value[-1], "running_low": found.lower[-1], "running_high": found.upper[-1]}
        told.append(rate | {name: _finite(number) for name, number in running.items()})
    return told


def put_rates(store: ObjectStore, rates: Sequence[Rate]) -> str:
    """The object's key; "" without rates."""
    return store.put(canonical_json(list(rates)), media_type="application/json").key if rates else ""


def read_rates(store: ObjectStore, summary: Mapping[str, Any]) -> list[Rate]:
    """Of a closed window's summary."""
    key = summary.get("rates_key")
    return list(json.loads(store.get(key))) if key else []


def _key(rate: Rate) -> tuple[str, ...]:
    return rate["label"], rate["attribute"], rate["group"], rate["metric"]


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
