"""Rows of a small planted audit: two pipelines, two labels, image quality, missing values of every kind."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

LEVELS = {"sex": ["Female", "Male"], "age": ["0-60", "60-80", "80+"]}
PROVENANCE = {"cohort": {"digest": "c" * 64, "patients": 401, "records": 801}, "seed": 7}


@dataclass(frozen=True)
class PlantedAudit:
    """800 records of 400 patients; "unet" loses positives of men only; nobody is over 80. Scores are probabilities."""

    predictions: pd.DataFrame
    quality: pd.DataFrame
    levels: dict[str, list[str]]
    provenance: dict[str, Any]


def _cohort(draw, records):
    sex = draw.choice(["Female", "Male", None], records // 2, p=[0.5, 0.45, 0.05])
    age = draw.choice(["0-60", "60-80"], records // 2)
    return pd.DataFrame(
        {
            "record_id": [f"r{i:05d}" for i in range(records)],
            "patient_id": [f"p{i // 2:05d}" for i in range(records)],
            "attribute_sex": np.repeat(sex, 2),
            "attribute_age": np.repeat(age, 2),
        }
    )


@pytest.fixture(scope="session")
def planted():
    draw = np.random.default_rng(3)
    cohort = _cohort(draw, 800)
    predictions, quality = [], []
    for label in ("Edema", "Fracture"):
        y_true = draw.choice([0.0, 1.0, np.nan], 800, p=[0.65, 0.3, 0.05])
        score = draw.normal(np.nan_to_num(y_true) * 1.5, 1.0)
        loss = np.where((cohort["attribute_sex"] == "Male") & (y_true == 1), 1.0, 0.0)
        for pipeline, y_score in (("original", score), ("unet", score - loss)):
            part = cohort.assign(pipeline=pipeline, task="classification", label=label, y_true=y_true)
            predictions.append(part.assign(y_score=expit(y_score - 0.5), threshold=0.5))
    for pipeline, metric, mean in (("original", "dice", 0.8), ("unet", "dice", 0.7), ("unet", "psnr", 30.0)):
        value = mean + draw.normal(0, 0.01, 800)
        value[:20] = np.nan if metric == "dice" else np.inf
        quality.append(cohort.assign(pipeline=pipeline, metric=metric, value=value))
    tables = pd.concat(predictions, ignore_index=True), pd.concat(quality, ignore_index=True)
    return PlantedAudit(*tables, LEVELS, PROVENANCE)
