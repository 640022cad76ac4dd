"""What the log needs to know of a monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.errors import InvalidInput, OutOfRange

from .columns import Predictions

FUTURE_US = 5 * 60 * 1_000_000  # clocks of senders may run ahead by so much
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """An aware datetime as µs since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class WatchSpec:
    """Labels, attributes with their levels, and how records are cut: ``length`` µs, or ``records`` at a time.

    ``origin`` is where window 0 begins, in µs since 1970; ``delay`` µs is how long labels may take.
    """

    labels: tuple[str, ...]
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    origin: int
    delay: int = 0
    length: int = 0
    records: int = 0

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> WatchSpec:
        """Of a monitor's body as it is in the ledger."""
        spec = body["spec"]
        window = spec.get("window") or {}
        return cls(
            labels=tuple(watched["label"] for watched in spec.get("labels") or ()),
            attributes=tuple(
                (watched["attribute"], tuple(watched.get("levels") or ())) for watched in spec.get("attributes") or ()
            ),
            origin=_timestamp(window.get("origin")),
            delay=duration_micros(window.get("label_delay")),
            length=duration_micros(window.get("length")),
            records=int(window.get("records") or 0),
        )

    def window_of(self, time: np.ndarray) -> np.ndarray:
        """(N,) int64 indices of the time windows of (N,) times."""
        found: np.ndarray = (time - self.origin) // self.length
        return found

    def span(self, index: int) -> tuple[int, int]:
        """First µs of a time window, and the first after it."""
        return self.origin + index * self.length, self.origin + (index + 1) * self.length

    def check(self, batch: Predictions, now: datetime) -> None:
        """Raises InvalidInput for the first row with SCORE_INVALID, TIME_IN_FUTURE or TIME_BEFORE_ORIGIN."""
        wrong = (batch.scores < 0) | (batch.scores > 1)  # NaN is neither
        if wrong.any():
            label, row = (int(place) for place in np.argwhere(wrong)[0])
            raise OutOfRange(
                f"the score of {self.labels[label]} in row {row} is {batch.scores[label, row]:.6g}, expected a"
                " probability in [0, 1], or NaN where it is missing",
                field=f"scores[{label}].scores[{row}]",
                reason="SCORE_INVALID",
            )
        early, late = np.flatnonzero(batch.time < self.origin), np.flatnonzero(batch.time > micros(now) + FUTURE_US)
        if late.size:
            raise InvalidInput(
                f"the time of row {late[0]} is more than five minutes ahead of the platform's clock",
                field=f"time_micros[{late[0]}]",
                reason="TIME_IN_FUTURE",
            )
        if early.size:
            raise InvalidInput(
                f"the time of row {early[0]} is before the monitor's first window",
                field=f"time_micros[{early[0]}]",
                reason="TIME_BEFORE_ORIGIN",
            )


def _timestamp(text: str | None) -> int:
    moment = Timestamp()
    moment.FromJsonString(text or "1970-01-01T00:00:00Z")
    return int(moment.ToMicroseconds())


def duration_micros(text: str | None) -> int:
    """A duration in the API's JSON form as µs; 0 where it is absent."""
    length = Duration()
    length.FromJsonString(text or "0s")
    return int(length.ToMicroseconds())


def timestamp_micros(text: str) -> int:
    """A time in the API's JSON form as µs since 1970."""
    return _timestamp(text)
