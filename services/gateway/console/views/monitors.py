"""Monitors: the list, one with a chart for each group of a chosen label, and its alarms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evenhand.monitoring.v1 import drift_pb2, monitor_pb2

from services.gateway.console.asking import PAGE_SIZE, Ask
from services.gateway.console.words import count, duration, moment, signed, state_of, title

SERVICE = "evenhand.monitoring.v1.MonitoringService"
ALL = "monitors/-"
METRICS = {"tpr": "true positive rate", "fpr": "false positive rate", "flag_rate": "share that is flagged"}
MOVED = {
    "prevalence": "prevalence",
    "score_distribution": "distribution of scores",
    "threshold": "share beyond the threshold",
    "error_rate": "error rate",
}

_WINDOWS = 120
_ALARMS = 50

Key = tuple[str, str, str, str]


def monitor_row(monitor: monitor_pb2.Monitor) -> dict[str, Any]:
    """A monitor in a list."""
    spec = monitor.spec
    return {
        "name": monitor.name,
        "title": title(monitor.display_name, monitor.name),
        "state": state_of(monitor_pb2.Monitor.State.Name(monitor.state)),
        "model": spec.model,
        "labels": [label.label for label in spec.labels],
        "attributes": list(spec.groupings) or [attribute.attribute for attribute in spec.attributes],
        "closed": monitor.closed_windows,
        "planned": spec.planned_windows,
        "alarms": monitor.alarms,
        "last": moment(monitor.last_window_end),
        "trouble": monitor.trouble,
    }


async def monitors(ask: Ask, query: Mapping[str, str]) -> dict[str, Any]:
    reply = await ask(f"{SERVICE}/ListMonitors", page_size=PAGE_SIZE, page_token=query.get("page_token", ""))
    return {"monitors": [monitor_row(monitor) for monitor in reply.monitors], "next_page": reply.next_page_token}


async def monitor(ask: Ask, name: str, query: Mapping[str, str]) -> dict[str, Any]:
    """One monitor. ``label``, ``metric`` and ``attribute`` choose what is drawn, a chart for each group."""
    found = await ask(f"{SERVICE}/GetMonitor", name=name)
    alarms = (await ask(f"{SERVICE}/ListAlarms", parent=name, page_size=_ALARMS)).alarms
    keys = [series_key(planned.key) for planned in found.plan.series]
    label, metric, attribute = chosen = _chosen(keys, [series_key(alarm.key) for alarm in alarms], query)
    page = await ask(
        f"{SERVICE}/ListWindows",
        parent=name,
        page_size=_WINDOWS,
        page_token=query.get("page_token", ""),
        label=label,
        attribute=attribute,
    )
    groups = [key[3] for key in keys if key[:3] == chosen]
    charts = await asyncio.to_thread(_charts, page.windows, [(*chosen, group) for group in groups], alarms)
    return {
        **monitor_row(found),
        "digest": found.digest,
        "created": moment(found.create_time),
        "arrivals": arrivals_of(found.arrivals),
        "window": _window_length(found.spec.window),
        "reference": _reference(found.spec.reference),
        "source": _source(found.spec.source),
        "alpha": found.spec.alpha,
        "plan": [_planned(planned) for planned in found.plan.series if series_key(planned.key)[:3] == chosen],
        "warnings": list(found.plan.warnings),
        "alarm_rows": [alarm_row(alarm) for alarm in alarms],
        "picked": {"label": label, "metric": metric, "attribute": attribute},
        "choices": [
            ("label", "Label", _options(keys, 0, {})),
            ("metric", "Metric", _options(keys, 1, METRICS)),
            ("attribute", "Groups by", _options(keys, 2, {})),
        ],
        "metric_words": METRICS.get(metric, metric),
        "charts": charts,
        "drawn": [chart["drawn"] for chart in charts],
        "windows": [window_row(window) for window in reversed(page.windows)],
        "next_page": page.next_page_token,
    }


def series_key(key: monitor_pb2.SeriesKey) -> Key:
    return key.label, key.metric, key.attribute, key.group


def alarm_row(alarm: drift_pb2.Alarm) -> dict[str, Any]:
    """The cell, the size with its interval, since when, how many patients, what moved, and its window."""
    return {
        "monitor": alarm.name.partition("/alarms/")[0],
        "label": alarm.key.label,
        "metric": METRICS.get(alarm.key.metric, alarm.key.metric),
        "attribute": alarm.key.attribute,
        "group": alarm.key.group,
        "change": alarm.change,
        "low": alarm.low,
        "high": alarm.high,
        "arm": alarm.arm,
        "since_window": alarm.since_window,
        "since": moment(alarm.since_time),
        "raised": moment(alarm.window_end),
        "patients": alarm.patients,
        "moved": [
            {"what": MOVED.get(part.what, part.what), "change": part.change, "low": part.low, "high": part.high}
            for part in alarm.moved
            if part.moved
        ],
        "summary": alarm.summary,
        "window": alarm.window,
        "index": alarm.window.rpartition("/")[2],
        "versions": list(alarm.model_versions),
    }


def window_row(window: drift_pb2.MonitorWindow) -> dict[str, Any]:
    """A window in a list, with its points by group."""
    return {
        "name": window.name,
        "index": window.index,
        "start": moment(window.start_time),
        "end": moment(window.end_time),
        "records": window.records,
        "patients": window.patients,
        "labelled": window.labelled,
        "revision": window.revision,
        "late": window.late_rows,
        "versions": sorted(window.model_versions.items()),
    }


def point_row(point: drift_pb2.SeriesPoint) -> dict[str, Any]:
    """A series after a window; None where a number is undefined."""
    optional = ("gap", "change", "low", "high", "value", "standard_error")
    return {
        **{name: getattr(point, name) if point.HasField(name) else None for name in optional},
        "state": point.state,
        "e_value": point.e_value,
        "cases": point.cases,
        "patients": point.patients,
        "alarmed": point.alarmed,
    }


def _charts(
    windows: Iterable[drift_pb2.MonitorWindow], keys: Sequence[Key], alarms: Sequence[drift_pb2.Alarm]
) -> list[dict[str, Any]]:
    """A chart for each series. Some hundred windows of some hundred groups are read once, not once for each group."""
    wanted = set(keys)
    seen: list[tuple[drift_pb2.MonitorWindow, dict[Key, drift_pb2.SeriesPoint]]] = []
    for window in windows:
        points = ((series_key(point.key), point) for point in window.points)
        seen.append((window, {key: point for key, point in points if key in wanted}))
    return [chart_of(seen, key, alarms) for key in keys]


def chart_of(
    windows: Iterable[tuple[drift_pb2.MonitorWindow, Mapping[Key, drift_pb2.SeriesPoint]]],
    key: Key,
    alarms: Sequence[drift_pb2.Alarm],
) -> dict[str, Any]:
    """Rows of the table of one series, a sentence about it, and what the script draws (``drawn``).

    ``windows`` come with their points by series.
    """
    rows: list[dict[str, Any]] = []
    marks: list[tuple[int, str]] = []
    before: list[str] = []
    for window, points in windows:
        if (point := points.get(key)) is None:
            continue
        versions = sorted(window.model_versions)
        if before and versions != before:
            marks.append((len(rows), f"version {', '.join(versions)}"))
        before = versions or before
        rows.append({**point_row(point), "index": window.index, "name": window.name, "end": moment(window.end_time)})
    raised = [alarm for alarm in alarms if series_key(alarm.key) == key]
    raised_at = {int(alarm.window.rpartition("/")[2]) for alarm in raised}
    drawn = {
        "group": key[3],
        "times": [row["end"].timestamp() if row["end"] else None for row in rows],
        "index": [row["index"] for row in rows],
        **{name: [row[name] for row in rows] for name in ("gap", "change", "low", "high", "cases")},
        "alarms": [place for place, row in enumerate(rows) if row["index"] in raised_at],
        "since": [place for place, row in enumerate(rows) for alarm in raised if row["index"] == alarm.since_window],
        "versions": marks,
    }
    return {
        "group": key[3],
        "rows": rows[::-1],
        "words": _in_words(rows, raised),
        "alarmed": bool(raised),
        "drawn": drawn,
    }


def _in_words(rows: Sequence[Mapping[str, Any]], raised: Sequence[drift_pb2.Alarm]) -> str:
    """The chart for those who do not see it."""
    last = next((row for row in reversed(rows) if row["change"] is not None), None)
    if last is None:
        return "No window has enough to estimate the gap."
    interval = f" ({signed(last['low'])} to {signed(last['high'])})" if last["low"] is not None else ""
    told = f"Change of the gap after window {last['index']}: {signed(last['change'])}{interval}."
    for alarm in raised:
        told += (
            f" Alarm at window {alarm.window.rpartition('/')[2]}, the change most likely since {alarm.since_window}."
        )
    return told if raised else f"{told} No alarm."


def arrivals_of(arrivals: monitor_pb2.Arrivals) -> list[tuple[str, str]]:
    delay = duration(arrivals.label_delay_s) if arrivals.label_delay_s >= 0 else "unknown"
    return [
        ("Predictions kept", count(arrivals.predictions)),
        ("Labels kept", count(arrivals.labels)),
        ("Repeated rows", count(arrivals.duplicates)),
        ("Refused, since they contradict", count(arrivals.conflicts)),
        ("Labels of unknown records", count(arrivals.unknown_labels)),
        ("Predictions after closing", count(arrivals.late_predictions)),
        ("Labels after closing", count(arrivals.late_labels)),
        ("Median time to a label", delay),
    ]


def _chosen(keys: Sequence[Key], alarmed: Sequence[Key], query: Mapping[str, str]) -> tuple[str, str, str]:
    """What the query names, filled up from the newest alarm and then from the first series."""
    known = [*alarmed, *keys] or [("", "", "", "")]
    asked = tuple(query.get(name, "") for name in ("label", "metric", "attribute"))
    fitting = [key for key in known if all(want in ("", has) for want, has in zip(asked, key, strict=False))]
    return (fitting or known)[0][:3]


def _options(keys: Sequence[Key], place: int, spelling: Mapping[str, str]) -> list[tuple[str, str]]:
    values = dict.fromkeys(key[place] for key in keys)
    return [(value, spelling.get(value, value.replace(",", " × "))) for value in values]


def _planned(planned: monitor_pb2.PlannedSeries) -> dict[str, Any]:
    least = planned.minimum_detectable_change
    return {
        "group": planned.key.group,
        "cases": planned.cases_per_window or None,
        "least": least if 0 < least <= 1 else None,
        "hopeless": least > 1,
    }


def _window_length(window: monitor_pb2.Window) -> str:
    length = window.length.ToTimedelta().total_seconds()
    every = f"every {duration(length)}" if length else f"every {count(window.records)} records"
    delay = window.label_delay.ToTimedelta().total_seconds()
    return f"{every}, closed {duration(delay)} later" if delay else every


def _reference(reference: monitor_pb2.Reference) -> dict[str, str]:
    match reference.WhichOneof("kind"):
        case "audit":
            pipeline = f", pipeline {reference.pipeline}" if reference.pipeline else ""
            return {"audit": reference.audit, "words": f"the audit{pipeline}"}
        case "first_windows":
            return {"audit": "", "words": f"its first {reference.first_windows} windows"}
        case _:
            return {"audit": "", "words": "a gap of zero"}


def _source(source: monitor_pb2.Source) -> str:
    match source.WhichOneof("kind"):
        case "tap":
            return f"served traffic, {100 * source.tap.sampling_rate:g} % of it"
        case "folder":
            return f"folder {source.folder}"
        case _:
            return "records that are posted"
