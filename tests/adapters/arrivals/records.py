"""Made-up arrivals, a log over fresh parts, and a writer that may be killed."""

from __future__ import annotations

import os
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from services.adapters.arrivals import ArrivalLog, Labels, Predictions, WatchSpec, WindowRows, digest_ids
from services.adapters.ledger import open_ledger
from services.adapters.object_store import DirectoryStore

MONITOR = "monitors/m"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ORIGIN = datetime(2026, 5, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
BODY: dict[str, Any] = {
    "name": MONITOR,
    "spec": {
        "labels": [{"label": "Edema", "threshold": 0.5}, {"label": "Mass", "threshold": 0.4}],
        "attributes": [
            {"attribute": "sex", "levels": ["Female", "Male"]},
            {"attribute": "age", "levels": ["young", "middle", "old"]},
        ],
        "window": {"length": "86400s", "origin": "2026-05-01T00:00:00Z", "label_delay": "3600.5s"},
    },
}
SPEC = WatchSpec.of(BODY)


def counting(records: int) -> WatchSpec:
    """The same monitor with windows of so many records."""
    return WatchSpec(SPEC.labels, SPEC.attributes, SPEC.origin, delay=0, records=records)


def made(count: int, seed: int = 0, *, days: int = 3, labels: int = 2) -> tuple[Predictions, Labels]:
    """``count`` records over some days, with a label or without, some scores and levels missing."""
    rng = np.random.default_rng(seed)
    records = digest_ids(f"record-{seed}-{number}" for number in range(count))
    scores = rng.random((labels, count), np.float32)
    scores[rng.random((labels, count)) < 0.1] = np.nan
    predictions = Predictions(
        records,
        digest_ids(f"patient-{seed}-{number // 2}" for number in range(count)),
        SPEC.origin + rng.integers(0, days * DAY_US, count),
        rng.integers(-1, 2, (2, count)).astype(np.int16),
        scores,
        "v1",
    )
    return predictions, Labels(records, rng.integers(-1, 2, (labels, count)).astype(np.int8))


def same(one: WindowRows, other: WindowRows) -> bool:
    """Whether two windows are equal to the byte, but for what depends on when rows came."""
    for field in fields(WindowRows):
        if field.name in ("label_delay_s", "through", "last_record", "between"):
            continue
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            if (left.dtype, left.shape, left.tobytes()) != (right.dtype, right.shape, right.tobytes()):
                return False
        elif left != right:
            return False
    return True


def open_log(url: str, folder: Path, **more: Any) -> ArrivalLog:
    """A log with connections of its own, as another process has them; the monitor exists."""
    ledger = open_ledger(url)
    if ledger.get_resource(MONITOR) is None:
        ledger.put_resource(MONITOR, "monitor", BODY)
    return ArrivalLog(ledger, DirectoryStore(folder), **more)


def write_until_killed(url: str, folder: Path, journal: Path, seed: int) -> None:
    """Append batch after batch from a random place on, and note each acknowledged one; the next writer repeats."""
    log = open_log(url, folder)
    predictions, labels = made(400, days=2)
    batches = [np.arange(at, at + 10) for at in range(0, 400, 10)]
    rng = np.random.default_rng(seed)
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"ready 0\n")
    for number in rng.permutation(80).tolist():
        rows = batches[number % 40]
        now = NOW + timedelta(seconds=number)
        if number < 40:
            log.append_predictions(MONITOR, SPEC, predictions.take(rows), now)
        else:
            log.append_labels(MONITOR, SPEC, labels.take(rows), now)
        os.write(descriptor, f"{'predictions' if number < 40 else 'labels'} {number % 40}\n".encode())
