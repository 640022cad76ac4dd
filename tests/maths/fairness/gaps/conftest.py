"""Groups with known truth, straight as per-patient sums: thousands of data sets per simulation."""

from types import SimpleNamespace

import numpy as np
import pytest

from services.maths.fairness.cells import Cell
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import ratio_of_sums
from services.maths.fairness.gaps.simultaneous import standard_normals
from services.maths.fairness.groups import Grouping
from services.maths.fairness.sums import PatientSums

IMAGES = 3


def sums_of(codes, numerator, images=IMAGES):
    """One unit per patient with ``images`` records each; ``numerator`` (K,) or a tuple of several columns."""
    columns = numerator if isinstance(numerator, tuple) else (numerator,)
    names = tuple(f"sum{place}" for place in range(len(columns)))
    count = np.broadcast_to(np.asarray(images, dtype=float), codes.shape)
    grouping = Grouping("g", tuple(f"g{i}" for i in range(codes.max() + 1)), codes)
    table = np.column_stack([*columns, count]).astype(float)
    patients = np.arange(len(codes))
    return PatientSums(patients, patients, (grouping,), (*names, "images"), table)


def estimates_of(codes, numerator, scale="identity", images=IMAGES):
    """Group means of per-image values, given each patient's sum."""
    sums = sums_of(codes, numerator, images)
    return ratio_of_sums(sums, "sum0", "images", slots=codes, count=int(codes.max()) + 1, scale=scale)


def clustered_rates(rng, rates, patients, icc=0.4):
    """(K,) groups and hits of ``IMAGES`` images per patient; the patients' own rates are beta-distributed."""
    codes = np.repeat(np.arange(len(rates)), patients)
    rate, size = np.asarray(rates)[codes], 1 / icc - 1
    return codes, rng.binomial(IMAGES, rng.beta(rate * size, (1 - rate) * size))


def clustered_means(rng, means, patients, spread=1.0, icc=0.5):
    """(K,) groups and sums of ``IMAGES`` values per patient with a common patient effect."""
    codes = np.repeat(np.arange(len(means)), patients)
    of_patient = rng.normal(size=len(codes)) * spread * np.sqrt(icc)
    noise = rng.normal(size=(len(codes), IMAGES)) * spread * np.sqrt(1 - icc)
    return codes, IMAGES * (np.asarray(means)[codes] + of_patient) + noise.sum(axis=1)


def disaggregation_of(metric, estimates, states=None, attribute="race"):
    """A disaggregation whose last column, overall, repeats the first group."""
    count = len(estimates.value)
    names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count])
    states = states or ["ok"] * count
    cells = tuple(Cell(n, 50, 50, 50, 20, 0, s, v) for n, s, v in zip(names, states, estimates.value, strict=True))
    nobody = Grouping(attribute, names, np.zeros(0, dtype=np.int64))
    whole = Cell("overall", 50, 50, 50, 20, 0, "ok", float(estimates.value[0]))
    return Disaggregation(metric, cells, whole, nobody, estimates.take([*range(count), 0]))


def fixed(values, errors, patients=500, scale="identity"):
    """Independent groups with given values and standard errors, by two patients of opposite influence each."""
    codes = np.repeat(np.arange(len(values)), 2)
    estimates = estimates_of(codes, np.asarray(values, dtype=float)[codes], scale, images=1)
    shift = np.tile([1.0, -1.0], len(values)) * np.asarray(errors)[codes] / np.sqrt(2 * patients / (patients - 1))
    estimates.influence.data[:] = shift
    estimates.patients[:] = patients
    return estimates


@pytest.fixture(scope="session")
def worlds():
    return SimpleNamespace(
        sums_of=sums_of,
        estimates_of=estimates_of,
        clustered_rates=clustered_rates,
        clustered_means=clustered_means,
        disaggregation_of=disaggregation_of,
        fixed=fixed,
    )


@pytest.fixture(scope="session")
def normals():
    return standard_normals(20260101)
