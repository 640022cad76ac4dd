"""What the ledger keeps of monitors, windows and alarms, and the messages that callers get of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from evenhand.monitoring.v1 import drift_pb2, monitor_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.adapters.ledger import Ledger
from services.maths.fairness.drift.windows import WindowCells
from services.monitoring.cells import window_cell_rows

KIND = "monitor"
FILES_KIND = "monitor-files"
"""One document a monitor: which tables of its folder were recorded."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POINT_NUMBERS = ("gap", "standard_error", "change", "low", "high", "value")


def stamp(moment: datetime) -> str:
    """A time in the protos' JSON mapping."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message.ToJsonString()


def stamp_micros(micros: int) -> str:
    return stamp(EPOCH + timedelta(microseconds=micros))


def files_name(monitor: str) -> str:
    """Name of the document that says which tables of the monitor's folder were recorded."""
    return f"{monitor}/files"


def monitor_message(body: Mapping[str, Any], arrivals: Mapping[str, int]) -> monitor_pb2.Monitor:
    """The Monitor of a stored resource and the sums of what arrived."""
    shown = {key: body[key] for key in monitor_pb2.Monitor.DESCRIPTOR.fields_by_name if key in body}
    message = ParseDict(shown, monitor_pb2.Monitor())
    for name, count in arrivals.items():
        setattr(message.arrivals, name, count)
    message.arrivals.label_delay_s = float(body.get("label_delay_s", -1.0))
    return message


def window_message(
    summary: Mapping[str, Any],
    points: Iterable[Mapping[str, Any]] = (),
    sums: WindowCells | None = None,
    *,
    rates: Iterable[Mapping[str, Any]] = (),
    late_rows: int = 0,
) -> drift_pb2.MonitorWindow:
    """The window of a stored summary with some of its points; with its sums also the cells, and rates of few labels."""
    known = drift_pb2.MonitorWindow.DESCRIPTOR.fields_by_name
    message = ParseDict({key: value for key, value in summary.items() if key in known}, drift_pb2.MonitorWindow())
    message.points.extend(map(point_message, points))
    if sums is not None:
        message.cells.extend(drift_pb2.WindowCell(**cell) for cell in window_cell_rows(sums))
    told = drift_pb2.PredictionPoweredRate.DESCRIPTOR.fields_by_name
    for rate in rates:
        message.rates.add(**{name: value for name, value in rate.items() if name in told and value is not None})
    message.late_rows = late_rows
    return message


def point_message(point: Mapping[str, Any]) -> drift_pb2.SeriesPoint:
    """A point of the ledger; what is None there is absent."""
    key = monitor_pb2.SeriesKey(**{name: point[name] for name in ("label", "metric", "attribute", "group")})
    numbers = {name: point[name] for name in _POINT_NUMBERS if point[name] is not None}
    rest = {name: point[name] for name in ("state", "e_value", "cases", "patients", "alarmed", "records")}
    return drift_pb2.SeriesPoint(key=key, **numbers, **rest)


def alarm_message(body: Mapping[str, Any]) -> drift_pb2.Alarm:
    return ParseDict(dict(body), drift_pb2.Alarm(), ignore_unknown_fields=True)


def plain(message: Message) -> dict[str, Any]:
    """A message as the ledger keeps it: the JSON mapping with the protos' field names."""
    return MessageToDict(message, preserving_proto_field_name=True)


def closed_windows(ledger: Ledger, monitor: str) -> Iterator[dict[str, Any]]:
    """Summaries of a monitor's closed windows, from the first."""
    token = ""
    while True:
        page, token = ledger.list_windows(monitor, page_size=1000, page_token=token)
        yield from page
        if not token:
            return


def state_of(closed: int, alarms: int, planned: int) -> str:
    """Where a monitor stands. An alarm outlasts the planned windows."""
    if alarms:
        return "STATE_ALARMED"
    if closed >= planned:
        return "STATE_FINISHED"
    return "STATE_WATCHING" if closed else "STATE_WAITING"
