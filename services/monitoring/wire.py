"""From request messages to what the room works with: every rule that a monitor's request must keep by itself, once.

Rules that need a model, an audit or a folder are checked in :mod:`services.monitoring.resolution`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from evenhand.monitoring.v1 import monitor_pb2, monitoring_service_pb2

from services.errors import InvalidInput, OutOfRange, ServiceError, UnknownAttribute
from services.hosting.requests import body_digest, display_name, plain_text, request_id, resource_name
from services.maths.fairness.groups import MISSING, OVERALL

METRICS = ("tpr", "fpr", "flag_rate")
DEFAULT_METRICS = ("tpr", "fpr")
DEFAULT_ALPHA = 0.05
DEFAULT_PLANNED_WINDOWS, MOST_PLANNED_WINDOWS = 104, 10_000
MOST_LABELS, MOST_LEVELS, MOST_ATTRIBUTES = 64, 200, 16
LONGEST_NAME = 100
SHORTEST_WINDOW, LONGEST_WINDOW = timedelta(seconds=60), timedelta(days=3660)
"""Closing a window takes seconds, and windows of one monitor close one after another."""
MOST_RECORDS_PER_WINDOW = 10_000_000
STORE = "store:"
_WINDOW_NAME = re.compile(r"(monitors/[^/]+)/windows/(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class MonitorRequest:
    """CreateMonitorRequest, checked. ``spec`` still lacks what the model or the audit fill in."""

    spec: monitor_pb2.MonitorSpec
    display_name: str
    request_id: str
    body_digest: str


def monitor_request(message: monitoring_service_pb2.CreateMonitorRequest) -> MonitorRequest:
    return MonitorRequest(
        spec=checked_spec(message.spec),
        display_name=display_name(message.display_name),
        request_id=request_id(message.request_id),
        body_digest=body_digest(message),
    )


def plan_request(message: monitoring_service_pb2.PlanMonitorRequest) -> tuple[monitor_pb2.MonitorSpec, float]:
    """The spec, and how many records are expected in a window (0: unknown)."""
    records = message.records_per_window
    if not (0 <= records <= MOST_RECORDS_PER_WINDOW):  # NaN is neither
        raise OutOfRange(
            f"must be from 0 (unknown) to {MOST_RECORDS_PER_WINDOW}, got {records:g}", field="records_per_window"
        )
    return checked_spec(message.spec), records


def window_name(text: str, at: str) -> tuple[str, int]:
    """ "monitors/x/windows/3" → ("monitors/x", 3)."""
    match = _WINDOW_NAME.fullmatch(text)
    if match is None:
        raise InvalidInput(f"expected 'monitors/…/windows/INDEX', got {text[:80]!r}", field=at, reason="NAME_MALFORMED")
    return resource_name(match[1], "monitors", at), int(match[2])


def checked_spec(asked: monitor_pb2.MonitorSpec) -> monitor_pb2.MonitorSpec:
    """A copy in which every rule that needs nothing else holds and defaults that need nothing else are filled in."""
    spec = monitor_pb2.MonitorSpec()
    spec.CopyFrom(asked)
    if spec.model:
        spec.model = resource_name(spec.model, "models", "spec.model")
    _check_labels(spec.labels)
    check_attributes(spec.attributes)
    spec.groupings[:] = _unique([_grouping(text, i) for i, text in enumerate(spec.groupings)], "spec.groupings")
    _check_metrics(spec)
    _check_rates(spec)
    _check_window(spec)
    _check_reference(spec)
    _check_source(spec)
    return spec


def _check_labels(labels: Sequence[monitor_pb2.WatchedLabel]) -> None:
    if len(labels) > MOST_LABELS:
        raise _invalid(f"at most {MOST_LABELS} labels, got {len(labels)}", "spec.labels", "LABEL_UNKNOWN")
    for index, label in enumerate(labels):
        at = f"spec.labels[{index}]"
        label.label = _name(label.label, f"{at}.label", "LABEL_UNKNOWN")
        check_threshold(label.threshold, f"{at}.threshold")
    _unique([label.label for label in labels], "spec.labels")


def check_threshold(threshold: float, at: str) -> None:
    if not 0 < threshold < 1:
        raise _invalid(
            f"a threshold lies above 0 and below 1, got {threshold:g}; leave out all labels to take those of the model "
            "or of the reference audit with their thresholds",
            at,
            "THRESHOLD_INVALID",
        )


def check_attributes(attributes: Sequence[monitor_pb2.WatchedAttribute]) -> None:
    """Names and levels by themselves; raises InvalidInput ATTRIBUTE_UNKNOWN or LEVELS_INVALID."""
    if len(attributes) > MOST_ATTRIBUTES:
        raise _invalid(f"at most {MOST_ATTRIBUTES} attributes", "spec.attributes", "ATTRIBUTE_UNKNOWN")
    for index, attribute in enumerate(attributes):
        at = f"spec.attributes[{index}]"
        attribute.attribute = _name(attribute.attribute, f"{at}.attribute", "ATTRIBUTE_UNKNOWN")
        if "," in attribute.attribute:
            raise _invalid("a comma joins attributes in groupings", f"{at}.attribute", "ATTRIBUTE_UNKNOWN")
        levels = [_name(level, f"{at}.levels[{i}]", "LEVELS_INVALID") for i, level in enumerate(attribute.levels)]
        if not 2 <= len(levels) <= MOST_LEVELS:
            raise _invalid(
                f"{attribute.attribute} has {len(levels)} levels; groups to compare need 2 to {MOST_LEVELS}",
                f"{at}.levels",
                "LEVELS_INVALID",
            )
        for name in levels:
            if levels.count(name) > 1 or name in (MISSING, OVERALL):
                why = "is named twice" if levels.count(name) > 1 else "is what reports call something else"
                raise _invalid(f"level {name!r} {why}", f"{at}.levels", "LEVELS_INVALID")
        attribute.levels[:] = levels
    _unique([attribute.attribute for attribute in attributes], "spec.attributes")


def _grouping(text: str, index: int) -> str:
    """One attribute or two different ones, without the blanks around them."""
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(names) > 2 or len(set(names)) < len(names):
        raise UnknownAttribute(
            f"{text[:80]!r} is neither an attribute nor two different ones joined by a comma",
            field=f"spec.groupings[{index}]",
            reason="ATTRIBUTE_UNKNOWN",
        )
    return ",".join(names)


def _check_metrics(spec: monitor_pb2.MonitorSpec) -> None:
    for index, metric in enumerate(spec.metrics):
        if metric not in METRICS:
            raise _invalid(
                f"there is no metric {metric[:40]!r} to watch; there are {', '.join(METRICS)}",
                f"spec.metrics[{index}]",
                "METRIC_UNKNOWN",
            )
    asked = _unique(spec.metrics, "spec.metrics") or DEFAULT_METRICS
    spec.metrics[:] = [metric for metric in METRICS if metric in asked]  # one order, whichever was asked for


def _check_rates(spec: monitor_pb2.MonitorSpec) -> None:
    if not (0 <= spec.alpha < 0.5):
        raise _invalid(
            f"alpha is the share of monitors that ever raise a false alarm: above 0 and below 0.5 (0 means "
            f"{DEFAULT_ALPHA}), got {spec.alpha:g}",
            "spec.alpha",
            "ALPHA_INVALID",
        )
    if not 0 <= spec.planned_windows <= MOST_PLANNED_WINDOWS:
        raise _invalid(
            f"from 1 to {MOST_PLANNED_WINDOWS} windows (0 means {DEFAULT_PLANNED_WINDOWS}), got {spec.planned_windows}",
            "spec.planned_windows",
            "WINDOW_INVALID",
        )
    spec.alpha = spec.alpha or DEFAULT_ALPHA
    spec.planned_windows = spec.planned_windows or DEFAULT_PLANNED_WINDOWS


def _check_window(spec: monitor_pb2.MonitorSpec) -> None:
    window = spec.window
    if window.HasField("length") == bool(window.records):
        raise _invalid(
            "a window has a length (of time) or a number of records, one of the two",
            "spec.window.length",
            "WINDOW_INVALID",
        )
    if window.HasField("length"):
        _check_duration(window.length.ToNanoseconds(), SHORTEST_WINDOW, LONGEST_WINDOW, "spec.window.length")
    elif not 1 <= window.records <= MOST_RECORDS_PER_WINDOW:
        raise _invalid(
            f"from 1 to {MOST_RECORDS_PER_WINDOW} records, got {window.records}",
            "spec.window.records",
            "WINDOW_INVALID",
        )
    _check_duration(window.label_delay.ToNanoseconds(), timedelta(), LONGEST_WINDOW, "spec.window.label_delay")


def _check_duration(nanoseconds: int, least: timedelta, most: timedelta, at: str) -> None:
    """Whole microseconds, as the times of records are."""
    seconds = nanoseconds / 1e9
    if not least.total_seconds() <= seconds <= most.total_seconds() or nanoseconds % 1000:
        raise _invalid(
            f"from {least.total_seconds():g} to {most.total_seconds():g} seconds in whole microseconds, got "
            f"{seconds:.9g} s",
            at,
            "WINDOW_INVALID",
        )


def _check_reference(spec: monitor_pb2.MonitorSpec) -> None:
    reference = spec.reference
    kind = reference.WhichOneof("kind")
    if kind == "audit":
        reference.audit = resource_name(reference.audit, "audits", "spec.reference.audit")
        plain_text(reference.pipeline, "spec.reference.pipeline")
    elif reference.pipeline:
        raise _invalid("a pipeline is one of an audit; name the audit", "spec.reference.pipeline", "REFERENCE_INVALID")
    if kind == "first_windows" and not 1 <= reference.first_windows < spec.planned_windows:
        raise _invalid(
            f"from 1 to {spec.planned_windows - 1} windows, fewer than are planned, got {reference.first_windows}",
            "spec.reference.first_windows",
            "WINDOW_INVALID",
        )


def _check_source(spec: monitor_pb2.MonitorSpec) -> None:
    kind = spec.source.WhichOneof("kind")
    if kind == "tap":
        if not spec.model:
            raise _invalid("a tap records requests to a model; name it", "spec.model", "SOURCE_INVALID")
        if not 0 < spec.source.tap.sampling_rate <= 1:  # NaN is neither
            raise _invalid(
                f"a share above 0 and at most 1, got {spec.source.tap.sampling_rate:g}",
                "spec.source.tap.sampling_rate",
                "SOURCE_INVALID",
            )
    if kind == "folder" and not plain_text(spec.source.folder, "spec.source.folder").removeprefix(STORE):
        raise _invalid("name a folder, or 'store:' and a prefix", "spec.source.folder", "SOURCE_INVALID")


def _name(text: str, at: str, reason: str) -> str:
    name = plain_text(text.strip(), at)
    if not 1 <= len(name) <= LONGEST_NAME:
        raise _invalid(f"a name has 1 to {LONGEST_NAME} characters, got {len(name)}", at, reason)
    return name


def _unique(names: Iterable[str], at: str) -> list[str]:
    found: list[str] = []
    for index, name in enumerate(names):
        if name in found:
            raise InvalidInput(f"{name!r} is named twice", field=f"{at}[{index}]", reason="NAMED_TWICE")
        found.append(name)
    return found


def _invalid(message: str, at: str, reason: str) -> ServiceError:
    return InvalidInput(message, field=at, reason=reason)
