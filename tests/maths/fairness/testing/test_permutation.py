"""Dealt vectors and the sums of groups under them."""

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.groups import Grouping, intersect
from services.maths.fairness.testing.permutation import ROWS, dealt, group_sums
from services.maths.fairness.testing.vectors import attribute_vectors


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(1)
    patients = 2 * ROWS + 37
    parts = [
        Grouping("sex", ("F", "M"), rng.integers(-1, 2, patients)),
        Grouping("race", tuple("ABCDE"), rng.integers(0, 5, patients)),
    ]
    return attribute_vectors(np.arange(patients), [*parts, intersect(parts)])


def test_number_zero_is_the_data_and_every_other_a_permutation(vectors):
    rows = dealt(vectors.cell, 5, 0, 4)
    assert (rows[0] == vectors.cell).all()
    for row in rows[1:]:
        assert not (row == vectors.cell).all()
        assert (np.bincount(row) == np.bincount(vectors.cell)).all()


def test_a_permutation_depends_on_its_number_and_the_seed_alone(vectors):
    together = dealt(vectors.cell, 5, 0, 8)
    assert (dealt(vectors.cell, 5, 6, 2) == together[6:]).all()
    assert not (dealt(vectors.cell, 6, 6, 2) == together[6:]).all()


def test_every_arrangement_is_equally_likely():
    cell = np.array([0, 1, 2, 3], dtype=np.uint8)
    rows = dealt(cell, 11, 1, 4800)
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.001


def test_sums_equal_those_by_hand(vectors):
    rng = np.random.default_rng(2)
    features = rng.standard_normal((len(vectors.patient_ids), 11)).astype(np.float32)
    rows = dealt(vectors.cell, 3, 0, 3)
    sums = group_sums(features, rows, vectors)
    assert sums.shape == (3, 2 + 5 + 10, 11)
    for b, row in enumerate(rows):
        first = 0
        for grouping in vectors.cells:
            for g in range(len(grouping.groups)):
                own = features[grouping.codes[row] == g].astype(np.float64).sum(axis=0)
                np.testing.assert_allclose(sums[b, first + g], own, rtol=1e-12, atol=1e-9)
            first += len(grouping.groups)
