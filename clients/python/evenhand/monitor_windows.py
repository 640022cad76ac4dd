"""What a monitor found: its plan, its closed windows and its alarms, each with a table view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from google.protobuf.timestamp_pb2 import Timestamp

from evenhand.listing import Listing, api_json
from evenhand.monitoring.v1 import drift_pb2, monitor_pb2
from evenhand.tables import Table

KEY_COLUMNS = {"label": "str", "metric": "str", "attribute": "str", "group": "str"}
PLAN_COLUMNS = {**KEY_COLUMNS, "cases_per_window": "float64", "minimum_detectable_change": "float64"}
WINDOW_COLUMNS = {
    "window": "Int64",
    "start_time": "datetime64[us, UTC]",
    "end_time": "datetime64[us, UTC]",
    "revision": "Int64",
}
MEASURES = ("value", "gap", "standard_error", "change", "low", "high")
COUNTS = ("cases", "patients", "records")
POINT_COLUMNS = {
    **WINDOW_COLUMNS,
    **KEY_COLUMNS,
    "state": "str",
    **dict.fromkeys(MEASURES, "float64"),
    "e_value": "float64",
    **dict.fromkeys(COUNTS, "Int64"),
    "alarmed": "bool",
}
CELL_COLUMNS = {
    **WINDOW_COLUMNS,
    "label": "str",
    "attribute": "str",
    "group": "str",
    **dict.fromkeys(("records", "patients", "labelled", "positives"), "Int64"),
    **dict.fromkeys(("tpr", "fpr", "prevalence", "flag_rate", "mean_score"), "float64"),
}
RATE_COLUMNS = {
    **WINDOW_COLUMNS,
    **dict.fromkeys(("label", "attribute", "group", "metric"), "str"),
    **dict.fromkeys(("value", "low", "high", "labels_value", "labels_low", "labels_high"), "float64"),
    **dict.fromkeys(("labelled", "unlabelled"), "Int64"),
    **dict.fromkeys(("running", "running_low", "running_high", "hint"), "float64"),
}
_CELL_COUNTS = ("records", "patients", "labelled", "positives")
CERTAIN_NEVER = 1.0  # a plan's smallest change above 1 means that none is found


def when(proto: Any, field: str) -> datetime | None:
    """A time of a message in UTC; None where it is not set."""
    stamp: Timestamp = getattr(proto, field)
    return stamp.ToDatetime(tzinfo=UTC) if proto.HasField(field) else None


def key_fields(key: monitor_pb2.SeriesKey) -> dict[str, str]:
    """label, metric, attribute and group."""
    return {name: getattr(key, name) for name in KEY_COLUMNS}


def series_words(key: monitor_pb2.SeriesKey) -> str:
    """ "Pneumonia tpr, sex: Female"."""
    return f"{key.label} {key.metric}, {key.attribute}: {key.group}"


class MonitorPlan(Table):
    """One row per series: expected cases in a window, and the smallest lasting change that is found with power 0.8.

    A change of NaN is unknown until records have come; one above 1 means that none would be found.
    """

    def __init__(self, proto: monitor_pb2.MonitorPlan) -> None:
        super().__init__([_plan_row(series) for series in proto.series], PLAN_COLUMNS)
        self.proto = proto

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before it starts."""
        return tuple(self.proto.warnings)

    def silent(self) -> pd.DataFrame:
        """The series that no change would be found in."""
        rows = self.to_pandas()
        return rows[rows["minimum_detectable_change"] > CERTAIN_NEVER].reset_index(drop=True)

    def detectable(self) -> pd.DataFrame:
        """One row per label, metric and attribute: "0.04 to 0.21", "1 of 3 groups silent", "unknown"."""
        rows = self.to_pandas()
        keys = ["label", "metric", "attribute"]
        said = [
            {**dict(zip(keys, key, strict=True)), "groups": len(part), "smallest change": _range(part)}
            for key, part in rows.groupby(keys, sort=False)
        ]
        return pd.DataFrame(said, columns=[*keys, "groups", "smallest change"])

    def to_dict(self) -> dict[str, Any]:
        """How many series there are, how many of them are silent, and the warnings."""
        return {"series": len(self), "silent": len(self.silent()), "warnings": list(self.warnings)}

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def __repr__(self) -> str:
        return f"<MonitorPlan {len(self)} series, {len(self.silent())} silent, {len(self.warnings)} warnings>"


def _plan_row(series: monitor_pb2.PlannedSeries) -> dict[str, Any]:
    change = series.minimum_detectable_change
    known = {"cases_per_window": series.cases_per_window, "minimum_detectable_change": change or None}
    return {**key_fields(series.key), **known}


def _range(part: pd.DataFrame) -> str:
    changes = part["minimum_detectable_change"]
    heard = changes[changes <= CERTAIN_NEVER]
    silent, unknown = int((changes > CERTAIN_NEVER).sum()), int(changes.isna().sum())
    low, high = f"{heard.min():.2g}", f"{heard.max():.2g}"
    words = [] if heard.empty else [low if low == high else f"{low} to {high}"]
    words += [f"{silent} of {len(part)} groups silent"] if silent else []
    words += ["unknown"] if unknown else []
    return ", ".join(words)


class MonitorWindow:
    """One closed window."""

    def __init__(self, proto: drift_pb2.MonitorWindow) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def index(self) -> int:
        """From 0."""
        return self.proto.index

    @property
    def digest(self) -> str:
        """sha256 of its content: equal for equal records, whatever their order, batches, retries and crashes."""
        return self.proto.digest

    @property
    def start_time(self) -> datetime | None:
        """In UTC."""
        return when(self.proto, "start_time")

    @property
    def end_time(self) -> datetime | None:
        """In UTC."""
        return when(self.proto, "end_time")

    @property
    def model_versions(self) -> dict[str, int]:
        """Records by the version of the model that made them."""
        return dict(sorted(self.proto.model_versions.items()))

    def rows(self) -> Iterator[dict[str, Any]]:
        """One per series."""
        for point in self.proto.points:
            measured = {name: getattr(point, name) if point.HasField(name) else None for name in MEASURES}  # type: ignore[arg-type]
            counted = {name: getattr(point, name) for name in ("state", "e_value", *COUNTS, "alarmed")}
            yield {**self._place(), **key_fields(point.key), **measured, **counted}

    def to_pandas(self) -> pd.DataFrame:
        """One row per series."""
        return Table(list(self.rows()), POINT_COLUMNS).to_pandas()

    def cells(self) -> pd.DataFrame:
        """One row per label and group; empty in listings, which leave them out: ``monitor.window(i)`` has them."""
        rows = [
            {
                **self._place(),
                "label": cell.label,
                "attribute": cell.attribute,
                "group": cell.group,
                **{name: getattr(cell, name) for name in _CELL_COUNTS},
                **dict(cell.values),
            }
            for cell in self.proto.cells
        ]
        return Table(rows, CELL_COLUMNS).to_pandas()

    def rates(self) -> pd.DataFrame:
        """One row per label with few labels, group and rate: prediction-powered, in this window and over all so far.

        Empty in listings, and where labels are many or none.
        """
        rows = [
            {**self._place(), **{field.name: value for field, value in rate.ListFields()}} for rate in self.proto.rates
        ]
        return Table(rows, RATE_COLUMNS).to_pandas()

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def to_dict(self) -> dict[str, Any]:
        """A row of the overview."""
        proto = self.proto
        counted = {name: getattr(proto, name) for name in ("records", "patients", "labelled", "conflicts", "late_rows")}
        return {
            "window": proto.index,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "revision": proto.revision,
            **counted,
            "model_versions": self.model_versions,
            "alarmed": sum(point.alarmed for point in proto.points),
            "digest": proto.digest,
        }

    def _place(self) -> dict[str, Any]:
        times = {"start_time": self.start_time, "end_time": self.end_time}
        return {"window": self.proto.index, **times, "revision": self.proto.revision}

    def _repr_html_(self) -> str:
        html: str = self.to_pandas().to_html(index=False, na_rep="")
        return html

    def __repr__(self) -> str:
        return f"<{self.name} revision {self.proto.revision}, {self.proto.records} records>"


class MonitorWindows(Listing[MonitorWindow]):
    """Closed windows, oldest first."""

    def to_pandas(self) -> pd.DataFrame:
        """One row per window and series."""
        return Table([row for window in self for row in window.rows()], POINT_COLUMNS).to_pandas()

    def overview(self) -> pd.DataFrame:
        """One row per window: its times, counts, versions, and how many of its series stand alarmed."""
        return super().to_pandas()


class Alarm:
    """A change of a gap that noise does not explain. It stays."""

    def __init__(self, proto: drift_pb2.Alarm) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def window(self) -> int:
        """Index of the window at which it was raised."""
        return int(self.proto.window.rpartition("/")[2] or -1)

    @property
    def moved(self) -> list[dict[str, Any]]:
        """What moved in the cell against the reference, strongest first: what, change, low, high, moved."""
        names = ("what", "change", "low", "high", "moved")
        return [{name: getattr(movement, name) for name in names} for movement in self.proto.moved]

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto = self.proto
        return {
            "name": proto.name,
            **key_fields(proto.key),
            "change": proto.change,
            "low": proto.low,
            "high": proto.high,
            "e_value": proto.e_value,
            "arm": proto.arm,
            "window": self.window,
            "window_end": when(proto, "window_end"),
            "since_window": proto.since_window,
            "since_time": when(proto, "since_time"),
            "patients": proto.patients,
            "moved": [movement.what for movement in proto.moved if movement.moved],
            "model_versions": list(proto.model_versions),
            "summary": proto.summary,
            "create_time": when(proto, "create_time"),
        }

    def __repr__(self) -> str:
        return f"<{self.name} {series_words(self.proto.key)} {self.proto.change:+.3g}>"


def told_series(
    monitor: monitor_pb2.Monitor, alarms: Sequence[Alarm], label: str, attribute: str, metric: str
) -> tuple[str, str, str]:
    """Label, attribute and metric; what is left open is that of the newest alarm that fits, else the first."""
    asked = {"label": label, "attribute": attribute, "metric": metric}
    spec = monitor.spec
    named = [alarm.proto.key for alarm in alarms]
    named += [series.key for series in monitor.plan.series]
    fits = (key for key in named if all(value in ("", getattr(key, name)) for name, value in asked.items()))
    found = next(fits, None)
    first = {
        "label": next((one.label for one in spec.labels), ""),
        "attribute": next(iter(spec.groupings), ""),
        "metric": next(iter(spec.metrics), ""),
    }
    chosen = {
        name: value or (getattr(found, name) if found is not None else first[name]) for name, value in asked.items()
    }
    return chosen["label"], chosen["attribute"], chosen["metric"]
