"""The part of the platform's twin that watches: rows by record id, and the windows and alarms that a test puts in."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from evenhand.monitoring.v1 import drift_pb2, monitor_pb2, monitoring_service_pb2, monitoring_service_pb2_grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from services.errors import Conflict, InvalidInput, NotFound

ORIGIN = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)


class MonitoringTwin(monitoring_service_pb2_grpc.MonitoringServiceServicer):
    """Joined to the twin, which has the operations. ``close`` puts in a window, ``raise_alarm`` an alarm."""

    def __init__(self) -> None:
        self.monitors: dict[str, monitor_pb2.Monitor] = {}
        self.monitor_requests: dict[str, tuple[bytes, str]] = {}
        self.predicted: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.labelled: dict[tuple[str, str, str], int] = {}
        self.windows: dict[str, list[drift_pb2.MonitorWindow]] = {}
        self.raised: list[drift_pb2.Alarm] = []
        self.late_rows = 0

    # What a test puts in.

    def close(self, monitor: str, *, revision: int = 1, **points: Any) -> drift_pb2.MonitorWindow:
        """The next window, or with a revision above 1 the last one again; ``points`` are change by group."""
        closed = self.windows.setdefault(monitor, [])
        index = len(closed) - (revision > 1)
        window = window_of(monitor, index, self.monitors[monitor].spec, points, revision)
        self.windows[monitor] = [*closed[:index], window]
        self.monitors[monitor].closed_windows = index + 1
        alarmed = self.monitors[monitor].alarms
        states = monitor_pb2.Monitor
        self.monitors[monitor].state = states.STATE_ALARMED if alarmed else states.STATE_WATCHING
        self.monitors[monitor].update_time.GetCurrentTime()
        return window

    def raise_alarm(self, monitor: str, group: str = "Female", change: float = -0.12) -> drift_pb2.Alarm:
        """An alarm of the first label's first series at the last window, since two windows before."""
        last = len(self.windows[monitor]) - 1
        since = max(0, last - 2)
        spec = self.monitors[monitor].spec
        alarm = drift_pb2.Alarm(
            name=f"{monitor}/alarms/{len(self.raised) + 1}",
            key=monitor_pb2.SeriesKey(
                label=spec.labels[0].label, metric="tpr", attribute=spec.attributes[0].attribute, group=group
            ),
            window=f"{monitor}/windows/{last}",
            window_end=ORIGIN + (last + 1) * WEEK,
            arm="persistent",
            change=change,
            low=change - 0.06,
            high=change + 0.06,
            e_value=412.0,
            since_window=since,
            since_time=ORIGIN + since * WEEK,
            patients=203,
            moved=[
                drift_pb2.Movement(what="error_rate", change=change, low=change - 0.05, high=change + 0.05, moved=True),
                drift_pb2.Movement(what="prevalence", change=0.01, low=-0.02, high=0.04),
            ],
            summary=f"{group} are missed more often: TPR gap changed by {change:+.2f} since window {since}",
            create_time=ORIGIN + (last + 3) * WEEK,
            model_versions=["2"],
        )
        self.raised.insert(0, alarm)
        self.monitors[monitor].alarms += 1
        self.monitors[monitor].state = monitor_pb2.Monitor.STATE_ALARMED
        self.monitors[monitor].update_time.GetCurrentTime()
        return alarm

    def finish(self, monitor: str) -> None:
        """All planned windows are closed; an alarm still stands."""
        found = self.monitors[monitor]
        found.closed_windows = found.spec.planned_windows
        if not found.alarms:
            found.state = monitor_pb2.Monitor.STATE_FINISHED
        found.update_time.GetCurrentTime()

    # What the API answers.

    def CreateMonitor(self, request, context):
        self._enter("CreateMonitor", request, context)
        body = request.SerializeToString(deterministic=True)
        known = self.monitor_requests.get(request.request_id)
        if known is None:
            self._refuse_spec(request.spec, context)
            name = f"monitors/{len(self.monitors) + 1}"
            monitor = monitor_pb2.Monitor(name=name, display_name=request.display_name, digest="m" * 64, alarms=0)
            monitor.spec.CopyFrom(request.spec)
            monitor.spec.groupings[:] = request.spec.groupings or [a.attribute for a in request.spec.attributes]
            monitor.spec.metrics[:] = request.spec.metrics or ["tpr", "fpr"]
            monitor.spec.alpha = request.spec.alpha or 0.05
            monitor.spec.planned_windows = request.spec.planned_windows or 104
            monitor.state = monitor_pb2.Monitor.STATE_WAITING
            monitor.arrivals.label_delay_s = -1
            monitor.plan.CopyFrom(plan_of(monitor.spec, 0))
            monitor.create_time.GetCurrentTime()
            self.monitors[name] = monitor
            known = self.monitor_requests[request.request_id] = (body, name)
        if known[0] != body:
            self._abort(context, Conflict("this request_id was used with another body", field="request_id"))
        self._leave("CreateMonitor", context)
        return self.monitors[known[1]]

    def PlanMonitor(self, request, context):
        self._enter("PlanMonitor", request, context)
        self._refuse_spec(request.spec, context)
        return plan_of(request.spec, request.records_per_window)

    def GetMonitor(self, request, context):
        self._enter("GetMonitor", request, context)
        return self._monitor(request.name, context)

    def ListMonitors(self, request, context):
        self._enter("ListMonitors", request, context)
        page, token = _page(list(reversed(self.monitors.values())), request)
        return monitoring_service_pb2.ListMonitorsResponse(monitors=page, next_page_token=token)

    def DeleteMonitor(self, request, context):
        self._enter("DeleteMonitor", request, context)
        self._monitor(request.name, context)
        del self.monitors[request.name]
        self._leave("DeleteMonitor", context)
        return empty_pb2.Empty()

    def RecordPredictions(self, request, context):
        self._enter("RecordPredictions", request, context)
        monitor = self._monitor(request.monitor, context)
        count = len(request.record_ids)
        columns = [column.codes for column in request.attributes] + [column.scores for column in request.scores]
        if any(len(column) != count for column in [request.patient_ids, *columns]):
            self._abort(context, InvalidInput("columns of one length", field="record_ids", reason="BATCH_INVALID"))
        rows = [tuple(str(column[row]) for column in [request.patient_ids, *columns]) for row in range(count)]
        keys = [(request.monitor, record) for record in request.record_ids]
        for place, (key, row) in enumerate(zip(keys, rows, strict=True)):
            if self.predicted.get(key, row) != row:
                message = f"the record came before with other values: {'a' * 12} is not {'b' * 12}"
                error = Conflict(message, field=f"record_ids[{place}]", reason="CONFLICTING_RECORD")
                self._abort(context, error)
        fresh = {key: row for key, row in zip(keys, rows, strict=True) if key not in self.predicted}
        self.predicted |= fresh
        monitor.arrivals.predictions += len(fresh)
        monitor.arrivals.duplicates += count - len(fresh)
        self._leave("RecordPredictions", context)
        return monitoring_service_pb2.RecordPredictionsResponse(
            recorded=len(fresh), duplicates=count - len(fresh), late=min(self.late_rows, len(fresh))
        )

    def RecordLabels(self, request, context):
        self._enter("RecordLabels", request, context)
        monitor = self._monitor(request.monitor, context)
        fresh = {
            (request.monitor, record, column.label): value
            for column in request.labels
            for record, value in zip(request.record_ids, column.values, strict=True)
        }
        new = {key[1] for key in fresh if key not in self.labelled}
        for (_, record, label), value in fresh.items():
            if self.labelled.get((request.monitor, record, label), value) != value:
                message = f"{label} came before with another value"
                self._abort(context, Conflict(message, field="labels", reason="CONFLICTING_LABEL"))
        self.labelled |= fresh
        unknown = sum((request.monitor, record) not in self.predicted for record in new)
        monitor.arrivals.labels += len(new)
        monitor.arrivals.unknown_labels += unknown
        self._leave("RecordLabels", context)
        return monitoring_service_pb2.RecordLabelsResponse(
            recorded=len(new), duplicates=len(request.record_ids) - len(new), unknown=unknown
        )

    def GetWindow(self, request, context):
        self._enter("GetWindow", request, context)
        return self._window(request.name, context)

    def ListWindows(self, request, context):
        self._enter("ListWindows", request, context)
        self._monitor(request.parent, context)
        page, token = _page(self.windows.get(request.parent, []), request)
        return monitoring_service_pb2.ListWindowsResponse(
            windows=[_listed(window, request) for window in page], next_page_token=token
        )

    def RederiveWindow(self, request, context):
        self._enter("RederiveWindow", request, context)
        window = self._window(request.name, context)
        operation = operations_pb2.Operation(name=f"operations/{len(self.operations) + 1}", done=True)
        window.revision, window.late_rows = window.revision + 1, 0
        operation.response.Pack(window)
        self.operations[operation.name] = operation
        return operation

    def ListAlarms(self, request, context):
        self._enter("ListAlarms", request, context)
        everyone = request.parent == "monitors/-"
        found = [one for one in self.raised if everyone or one.name.startswith(f"{request.parent}/")]
        page, token = _page(found, request)
        return monitoring_service_pb2.ListAlarmsResponse(alarms=page, next_page_token=token)

    def _monitor(self, name: str, context: Any) -> monitor_pb2.Monitor:
        if name not in self.monitors:
            self._abort(context, NotFound("no such monitor", field=name, reason="MONITOR_NOT_FOUND"))
        return self.monitors[name]

    def _window(self, name: str, context: Any) -> drift_pb2.MonitorWindow:
        found = [one for windows in self.windows.values() for one in windows if one.name == name]
        if not found:
            self._abort(context, NotFound("the window is not closed", field=name, reason="WINDOW_NOT_FOUND"))
        return found[0]

    def _refuse_spec(self, spec: monitor_pb2.MonitorSpec, context: Any) -> None:
        for place, one in enumerate(spec.labels):
            if not 0 < one.threshold < 1:
                field = f"spec.labels[{place}].threshold"
                error = InvalidInput("a threshold lies in (0, 1)", field=field, reason="THRESHOLD_INVALID")
                self._abort(context, error)


def plan_of(spec: monitor_pb2.MonitorSpec, records: float) -> monitor_pb2.MonitorPlan:
    """Every group has half of the records and a tenth of them is positive; the last group of an attribute has none."""
    plan = monitor_pb2.MonitorPlan(warnings=["cells of [few] positives"] if records else [])
    for label in spec.labels:
        for attribute in spec.attributes:
            for place, level in enumerate(attribute.levels):
                key = monitor_pb2.SeriesKey(label=label.label, metric="tpr", attribute=attribute.attribute, group=level)
                silent = place == len(attribute.levels) - 1 and len(attribute.levels) > 2
                change = (2.0 if silent else 0.5 / math.sqrt(records)) if records else 0.0
                plan.series.add(key=key, cases_per_window=0.05 * records, minimum_detectable_change=change)
    return plan


def window_of(
    monitor: str, index: int, spec: monitor_pb2.MonitorSpec, changes: dict[str, Any], revision: int
) -> drift_pb2.MonitorWindow:
    """A closed week; a change of None is one that is not known."""
    window = drift_pb2.MonitorWindow(
        name=f"{monitor}/windows/{index}",
        index=index,
        start_time=ORIGIN + index * WEEK,
        end_time=ORIGIN + (index + 1) * WEEK,
        digest=f"{index:064x}",
        revision=revision,
        records=800,
        patients=610,
        labelled=790,
        model_versions={"1": 800} if index < 6 else {"1": 100, "2": 700},
        close_time=ORIGIN + (index + 3) * WEEK,
    )
    half = 0.3 / math.sqrt(index + 1)
    for label in spec.labels:
        for attribute in spec.attributes:
            for group in attribute.levels:
                change = changes.get(group, 0.0)
                key = monitor_pb2.SeriesKey(label=label.label, metric="tpr", attribute=attribute.attribute, group=group)
                point = window.points.add(key=key, state="ok", e_value=1.0, cases=80, patients=61, records=400)
                point.gap, point.standard_error, point.value = (change or 0.0) - 0.02, 0.055, 0.8 + (change or 0.0)
                if change is None:
                    point.state, point.cases = "insufficient", 4
                    point.ClearField("standard_error")
                else:
                    point.change, point.low, point.high = change, change - half, change + half
                cell = window.cells.add(label=label.label, attribute=attribute.attribute, group=group, records=400)
                cell.values["tpr"], cell.values["prevalence"] = 0.8, 0.1
    return window


def _listed(window: drift_pb2.MonitorWindow, request: Any) -> drift_pb2.MonitorWindow:
    """Without cells, and only the points that were asked for."""
    listed = drift_pb2.MonitorWindow()
    listed.CopyFrom(window)
    listed.ClearField("cells")
    listed.ClearField("points")
    for point in window.points:
        if request.label in ("", point.key.label) and request.attribute in ("", point.key.attribute):
            listed.points.append(point)
    return listed


def _page(items: list[Any], request: Any) -> tuple[list[Any], str]:
    start, size = int(request.page_token or 0), request.page_size or 50
    return items[start : start + size], str(start + size) if start + size < len(items) else ""
