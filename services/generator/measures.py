"""What is read off a frame: features by the reader of what it shows, and an attribute classifier's probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from services.adapters.weights import Pixels
from services.generator.neighbours import Neighbours
from services.maths.phantoms.pelvis_reader import PELVIS_FEATURES, read_pelvis
from services.maths.pixels import to_model

Readings = dict[str, float | None]

_SMALLEST_PELVIS = 24
UNITS = {
    "inter_acetabular_distance": "half widths",
    "neck_shaft_angle": "degrees",
    "cortical_thickness": "half widths",
    "ring_eccentricity": "width / height",
    "foramen_eccentricity": "height / width",
    "osteoarthritis": "grade",
}


def read_features(modality: str, frames: np.ndarray) -> list[Readings]:
    """One mapping a frame of (N, C, H, W) in [0, 1]; None where nothing could be measured. Empty without a reader."""
    reader = _READERS.get(modality.partition("-")[0])
    return [{} for _ in frames] if reader is None else reader(frames)


def _read_pelvis(frames: np.ndarray) -> list[Readings]:
    if frames.shape[1] != 1 or frames.shape[2] != frames.shape[3] or frames.shape[2] < _SMALLEST_PELVIS:
        return [{} for _ in frames]
    with np.errstate(all="ignore"):  # where a landmark is missing the reader divides by nothing, and says NaN
        table = read_pelvis(frames)[list(PELVIS_FEATURES)]
    return [{name: _known(table[name].iloc[place]) for name in PELVIS_FEATURES} for place in range(len(table))]


_READERS: Mapping[str, Callable[[np.ndarray], list[Readings]]] = {"pelvis": _read_pelvis}


async def read_probabilities(
    neighbours: Neighbours, classifier: Mapping[str, Any], frames: np.ndarray
) -> list[Readings]:
    """One mapping a frame: the classifier's probability of each level, as "race Black". Empty without a classifier."""
    if not classifier:
        return [{} for _ in frames]
    images = to_model(frames, Pixels.model_validate(classifier["input"]).spec())
    rows = await neighbours.classify(classifier["name"], images)
    column = classifier.get("label_column") or ""
    names = [f"{column} {label}".strip() for label in classifier["labels"]]
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def _known(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
