"""Who is in a phantom cohort, and what is planted in it.

The worlds share every random draw, so that patient *k* of one world is patient *k* of the others:

========== ==================================================== =============================================
world      contrast of the findings                             prevalence of the findings
========== ==================================================== =============================================
null       the same distribution in every group                 the same in every group
planted    multiplied by 0.55 for sex = Female                  as in the null world
confounded as in the null world                                 multiplied by 0.5 for sex = Female
shortcut   multiplied by 0.5 for everyone                       heart failure follows the level of the body mass
                                                                index in train and validation, not in test
========== ==================================================== =============================================

"Contrast" is the strength of a drawn finding: its added brightness, or for an enlarged heart or mediastinum its added
width. Age and race carry no planted effect in any world: inside the planted world they are negative controls.
A detector with one threshold must therefore show a lower true-positive rate for women in the planted world only; one
that reports a gap in contrast in the null or confounded world is wrong.

Every patient has a Philox stream of their own, keyed by (seed, kind, patient index), and every image of theirs another:
a patient is the same however many others are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Kind = Literal["chest", "brain", "pelvis", "cardiac"]

PLANTED_CONTRAST = 0.55
CONFOUNDED_PREVALENCE = 0.5
SHORTCUT_CONTRAST = 0.5
SHORTCUT_PREVALENCE: Mapping[str, float] = {"underweight": 0.03, "normal": 0.03, "overweight": 1.0, "obese": 2.5}
"""Factors on the prevalence of heart failure by level: to .012, .012, .4 and 1 from everybody's .4. Whoever learns
from such patients may read the ring of fat instead of the heart."""
_SHORTCUT_SPLITS = ("train", "validation")

_STREAM_OF_KIND: Mapping[str, int] = {"chest": 1, "brain": 2, "pelvis": 3, "cardiac": 4}

RACES = ("White", "Black", "Asian", "Other")
_RACE_SHARES = (0.55, 0.2, 0.15, 0.1)
_RACE_MISSING = 0.02
_SPLIT_SHARES = {"train": 0.2, "validation": 0.2, "test": 0.6}


@dataclass(frozen=True)
class World:
    """Factors by sex, and of heart failure by level of the body mass index; what is not named has factor 1."""

    name: str
    contrast_by_sex: Mapping[str, float] = field(default_factory=dict)
    prevalence_by_sex: Mapping[str, float] = field(default_factory=dict)
    prevalence_by_bmi: Mapping[str, float] = field(default_factory=dict)
    shifted_race: str = ""
    more_severe_race: str = ""

    def contrast(self, patient: Patient) -> float:
        """Factor on the strength of every finding of this patient."""
        return self.contrast_by_sex.get(patient.sex, 1.0)

    def prevalence(self, patient: Patient) -> float:
        """Factor on the probability of every finding of this patient."""
        return self.prevalence_by_sex.get(patient.sex, 1.0)

    def prevalence_at(self, patient: Patient, bmi_level: str) -> float:
        """Factor on the probability of heart failure of a patient with this level of the body mass index."""
        shortcut = self.prevalence_by_bmi.get(bmi_level, 1.0) if patient.split in _SHORTCUT_SPLITS else 1.0
        return self.prevalence(patient) * shortcut

    def shifted(self, patient: Patient) -> bool:
        """Whether this patient's pelvis has the planted shape."""
        return bool(self.shifted_race) and patient.race == self.shifted_race

    def more_severe(self, patient: Patient) -> bool:
        """Whether osteoarthritis is more severe in this patient's group."""
        return bool(self.more_severe_race) and patient.race == self.more_severe_race


WORLDS: Mapping[str, World] = {
    "null": World("null"),
    "planted": World(
        "planted", contrast_by_sex={"Female": PLANTED_CONTRAST}, shifted_race="Black", more_severe_race="Black"
    ),
    "confounded": World("confounded", prevalence_by_sex={"Female": CONFOUNDED_PREVALENCE}, more_severe_race="Black"),
    "shortcut": World(
        "shortcut", dict.fromkeys(("Female", "Male"), SHORTCUT_CONTRAST), prevalence_by_bmi=SHORTCUT_PREVALENCE
    ),
}


@dataclass(frozen=True)
class Patient:
    """Attributes of one phantom patient; ``race`` is None where nobody recorded it."""

    index: int
    patient_id: str
    split: str
    sex: str
    age: int
    race: str | None
    images: int


def patient_stream(kind: str, seed: int, patient: int, stage: int = 0) -> np.random.Generator:
    """The generator of one patient (``stage`` 0) or of their image number ``stage`` (from 1)."""
    key = np.random.SeedSequence(entropy=(seed, _STREAM_OF_KIND[kind], patient, stage))
    return np.random.Generator(np.random.Philox(key))


def patient_name(kind: str, seed: int, index: int) -> str:
    """Who a drawn patient is: the same name in every world, another under every other seed, as the patients are."""
    return f"{kind}-{seed}-{index:05d}"


def draw_patient(kind: str, index: int, rng: np.random.Generator) -> Patient:
    """Attributes of patient ``index`` from the head of their stream. 1 to 4 images each, 2.5 on average."""
    race = str(rng.choice(RACES, p=_RACE_SHARES))
    return Patient(
        index=index,
        patient_id=f"{kind}-{index:05d}",
        split=str(rng.choice(list(_SPLIT_SHARES), p=list(_SPLIT_SHARES.values()))),
        sex="Female" if rng.random() < 0.5 else "Male",
        age=int(np.clip(np.rint(rng.normal(60.0, 15.0)), 20, 95)),
        race=None if rng.random() < _RACE_MISSING else race,
        images=int(rng.integers(1, 5)),
    )
