"""What to watch, as Python objects, a dict or a YAML file; all become the proto's MonitorSpec.

model: chest-classifier
labels: {Pneumonia: 0.13, Edema: 0.145}          # name: from which score on it is flagged
attributes:
  sex: [Female, Male]
  age: [under 40, 40 to 59, 60 and over]
groupings: [sex, "sex,age"]                      # without any: each attribute by itself
metrics: [tpr, fpr]
window: {length: 7d, origin: 2026-01-05, label_delay: 14d}   # or {records: 2000}
reference: {first_windows: 4}                    # or {audit: audits/1b2c}
source: {tap: {sampling_rate: 1.0}}              # or {folder: …}; without one, rows are posted

Durations are a number with s, m, h, d or w; times without a zone are UTC. The proto's own JSON is read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import duration_pb2, json_format

from evenhand.calls import resource_name
from evenhand.errors import InvalidInput
from evenhand.monitoring.v1 import monitor_pb2
from evenhand.spec import yaml_mapping

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


@dataclass(frozen=True)
class MonitorSpec:
    """A standing audit over arriving windows.

    Args:
        labels: name → threshold from which on a score is flagged; empty means the model's or the reference audit's.
        attributes: name → its levels; empty means the reference audit's.
        window: a length of at least a minute (``timedelta`` or "7d"), or a number of records.
        label_delay: how long labels may take; a window closes that long after its end.
        origin: where window 0 begins; None means midnight (UTC) before the monitor was created.
        groupings: "sex" or "sex,age" for intersections; empty means each attribute by itself.
        metrics: of "tpr", "fpr", "flag_rate"; empty means the first two.
        reference: "audits/…", or how many first windows are the reference; None asks whether groups differ at all.
        pipeline: of the reference audit; empty means its baseline.
        model: whose predictions arrive; empty where it is not served here.
        alpha: share of monitors that ever raise a false alarm; 0 means 0.05.
        planned_windows: that alpha is spent over; 0 means 104.
        tap: share of requests to the model that are recorded, in (0, 1]; 0 means none.
        folder: to which tables are added: in an import root, or "store:prefix".
    """

    labels: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    window: timedelta | str | int = "7d"
    label_delay: timedelta | str = "0s"
    origin: datetime | date | str | None = None
    groupings: Sequence[str] = field(default_factory=tuple)
    metrics: Sequence[str] = field(default_factory=tuple)
    reference: str | int | None = None
    pipeline: str = ""
    model: str = ""
    alpha: float = 0.0
    planned_windows: int = 0
    tap: float = 0.0
    folder: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The form that YAML has."""
        size = "records" if isinstance(self.window, int) else "length"
        window = {size: self.window, "label_delay": self.label_delay, "origin": self.origin}
        named = "first_windows" if isinstance(self.reference, int) else "audit"
        plain: dict[str, Any] = {
            "model": self.model,
            "labels": self.labels,
            "attributes": self.attributes,
            "groupings": list(self.groupings),
            "metrics": list(self.metrics),
            "window": {name: value for name, value in window.items() if value is not None},
            "alpha": self.alpha,
            "planned_windows": self.planned_windows,
        }
        if self.reference is not None:
            plain["reference"] = {named: self.reference, "pipeline": self.pipeline}
        if self.tap:
            plain["source"] = {"tap": {"sampling_rate": self.tap}}
        elif self.folder:
            plain["source"] = {"folder": self.folder}
        return plain


MonitorSpecLike: TypeAlias = MonitorSpec | monitor_pb2.MonitorSpec | Mapping[str, Any] | str | Path


def monitor_spec_proto(spec: MonitorSpecLike) -> monitor_pb2.MonitorSpec:
    """The proto of any form of a spec.

    Raises:
        InvalidInput: the YAML file does not parse, or has a field that a MonitorSpec has not.
    """
    if isinstance(spec, monitor_pb2.MonitorSpec):
        proto = monitor_pb2.MonitorSpec()
        proto.CopyFrom(spec)
    elif isinstance(spec, MonitorSpec):
        proto = _parsed(spec.to_dict(), "spec")
    elif isinstance(spec, Mapping):
        proto = _parsed(spec, "spec")
    else:
        plain = yaml_mapping(Path(spec), "monitor", "labels, attributes and window")
        proto = _parsed(plain, str(spec))
    if proto.model:
        proto.model = resource_name("models", proto.model)
    if proto.reference.audit:
        proto.reference.audit = resource_name("audits", proto.reference.audit)
    return proto


def duration_words(duration: duration_pb2.Duration) -> str:
    """ "7d": in the largest unit that divides it."""
    seconds = duration.ToTimedelta().total_seconds()
    for unit, size in reversed(_SECONDS.items()):
        if unit != "w" and seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _parsed(plain: Mapping[str, Any], place: str) -> monitor_pb2.MonitorSpec:
    try:
        return json_format.ParseDict(_long_form(plain), monitor_pb2.MonitorSpec())
    except (json_format.ParseError, TypeError, ValueError) as error:
        hint = f"fields: {', '.join(monitor_pb2.MonitorSpec.DESCRIPTOR.fields_by_name)}; labels map names to thresholds"
        raise InvalidInput(f"not a monitor spec: {' '.join(str(error).split())}", field=place, hint=hint) from error


def _long_form(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What the proto's JSON mapping reads, from the shorter form that people write."""
    full = dict(plain)
    if isinstance(labels := full.get("labels"), Mapping):
        full["labels"] = [{"label": str(name), "threshold": threshold} for name, threshold in labels.items()]
    if isinstance(attributes := full.get("attributes"), Mapping):
        full["attributes"] = [
            {"attribute": str(name), "levels": [str(level) for level in levels]} for name, levels in attributes.items()
        ]
    if isinstance(window := full.get("window"), Mapping):
        full["window"] = dict(window)
        for name, value in window.items():
            if name in {"length", "label_delay", "labelDelay"}:
                full["window"][name] = _duration(value)
            elif name == "origin":
                full["window"][name] = _timestamp(value)
    return full


def _duration(value: Any) -> Any:
    """The proto's JSON form of "7d" or a timedelta; anything else is left to the proto to refuse."""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}s"
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return f"{float(found[1]) * _SECONDS[found[2]]:.6f}s" if found else value


def _timestamp(value: Any) -> Any:
    """RFC 3339 of a date, a time or its ISO form; one without a zone is UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _timestamp(datetime.combine(value, time(), UTC)) if isinstance(value, date) else value
