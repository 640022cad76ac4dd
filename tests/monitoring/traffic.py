"""Traffic whose truth is known: records of a day of two labels, in two groups of two attributes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from services.adapters.arrivals import Labels, Predictions, WatchSpec, digest_ids

LABELS = ("Edema", "Fracture")
THRESHOLDS = (0.5, 0.45)
LEVELS = {"sex": ("Female", "Male"), "age": ("young", "old")}
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Traffic:
    """N records of a window of a day: two a patient, ``miss`` of whose positives are not flagged in women.

    ``prevalence`` is that of Edema in women; in everyone else and of Fracture it is 0.3. With ``same_people`` the
    patients are those of every other such day.
    """

    day: int
    records: int = 600
    miss: float = 0.0
    prevalence: float = 0.3
    version: str = "1"
    seed: int = 0
    same_people: bool = False

    @property
    def draw(self) -> np.random.Generator:
        return np.random.default_rng([self.day, self.seed])

    def frame(self) -> pd.DataFrame:
        """Columns of a table of predictions, and of labels under "truth.{label}"."""
        draw, count = self.draw, self.records
        who = "p" if self.same_people else f"p{self.day}-{self.seed}"
        people = np.random.default_rng(7) if self.same_people else draw
        patients = people.integers(0, 2, (2, (count + 1) // 2)).repeat(2, axis=1)[:, :count]
        women = patients[0] == 0
        rows: dict[str, Any] = {
            "record_id": [f"d{self.day}-{self.seed}-{i}" for i in range(count)],
            "patient_id": [f"{who}-{i // 2}" for i in range(count)],
            "offset_s": np.sort(draw.uniform(0, 86_399, count)),
            "sex": np.array(LEVELS["sex"])[patients[0]],
            "age": np.array(LEVELS["age"])[patients[1]],
        }
        for place, label in enumerate(LABELS):
            share = np.where(women & (place == 0), self.prevalence, 0.3)
            truth = (draw.random(count) < share).astype(int)
            flagged = np.where(truth == 1, draw.random(count) < 0.85, draw.random(count) < 0.15)
            missed = (truth == 1) & women & (place == 0) & (draw.random(count) < self.miss)
            high = flagged & ~missed
            rows[f"score.{label}"] = np.where(high, draw.uniform(0.55, 1, count), draw.uniform(0, 0.4, count)).round(4)
            rows[f"truth.{label}"] = truth
        return pd.DataFrame(rows)


def times(frame: pd.DataFrame, origin: datetime, traffic: Traffic) -> np.ndarray:
    """(N,) µs since 1970."""
    start = int((origin + traffic.day * DAY).timestamp()) * 1_000_000
    found: np.ndarray = start + (frame["offset_s"].to_numpy() * 1e6).astype(np.int64)
    return found


def predictions(frame: pd.DataFrame, spec: WatchSpec, origin: datetime, traffic: Traffic) -> Predictions:
    codes = [pd.Categorical(frame[name], categories=list(levels)).codes for name, levels in spec.attributes]
    return Predictions(
        digest_ids(frame["record_id"]),
        digest_ids(frame["patient_id"]),
        times(frame, origin, traffic),
        np.stack(codes).astype(np.int16),
        np.stack([frame[f"score.{label}"] for label in spec.labels]).astype(np.float32),
        traffic.version,
    )


def truths(frame: pd.DataFrame) -> Labels:
    values = np.stack([frame[f"truth.{label}"] for label in LABELS]).astype(np.int8)
    return Labels(digest_ids(frame["record_id"]), values)
