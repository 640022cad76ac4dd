"""A monitor as the server described it."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

from evenhand.listing import api_json
from evenhand.monitor_spec import duration_words
from evenhand.monitor_windows import MonitorPlan, when
from evenhand.monitoring.v1 import monitor_pb2

ARRIVALS = tuple(field.name for field in monitor_pb2.Arrivals.DESCRIPTOR.fields if field.name != "label_delay_s")


class MonitorState:
    """What is known of a monitor, without asking again."""

    def __init__(self, proto: monitor_pb2.Monitor) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def state(self) -> str:
        """ "waiting", "watching", "alarmed" or "finished"."""
        return monitor_pb2.Monitor.State.Name(self.proto.state).removeprefix("STATE_").lower()

    @property
    def spec(self) -> monitor_pb2.MonitorSpec:
        """What was asked, with all that was left open filled in."""
        return self.proto.spec

    @property
    def digest(self) -> str:
        """sha256 of the filled-in spec and of the reference's values."""
        return self.proto.digest

    @property
    def closed_windows(self) -> int:
        """Windows that are closed."""
        return self.proto.closed_windows

    @property
    def alarm_count(self) -> int:
        """Alarms raised, all of them."""
        return self.proto.alarms

    @property
    def arrived(self) -> dict[str, int]:
        """Rows by what became of them: predictions, labels, duplicates, conflicts, unknown and late ones."""
        return {name: getattr(self.proto.arrivals, name) for name in ARRIVALS}

    @property
    def label_delay_s(self) -> float | None:
        """Median seconds from a prediction to its label in the last closed window; None while unknown."""
        delay = self.proto.arrivals.label_delay_s
        return delay if delay >= 0 else None

    @property
    def trouble(self) -> str:
        """What is wrong with its source; empty while all is well."""
        return self.proto.trouble

    @property
    def plan(self) -> MonitorPlan:
        """What its cells can show, as computed when it was created. Empty for a monitor of a list."""
        return MonitorPlan(self.proto.plan)

    @property
    def create_time(self) -> datetime | None:
        """In UTC."""
        return when(self.proto, "create_time")

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto, spec = self.proto, self.proto.spec
        return {
            "name": proto.name,
            "display_name": proto.display_name,
            "state": self.state,
            "model": spec.model,
            "labels": {one.label: round(one.threshold, 6) for one in spec.labels},
            "attributes": {one.attribute: list(one.levels) for one in spec.attributes},
            "groupings": list(spec.groupings),
            "metrics": list(spec.metrics),
            "window": window_words(spec.window),
            "reference": reference_words(spec.reference),
            "source": source_words(spec.source),
            "alpha": spec.alpha,
            "planned_windows": spec.planned_windows,
            "closed_windows": proto.closed_windows,
            "alarms": proto.alarms,
            "arrivals": {name: count for name, count in self.arrived.items() if count},
            "label_delay_s": self.label_delay_s,
            "last_window_end": proto.last_window_end.ToJsonString() if proto.HasField("last_window_end") else None,
            "trouble": proto.trouble,
            "warnings": list(proto.plan.warnings) if proto.HasField("plan") else None,  # a list has no plans
            "digest": proto.digest,
            "create_time": proto.create_time.ToJsonString() if proto.HasField("create_time") else None,
        }

    def _repr_html_(self) -> str:
        """Notebooks show it: what it watches, where it stands, and what is wrong."""
        shown = self.to_dict()
        head = f"<b>{escape(self.proto.display_name or self.name)}</b> {escape(self.name)} · {escape(self.state)}"
        told = ("window", "reference", "source", "labels", "attributes", "arrivals", "trouble", "warnings")
        rows = "".join(
            f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{_html(shown[name])}</td></tr>"
            for name in told
            if shown[name]
        )
        counts = f"windows closed: {self.closed_windows}, alarms: {self.alarm_count}"
        return f"<div><p>{head} · {counts}</p><table>{rows}</table></div>"

    def __repr__(self) -> str:
        counts = f"{self.closed_windows} windows, {self.alarm_count} alarms"
        return f"<{self.name} {self.state} {self.proto.display_name!r} {counts}>"


def window_words(window: monitor_pb2.Window) -> str:
    """ "7d from 2026-01-05T00:00:00Z, labels within 14d"."""
    size = f"{window.records} records" if window.records else duration_words(window.length)
    origin = f" from {window.origin.ToJsonString()}" if window.HasField("origin") and not window.records else ""
    wait = f", labels within {duration_words(window.label_delay)}" if window.HasField("label_delay") else ""
    return size + origin + wait


def reference_words(reference: monitor_pb2.Reference) -> str:
    """What gaps are compared with."""
    match reference.WhichOneof("kind"):
        case "audit":
            return f"{reference.audit}, {f'pipeline {reference.pipeline}' if reference.pipeline else 'its baseline'}"
        case "first_windows":
            return f"its first {reference.first_windows} windows"
        case _:
            return "a gap of zero"


def source_words(source: monitor_pb2.Source) -> str:
    """Where records come from."""
    match source.WhichOneof("kind"):
        case "tap":
            return f"{source.tap.sampling_rate:.3g} of the model's requests"
        case "folder":
            return source.folder
        case _:
            return "posted rows"


def _html(value: Any) -> str:
    if isinstance(value, dict):
        return escape("; ".join(f"{key}: {', '.join(v) if isinstance(v, list) else v}" for key, v in value.items()))
    return "<br>".join(escape(str(item)) for item in value) if isinstance(value, list) else escape(str(value))
