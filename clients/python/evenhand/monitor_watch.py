"""Following a monitor: what happened since the last look."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evenhand.calls import Flow
from evenhand.errors import DeadlineExceeded, Unavailable
from evenhand.monitor_calls import MonitorCalls
from evenhand.monitor_state import MonitorState
from evenhand.monitor_windows import Alarm, MonitorWindow, series_words
from evenhand.monitoring.v1 import monitor_pb2
from evenhand.operations import OUTAGE_S


@dataclass(frozen=True)
class MonitorEvent:
    """One thing that happened.

    Attributes:
        kind: "window" (one was closed), "rederived" (one has a new revision), "alarm", "state" or "trouble".
        text: the same in a sentence.
        window, alarm: what it is about, of the kinds that have one.
        time: when it was seen, in UTC.
    """

    kind: str
    text: str
    time: datetime
    window: MonitorWindow | None = None
    alarm: Alarm | None = None

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        about = {"window": self.window and self.window.name, "alarm": self.alarm and self.alarm.name}
        return {"kind": self.kind, "time": self.time, "text": self.text, **about}

    def to_json(self) -> dict[str, Any]:
        """With the window or alarm as REST gives it."""
        plain: dict[str, Any] = {"kind": self.kind, "time": self.time.isoformat(), "text": self.text}
        if self.window is not None:
            plain["window"] = self.window.to_json()
        if self.alarm is not None:
            plain["alarm"] = self.alarm.to_json()
        return plain


class Lookout:
    """Remembers what was seen of one monitor. The first look sees what is there; ``past`` makes events of that too."""

    def __init__(self, calls: MonitorCalls, name: str, *, past: bool) -> None:
        self._calls, self._name = calls, name
        self._tell = past
        self._revisions: dict[int, int] = {}
        self._alarms: set[str] = set()
        self._last_answer = time.monotonic()
        self.monitor: MonitorState | None = None
        self.windows: list[MonitorWindow] = []
        self.alarms: list[Alarm] = []

    @property
    def ended(self) -> bool:
        """Whether all planned windows are closed. The state does not tell: an alarm outlasts them."""
        return self.monitor is not None and self.monitor.closed_windows >= self.monitor.spec.planned_windows

    def look(self) -> Flow[list[MonitorEvent]]:
        """What is new. Windows and alarms are read only where the monitor itself changed.

        An absent server is waited for: a look at it sees nothing.

        Raises:
            Unavailable: no answer for two minutes.
        """
        try:
            seen = yield from self._look()
        except (Unavailable, DeadlineExceeded):
            if self.monitor is None or time.monotonic() - self._last_answer > OUTAGE_S:
                raise
            return []
        self._last_answer = time.monotonic()
        return seen

    def _look(self) -> Flow[list[MonitorEvent]]:
        before, proto = self.monitor, (yield from self._calls.get(self._name))
        now = datetime.now(UTC)
        if before is not None and _mark(before.proto) == _mark(proto):
            self.monitor = MonitorState(proto)
            return []
        windows = [MonitorWindow(one) for one in (yield from self._calls.windows(self._name))]
        alarms = [Alarm(one) for one in (yield from self._calls.alarms(self._name))]
        self.monitor, self.windows, self.alarms = MonitorState(proto), windows, alarms
        events = [*self._of_windows(now), *self._of_alarms(now), *_of_state(before, self.monitor, now)]
        told = events if self._tell else []
        self._tell = True
        return told

    def _of_windows(self, now: datetime) -> list[MonitorEvent]:
        events = []
        for window in self.windows:
            seen, revision = self._revisions.get(window.index, 0), window.proto.revision
            self._revisions[window.index] = revision
            if revision > seen:
                kind = "rederived" if seen else "window"
                verb = f"derived again, revision {revision}" if seen else "closed"
                counts = f"{window.proto.records} records, {window.proto.labelled} labelled"
                events.append(MonitorEvent(kind, f"window {window.index} {verb}: {counts}", now, window))
        return events

    def _of_alarms(self, now: datetime) -> list[MonitorEvent]:
        fresh = [alarm for alarm in reversed(self.alarms) if alarm.name not in self._alarms]
        self._alarms |= {alarm.name for alarm in fresh}
        return [
            MonitorEvent("alarm", alarm.proto.summary or series_words(alarm.proto.key), now, alarm=alarm)
            for alarm in fresh
        ]


def _mark(proto: monitor_pb2.Monitor) -> tuple[Any, ...]:
    """What differs where there is something to read."""
    updated = proto.update_time
    return proto.closed_windows, proto.alarms, proto.state, proto.trouble, updated.seconds, updated.nanos


def _of_state(before: MonitorState | None, after: MonitorState, now: datetime) -> list[MonitorEvent]:
    events = []
    if before is None or before.state != after.state:
        events.append(MonitorEvent("state", f"{after.name} is {after.state}", now))
    if after.proto.trouble != (before.proto.trouble if before is not None else ""):
        events.append(MonitorEvent("trouble", after.proto.trouble or "its source is well again", now))
    return events
