"""Hearts for the tests of the downstream study: few to learn from, many to judge, a shortcut between them."""

from __future__ import annotations

from functools import cache

import numpy as np

from services.platform.augmentation.phantoms import LEVELS, drawn_records, oracle_records
from services.platform.augmentation.records import Records

SIZE, DRAWN_AT = 32, 64
NAMES = {name: list(levels) for name, levels in LEVELS.items()}
REAL = {"name": "real", "real": True, "synthetic": 0}
ORDER = {
    "label": "heart_failure",
    "attributes": ["bmi"],
    "balance": ["bmi"],
    "gaps": [
        {"attribute": "bmi", "better": "overweight", "worse": "normal"},
        {"attribute": "bmi", "better": "overweight", "worse": "normal", "metric": "tpr"},
    ],
    "repeats": 2,
    "seed": 7,
    "size": SIZE,
    "fit": {"width": 8, "steps": 50, "batch": 48, "learning_rate": 1e-3},
    "workers": 1,
}


@cache
def real_hearts(teaching: int = 300, patients: int = 450) -> Records:
    """The shortcut world; only the first ``teaching`` patients teach and choose, all of the test split judge."""
    drawn = drawn_records("shortcut", patients, 7, SIZE, drawn_at=DRAWN_AT)
    number = np.array([int(name.rsplit("-", 1)[1]) for name in drawn.patient])
    return drawn.take((drawn.split == "test") | (number < teaching))


@cache
def oracle(images: int = 320, size: int = SIZE, drawn_at: int = DRAWN_AT) -> Records:
    """Balanced phantoms of other patients."""
    return oracle_records("shortcut", images, 1001, size, balance=("bmi",), drawn_at=drawn_at)
