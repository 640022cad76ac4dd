"""Served traffic as a source of monitors: answered requests that name a patient and a record are recorded.

A request asks for it by the parameters ``patient_id``, ``record_id`` and, as far as they are known,
``attribute.{name}``; for N > 1 rows each is a JSON list of N texts. It is recorded after its answer, in a thread of its
own, for the monitors that tap its model. Nothing here delays or fails a request: what finds no room is dropped and
counted, and so is what cannot be read. The parameters go no further than the digests that are recorded: not to a
model, not to a log.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from services.adapters.arrivals import ArrivalLog, Predictions, WatchSpec, digest_ids
from services.adapters.arrivals.columns import digest_keys
from services.adapters.arrivals.watch import micros
from services.adapters.ledger import Ledger, utc_now
from services.adapters.telemetry import Telemetry
from services.errors import ServiceError, whereabouts

log = logging.getLogger(__name__)

PATIENT, RECORD, ATTRIBUTE = "patient_id", "record_id", "attribute."
MOST_WAITING = 2_000  # requests
GATHER_S = 0.2  # how long requests are gathered for one batch
MONITORS_AGE_S = 5.0
CLOSE_S = 5.0


@dataclass(frozen=True)
class Answered:
    """One answered request. ``scores`` is (N, L) in the order of ``labels``."""

    model: str
    version: str
    labels: tuple[str, ...]
    scores: np.ndarray
    parameters: Mapping[str, Any]
    time: datetime


@dataclass(frozen=True)
class _Tapped:
    monitor: str
    spec: WatchSpec
    rate: float


class Tap:
    """Takes answered requests with :meth:`offer`; its thread starts with the first that is to be recorded."""

    def __init__(
        self, ledger: Ledger, arrivals: ArrivalLog, telemetry: Telemetry, *, most_waiting: int = MOST_WAITING
    ) -> None:
        self._ledger = ledger
        self._arrivals = arrivals
        self._telemetry = telemetry
        self._waiting: queue.Queue[Answered | None] = queue.Queue(most_waiting)
        self._thread: threading.Thread | None = None
        self._tapped: dict[str, list[_Tapped]] = {}
        self._read_at = -float("inf")

    def offer(
        self, model: str, version: str, entry: Mapping[str, Any], output: np.ndarray, parameters: Mapping[str, Any]
    ) -> None:
        """Of the event loop. ``entry`` is the model's in the catalogue, ``output`` what was answered."""
        if RECORD not in parameters or entry.get("task") != "classification":
            return
        wanted = {name: value for name, value in parameters.items() if _is_ours(name)}
        answered = Answered(model, version, tuple(entry.get("labels") or ()), output, wanted, utc_now())
        try:
            self._waiting.put_nowait(answered)
        except queue.Full:
            self._count("dropped", len(output))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Record what waits, but take no longer than a few seconds over it."""
        if self._thread is not None:
            with suppress(queue.Full):
                self._waiting.put(None, timeout=CLOSE_S)
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        going = True
        while going:
            gathered = [self._waiting.get()]
            if gathered[0] is not None:
                time.sleep(GATHER_S)
            while not self._waiting.empty():
                gathered.append(self._waiting.get())
            going = None not in gathered
            try:
                self._record([answered for answered in gathered if answered is not None])
            except Exception as error:
                log.error("tapped requests were not recorded: %s", whereabouts(error))
                self._count("dropped", sum(len(answered.scores) for answered in gathered if answered is not None))

    def _record(self, gathered: list[Answered]) -> None:
        self._read_monitors()
        batches: dict[tuple[str, str], tuple[_Tapped, list[Predictions]]] = {}
        for answered in gathered:
            for tapped in self._of_model(answered):
                try:
                    rows = predictions_of(answered, tapped.spec)
                    tapped.spec.check(rows, answered.time)
                except (ServiceError, ValueError, RecursionError):  # the last from JSON without end
                    self._count("invalid", len(answered.scores))
                    continue
                drawn = rows.take(sampled(rows.records, tapped.rate))
                batches.setdefault((tapped.monitor, answered.version), (tapped, []))[1].append(drawn)
        for tapped, parts in batches.values():
            self._append(tapped, joined(parts))

    def _append(self, tapped: _Tapped, batch: Predictions) -> None:
        try:
            outcome = self._arrivals.append_predictions(
                tapped.monitor, tapped.spec, batch, utc_now(), contradictions="skip"
            )
        except ServiceError as error:
            log.warning("rows of a tapped model were not recorded: %s", error.reason)
            self._count("dropped", len(batch))
            return
        self._count("recorded", outcome.recorded)
        self._count("duplicates", outcome.duplicates)
        self._count("conflict", outcome.conflicts)

    def _of_model(self, answered: Answered) -> list[_Tapped]:
        names = (f"models/{answered.model}", f"models/{answered.model}@{answered.version}")
        return [tapped for name in names for tapped in self._tapped.get(name, ())]

    def _read_monitors(self) -> None:
        """Which monitors tap which model, where that was last asked a while ago."""
        if time.monotonic() - self._read_at < MONITORS_AGE_S:
            return
        found: dict[str, list[_Tapped]] = {}
        for body in _pages(self._ledger):
            tap = (body["spec"].get("source") or {}).get("tap")
            if tap is not None:
                tapped = _Tapped(body["name"], WatchSpec.of(body), float(tap.get("sampling_rate") or 1.0))
                found.setdefault(body["spec"].get("model", ""), []).append(tapped)
        self._tapped, self._read_at = found, time.monotonic()

    def _count(self, outcome: str, rows: int) -> None:
        self._telemetry.rows(kind="tapped", outcome=outcome, count=rows)


def predictions_of(answered: Answered, spec: WatchSpec) -> Predictions:
    """The rows of a request as a monitor takes them. Raises ValueError where the parameters do not fit its rows."""
    count = len(answered.scores)
    columns = {name: _texts(value, count) for name, value in answered.parameters.items()}
    records, patients = columns.get(RECORD), columns.get(PATIENT)
    if records is None or patients is None or not all(records) or not all(patients):
        raise ValueError("every row needs a record and a patient")
    codes = np.full((len(spec.attributes), count), -1, np.int16)
    for place, (attribute, levels) in enumerate(spec.attributes):
        given = columns.get(f"{ATTRIBUTE}{attribute}", [None] * count)
        codes[place] = [-1 if level is None else levels.index(level) for level in given]
    scores = np.full((len(spec.labels), count), np.nan, np.float32)
    for place, label in enumerate(spec.labels):
        if label in answered.labels:
            scores[place] = answered.scores[:, answered.labels.index(label)]
    return Predictions(
        digest_ids(map(str, records)),
        digest_ids(map(str, patients)),
        np.full(count, micros(answered.time), np.int64),
        codes,
        scores,
        answered.version,
        timed=False,
    )


def sampled(records: np.ndarray, rate: float) -> np.ndarray:
    """(N,) whether a record is drawn at a rate: a function of its digest, so that every process draws the same."""
    if rate >= 1:
        return np.ones(len(records), bool)
    drawn: np.ndarray = digest_keys(records)[0] < np.uint64(rate * 2.0**64)
    return drawn


def joined(parts: list[Predictions]) -> Predictions:
    """Batches of one version as one."""
    return Predictions(
        np.concatenate([part.records for part in parts]),
        np.concatenate([part.patients for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.codes for part in parts], axis=1),
        np.concatenate([part.scores for part in parts], axis=1),
        parts[0].version,
        parts[0].timed,
    )


def _texts(value: Any, count: int) -> list[str | None]:
    """One text a row: the value itself for one row, else a list or the JSON of one."""
    given = value if isinstance(value, list) else [value] if count == 1 else json.loads(str(value))
    if not isinstance(given, list) or len(given) != count:
        raise ValueError("a parameter has another number of rows than the request")
    return [None if item is None else str(item) for item in given]


def _is_ours(name: str) -> bool:
    return name in (PATIENT, RECORD) or name.startswith(ATTRIBUTE)


def _pages(ledger: Ledger) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        page, token = ledger.list_resources("monitor", page_size=1000, page_token=token, leave_out=("plan",))
        yield from page
        if not token:
            return
