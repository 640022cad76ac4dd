"""Audits drawn from known truths: patients with several images, labels and scores that hang together within them."""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping, intersect
from services.maths.fairness.metrics.classification import disaggregate_classification
from services.maths.fairness.testing.vectors import attribute_vectors

SEX, AGE, RACE = ("F", "M"), ("old", "young"), ("A", "B", "C", "D", "E")
SHARES = (0.6, 0.14, 0.12, 0.09, 0.05)


@dataclass
class Cohort:
    """K patients with (N,) images; attributes are (K,), ``patient`` is (N,)."""

    patient: np.ndarray
    sex: np.ndarray
    age: np.ndarray
    race: np.ndarray

    @property
    def groupings(self):
        """Three attributes and their four intersections: 53 groups."""
        sex = Grouping("sex", SEX, self.sex[self.patient])
        age = Grouping("age", AGE, self.age[self.patient])
        race = Grouping("race", RACE, self.race[self.patient])
        pairs = [intersect(pair) for pair in ([sex, age], [sex, race], [age, race])]
        return [sex, age, race, *pairs, intersect([sex, age, race])]

    def within(self, rng, correlation=0.4):
        """(N,) standard normal draws, correlated among the images of a patient."""
        shared = rng.standard_normal(len(self.sex))[self.patient]
        return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.standard_normal(len(self.patient))


@dataclass
class Audit:
    """What ``group_tests`` asks for."""

    measured: dict = field(default_factory=dict)
    testable: dict = field(default_factory=dict)
    aurocs: dict = field(default_factory=dict)

    def add(self, key, cohort, classified, metrics=("auroc", "tpr", "fpr")):
        """Measure one label as an audit does; ``classified`` is (truth, score)."""
        truth, score = classified
        result = disaggregate_classification(
            truth,
            score,
            np.full(len(truth), 0.5),
            sensitive_features=cohort.groupings,
            cluster=cohort.patient,
            minimums=Minimums(),
        )
        self.measured[key] = result.sums
        for (metric, attribute), part in result.by.items():
            if attribute and metric in metrics:
                self.testable[key, metric, attribute] = part.testable_groups
                if metric == "auroc":
                    for group in part.comparable_groups:
                        self.aurocs[key, metric, attribute, group] = part.by_group[group]


def cohort(rng, images, per_patient=3.45):
    """About ``images`` images of patients with a geometric number of them."""
    patients = int(images / per_patient)
    counts = rng.geometric(1 / per_patient, patients)
    return Cohort(
        np.repeat(np.arange(patients), counts),
        rng.integers(0, 2, patients),
        rng.integers(0, 2, patients),
        rng.choice(5, patients, p=SHARES),
    )


def label(rng, people, prevalence, shift=0.0):
    """(truth, score): ``prevalence`` a number or (K,), ``shift`` of the positives' scores in SDs, a number or (N,)."""
    chance = np.broadcast_to(np.clip(prevalence, 0.001, 0.9), people.sex.shape)[people.patient]
    truth = (people.within(rng) < ndtri(chance)).astype(np.int8)
    return truth, ndtr((people.within(rng) + (1.4 + shift) * truth - 0.7) / 1.5)


def vectors(people):
    """One vector per patient."""
    return attribute_vectors(people.patient, people.groupings)
