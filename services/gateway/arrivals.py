"""Predictions and labels for monitors, answered by this process itself: checked as columns, then kept in the log.

The work is done in threads of its own, so that a large batch keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from evenhand.monitoring.v1 import monitoring_service_pb2 as pb

from services.adapters.arrivals import Appended, ArrivalLog, Labels, Predictions, WatchSpec, digest_ids
from services.adapters.arrivals.watch import micros
from services.adapters.ledger import Ledger, utc_now
from services.adapters.telemetry import Telemetry
from services.errors import Conflict, InvalidInput, NotFound, UnknownLabel
from services.gateway.calls import Call

T = TypeVar("T")

MOST_ROWS = 100_000
THREADS = 4
KNOWN_MONITORS = 256
LONGEST_VERSION = 100  # characters


class Arrivals:
    """RecordPredictions and RecordLabels of the MonitoringService."""

    def __init__(
        self, ledger: Ledger, log: ArrivalLog, telemetry: Telemetry, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._telemetry = telemetry
        self._clock = clock
        self._specs: OrderedDict[str, WatchSpec] = OrderedDict()  # what a monitor watches never changes
        self._pool = ThreadPoolExecutor(THREADS, "arrivals")

    async def RecordPredictions(self, request: pb.RecordPredictionsRequest, call: Call) -> pb.RecordPredictionsResponse:
        outcome = await self._in_thread(self._record_predictions, request)
        return pb.RecordPredictionsResponse(recorded=outcome.recorded, duplicates=outcome.duplicates, late=outcome.late)

    async def RecordLabels(self, request: pb.RecordLabelsRequest, call: Call) -> pb.RecordLabelsResponse:
        outcome = await self._in_thread(self._record_labels, request)
        return pb.RecordLabelsResponse(
            recorded=outcome.recorded, duplicates=outcome.duplicates, unknown=outcome.unknown, late=outcome.late
        )

    def _record_predictions(self, request: pb.RecordPredictionsRequest) -> Appended:
        spec, now = self._spec(request.monitor), self._clock()
        batch = predictions_of(request, spec, now)
        return self._keep(
            "predictions", request.monitor, lambda: self._log.append_predictions(request.monitor, spec, batch, now)
        )

    def _record_labels(self, request: pb.RecordLabelsRequest) -> Appended:
        spec, now = self._spec(request.monitor), self._clock()
        batch = labels_of(request, spec)
        return self._keep("labels", request.monitor, lambda: self._log.append_labels(request.monitor, spec, batch, now))

    def _keep(self, kind: str, monitor: str, append: Callable[[], Appended]) -> Appended:
        try:
            outcome = append()
        except Conflict:
            self._telemetry.rows(kind=kind, outcome="conflict", count=1)
            raise
        except NotFound:
            self._specs.pop(monitor, None)
            raise
        for name in ("recorded", "duplicates", "late", "unknown"):
            self._telemetry.rows(kind=kind, outcome=name, count=getattr(outcome, name))
        return outcome

    def _spec(self, monitor: str) -> WatchSpec:
        known = self._specs.get(monitor)
        if known is None:
            body = self._ledger.get_resource(monitor) if monitor.startswith("monitors/") else None
            if body is None:
                raise NotFound(f"there is no monitor {monitor[:200]!r}", field="monitor", reason="MONITOR_NOT_FOUND")
            known = self._specs[monitor] = WatchSpec.of(body)
            while len(self._specs) > KNOWN_MONITORS:
                self._specs.popitem(last=False)
        return known

    async def _in_thread(self, work: Callable[[Any], T], request: Any) -> T:
        """Holds the caller's place in the queue until the work is done, even if the caller has left."""
        working = self._pool.submit(work, request)
        done = asyncio.wrap_future(working)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            working.cancel()
            while not done.done():  # a deadline cancels twice: by our own clock and by the transport's
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([done])
            raise


def predictions_of(request: pb.RecordPredictionsRequest, spec: WatchSpec, now: datetime) -> Predictions:
    """Raises InvalidInput BATCH_INVALID, LEVEL_UNKNOWN, SCORE_INVALID, TIME_IN_FUTURE or TIME_BEFORE_ORIGIN."""
    count = _rows(request.record_ids)
    _same_length("patient_ids", request.patient_ids, count)
    timed = len(request.time_micros) > 0
    if timed:
        _same_length("time_micros", request.time_micros, count)
        time = np.array(request.time_micros, np.int64)
    else:
        time = np.full(count, micros(now), np.int64)
    if len(request.model_version) > LONGEST_VERSION:
        raise _invalid(f"model_version has at most {LONGEST_VERSION} characters", "model_version")
    batch = Predictions(
        _digests("record_ids", request.record_ids),
        _digests("patient_ids", request.patient_ids),
        time,
        _codes(request.attributes, spec, count),
        _scores(request.scores, spec, count),
        request.model_version,
        timed,
    )
    spec.check(batch, now)
    return batch


def labels_of(request: pb.RecordLabelsRequest, spec: WatchSpec) -> Labels:
    """Raises InvalidInput BATCH_INVALID or LABEL_INVALID, UnknownLabel LABEL_UNKNOWN."""
    count = _rows(request.record_ids)
    values = np.full((len(spec.labels), count), -1, np.int8)
    places = {label: place for place, label in enumerate(spec.labels)}
    seen: set[str] = set()
    for number, column in enumerate(request.labels):
        field = f"labels[{number}]"
        if column.label not in places:
            raise UnknownLabel(
                f"the monitor has no label {column.label[:64]!r}; its labels are {', '.join(spec.labels)}",
                field=f"{field}.label",
                reason="LABEL_UNKNOWN",
            )
        _once(column.label, seen, f"{field}.label")
        _same_length(f"{field}.values", column.values, count)
        given = np.array(column.values, np.int64)
        wrong = np.flatnonzero((given < -1) | (given > 1))
        if wrong.size:
            raise InvalidInput(
                f"{column.label} of row {wrong[0]} is {given[wrong[0]]}, expected 1, 0, or -1 for unknown",
                field=f"{field}.values[{wrong[0]}]",
                reason="LABEL_INVALID",
            )
        values[places[column.label]] = given
    return Labels(_digests("record_ids", request.record_ids), values)


def _codes(columns: Sequence[pb.AttributeColumn], spec: WatchSpec, count: int) -> np.ndarray:
    """(A, N) int16 places in the monitor's levels."""
    codes = np.full((len(spec.attributes), count), -1, np.int16)
    levels_of = dict(spec.attributes)
    places = {attribute: place for place, (attribute, _) in enumerate(spec.attributes)}
    seen: set[str] = set()
    for number, column in enumerate(columns):
        field, name = f"attributes[{number}]", column.attribute
        if name not in places:
            raise _invalid(f"the monitor has no attribute {name[:64]!r}; it has {', '.join(places)}", field)
        _once(name, seen, f"{field}.attribute")
        _same_length(f"{field}.codes", column.codes, count)
        given = np.array(column.codes, np.int64)
        outside = np.flatnonzero((given < -1) | (given >= len(column.levels)))
        if outside.size:
            raise _invalid(
                f"the code of {name} in row {outside[0]} is {given[outside[0]]}, with {len(column.levels)} levels",
                f"{field}.codes[{outside[0]}]",
            )
        table = np.array([_place(level, levels_of[name]) for level in column.levels] + [-1], np.int16)
        found = table[given]  # -1 is the last place
        unknown = np.flatnonzero(found == -2)
        if unknown.size:
            row = unknown[0]
            raise InvalidInput(
                f"{name} of row {row} is {column.levels[given[row]][:64]!r}; its levels are"
                f" {', '.join(levels_of[name])}",
                field=f"{field}.levels[{given[row]}]",
                reason="LEVEL_UNKNOWN",
                details=_level_details(name, column.levels[given[row]]),
            )
        codes[places[name]] = found
    return codes


def _place(level: str, levels: Sequence[str]) -> int:
    return levels.index(level) if level in levels else -2


def _level_details(attribute: str, level: str) -> Mapping[str, str]:
    return {"attribute": attribute, "level": level[:64]}


def _scores(columns: Sequence[pb.ScoreColumn], spec: WatchSpec, count: int) -> np.ndarray:
    """(L, N) float32; whether they are in range is checked with the whole batch."""
    scores = np.full((len(spec.labels), count), np.nan, np.float32)
    places = {label: place for place, label in enumerate(spec.labels)}
    seen: set[str] = set()
    for number, column in enumerate(columns):
        field = f"scores[{number}]"
        if column.label not in places:
            raise _invalid(
                f"the monitor has no label {column.label[:64]!r}; its labels are {', '.join(spec.labels)}",
                f"{field}.label",
            )
        _once(column.label, seen, f"{field}.label")
        _same_length(f"{field}.scores", column.scores, count)
        scores[places[column.label]] = np.array(column.scores, np.float32)
    return scores


def _rows(record_ids: Sequence[str]) -> int:
    count = len(record_ids)
    if not 0 < count <= MOST_ROWS:
        raise _invalid(f"a batch has 1 to {MOST_ROWS:,} rows, this one has {count:,}", "record_ids")
    return count


def _digests(field: str, ids: Sequence[str]) -> np.ndarray:
    """(N, 16) uint8. An empty id is none."""
    if not all(ids):
        row = next(row for row, text in enumerate(ids) if not text)
        raise _invalid(f"row {row} has an empty id", f"{field}[{row}]")
    return digest_ids(ids)


def _same_length(field: str, column: Sequence[Any], count: int) -> None:
    if len(column) != count:
        raise _invalid(f"{field} has {len(column):,} values for {count:,} record ids", field)


def _once(name: str, seen: set[str], field: str) -> None:
    if name in seen:
        raise _invalid(f"{name} is in the batch twice", field)
    seen.add(name)


def _invalid(message: str, field: str) -> InvalidInput:
    return InvalidInput(message, field=field, reason="BATCH_INVALID")
