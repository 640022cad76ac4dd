"""Reading: which windows may be closed, and everything that is recorded for one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.adapters.ledger import Ledger, Segment
from services.adapters.object_store import ObjectStore

from .columns import Labels, Predictions, digest_keys
from .places import Span, count_span, open_span
from .runs import Keys, digest_order, locate
from .segments import StoredLabels, decode_labels, decode_predictions
from .watch import WatchSpec, micros

PATIENCE = 30
"""A window of the past waits for its labels no longer than so many times the quiet that ends its recording."""


@dataclass(frozen=True)
class WindowRows:
    """N records in the order of their digests; no record is in it twice.

    scores: (L, N) float32 in [0, 1], NaN for missing. labels: (L, N) int8: 1, 0, -1 for missing. codes: (A, N) int16,
    -1 for missing. patients: (N,) int64 from 0, in the order of their digests. versions: records by version of the
    model. conflicts: records that came twice with other values; what came first is taken. label_delay_s: median time
    from a prediction to its first label, -1 where there is none; the one thing here that depends on when rows came.
    start, end: µs since 1970; of a window of so many records the times of its first and last. last_record: digest of
    the last of so many, in hex: the next window begins after it (:mod:`.places`). between: from which time on and
    before which a record may be of the window, µs. through: number of the last segment that was read. patient_keys:
    (K,) uint64 first halves of the patients' digests, by their numbers: who is who in other windows.
    """

    scores: np.ndarray
    labels: np.ndarray
    codes: np.ndarray
    patients: np.ndarray
    versions: dict[str, int]
    conflicts: int
    label_delay_s: float
    start: int
    end: int
    through: int
    patient_keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    last_record: str = ""
    between: tuple[int, int] = (0, 0)


def closable_windows(
    ledger: Ledger,
    store: ObjectStore,
    monitor: str,
    spec: WatchSpec,
    *,
    now: int,
    closed: int,
    quiet: int = 0,
    since: int = 0,
) -> list[int]:
    """Indices from ``closed`` on of windows that ended, ``spec.delay`` ago or more, by ``now`` (µs).

    Of windows of so many records at most the first: where the next begins is known once it is closed. None while the
    first is history that is still being recorded (:func:`_recalled`).
    """
    if spec.records:
        span = open_span(ledger, store, monitor, spec, closed, by=now - spec.delay)
        indices = [closed] if span else []
    else:
        indices = list(range(closed, max(closed, (now - spec.delay - spec.origin) // spec.length)))
        span = Span.of_times(*spec.span(closed))
    if indices and span and _recalled(ledger, monitor, spec, span.times, now=now, quiet=quiet, since=since):
        return []
    return indices


def _recalled(
    ledger: Ledger, monitor: str, spec: WatchSpec, times: tuple[int, int], *, now: int, quiet: int, since: int
) -> bool:
    """Whether records from one time up to another are history that is still being recorded: they came only when their
    window might have been closed already, and something of it came within the last ``quiet`` µs; who records the past
    posts many batches, and their labels next.

    A window that was over when the monitor was made, at ``since``, and has no records, is history too whose turn may be
    to come: it waits for the first records of any window, and while more come. Labels count that are of known records
    of these times, and all of it only for a while: other traffic keeps nothing open.
    """
    if not quiet:
        return False
    due = times[1] + spec.delay
    predictions = ledger.segments(monitor, kind="predictions", between=times)
    own = bool(predictions)
    if not own and due <= since:
        predictions = ledger.segments(monitor, kind="predictions")
        if not predictions:
            return True
    came = [micros(segment.create_time) for segment in predictions]
    if not came or max(came) <= due or now - (max(came) if own else min(came)) >= PATIENCE * quiet:
        return False
    labels = [one for one in ledger.segments(monitor, kind="labels", between=times) if one.overlaps(*times)]
    return now - max(*came, *(micros(segment.create_time) for segment in labels), 0) < quiet


def read_window(ledger: Ledger, store: ObjectStore, monitor: str, spec: WatchSpec, index: int) -> WindowRows:
    """A pure function of the segments, and of where the windows of so many records before it were closed.

    Beside its result it needs about 60 bytes a record.
    """
    through = ledger.last_segment(monitor)  # what comes while we read has a greater number, and is left for later
    if spec.records:
        span = count_span(ledger, store, monitor, spec, index, through=through)
    else:
        span = Span.of_times(*spec.span(index))
    found = ledger.segments(monitor, between=span.times)
    found = [segment for segment in found if segment.key and segment.seq <= through]
    predictions = _read_predictions(store, spec, span, [one for one in found if one.kind == "predictions"])
    labels = (decode_labels(spec, _get(store, one)) for one in found if one.kind == "labels")
    joined, disagreeing, delay_s = _join(predictions, labels, len(spec.labels))
    start, end = span.first[0], span.stop[0]
    return WindowRows(
        scores=predictions.scores,
        labels=joined,
        codes=predictions.codes,
        patients=predictions.patients,
        versions=predictions.versions,
        conflicts=predictions.conflicts + disagreeing,
        label_delay_s=delay_s,
        start=int(predictions.time.min(initial=end)) if spec.records else start,
        end=end,
        through=through,
        patient_keys=predictions.patient_keys,
        last_record=span.last_record,
        between=span.times,
    )


@dataclass(frozen=True)
class _Records:
    keys: Keys
    time: np.ndarray
    scores: np.ndarray
    codes: np.ndarray
    patients: np.ndarray
    patient_keys: np.ndarray
    versions: dict[str, int]
    conflicts: int


def _read_predictions(store: ObjectStore, spec: WatchSpec, span: Span, found: Sequence[Segment]) -> _Records:
    most = sum(segment.rows for segment in found)
    scores, codes = np.empty((len(spec.labels), most), np.float32), np.empty((len(spec.attributes), most), np.int16)
    hi, lo, patient_hi, patient_lo, rows = (np.empty(most, np.uint64) for _ in range(5))
    time, version = np.empty(most, np.int64), np.empty(most, np.int32)
    names: dict[str, int] = {}
    count = 0
    for segment in found:
        stored = decode_predictions(spec, _get(store, segment))
        batch: Predictions = stored.batch
        keys, patients = digest_keys(batch.records), digest_keys(batch.patients)
        inside = np.flatnonzero(span.holds(batch.time, keys))
        at = slice(count, count + len(inside))
        scores[:, at], codes[:, at] = batch.scores[:, inside], batch.codes[:, inside]
        hi[at], lo[at], patient_hi[at], patient_lo[at] = (half[inside] for half in (*keys, *patients))
        time[at], rows[at] = batch.time[inside], stored.rows[inside]
        version[at] = names.setdefault(batch.version, len(names))
        count += len(inside)
    # From here on each large array goes as soon as it is used up: together they would double what a window needs.
    hi, lo, rows, time, version = hi[:count], lo[:count], rows[:count], time[:count], version[:count]
    order = digest_order(hi, lo)  # stable: of a record that is there twice the first comes first
    hi = hi[order]
    lo = lo[order]
    again = np.zeros(count, bool)
    again[1:] = (hi[1:] == hi[:-1]) & (lo[1:] == lo[:-1])
    conflicts = 0
    if again.any():
        rows, leader = rows[order], np.maximum.accumulate(np.where(again, 0, np.arange(count)))
        conflicts = len(np.unique(leader[again & (rows != rows[leader])]))
        order, hi, lo = order[~again], hi[~again], lo[~again]
    del rows, again
    patient_hi = patient_hi[order]
    patient_lo = patient_lo[order]
    numbers = _numbered(patient_hi, patient_lo)
    patient_keys = np.zeros(int(numbers.max(initial=-1)) + 1, np.uint64)
    patient_keys[numbers] = patient_hi
    del patient_hi, patient_lo
    counts = np.bincount(version[order], minlength=len(names))
    return _Records(
        keys=(hi, lo),
        time=time[order],
        scores=_taken(scores, order),
        codes=_taken(codes, order),
        patients=numbers,
        patient_keys=patient_keys,
        versions={name: int(counts[number]) for name, number in sorted(names.items()) if counts[number]},
        conflicts=conflicts,
    )


def _join(records: _Records, found: Iterator[StoredLabels], count: int) -> tuple[np.ndarray, int, float]:
    """(L, N) labels, the number of records whose labels contradict each other, and the median delay in seconds."""
    labels = np.full((count, len(records.time)), -1, np.int8)
    came = np.zeros(len(records.time), np.int64)
    disagreeing: set[int] = set()
    for stored in found:
        for batch in _rounds(stored.batch):
            at = locate(*records.keys, digest_keys(batch.records))
            known = at >= 0
            places, values = at[known], batch.values[:, known]
            before = labels[:, places]
            wrong = ((values >= 0) & (before >= 0) & (values != before)).any(axis=0)
            disagreeing.update(places[wrong].tolist())
            labels[:, places] = np.where(before >= 0, before, values)
            first = places[(values >= 0).any(axis=0) & (came[places] == 0)]
            came[first] = stored.received
    labelled = came > 0
    delays = np.maximum(0, came[labelled] - records.time[labelled])
    return labels, len(disagreeing), float(np.median(delays)) / 1e6 if delays.size else -1.0


def _rounds(batch: Labels) -> Iterator[Labels]:
    """The rows in parts in which no record is twice, in order."""
    hi, lo = digest_keys(batch.records)
    order = digest_order(hi, lo)
    starts = np.ones(len(order), bool)
    starts[1:] = (hi[order][1:] != hi[order][:-1]) | (lo[order][1:] != lo[order][:-1])
    if starts.all():
        yield batch
        return
    places = np.arange(len(order))
    rank = np.empty(len(order), np.int64)
    rank[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    for number in range(int(rank.max()) + 1):
        yield batch.take(rank == number)


def _taken(columns: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``columns[:, order]`` in the memory of ``columns``: a copy of all would double what a window needs."""
    flat, width = columns.reshape(-1), len(order)
    for place in range(len(columns)):
        flat[place * width : (place + 1) * width] = columns[place, order]
    return flat[: len(columns) * width].reshape(len(columns), width)


def _numbered(hi: np.ndarray, lo: np.ndarray) -> np.ndarray:
    """(N,) int64 places of digests, given by their halves, among those that occur."""
    order = digest_order(hi, lo)
    hi = hi[order]
    lo = lo[order]
    starts = np.zeros(len(order), bool)
    starts[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    del hi, lo
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(starts)
    return numbers


def _get(store: ObjectStore, segment: Segment) -> bytes:
    return store.get(segment.key, sha256=segment.sha256)
