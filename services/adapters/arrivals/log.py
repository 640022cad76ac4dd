"""Appending: a batch is told apart from what came before, written to the store, then acknowledged in the ledger."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

import numpy as np

from services.adapters.ledger import Ledger, Segment
from services.adapters.object_store import ObjectStore
from services.errors import Conflict, Unavailable

from .columns import Labels, Predictions, row_digests, shown_digest
from .index import Index, Sorting, older_records
from .runs import SortedRuns
from .segments import decode_labels, decode_predictions, encode_labels, encode_predictions
from .watch import WatchSpec, micros, timestamp_micros
from .windows import WindowRows, closable_windows, read_window

T = TypeVar("T")

MOST_RECORDS = 4_000_000  # that a process keeps in mind, of all monitors: 48 bytes each
MOST_MONITORS = 256
ATTEMPTS = 50  # other processes may append in between; each time one of them came through
Contradictions = Literal["refuse", "skip"]


@dataclass(frozen=True)
class Appended:
    """Rows of a batch: kept, there already, and of those kept late and of unknown records; passed over as conflicts."""

    recorded: int
    duplicates: int
    late: int = 0
    unknown: int = 0
    conflicts: int = 0


@dataclass(frozen=True)
class _Batch:
    """What one attempt to append writes. ``data`` is None where no row is new."""

    sorting: Sorting
    data: bytes | None
    late: dict[int, int]
    unknown: int
    span: tuple[int, int] | None
    remember: Callable[[], object]


class ArrivalLog:
    """The log of all monitors. Safe for several threads and processes over one ledger and store.

    ``monitor`` is a resource name, ``now`` an aware datetime. Rows are expected in range: :meth:`WatchSpec.check`.
    """

    def __init__(self, ledger: Ledger, store: ObjectStore, *, most_records: int = MOST_RECORDS) -> None:
        self._ledger = ledger
        self._store = store
        self._most = most_records
        self._indices: OrderedDict[str, Index] = OrderedDict()
        self._lock = threading.Lock()

    def append_predictions(
        self,
        monitor: str,
        spec: WatchSpec,
        batch: Predictions,
        now: datetime,
        *,
        contradictions: Contradictions = "refuse",
    ) -> Appended:
        """Durable on return. A record that came before with other values refuses the whole batch with Conflict
        ``CONFLICTING_RECORD``, or is passed over and counted ("skip"). Raises NotFound ``MONITOR_NOT_FOUND``."""
        rows = row_digests(batch)

        def attempt(index: Index) -> _Batch:
            sorting = index.sort_predictions(batch, rows, self._older(monitor, spec, index, batch))
            mask = sorting.new & ~sorting.contradicting
            new, new_rows = batch.take(mask), rows[mask]
            data = encode_predictions(monitor, spec, new, new_rows, micros(now)) if len(new) else None
            return _Batch(
                sorting,
                data,
                index.window_counts(self._windows(spec, index, new.time)),
                -index.resolves(new),
                _span(new.time),
                lambda: index.add_predictions(new, new_rows),
            )

        wrong = "CONFLICTING_RECORD"
        return self._append(monitor, spec, attempt, kind="predictions", reason=wrong, contradictions=contradictions)

    def append_labels(
        self, monitor: str, spec: WatchSpec, batch: Labels, now: datetime, *, contradictions: Contradictions = "refuse"
    ) -> Appended:
        """As :meth:`append_predictions`, with ``CONFLICTING_LABEL``. Rows add up: each may say some of the labels.

        A record that is so old that this process has forgotten it counts as unknown; its labels are joined all the
        same when its window is read.
        """

        def attempt(index: Index) -> _Batch:
            sorting, there, time = index.sort_labels(batch)
            mask = sorting.new & ~sorting.contradicting
            new, time, there = batch.take(mask), time[mask], there[mask]
            return _Batch(
                sorting,
                encode_labels(monitor, spec, new, micros(now)) if len(new) else None,
                index.window_counts(self._windows(spec, index, time[there])),
                int(np.count_nonzero(~there)),
                _span(time[there]),
                lambda: index.add_labels(new),
            )

        wrong = "CONFLICTING_LABEL"
        return self._append(monitor, spec, attempt, kind="labels", reason=wrong, contradictions=contradictions)

    def closable(
        self,
        monitor: str,
        spec: WatchSpec,
        now: datetime,
        closed: int,
        *,
        quiet_s: float = 0.0,
        since: datetime | None = None,
    ) -> list[int]:
        """Indices, in order and from ``closed`` on, of windows whose labels have had their time.

        A window of the past, whose records come when it might have been closed already, waits until nothing of it came
        for ``quiet_s`` seconds; one that was over when the monitor was made, at ``since``, until anything came.
        """
        times = {"now": micros(now), "closed": closed, "quiet": round(quiet_s * 1e6)}
        times |= {"since": micros(since)} if since else {}
        return closable_windows(self._ledger, self._store, monitor, spec, **times)

    def read_window(self, monitor: str, spec: WatchSpec, index: int) -> WindowRows:
        """Everything that is recorded for a window, whether it is closed or not."""
        return read_window(self._ledger, self._store, monitor, spec, index)

    def forget(self, monitor: str) -> None:
        """Delete a monitor with all that it recorded, and every object whose key begins with its name.

        Raises NotFound ``MONITOR_NOT_FOUND``.
        """
        for key in self._ledger.delete_monitor(monitor):
            self._store.delete(key)
        for key in list(self._store.keys(f"{monitor}/")):
            self._store.delete(key)
        with self._lock:
            self._indices.pop(monitor, None)

    def _append(
        self,
        monitor: str,
        spec: WatchSpec,
        attempt: Callable[[Index], _Batch],
        *,
        kind: str,
        reason: str,
        contradictions: Contradictions,
    ) -> Appended:
        index = self._index(monitor)
        with index.lock:
            for _ in range(ATTEMPTS):
                self._catch_up(monitor, spec, index)
                made = attempt(index)
                wrong = np.flatnonzero(made.sorting.contradicting)
                if wrong.size and contradictions == "refuse":
                    self._ledger.append_segment(monitor, "refused", rows=int(wrong.size))
                    raise _conflict(made.sorting, int(wrong[0]), reason)
                recorded = int(np.count_nonzero(made.sorting.new & ~made.sorting.contradicting))
                if not recorded and not made.sorting.duplicates and not wrong.size:
                    return Appended(0, 0)
                ref = (
                    self._store.put(made.data, media_type="application/vnd.apache.arrow.stream") if made.data else None
                )
                number = self._ledger.append_segment(
                    monitor,
                    kind,
                    rows=recorded,
                    key=ref.key if ref else "",
                    sha256=ref.sha256 if ref else "",
                    duplicates=made.sorting.duplicates,
                    late_windows=made.late,
                    unknown=made.unknown,
                    first_time=made.span[0] if made.span else None,
                    last_time=made.span[1] if made.span else None,
                    after=index.seen,
                    closed=index.closed,
                )
                if number:
                    made.remember()
                    index.seen = number
                    if wrong.size:
                        self._ledger.append_segment(monitor, "refused", rows=int(wrong.size))
                    late = sum(made.late.values())
                    return Appended(recorded, made.sorting.duplicates, late, max(0, made.unknown), int(wrong.size))
        raise Unavailable(
            f"too many others write to {monitor} at the same time", reason="MONITOR_BUSY", retry_after_s=1
        )

    def _index(self, monitor: str) -> Index:
        """The index of a monitor; those unused for longest go when all together are too large."""
        with self._lock:
            index = self._indices.setdefault(monitor, Index(self._most))
            self._indices.move_to_end(monitor)
            while len(self._indices) > 1 and (
                sum(map(len, self._indices.values())) > self._most or len(self._indices) > MOST_MONITORS
            ):
                self._indices.popitem(last=False)
        return index

    def _catch_up(self, monitor: str, spec: WatchSpec, index: Index) -> None:
        """Take in what other processes appended, or at first what there is, the newest records first."""
        found, newest, closed = self._ledger.progress_of(monitor, index.seen)
        if newest < index.seen:  # another process deleted the monitor, and one of its name was made since
            index.reset()
            found, newest, closed = self._ledger.progress_of(monitor, 0)
        if not index.loaded:
            index.floor = _floor(found, index.most)
            index.loaded = True
        for segment in found:
            if segment.key and segment.kind == "labels" and (segment.unknown > 0 or _reaches(segment, index.floor)):
                index.add_labels(decode_labels(spec, self._bytes(segment)).batch)
            elif segment.key and segment.kind == "predictions" and _reaches(segment, index.floor):
                stored = decode_predictions(spec, self._bytes(segment))
                index.add_predictions(stored.batch, stored.rows)
            index.seen = segment.seq
        if closed != index.closed and spec.records:
            index.ends = self._ends(monitor)
        index.closed = closed

    def _older(self, monitor: str, spec: WatchSpec, index: Index, batch: Predictions) -> SortedRuns | None:
        """Records of the time before the index's floor that a batch reaches into."""
        times = batch.time[batch.time < index.floor]
        if not times.size:
            return None
        between = int(times.min()), int(times.max()) + 1
        found = self._ledger.segments(monitor, kind="predictions", between=between)
        stored = (decode_predictions(spec, self._bytes(segment)) for segment in found if segment.key)
        return older_records([(segment.batch, segment.rows) for segment in stored])

    def _windows(self, spec: WatchSpec, index: Index, time: np.ndarray) -> np.ndarray:
        """(N,) windows of times; of windows of so many records, as the closed ones were."""
        return np.searchsorted(index.ends, time) if spec.records else spec.window_of(time)

    def _ends(self, monitor: str) -> np.ndarray:
        """(closed,) times of the last records of closed windows, µs."""
        ends, token = [], ""
        while True:
            page, token = self._ledger.list_windows(monitor, page_size=1000, page_token=token)
            ends += [timestamp_micros(str(summary.get("end_time") or "")) for summary in page]
            if not token:
                return np.maximum.accumulate(np.array(ends, np.int64)) if ends else np.empty(0, np.int64)

    def _bytes(self, segment: Segment) -> bytes:
        return self._store.get(segment.key, sha256=segment.sha256)


def _conflict(sorting: Sorting, row: int, reason: str) -> Conflict:
    before, now = (shown_digest(pair[0][row], pair[1][row]) for pair in (sorting.before, sorting.now))
    return Conflict(
        f"the record of row {row} came before with other values (digest {before}, now {now}); nothing of the batch was"
        " kept",
        field=f"record_ids[{row}]",
        reason=reason,
        details={"row": str(row), "before": before, "now": now},
    )


def _reaches(segment: Segment, floor: int) -> bool:
    return segment.last_time is not None and segment.last_time >= floor


def _span(times: np.ndarray) -> tuple[int, int] | None:
    return (int(times.min()), int(times.max())) if times.size else None


def _floor(found: list[Segment], most: int) -> int:
    """The time from which on records are taken in at first, so that at most half of what may be kept is loaded."""
    rows, floor = 0, -(2**62)
    predictions = [segment for segment in found if segment.kind == "predictions" and segment.last_time is not None]
    for segment in sorted(predictions, key=lambda segment: segment.last_time or 0, reverse=True):
        rows += segment.rows
        if rows > max(most // 2, segment.rows):
            floor = (segment.last_time or 0) + 1
            break
    return floor
