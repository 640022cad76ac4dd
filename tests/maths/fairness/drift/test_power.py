"""The smallest detectable change is detected as often as was promised, and a cell that is too small is told."""

import numpy as np
import pytest

from services.maths.fairness.drift.power import minimum_detectable_gap
from tests.maths.fairness.drift.worlds import first_alarms, stream


@pytest.mark.parametrize(
    ("positives", "rest", "rate", "series"), [(80, 400, 0.8, 1), (30, 300, 0.9, 1), (200, 200, 0.6, 108)]
)
def test_a_change_of_that_size_is_found_as_often_as_promised(positives, rest, rate, series):
    plan = minimum_detectable_gap(positives, rest, 24, rate=rate, series=series)
    assert plan.reachable
    gaps = stream(np.random.default_rng(1), 800, 24, rate=rate, gap=-plan.gap, cases=(positives, rest))
    found = np.isfinite(first_alarms(gaps, series=series)).mean()
    assert 0.77 <= found <= 0.93
    half = stream(np.random.default_rng(2), 800, 24, rate=rate, gap=-plan.gap / 2, cases=(positives, rest))
    assert np.isfinite(first_alarms(half, series=series)).mean() < 0.5


def test_more_windows_and_cases_find_less_and_more_series_and_correlation_need_more():
    base = minimum_detectable_gap(80, 400, 24).gap
    assert minimum_detectable_gap(80, 400, 52).gap < base
    assert minimum_detectable_gap(160, 400, 24).gap < base
    assert minimum_detectable_gap(80, 400, 24, series=108).gap > base
    assert minimum_detectable_gap(80, 400, 24, design_effect=2.0).gap > base
    assert minimum_detectable_gap(80, 400, 24, reference_variance=0.001).gap > base
    assert minimum_detectable_gap(80, 400, 24, power=0.95).gap > base


@pytest.mark.parametrize(
    "cell", [{"positives": 2}, {"positives": 3, "rate": 0.97}, {"positives": 4, "rate": 0.5, "design_effect": 8.0}]
)
def test_a_cell_that_can_never_reach_power_is_told(cell):
    plan = minimum_detectable_gap(**{"rest_positives": 400, "windows": 24, **cell})
    assert not plan.reachable
    assert plan.gap == np.inf


def test_a_small_cell_is_reached_with_time():
    assert not minimum_detectable_gap(2, 400, 24).reachable
    assert minimum_detectable_gap(2, 400, 104).reachable


@pytest.mark.parametrize(
    "change", [{"positives": 0}, {"windows": 0}, {"design_effect": 0.5}, {"rate": 1.0}, {"alpha": 0}]
)
def test_plans_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match="must"):
        minimum_detectable_gap(**{"positives": 80, "rest_positives": 400, "windows": 24, **change})
