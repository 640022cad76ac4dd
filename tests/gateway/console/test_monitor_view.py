"""The page of a monitor with many groups and windows: each point is looked at once, and not in the event loop."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from evenhand.monitoring.v1 import drift_pb2, monitor_pb2, monitoring_service_pb2

from services.gateway.console.asking import Ask
from services.gateway.console.views import monitors as view

NAME, WINDOWS, GROUPS, METRICS = "monitors/wide", 12, 30, ("tpr", "fpr")
KEYS = [("Edema", metric, "ward", str(group)) for metric in METRICS for group in range(GROUPS)]


def key_of(key: tuple[str, str, str, str]) -> monitor_pb2.SeriesKey:
    return monitor_pb2.SeriesKey(label=key[0], metric=key[1], attribute=key[2], group=key[3])


def window_of(index: int) -> drift_pb2.MonitorWindow:
    points = [drift_pb2.SeriesPoint(key=key_of(key), change=index + place / 1000) for place, key in enumerate(KEYS)]
    return drift_pb2.MonitorWindow(name=f"{NAME}/windows/{index}", index=index, points=points)


class Canned(Ask):
    """Answers without a platform."""

    def __init__(self) -> None:
        """Holds nothing."""

    async def __call__(self, method: str, **fields: Any) -> Any:
        match method.rpartition("/")[2]:
            case "GetMonitor":
                plan = monitor_pb2.MonitorPlan(series=[monitor_pb2.PlannedSeries(key=key_of(key)) for key in KEYS])
                return monitor_pb2.Monitor(name=NAME, plan=plan)
            case "ListAlarms":
                return monitoring_service_pb2.ListAlarmsResponse()
            case _:
                return monitoring_service_pb2.ListWindowsResponse(windows=map(window_of, range(WINDOWS)))


async def test_points_are_read_once_and_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[threading.Thread] = set()
    read = 0
    real = view.series_key

    def series_key(key: monitor_pb2.SeriesKey) -> view.Key:
        nonlocal read
        if key.metric == "fpr":
            threads.add(threading.current_thread())
            read += 1
        return real(key)

    monkeypatch.setattr(view, "series_key", series_key)
    shown = await view.monitor(Canned(), NAME, {"metric": "fpr"})
    assert [chart["group"] for chart in shown["charts"]] == [str(group) for group in range(GROUPS)]
    for place, chart in enumerate(shown["charts"]):
        expected = [index + (GROUPS + place) / 1000 for index in range(WINDOWS)]
        assert chart["drawn"]["change"] == expected
    assert read <= GROUPS * WINDOWS + 2 * GROUPS  # the plan is looked at twice
    assert threads - {threading.current_thread()}
