"""E-processes and their confidence sequences: means of at most 1, and limits that say the same."""

import numpy as np
import pytest
from scipy import special, stats

from services.maths.fairness.drift.sequences import (
    abrupt,
    away_from_zero,
    confidence_sequence,
    critical_value,
    log_mixture,
    persistent,
    running_change,
    toward_zero,
)
from tests.maths.fairness.drift.worlds import reference_from, stream

NOTHING = np.zeros


def change(gaps):
    return running_change(gaps, NOTHING(len(gaps.keys)), NOTHING(len(gaps.keys)))


@pytest.mark.parametrize("ratio", [0.1, 0.4, 10.0])
def test_a_mixture_of_a_normal_score_has_mean_1_and_reaches_1_over_alpha_at_its_critical_value(ratio):
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    # E of exp(z² r / (2 (1 + r))) over a normal z: the weight absorbs the square, so that the rest is a constant.
    mean = (weights * np.exp(log_mixture(nodes, ratio))).sum() / np.sqrt(2 * np.pi)
    assert mean == pytest.approx(1.0, abs=0.02 if ratio < 1 else 0.2)
    for alpha in (0.05, 1e-4):
        assert log_mixture(critical_value(np.array(ratio), alpha), ratio) == pytest.approx(np.log(1 / alpha))


@pytest.mark.parametrize(("cases", "rate"), [(80, 0.05), (80, 0.2), (400, 0.02), (60, 0.5)])
def test_skewed_tails_are_no_thinner_than_they_are(cases, rate):
    """Normal tail of the adjusted score against the exact one, where that of the plain score is far too thin."""
    distribution = stats.binom(cases, rate)
    deviation = distribution.std()
    skewness = float(distribution.stats("s"))
    hits = np.arange(int(cases * rate) + 1, cases)
    exact = distribution.sf(hits - 1)
    hits, exact = hits[(exact < 1e-2) & (exact > 1e-9)], exact[(exact < 1e-2) & (exact > 1e-9)]
    z = (hits - cases * rate) / deviation
    adjusted = toward_zero(z, np.full_like(z, skewness))
    assert (special.ndtr(-adjusted) > 0.3 * exact).all()
    if rate < 0.1:
        assert (special.ndtr(-z) < 0.1 * exact)[-3:].all()
    lower = toward_zero(-z, np.full_like(z, skewness))
    np.testing.assert_array_equal(lower, -z)


def test_the_adjustment_never_leads_away_from_0_and_is_undone_by_its_inverse():
    z, skewness = np.meshgrid(np.linspace(0.05, 12, 60), np.linspace(-2, 2, 21))
    adjusted = toward_zero(z, skewness)
    assert (np.abs(adjusted) <= z + 1e-12).all()
    assert (np.diff(adjusted, axis=1) > 0).all()
    np.testing.assert_allclose(toward_zero(away_from_zero(z, skewness), skewness), z, rtol=1e-6)


def test_limits_exclude_no_change_exactly_where_the_e_process_is_over_1_over_alpha():
    for rate in (0.5, 0.95):
        gaps = stream(np.random.default_rng(1), 400, 24, rate=rate, gap=-0.04)
        running = change(gaps)
        low, high = confidence_sequence(running, 0.05)
        called = persistent(running) >= np.log(1 / 0.05)
        excluded = (low > 0) | (high < 0)
        assert called.any()
        np.testing.assert_array_equal(called, excluded)


def test_the_sequence_covers_the_true_change_at_all_windows_at_once():
    gaps = stream(np.random.default_rng(2), 1500, 24, rate=0.85, gap=-0.04)
    low, high = confidence_sequence(change(gaps), 0.05)
    missed = ((low > -0.04) | (high < -0.04)).any(axis=1)
    assert missed.mean() <= 0.05


def stopped_mean(log_e, level=4.0):
    """Mean of e-processes (S, T) where each is stopped when it first reaches ``level``, or at the end."""
    e = np.exp(log_e)
    reached = e >= level
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), e.shape[1] - 1)
    return e[np.arange(len(e)), at]


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95])
def test_stopped_whenever_it_looks_best_an_e_process_has_a_mean_of_at_most_1(rate):
    gaps = stream(np.random.default_rng(3), 2000, 24, rate=rate)
    for log_e in (persistent(change(gaps)), abrupt(gaps, NOTHING(2000), NOTHING(2000), 24)):
        stopped = stopped_mean(log_e)
        assert stopped.mean() <= 1 + 2.5 * stopped.std() / np.sqrt(2000)


def test_with_an_estimated_reference_the_mean_stays_at_most_1_and_without_its_variance_it_does_not():
    rng = np.random.default_rng(4)
    reference, gaps = reference_from(stream(rng, 1500, 6)), stream(rng, 1500, 24)
    honest = stopped_mean(persistent(running_change(gaps, reference.value, reference.variance)))
    assert honest.mean() <= 1 + 2.5 * honest.std() / np.sqrt(1500)
    assert stopped_mean(persistent(running_change(gaps, reference.value, NOTHING(1500)))).mean() > 1.5


def test_what_moves_for_everyone_alike_leaves_the_running_gap_where_it_was():
    rng = np.random.default_rng(5)
    cases = (np.linspace(300, 30, 24), np.linspace(100, 3000, 24))
    running = change(stream(rng, 800, 24, rate=0.8, cases=cases, common=0.15))
    last = running.estimate[:, -1]
    assert abs(last.mean()) < 3 * last.std() / np.sqrt(800)
    assert last.var() == pytest.approx(running.variance[:, -1].mean(), rel=0.15)


def test_the_abrupt_arm_never_falls_and_spends_no_more_than_its_budget_beyond_the_horizon():
    gaps = stream(np.random.default_rng(6), 50, 60)
    log_e = abrupt(gaps, NOTHING(50), NOTHING(50), 24)
    assert (np.diff(log_e, axis=1) >= 0).all()
    silent = stream(np.random.default_rng(6), 1, 4000, cases=(0, 0))
    total = np.exp(abrupt(silent, NOTHING(1), NOTHING(1), 24)[0])
    assert total[23] == pytest.approx(0.9)
    assert 0.95 < total[-1] <= 1.0


def test_nothing_is_said_before_there_are_60_cases_and_30_patients_on_both_sides():
    running = change(stream(np.random.default_rng(7), 20, 10, cases=(np.full((20, 10), 12), 400)))
    early = running.ready.argmax(axis=1)
    assert (early >= 3).all()
    assert np.isnan(running.estimate[:, 0]).all()
    assert (persistent(running)[:, 0] == 0).all()
