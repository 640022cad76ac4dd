"""Operations that close windows: one for each window of each monitor, however many workers look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.adapters.arrivals import ArrivalLog, WatchSpec
from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.monitoring.resources import stamp, state_of
from services.monitoring.watched import Watched

KIND = "monitor-window"
CLOSE = "monitor-window"
"""Kind of the one chunk of such an operation."""
TROUBLES = ("folder", "closing")


def next_closing(
    ledger: Ledger, log: ArrivalLog, body: Mapping[str, Any], *, now: datetime, retry_after_s: float, quiet_s: float
) -> Operation | None:
    """The operation for the next window of a monitor that may be closed now, new or standing; None without one.

    Windows close in order, each from the sums of those before, so the one after is asked for when this one is closed.
    An operation that failed or was cancelled is forgotten after a while, and the window asked for anew.
    """
    monitor = body["name"]
    closed = ledger.closed_windows(monitor)
    if not _ready(log, body, now, closed, quiet_s):
        return None
    # The body at hand may be old: a monitor that was deleted and created again is another one.
    standing = ledger.get_resource(monitor)
    if standing is None or not _ready(log, standing, now, closed, quiet_s):
        return None
    request_id = f"{monitor}/windows/{closed}/1/{standing['create_time']}"
    operation = _ask(ledger, monitor, closed, again=False, request_id=request_id)
    rested = (now - operation.update_time).total_seconds() >= retry_after_s
    if operation.state in ("failed", "cancelled") and rested:
        ledger.delete_operation(operation.name)
    return operation


def _ready(log: ArrivalLog, body: Mapping[str, Any], now: datetime, closed: int, quiet_s: float) -> bool:
    made = datetime.fromisoformat(body["create_time"])
    return log.closable(body["name"], WatchSpec.of(body), now, closed, quiet_s=quiet_s, since=made)[:1] == [closed]


def ask_again(ledger: Ledger, monitor: str, index: int) -> Operation:
    """An operation that derives a closed window again."""
    return _ask(ledger, monitor, index, again=True, request_id="")


def _ask(ledger: Ledger, monitor: str, index: int, *, again: bool, request_id: str) -> Operation:
    payload = {"monitor": monitor, "index": index, "again": again}
    operation, _ = ledger.create_operation(
        KIND, f"{monitor}/windows/{index}", payload, [ChunkSpec(CLOSE, payload)], request_id=request_id
    )
    return operation


def note_progress(ledger: Ledger, body: Mapping[str, Any]) -> None:
    """Bring the monitor's state and counts up to what is closed and raised. Doing it again changes nothing."""
    monitor = body["name"]
    closed, alarms = ledger.closed_windows(monitor), ledger.count_alarms(monitor)
    last = ledger.get_window(monitor, closed - 1) if closed else None
    values: dict[str, Any] = {
        "closed_windows": closed,
        "alarms": alarms,
        "state": state_of(closed, alarms, Watched.of(body["spec"]).planned_windows),
    }
    if last is not None:
        values |= {"last_window_end": last["end_time"], "label_delay_s": last["label_delay_s"]}
    if any(body.get(key) != value for key, value in values.items()):
        ledger.change_resource(monitor, values | {"update_time": stamp(datetime.now(UTC))})


def note_trouble(ledger: Ledger, monitor: str, about: str, trouble: str) -> None:
    """Say what is wrong with a monitor's folder or closing, or with "" that all is well there.

    Nothing is written where that stands already. Both together are the monitor's ``trouble``.
    """
    body = ledger.get_resource(monitor)
    if body is None or body.get(f"{about}_trouble", "") == trouble:
        return
    both = {f"{name}_trouble": body.get(f"{name}_trouble", "") for name in TROUBLES} | {f"{about}_trouble": trouble}
    told = "; ".join(filter(None, both.values()))
    ledger.change_resource(
        monitor, {f"{about}_trouble": trouble, "trouble": told, "update_time": stamp(datetime.now(UTC))}
    )
