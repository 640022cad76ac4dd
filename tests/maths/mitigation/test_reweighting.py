"""Inverse frequency of the exact attribute tuple."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.maths.fairness.groups import Grouping
from services.maths.mitigation.reweighting import inverse_frequency
from tests.maths.mitigation.toy import Gains, grouping, world

SEX = Grouping("sex", ("Female", "Male"), np.array([0, 0, 0, 0, 1, 1, 0, 1]))
AGE = Grouping("age", ("young", "old", "oldest"), np.array([0, 0, 0, 1, 0, 1, 1, 1]))


def test_every_tuple_that_occurs_has_the_same_share():
    shares = inverse_frequency([SEX, AGE])
    tuples = SEX.codes * 3 + AGE.codes
    assert shares.sum() == pytest.approx(1)
    for one in np.unique(tuples):
        assert shares[tuples == one].sum() == pytest.approx(1 / 4)


def test_shares_are_one_over_the_tuples_size():
    tuples = SEX.codes * 3 + AGE.codes
    inverse = 1 / np.bincount(tuples)[tuples]
    assert inverse_frequency([SEX, AGE]) == pytest.approx(inverse / inverse.sum())


def test_an_exponent_of_zero_leaves_rows_as_they_are():
    assert inverse_frequency([SEX, AGE], exponent=0) == pytest.approx(np.full(8, 1 / 8))


def test_missing_values_are_refused_with_their_count_or_are_a_group_of_their_own():
    some = Grouping("race", ("White", "Black"), np.array([0, 1, -1, -1, -1, 0, 1, 0]))
    with pytest.raises(ValueError, match="'race' is missing in 3 of 8 rows"):
        inverse_frequency([SEX, some])
    shares = inverse_frequency([some], missing="own-group")
    assert shares[some.codes < 0].sum() == pytest.approx(1 / 3)
    assert np.isfinite(shares).all()


@pytest.mark.parametrize("codes", [[0] * 8, [-1] * 8, [-1, 1, 1, 1, 1, 1, 1, 1]])
@pytest.mark.parametrize("missing", ["refuse", "own-group"])
def test_an_attribute_with_one_level_is_refused(codes, missing):
    with pytest.raises(ValueError, match="'race'"):
        inverse_frequency([Grouping("race", ("White", "Black"), np.array(codes))], missing=missing)


@pytest.mark.parametrize("exponent", [-0.1, 1.1, np.nan])
def test_other_exponents_are_refused(exponent):
    with pytest.raises(ValueError, match="exponent"):
        inverse_frequency([SEX], exponent=exponent)


def test_no_attribute_and_attributes_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="one or more"):
        inverse_frequency([])
    with pytest.raises(ValueError, match="same rows"):
        inverse_frequency([SEX, Grouping("age", ("a", "b"), np.array([0, 1]))])


def test_a_rare_group_pulls_its_gain_as_hard_as_a_common_one():
    """Fidelity of the two-parameter reconstructor: the gradient of each gain is in proportion to its group's share."""
    seen, restorer = world(20_000, share=0.05), Gains(0.5, 0.5)
    rng = torch.Generator().manual_seed(1)
    pulls = []
    for shares in (np.full(20_000, 1 / 20_000), inverse_frequency([grouping(seen)])):
        rows = torch.multinomial(torch.from_numpy(shares), 20_000, replacement=True, generator=rng)
        loss = (restorer(seen) - seen.lesion)[rows].square().mean()
        (pull,) = torch.autograd.grad(loss, [restorer.gain])
        pulls.append(float(pull[1] / pull[0]))
    assert pulls[0] == pytest.approx(0.05 / 0.95, rel=0.2)
    assert pulls[1] == pytest.approx(1, rel=0.1)
