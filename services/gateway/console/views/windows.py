"""One closed window of a monitor: what it holds, and what each series is after it."""

from __future__ import annotations

from typing import Any

from evenhand.monitoring.v1 import drift_pb2

from services.gateway.console.asking import Ask
from services.gateway.console.views.monitors import METRICS, SERVICE, arrivals_of, point_row, series_key, window_row
from services.gateway.console.words import moment, title

_VALUES = ("tpr", "fpr", "prevalence", "flag_rate", "mean_score")


async def window(ask: Ask, monitor: str, index: str) -> dict[str, Any]:
    """The window, its cells, and the points of all series."""
    name = f"{monitor}/windows/{index}"
    found = await ask(f"{SERVICE}/GetWindow", name=name)
    of = await ask(f"{SERVICE}/GetMonitor", name=monitor)
    return {
        **window_row(found),
        "monitor": monitor,
        "monitor_title": title(of.display_name, of.name),
        "last": found.index + 1 >= of.closed_windows,
        "digest": found.digest,
        "key": found.key,
        "conflicts": found.conflicts,
        "closed": moment(found.close_time),
        "arrivals": arrivals_of(of.arrivals),
        "columns": _VALUES,
        "cells": [_cell(cell) for cell in found.cells],
        "rates": [_rate(rate) for rate in found.rates],
        "points": [_point(point) for point in found.points],
    }


def _cell(cell: drift_pb2.WindowCell) -> dict[str, Any]:
    return {
        "label": cell.label,
        "attribute": cell.attribute,
        "group": cell.group or "everyone",
        "records": cell.records,
        "patients": cell.patients,
        "labelled": cell.labelled,
        "positives": cell.positives,
        "values": [cell.values.get(name) for name in _VALUES],
    }


def _rate(rate: drift_pb2.PredictionPoweredRate) -> dict[str, Any]:
    known = {field.name: value for field, value in rate.ListFields()}
    numbers = ("value", "low", "high", "labels_value", "labels_low", "labels_high", "running", "running_low", "hint")
    return {
        **{name: known.get(name) for name in (*numbers, "running_high")},
        "label": rate.label,
        "metric": METRICS.get(rate.metric, rate.metric.replace("_", " ")),
        "attribute": rate.attribute,
        "group": rate.group,
        "labelled": rate.labelled,
        "records": rate.labelled + rate.unlabelled,
    }


def _point(point: drift_pb2.SeriesPoint) -> dict[str, Any]:
    label, metric, attribute, group = series_key(point.key)
    known = {"label": label, "metric": METRICS.get(metric, metric), "attribute": attribute, "group": group}
    return {**known, **point_row(point)}
