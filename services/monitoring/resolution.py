"""From a checked request to a monitor: what the model or the reference audit fill in, and whether all fits together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evenhand.monitoring.v1 import monitor_pb2

from services.adapters.object_store.content import CONTENT_PREFIX, check_key
from services.errors import InvalidInput, NotFound, ServiceError, UnknownAttribute, UnknownLabel
from services.monitoring.references import AuditRows
from services.monitoring.watched import Watched, ambiguous_group
from services.monitoring.wire import STORE, check_attributes, check_threshold

MOST_SERIES = 20_000
LARGEST_SCALE = timedelta(days=100 * 366)


@dataclass(frozen=True)
class Offer:
    """What the request can draw on: the served model that it names, and the rows of the audit that it names."""

    model: Mapping[str, Any] | None
    audit: AuditRows | None


def served_model(name: str, catalogue: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The highest version of "models/x" that is served; None where no model is asked for.

    Raises NotFound MODEL_NOT_FOUND, and InvalidInput TASK_MISMATCH for one that does not call labels.
    """
    if not name:
        return None
    versions = [model for model in catalogue if f"models/{model['name']}" == name]
    if not versions:
        raise NotFound(
            f"no {name} is served; there are {_listed({model['name'] for model in catalogue})}. Leave the model out to "
            "watch predictions of another place, and give labels with thresholds",
            field="spec.model",
            reason="MODEL_NOT_FOUND",
        )
    model = max(versions, key=lambda version: int(version["version"]))
    if model["task"] != "classification":
        raise InvalidInput(
            f"{name} does {model['task']}; gaps between groups are watched of a model that calls labels",
            field="spec.model",
            reason="TASK_MISMATCH",
        )
    return model


def resolve(
    spec: monitor_pb2.MonitorSpec, offer: Offer, *, import_roots: Sequence[Path], now: datetime
) -> monitor_pb2.MonitorSpec:
    """A copy of a checked spec with labels, attributes, groupings and origin filled in. Everything in it fits together.

    Raises InvalidInput (its kinds and reasons as CreateMonitor documents them) and NotFound FOLDER_NOT_FOUND.
    """
    filled = monitor_pb2.MonitorSpec()
    filled.CopyFrom(spec)
    _fill_labels(filled, offer)
    _fill_attributes(filled, offer.audit)
    _fill_groupings(filled)
    if offer.audit is not None:
        filled.reference.pipeline = offer.audit.pipeline
    _fill_origin(filled, now)
    if filled.source.WhichOneof("kind") == "folder":
        check_folder(filled.source.folder, import_roots)
    return filled


def _fill_labels(spec: monitor_pb2.MonitorSpec, offer: Offer) -> None:
    if not spec.labels:
        spec.labels.extend(
            monitor_pb2.WatchedLabel(label=label, threshold=threshold) for label, threshold in _offered_labels(offer)
        )
        for index, label in enumerate(spec.labels):
            check_threshold(label.threshold, f"spec.labels[{index}].threshold")
    for source, known in (
        ("the model", None if offer.model is None else tuple(offer.model["labels"])),
        ("the reference audit", None if offer.audit is None else offer.audit.labels),
    ):
        for index, label in enumerate(spec.labels):
            if known is not None and label.label not in known:
                raise UnknownLabel(
                    f"{source} has no label {label.label!r}; it has {_listed(known)}",
                    field=f"spec.labels[{index}].label",
                    reason="LABEL_UNKNOWN",
                )


def _offered_labels(offer: Offer) -> list[tuple[str, float]]:
    """The model's labels with its thresholds, of these only what the audit has too; or the audit's with its own."""
    model, audit = offer.model, offer.audit
    if model is None and audit is None:
        raise InvalidInput(
            "give labels with thresholds, or name a served model or a finished audit to take them from",
            field="spec.labels",
            reason="LABEL_UNKNOWN",
        )
    if model is None:
        assert audit is not None
        return list(zip(audit.labels, audit.thresholds, strict=True))
    thresholds = model["thresholds"] or {}
    found = [(label, float(thresholds[label])) for label in model["labels"] if label in thresholds]
    if not found:
        raise InvalidInput(
            f"{model['name']} states no thresholds: give labels with thresholds",
            field="spec.labels",
            reason="THRESHOLD_INVALID",
        )
    shared = [(label, threshold) for label, threshold in found if audit is None or label in audit.labels]
    if not shared:
        raise UnknownLabel(
            f"{model['name']} and the reference audit have no label in common",
            field="spec.reference.audit",
            reason="LABEL_UNKNOWN",
        )
    return shared


def _fill_attributes(spec: monitor_pb2.MonitorSpec, audit: AuditRows | None) -> None:
    if not spec.attributes:
        if audit is None:
            raise UnknownAttribute(
                "name at least one attribute with its levels, or a finished audit to take them from",
                field="spec.attributes",
                reason="ATTRIBUTE_UNKNOWN",
            )
        spec.attributes.extend(
            monitor_pb2.WatchedAttribute(attribute=name, levels=levels) for name, levels in audit.levels.items()
        )
        check_attributes(spec.attributes)
    for index, attribute in enumerate(spec.attributes):
        if audit is None:
            continue
        at = f"spec.attributes[{index}]"
        if attribute.attribute not in audit.levels:
            raise UnknownAttribute(
                f"the reference audit has no attribute {attribute.attribute!r}; it has {_listed(audit.levels)}",
                field=f"{at}.attribute",
                reason="ATTRIBUTE_UNKNOWN",
            )
        lost = [level for level in audit.levels[attribute.attribute] if level not in attribute.levels]
        if lost:
            raise InvalidInput(
                f"the reference audit's levels {_listed(lost)} of {attribute.attribute} are not among these levels: "
                "its gaps would be to other groups",
                field=f"{at}.levels",
                reason="LEVELS_INVALID",
            )


def _fill_groupings(spec: monitor_pb2.MonitorSpec) -> None:
    names = [attribute.attribute for attribute in spec.attributes]
    if not spec.groupings:
        spec.groupings.extend(names)
    for index, grouping in enumerate(spec.groupings):
        for part in grouping.split(","):
            if part not in names:
                raise UnknownAttribute(
                    f"grouping {grouping!r}: there is no attribute {part!r}; there are {_listed(names)}",
                    field=f"spec.groupings[{index}]",
                    reason="ATTRIBUTE_UNKNOWN",
                )
    watched = Watched(
        labels=tuple(label.label for label in spec.labels),
        thresholds=(),
        attributes=tuple((attribute.attribute, tuple(attribute.levels)) for attribute in spec.attributes),
        groupings=tuple(spec.groupings),
        metrics=tuple(spec.metrics),
        alpha=spec.alpha,
        planned_windows=spec.planned_windows,
        first_windows=0,
    )
    if twice := ambiguous_group(watched):
        raise InvalidInput(
            f"two groups would be named {twice!r}; rename levels with a comma",
            field="spec.groupings",
            reason="LEVELS_INVALID",
        )
    series = len(watched.labels) * len(watched.metrics) * len(watched.cells)
    if series > MOST_SERIES:
        raise InvalidInput(
            f"labels × metrics × groups make {series} series; at most {MOST_SERIES}: watch fewer groupings or labels",
            field="spec.groupings",
            reason="LEVELS_INVALID",
        )


def _fill_origin(spec: monitor_pb2.MonitorSpec, now: datetime) -> None:
    """Midnight before ``now`` where none is given; whole microseconds, within a century."""
    if not spec.window.HasField("origin"):
        spec.window.origin.FromDatetime(now.replace(hour=0, minute=0, second=0, microsecond=0))
        return
    try:
        origin = spec.window.origin.ToDatetime(UTC)
    except (ValueError, OverflowError):
        origin = None
    if origin is None or abs(origin - now) > LARGEST_SCALE or spec.window.origin.nanos % 1000:
        raise InvalidInput(
            "a time in whole microseconds, within a hundred years of now", field="spec.window.origin",
            reason="WINDOW_INVALID",
        )  # fmt: skip
    if spec.window.HasField("length"):
        passed = (now - origin) / spec.window.length.ToTimedelta()
        if passed > spec.planned_windows:
            raise InvalidInput(
                f"{int(passed)} windows of that length are over already, more than the {spec.planned_windows} that are "
                "planned; begin later, or plan more windows",
                field="spec.window.origin",
                reason="WINDOW_INVALID",
            )


def check_folder(folder: str, import_roots: Sequence[Path]) -> None:
    """Raises InvalidInput SOURCE_INVALID or FOLDER_NOT_ALLOWED, NotFound FOLDER_NOT_FOUND."""
    if folder.startswith(STORE):
        prefix = folder.removeprefix(STORE)
        try:
            check_key(prefix.rstrip("/"))
        except InvalidInput as error:
            raise _bad_prefix() from error
        if f"{prefix}/".startswith(CONTENT_PREFIX):
            raise _bad_prefix()
        return
    path = Path(folder)
    if not path.is_absolute() or not any(path.resolve().is_relative_to(root.resolve()) for root in import_roots):
        raise InvalidInput(
            "the folder lies outside the server's import roots; have the root configured (EVENHAND_IMPORT_ROOTS), post "
            "the rows, or name a prefix of the object store as 'store:{prefix}'",
            field="spec.source.folder",
            reason="FOLDER_NOT_ALLOWED",
        )
    if not _is_folder(path):
        raise NotFound("there is no such folder on the server", field="spec.source.folder", reason="FOLDER_NOT_FOUND")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is longer than the file system takes
        return False


def _bad_prefix() -> ServiceError:
    return InvalidInput(
        "a prefix of names in the object store, such as 'store:predictions/chest', outside its content addresses",
        field="spec.source.folder",
        reason="SOURCE_INVALID",
    )


def _listed(names: Mapping[str, Any] | Sequence[str] | set[str]) -> str:
    shown = sorted(names) if isinstance(names, set) else list(names)
    return ", ".join(shown[:20]) + (", …" if len(shown) > 20 else "")
