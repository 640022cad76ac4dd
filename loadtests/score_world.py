"""A cohort of scores, the size of CheXpert, with nothing in it but arrays: what the statistics are timed on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.groups import Grouping, intersect

PREVALENCES = (0.016, 0.02, 0.03, 0.05, 0.07, 0.09, 0.12, 0.16, 0.21, 0.28, 0.40, 0.47)
RACES = (0.60, 0.14, 0.12, 0.09, 0.05)
IMAGES_PER_PATIENT = 3.45
THRESHOLD = 0.5


@dataclass(frozen=True)
class ScoreWorld:
    """(N,) records of K patients: ``patient`` numbers, seven attributes, and 12 labels with their scores."""

    patient: NDArray[np.int64]
    groupings: tuple[Grouping, ...]
    labels: tuple[tuple[NDArray[np.int8], NDArray[np.float64]], ...]

    @property
    def patients(self) -> int:
        return int(self.patient[-1]) + 1


def score_world(records: int, seed: int = 0) -> ScoreWorld:
    """Geometric numbers of images, attributes by patient, scores that images of one patient share in part."""
    rng = np.random.default_rng(seed)
    images = rng.geometric(1 / IMAGES_PER_PATIENT, size=records)
    patient = np.repeat(np.arange(records), images)[:records]
    patients = int(patient[-1]) + 1
    single = [
        Grouping("sex", ("F", "M"), rng.integers(0, 2, size=patients)[patient]),
        Grouping("age", ("<65", "65+"), rng.integers(0, 2, size=patients)[patient]),
        Grouping("race", tuple("ABCDE"), rng.choice(len(RACES), size=patients, p=RACES)[patient]),
    ]
    sex, age, race = single
    crossed = [intersect([sex, age]), intersect([sex, race]), intersect([age, race]), intersect(single)]
    labels = []
    for prevalence in PREVALENCES:
        y_true = (rng.random(records) < prevalence).astype(np.int8)
        noise = np.sqrt(0.4) * rng.normal(size=patients)[patient] + np.sqrt(0.6) * rng.normal(size=records)
        labels.append((y_true, 1.0 / (1.0 + np.exp(-(noise + 1.5 * y_true - 0.75)))))
    return ScoreWorld(patient, (*single, *crossed), tuple(labels))
