"""What the tests of monitors watch: a spec, and tables of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SPEC: dict[str, Any] = {
    "labels": {"Pneumonia": 0.13, "Edema": 0.145},
    "attributes": {"sex": ["Female", "Male"], "ward": ["1", "2", "10"]},
    "metrics": ["tpr"],
    "window": {"length": "7d", "origin": "2026-01-05", "label_delay": "14d"},
    "reference": {"first_windows": 2},
}


def predictions(rows: int, seed: int = 1) -> pd.DataFrame:
    """Rows that a monitor of ``SPEC`` takes; every tenth has no sex, every seventh no score for Edema."""
    rng = np.random.default_rng(seed)
    place = np.arange(rows)
    edema = rng.random(rows)
    edema[place % 7 == 0] = np.nan
    return pd.DataFrame(
        {
            "record_id": [f"r{number:06d}" for number in place],
            "patient_id": [f"p{number // 2:06d}" for number in place],
            "time": pd.Timestamp("2026-01-05T08:00:00Z") + pd.to_timedelta(place, unit="min"),
            "sex": np.where(place % 10 == 0, None, np.where(rng.random(rows) < 0.5, "Female", "Male")),
            "ward": rng.choice([1, 2, 10], rows),
            "Pneumonia": rng.random(rows),
            "Edema": edema,
        }
    )


def truth(rows: int) -> pd.DataFrame:
    """Labels of the first so many of these rows, last first; every fifth Edema is not known."""
    place = np.arange(rows)[::-1]
    edema = np.where(place % 5 == 0, np.nan, place % 3 == 0)
    record = [f"r{number:06d}" for number in place]
    return pd.DataFrame({"record_id": record, "Pneumonia": place % 2, "Edema": edema})
