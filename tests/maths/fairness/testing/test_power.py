"""Detectable gaps and power, against simulation of a normal test."""

import numpy as np
import pytest

from services.maths.fairness.testing.power import minimum_detectable_gap, power_of


@pytest.mark.parametrize(("critical", "power"), [(1.96, 0.8), (4.2, 0.9), (3.0, 0.5)])
def test_the_detectable_gap_is_found_as_often_as_said(critical, power):
    gap = minimum_detectable_gap(0.02, critical, power)
    assert power_of(gap, 0.02, critical) == pytest.approx(power, abs=2e-5)
    draws = np.random.default_rng(1).normal(gap, 0.02, 200_000)
    assert (np.abs(draws / 0.02) > critical).mean() == pytest.approx(power, abs=0.005)


def test_power_at_no_gap_is_the_size():
    assert power_of(0.0, 0.1, 1.959964) == pytest.approx(0.05, abs=1e-6)


def test_arrays_keep_unknown_errors_unknown():
    errors = np.array([0.01, np.nan])
    assert minimum_detectable_gap(errors, 1.96)[0] == pytest.approx(0.01 * (1.96 + 0.8416212))
    assert np.isnan(minimum_detectable_gap(errors, 1.96)[1])
    assert np.isnan(power_of(np.array([0.1, 0.1]), errors, 1.96)[1])


def test_more_tests_need_larger_gaps():
    assert minimum_detectable_gap(0.01, 4.2) > minimum_detectable_gap(0.01, 1.96)
    with pytest.raises(ValueError, match="power"):
        minimum_detectable_gap(0.01, 1.96, 1.0)
