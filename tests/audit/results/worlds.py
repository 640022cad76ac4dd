"""Rows with a known truth: scores are normal deviates brought into (0, 1), so every true rate and gap has a formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

LEVELS = {"sex": ["Female", "Male"], "age": ["young", "middle", "old"]}
SIGNAL = 1.6
CUT = 0.8  # a deviate at or above it is a positive call; the score there is 0.5


def true_tpr(loss: float = 0.0) -> float:
    """Share of positives called when their signal is weakened by ``loss``."""
    return float(norm.sf(CUT - SIGNAL + loss))


def true_auroc(loss: float = 0.0) -> float:
    """AUROC within a group whose positives are weakened by ``loss``."""
    return float(norm.cdf((SIGNAL - loss) / np.sqrt(2.0)))


def world(
    seed: int, *, patients: int = 400, loss: float = 0.0, prevalence: dict[str, float] | None = None, dice: bool = False
) -> dict[str, Any]:
    """Keyword arguments of ``reduce``: two images a patient, baseline "original", candidate "unet".

    The candidate weakens women's positives by ``loss``; ``prevalence`` is by sex. Nothing else differs between groups.
    """
    draw = np.random.default_rng(seed)
    sex, age = draw.choice(LEVELS["sex"], patients), draw.choice(LEVELS["age"], patients)
    of = np.repeat(np.arange(patients), 2)
    records = {
        "record_id": [f"r{i:05d}" for i in range(2 * patients)],
        "patient_id": [f"p{i:05d}" for i in of],
        "attribute_sex": sex[of],
        "attribute_age": age[of],
    }
    rates = prevalence or dict.fromkeys(LEVELS["sex"], 0.4)
    y_true = (draw.random(2 * patients) < np.array([rates[name] for name in sex[of]])).astype(int)
    deviate = (
        SIGNAL * y_true + np.sqrt(0.3) * draw.normal(size=patients)[of] + np.sqrt(0.7) * draw.normal(size=2 * patients)
    )
    weak = loss * y_true * (sex[of] == "Female")
    parts = []
    for pipeline, shift in (("original", 0.0), ("unet", weak)):
        noise = 0.0 if pipeline == "original" else 0.1 * draw.normal(size=2 * patients)
        scores = {"y_true": y_true, "y_score": expit(deviate - shift + noise - CUT), "threshold": 0.5}
        parts.append(
            pd.DataFrame({**records, "pipeline": pipeline, "task": "classification", "label": "Edema", **scores})
        )
    quality = pd.DataFrame()
    if dice:
        value = np.clip(0.8 + 0.05 * draw.normal(size=2 * patients) - 0.06 * (age[of] == "old"), 0, 1)
        quality = pd.DataFrame({**records, "pipeline": "original", "metric": "dice", "value": value})
    return {
        "predictions": pd.concat(parts, ignore_index=True),
        "quality": quality,
        "attributes": ["sex", "age"],
        "baseline": "original",
        "levels": LEVELS,
        "permutations": 199,
        "replicates": 0,
        "provenance": {"seed": seed},
    }
