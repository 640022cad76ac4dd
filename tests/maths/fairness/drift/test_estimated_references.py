"""A monitor of many series has many references, and the worst of them is far off: the error rate stays the monitor's.

Windows hold far more cases than the reference, so the stream says exactly where the true gap is: if bets win without a
change, then because a reference is further off than the null is wide. Cases show that, not windows: twelve large ones
are as hard a test as 104.
"""

import numpy as np
import pytest

from services.maths.fairness.drift.alarms import ALPHA, ARMS, MISSED_REFERENCE, WEIGHTS, log_shares, verdicts
from services.maths.fairness.drift.betting import betting
from tests.maths.fairness.drift.worlds import reference_from, stream

SERIES = 200


def monitors(seed, runs, windows, cases, *, reference=(80, 400), rate=0.8):
    """Null monitors of 200 series: a reference of one window, and the windows that are compared with it."""
    rng = np.random.default_rng(seed)
    for _ in range(runs):
        estimated = reference_from(stream(rng, SERIES, 1, rate=rate, cases=reference))
        yield stream(rng, SERIES, windows, rate=rate, cases=cases), estimated


def alarming(seed, runs, windows, cases, **world):
    """Share of monitors with an alarm."""
    found = [
        verdicts(gaps, reference, horizon=windows).alarms()
        for gaps, reference in monitors(seed, runs, windows, cases, **world)
    ]
    return float(np.mean([len(alarms) > 0 for alarms in found]))


def test_200_series_against_estimated_references_stay_silent():
    assert alarming(1, 40, 12, (4000, 20000)) <= ALPHA


def test_an_interval_that_each_series_takes_for_itself_would_alarm():
    """Negative control: .005 for every one of 200 references is an alarm of its own in most monitors of a year."""
    raised = []
    for gaps, reference in monitors(1, 40, 12, (4000, 20000)):
        value, variance = np.nan_to_num(reference.value), np.nan_to_num(reference.variance)
        log_e = betting(gaps, value, variance, 0.005) + np.log(WEIGHTS[ARMS.index("betting")])
        raised.append(bool((log_e >= np.log(SERIES / ALPHA)).any()))
    assert np.mean(raised) > 2 * ALPHA


def test_bets_on_an_estimated_reference_pay_for_the_chance_that_it_is_missed():
    """α in all, whatever part of the series has an estimated reference; and none is taken where none has."""
    for estimated in (0, 1, 50, SERIES):
        variance = np.where(np.arange(SERIES) < estimated, 0.01, 0.0)
        missed = WEIGHTS[ARMS.index("betting")] * MISSED_REFERENCE * estimated / SERIES
        assert np.exp(log_shares(variance)).sum(axis=0).mean() + missed == pytest.approx(1.0)
    np.testing.assert_allclose(np.exp(log_shares(np.zeros(3))), np.repeat(np.array(WEIGHTS)[:, None], 3, axis=1))


def test_more_series_widen_what_an_estimated_reference_may_be_and_a_known_one_stays_a_point():
    gaps = stream(np.random.default_rng(2), 50, 24, gap=-0.2)
    nothing, variance = np.zeros(50), np.full(50, 0.03**2)
    few, many = (betting(gaps, nothing, variance, 0.005 / count)[:, -1] for count in (1, SERIES))
    assert (many < few).all()
    np.testing.assert_array_equal(betting(gaps, nothing, nothing, 0.005), betting(gaps, nothing, nothing, 0.005 / 200))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("reference", "rate"), [((80, 400), 0.8), ((200, 1000), 0.8), ((80, 400), 0.95)])
def test_200_series_over_104_windows_stay_silent(reference, rate):
    found = alarming(3, 40, 104, (400, 2000), reference=reference, rate=rate)
    print(f"estimated reference {reference}, rate {rate}: {found:.3f} of 40 monitors of 200 null series")
    assert found <= ALPHA
