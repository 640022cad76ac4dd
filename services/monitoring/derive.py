"""Closing a window, or deriving it again, in a process of its own.

Rows of a window are in memory only here, and this process ends when the window is closed: a worker's memory does not
grow with the traffic. ``python -m services.monitoring.derive`` reads a :class:`DeriveTask` as JSON from its input and
writes the closed window's summary, or the error, to its output. Killed anywhere it leaves at most an object that nobody
names; the window is closed, with its points and alarms, in one transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from services.adapters.arrivals import ArrivalLog, WatchSpec, WindowRows
from services.adapters.ledger import Ledger, open_ledger
from services.adapters.object_store import ObjectStore, content_key, open_object_store
from services.errors import NotFound, Unavailable
from services.hosting.children import answer_parent, ask_child
from services.maths.fairness.drift.series import Series
from services.maths.fairness.drift.windows import WindowCells, window_cells
from services.monitoring.alarms import alarm_body
from services.monitoring.cells import put_patients, read_sums, seen_before, window_document
from services.monitoring.few_labels import Rate, few_label_rates, put_rates, read_rates, with_running
from services.monitoring.resources import closed_windows, stamp, stamp_micros
from services.monitoring.verdicts import findings
from services.monitoring.watched import Watched

MOST_READS = 5
"""So often a window is read, since rows that may be of it arrived meanwhile; what comes after the last time is late."""


@dataclass(frozen=True)
class DeriveTask:
    """``again``: a closed window is derived from all that is recorded now; otherwise a closed one is left as it is."""

    ledger_url: str
    store_url: str
    monitor: str
    index: int
    again: bool = False


@dataclass(frozen=True)
class Content:
    """A window's rows and sums, what its digest is taken over, its summary but for the revision, few labels' rates."""

    rows: WindowRows
    document: bytes
    sums: WindowCells
    summary: dict[str, Any]
    rates: list[Rate]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.document).hexdigest()


def settle(ledger: Ledger, store: ObjectStore, task: DeriveTask) -> dict[str, Any]:
    """Close the window, or derive it again; its summary. Closing twice, or at once by several, closes it once.

    Raises NotFound MONITOR_NOT_FOUND, and Unavailable WINDOW_STILL_FILLING where others derive it all the time.
    """
    body = ledger.get_resource(task.monitor)
    if body is None:
        raise NotFound(f"there is no {task.monitor}", field="name", reason="MONITOR_NOT_FOUND")
    log = ArrivalLog(ledger, store)
    for read in range(1, MOST_READS + 1):
        standing = ledger.get_window(task.monitor, task.index)
        if standing is not None and not task.again:
            return standing
        rows = log.read_window(task.monitor, WatchSpec.of(body), task.index)
        earlier = [one for one in closed_windows(ledger, task.monitor) if one["index"] < task.index]
        content = derive(body, task.index, rows, seen_before(store, rows.patient_keys, earlier))
        if standing is not None and standing["digest"] == content.digest:
            return standing
        content.summary["revision"] = 1 if standing is None else standing["revision"] + 1
        if _close(ledger, store, body, content, earlier, leave_late=read == MOST_READS):
            return content.summary
    raise Unavailable(
        f"window {task.index} of {task.monitor} was derived by others each time that it was read",
        reason="WINDOW_STILL_FILLING",
        retry_after_s=5,
    )


def derive(body: Mapping[str, Any], index: int, rows: WindowRows, seen: np.ndarray) -> Content:
    """The content of a window: a pure function of the monitor and of the rows, in whatever order they came.

    ``seen`` (K,) says which patients were in an earlier window. It is no part of the digest.
    """
    watched = Watched.of(body["spec"])
    sums = window_cells(
        rows.scores,
        rows.labels,
        watched.groups(rows.codes),
        rows.patients,
        np.array(watched.thresholds),
        label_names=watched.labels,
        returning=seen[rows.patients],
    )
    told = {
        "start_time": stamp_micros(rows.start),
        "end_time": stamp_micros(rows.end),
        "records": rows.scores.shape[1],
        "patients": len(np.unique(rows.patients)),
        "labelled": int((rows.labels >= 0).any(axis=0).sum()),
        "model_versions": dict(sorted(rows.versions.items())),
    }
    document = window_document(body["digest"], index, sums, **told)
    summary = {
        "name": f"{body['name']}/windows/{index}",
        "index": index,
        "digest": hashlib.sha256(document).hexdigest(),
        **told,
        "last_record": rows.last_record,
        "conflicts": rows.conflicts,
        "label_delay_s": rows.label_delay_s,
        "returning": sums.returning.tolist(),
        "key": content_key(hashlib.sha256(document).hexdigest()),
        "close_time": stamp(datetime.now(UTC)),
    }
    return Content(rows, document, sums, summary, few_label_rates(rows, watched))


def _close(
    ledger: Ledger,
    store: ObjectStore,
    body: Mapping[str, Any],
    content: Content,
    earlier: Sequence[dict[str, Any]],
    *,
    leave_late: bool,
) -> bool:
    """False if somebody else closed it so, or if rows arrived since it was read that may be of it and are not left."""
    rows, monitor, summary = content.rows, body["name"], content.summary
    windows = [read_sums(store, one) for one in earlier]
    watched = Watched.of(body["spec"])
    found = findings(watched, [*windows, content.sums], _reference(store, body), _standing(ledger, monitor))
    summaries = [*earlier, summary]
    summary["rates_key"] = put_rates(store, with_running(content.rates, (read_rates(store, one) for one in earlier)))
    summary["patients_key"] = put_patients(store, monitor, rows.patient_keys)
    store.put(content.document, media_type="application/json")
    return ledger.close_window(
        monitor,
        summary["index"],
        revision=summary["revision"],
        digest=content.digest,
        summary=summary,
        key=summary["key"],
        points=found.points,
        alarms=[alarm_body(monitor, one, summaries.__getitem__, summary["close_time"]) for one in found.raised],
        through=rows.through,
        between=rows.between,
        leave_late=leave_late,
    )


def _standing(ledger: Ledger, monitor: str) -> set[Series]:
    found: set[Series] = set()
    token = ""
    while True:
        page, token = ledger.list_alarms(monitor, page_size=1000, page_token=token)
        found |= {Series(**body["key"]) for body in page}
        if not token:
            return found


def _reference(store: ObjectStore, body: Mapping[str, Any]) -> WindowCells | None:
    stored = body.get("reference")
    if not stored:
        return None
    return WindowCells.from_dict(json.loads(store.get(stored["key"], sha256=stored["sha256"])))


class SubprocessDeriver:
    """``settle`` in a child process that opens ledger and store by itself. Cancelling the call ends the child."""

    async def __call__(self, task: DeriveTask) -> dict[str, Any]:
        return await ask_child(__name__, asdict(task), about="window", field=task.monitor, lost="WINDOW_PROCESS_LOST")


def _settle(given: dict[str, Any]) -> dict[str, Any]:
    task = DeriveTask(**given)
    return settle(open_ledger(task.ledger_url), open_object_store(task.store_url), task)


if __name__ == "__main__":
    answer_parent(_settle)
