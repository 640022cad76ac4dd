"""Bets are fair or worse in finite samples: exact sums over all outcomes, and patients with several records."""

import itertools

import numpy as np
import pytest
from scipy import stats

from services.maths.fairness.drift.betting import betting
from services.maths.fairness.drift.series import gaps_of
from tests.maths.fairness.drift.worlds import clustered_stream, keys, single_records, stream

FIRST = (30.0, 50.0)  # what the rest showed in the window before


def pays(own, rest, reference, variance=0.0, miss=0.005):
    """(own + 1, rest + 1) e-value of a second window by its hits, after a first one that only sets the guess."""
    hits = np.array(list(itertools.product(range(own + 1), range(rest + 1))), dtype=np.float64)
    count = len(hits)
    group = np.stack([single_records(np.zeros(count), 0.0), single_records(hits[:, 0], float(own))], axis=1)
    other = np.stack([single_records(np.full(count, FIRST[0]), FIRST[1]), single_records(hits[:, 1], float(rest))], 1)
    log_e = betting(gaps_of(keys(count), group, other), np.full(count, reference), np.full(count, variance), miss)
    return np.exp(log_e[:, 1]).reshape(own + 1, rest + 1)


def mean(e, own_rate, rest_rate):
    own, rest = (np.arange(size) for size in e.shape)
    own, rest = stats.binom.pmf(own, e.shape[0] - 1, own_rate), stats.binom.pmf(rest, e.shape[1] - 1, rest_rate)
    return own @ e @ rest


@pytest.mark.parametrize("reference", [-0.3, -0.05, 0.0, 0.2])
@pytest.mark.parametrize(("own", "rest"), [(1, 1), (5, 40), (30, 7)])
def test_the_mean_is_at_most_1_at_every_pair_of_rates_with_the_gap_under_test(own, rest, reference):
    e = pays(own, rest, reference)
    rates = np.linspace(max(0.0, -reference), min(1.0, 1.0 - reference), 101)
    means = np.array([mean(e, rate + reference, rate) for rate in rates])
    assert means.max() <= 1 + 1e-9
    if own > 1:  # one record is not worth what ten bets at once cost
        assert max(mean(e, min(rate + reference + 0.4, 1.0), rate) for rate in rates) > 1.0


def test_a_reference_with_a_variance_makes_the_null_an_interval():
    e = pays(20, 60, -0.05, 0.02**2)
    for gap in (-0.10, -0.05, 0.0):
        assert max(mean(e, rate + gap, rate) for rate in np.linspace(0.1, 1.0, 91)) <= 1 + 1e-9
    exact = pays(20, 60, -0.05)
    assert max(mean(exact, rate, rate) for rate in np.linspace(0.0, 1.0, 91)) > 1.0


def test_stopped_whenever_it_looks_best_the_mean_is_at_most_1_with_patients_of_several_records():
    gaps = clustered_stream(np.random.default_rng(1), 1000, 20, correlation=0.9, visits=(4, 12), records=3.0)
    e = np.exp(betting(gaps, np.zeros(1000), np.zeros(1000), 0.005))
    reached = e >= 2.0
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), 19)
    stopped = e[np.arange(1000), at]
    assert stopped.mean() <= 1 + 2.5 * stopped.std() / np.sqrt(1000)
    assert reached.any()


def test_bets_on_records_as_if_they_were_patients_would_win():
    """Negative control: without the largest number of records, what 30 alike records say counts thirty times."""
    gaps = clustered_stream(np.random.default_rng(2), 500, 20, correlation=0.95, visits=(4, 12), records=6.0)
    blind = gaps_of(
        gaps.keys, *(np.concatenate([s[..., :6], np.ones_like(s[..., :1])], -1) for s in (gaps.group, gaps.rest))
    )
    fair, unfair = (np.exp(betting(part, np.zeros(500), np.zeros(500), 0.005)) for part in (gaps, blind))
    assert (fair.max(axis=1) >= 20).mean() <= 0.05
    assert (unfair.max(axis=1) >= 20).mean() > 0.10


def test_a_small_group_that_lost_much_is_found_by_bets_alone():
    gaps = stream(np.random.default_rng(3), 300, 24, rate=0.9, gap=-0.4, cases=(6, 60))
    assert (betting(gaps, np.zeros(300), np.zeros(300), 0.005).max(axis=1) >= np.log(100)).mean() > 0.95


def test_an_empty_window_and_the_first_one_pay_nothing():
    gaps = stream(np.random.default_rng(4), 5, 3, cases=(np.array([50, 0, 50]), 100))
    log_e = betting(gaps, np.zeros(5), np.zeros(5), 0.005)
    np.testing.assert_allclose(log_e[:, :2], 0.0, atol=1e-12)
    assert (np.abs(log_e[:, 2]) > 1e-3).all()
