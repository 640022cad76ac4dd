"""The ledger's methods for monitors. ``monitor`` is a resource name, "monitors/{monitor}", as everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from . import monitoring, segments
from .database import Database
from .records import Segment


class MonitorLedger:
    """Arrivals, closed windows, points and alarms: each method is one transaction."""

    _database: Database
    _clock: Callable[[], datetime]

    def create_monitor(self, kind: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Write a monitor under its ``name``, unless its ``request_id`` (none for "") made one that stands.

        The body that stands; None where that one was deleted at this moment. A name is never used twice, so that
        nobody takes a monitor that was deleted and made anew for the one before.
        """
        with self._database.write() as db:
            return monitoring.create(db, self._clock(), kind, body)

    def monitor_of_request(self, request_id: str) -> dict[str, Any] | None:
        """The body of the monitor that this request id made and that stands."""
        with self._database.read() as db:
            return monitoring.of_request(db, request_id)

    def append_segment(
        self,
        monitor: str,
        kind: str,
        *,
        rows: int,
        key: str = "",
        sha256: str = "",
        duplicates: int = 0,
        late_windows: Mapping[int, int] | None = None,
        unknown: int = 0,
        first_time: int | None = None,
        last_time: int | None = None,
        after: int | None = None,
        closed: int | None = None,
    ) -> int:
        """Acknowledge a batch that is in the store; its number, from 1.

        kind: "predictions", "labels", or "refused" for rows that say otherwise than the rows before. late_windows:
        rows by closed window. unknown: labels of unknown records, negative for those that these predictions resolve.
        Times of the first and last known record, µs. With ``after``, the number of the newest segment, and
        ``closed``, the number of closed windows, as the caller knows them, 0 is returned and nothing is written if
        either has grown since. Raises :class:`NotFound` ``MONITOR_NOT_FOUND``.
        """
        late = {str(index): count for index, count in (late_windows or {}).items()}
        values = {
            "kind": kind,
            "key": key,
            "sha256": sha256,
            "rows": rows,
            "duplicates": duplicates,
            "late": sum(late.values()),
            "late_windows": late,
            "unknown": unknown,
            "first_time": first_time,
            "last_time": last_time,
        }
        with self._database.write() as db:
            return segments.append(db, self._clock(), monitor, after=after, closed=closed, values=values)

    def segments(
        self, monitor: str, *, kind: str = "", after: int = 0, between: tuple[int, int] | None = None
    ) -> list[Segment]:
        """In order. ``between`` two times (µs, the second excluded): what may tell of records in between."""
        with self._database.read() as db:
            return segments.find(db, monitor, kind=kind, after=after, between=between)

    def last_segment(self, monitor: str) -> int:
        """The number of the newest segment; 0 before the first."""
        with self._database.read() as db:
            return segments.last(db, monitor)

    def progress_of(self, monitor: str, after: int) -> tuple[list[Segment], int, int]:
        """(segments after number ``after``, the newest's number, number of closed windows) at one moment."""
        with self._database.read() as db:
            # The count first: a window that is closed in between is then seen by ``append_segment``, not missed.
            closed = segments.closed_windows(db, monitor)
            newest = segments.last(db, monitor)
            return segments.find(db, monitor, kind="", after=after, between=None), newest, closed

    def arrivals(self, monitor: str) -> dict[str, int]:
        """predictions, labels, duplicates, conflicts, unknown_labels, late_predictions, late_labels."""
        with self._database.read() as db:
            return segments.arrivals(db, monitor)

    def all_arrivals(self) -> dict[str, dict[str, int]]:
        """:meth:`arrivals` of every monitor at which something arrived, in one transaction."""
        with self._database.read() as db:
            return segments.all_arrivals(db)

    def late_rows(self, monitor: str) -> dict[int, int]:
        """Rows by closed window that its newest revision has not taken in."""
        with self._database.read() as db:
            return segments.late_rows(db, monitor)

    def closed_windows(self, monitor: str) -> int:
        """How many windows are closed; windows close in order, from 0."""
        with self._database.read() as db:
            return segments.closed_windows(db, monitor)

    def close_window(
        self,
        monitor: str,
        index: int,
        *,
        revision: int,
        digest: str,
        summary: dict[str, Any],
        key: str,
        points: Iterable[Mapping[str, Any]],
        alarms: Iterable[dict[str, Any]],
        through: int | None = None,
        between: tuple[int, int] | None = None,
        leave_late: bool = False,
    ) -> bool:
        """Write a window's revision with its points and alarms; False, and nothing changed, if it is there already.

        points: dicts of label, metric, attribute, group, state, value, gap, standard_error, change, low, high (None
        where undefined), e_value, cases, patients, records, alarmed; they replace those of the revision before.
        alarms: bodies with ``name`` and ``key``; a series that has one keeps it. through: the newest segment that the
        content knows; None takes the newest of all. With ``between`` (from when and before when its records are, µs)
        False also where a later segment may tell of them: then read it again, or count that as late (``leave_late``).
        """
        with self._database.write() as db:
            return monitoring.close(
                db,
                self._clock(),
                monitor,
                index,
                revision=revision,
                digest=digest,
                summary=summary,
                key=key,
                new_points=points,
                new_alarms=alarms,
                through=through,
                between=between,
                leave_late=leave_late,
            )

    def get_window(self, monitor: str, index: int) -> dict[str, Any] | None:
        """The summary of a closed window's newest revision."""
        with self._database.read() as db:
            return monitoring.get_window(db, monitor, index)

    def list_windows(
        self, monitor: str, *, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[dict[str, Any]], str]:
        """Summaries of the newest revisions, oldest window first, with the token of the next page."""
        with self._database.read() as db:
            return monitoring.page_windows(db, monitor, page_size, page_token)

    def points(
        self,
        monitor: str,
        *,
        windows: range | None = None,
        label: str = "",
        metric: str = "",
        attribute: str = "",
        group: str = "",
    ) -> list[dict[str, Any]]:
        """Points in order of window and series: the dicts of :meth:`close_window` with ``window_index``."""
        series = {"label": label, "metric": metric, "attribute": attribute, "group": group}
        with self._database.read() as db:
            return monitoring.find_points(db, monitor, windows, series)

    def latest_points(self, monitor: str) -> list[dict[str, Any]]:
        """The points of the last closed window."""
        with self._database.read() as db:
            return monitoring.latest_points(db, monitor)

    def all_latest(self, monitors: Iterable[str]) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
        """By monitor, of those that closed a window: the last one's summary and points."""
        with self._database.read() as db:
            return monitoring.all_latest(db, list(monitors))

    def list_alarms(
        self, monitor: str = "-", *, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[dict[str, Any]], str]:
        """Bodies, newest first; of all monitors for "-"."""
        with self._database.read() as db:
            return monitoring.page_alarms(db, monitor, page_size, page_token)

    def count_alarms(self, monitor: str) -> int:
        with self._database.read() as db:
            return monitoring.count_alarms(db, monitor)

    def delete_monitor(self, monitor: str) -> list[str]:
        """Forget a monitor and all that hangs on it; the keys of objects in the store that nobody needs any more.

        Raises :class:`NotFound` ``MONITOR_NOT_FOUND``.
        """
        with self._database.write() as db:
            return monitoring.remove(db, monitor)
