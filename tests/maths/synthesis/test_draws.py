"""Every group gets its share; a cap takes from the groups of few patients, by a closed form."""

import numpy as np
import pytest
from scipy.stats import chisquare

from services.maths.synthesis.draws import draw_records, expected_shares, record_weights

GROUPS = 36


def skewed(seed=0):
    """(group, patient) of each record: 36 groups of 1 to 400 patients, 1 to 9 records each."""
    rng = np.random.default_rng(seed)
    sizes = np.concatenate([[1, 2, 4], np.exp(rng.uniform(np.log(5), np.log(400), GROUPS - 3)).astype(int)])
    of_patient = np.repeat(np.arange(GROUPS), sizes)
    records = rng.integers(1, 10, len(of_patient))
    return np.repeat(of_patient, records), np.repeat(np.arange(len(of_patient)), records), sizes


def counts(groups, drawn):
    return np.bincount(groups[drawn], minlength=GROUPS)


@pytest.mark.parametrize("seed", range(5))
def test_without_a_cap_every_group_is_as_large_as_the_next(seed):
    groups, patients, _ = skewed()
    made = counts(groups, draw_records(groups, patients, 2000, np.random.default_rng(seed)))
    assert chisquare(made).pvalue > 0.01
    assert made.max() - made.min() <= 1


@pytest.mark.parametrize("cap", [2, 5, 50, 1000])
def test_with_a_cap_shares_follow_the_closed_form(cap):
    groups, patients, sizes = skewed()
    weights = np.minimum(1.0, sizes / cap)
    expected = weights / weights.sum()
    np.testing.assert_allclose(expected_shares(sizes, cap), expected, rtol=1e-12)
    made = counts(groups, draw_records(groups, patients, 5000, np.random.default_rng(1), cap=cap))
    assert np.abs(made - 5000 * expected).max() < 1.0 + 1e-9


def test_the_one_patient_of_a_group_gets_a_fifth_of_a_share_with_the_papers_cap_of_five():
    shares = expected_shares(np.array([1, 5, 5000]), cap=5)
    np.testing.assert_allclose(shares * 2.2, [0.2, 1.0, 1.0])


def test_the_cap_counts_patients_and_not_their_images():
    one_patient = record_weights([0] * 9 + [1] * 9, [0] * 9 + list(range(1, 10)), cap=9)
    assert one_patient[:9].sum() == pytest.approx(0.1)
    np.testing.assert_allclose(one_patient[:9], 0.1 / 9)


def test_each_record_is_expected_as_often_as_in_independent_draws_by_the_weights():
    groups = np.repeat([0, 1, 2], [3, 9, 40])
    patients = np.concatenate([[0, 0, 1], np.arange(9) // 2 + 2, np.arange(40) + 7])
    weights, repeats = record_weights(groups, patients, cap=4), 3000
    drawn = [draw_records(groups, patients, 7, np.random.default_rng(seed), cap=4) for seed in range(repeats)]
    often = np.bincount(np.concatenate(drawn), minlength=len(groups)) / repeats
    assert np.abs((often - 7 * weights) / np.sqrt(7 * weights / repeats)).max() < 4.5


def test_no_patient_and_no_record_is_repeated_by_chance():
    groups, patients, _ = skewed()
    weights = record_weights(groups, patients)
    drawn = draw_records(groups, patients, 2000, np.random.default_rng(3))
    of_record = np.bincount(drawn, minlength=len(groups))
    assert np.abs(of_record - 2000 * weights).max() < 1.0 + 1e-9
    expected = np.bincount(patients, weights) * 2000
    assert np.abs(np.bincount(patients[drawn]) - expected).max() < 1.0 + 1e-9


def test_the_same_stream_draws_the_same_records_in_their_order():
    groups, patients, _ = skewed()
    first, again, other = (draw_records(groups, patients, 500, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (np.diff(first) >= 0).all() and (first != other).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(([0], [0], 0), "count"), (([0, 2], [0, 1], 5), "every group"), (([0], [0], 5, -1), "cap")],
)
def test_what_cannot_be_drawn_is_refused(arguments, words):
    groups, patients, count, *cap = arguments
    with pytest.raises(ValueError, match=words):
        draw_records(groups, patients, count, np.random.default_rng(0), cap=cap[0] if cap else 0)
