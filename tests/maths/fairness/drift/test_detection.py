"""How soon a monitor sees what is there."""

import numpy as np
import pytest

from tests.maths.fairness.drift.worlds import clustered_stream, first_alarms, reference_from, stream


def found(seed, streams, gap, windows=24, **world):
    return first_alarms(stream(np.random.default_rng(seed), streams, windows, gap=gap, **world))


def test_a_lasting_loss_of_5_points_is_found_in_three_streams_of_four():
    assert np.isfinite(found(1, 600, -0.05)).mean() >= 0.75


def test_a_lasting_loss_of_10_points_is_found_always_and_one_of_20_within_three_windows():
    assert np.isfinite(found(2, 600, -0.10)).mean() >= 0.99
    assert found(3, 600, -0.20).mean() <= 3.0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.8, 0.9, 0.95])
def test_detection_at_every_rate(rate):
    share, delay = {}, {}
    for gap in (-0.05, -0.10, -0.20):
        first = found(4, 2000, gap, rate=rate)
        share[gap], delay[gap] = np.isfinite(first).mean(), first[np.isfinite(first)].mean()
    print(f"rate {rate}: found {share}, windows {delay}")
    assert share[-0.05] >= 0.75
    assert share[-0.10] >= 0.99
    assert share[-0.20] == 1.0
    assert delay[-0.20] <= 3.0


@pytest.mark.slow
def test_detection_against_an_estimated_reference_of_24_windows():
    rng = np.random.default_rng(5)
    reference = reference_from(stream(rng, 2000, 24))
    first = first_alarms(stream(rng, 2000, 24, gap=-0.10), reference)
    print(f"estimated reference: {np.isfinite(first).mean():.3f}, {first[np.isfinite(first)].mean():.1f} windows")
    assert np.isfinite(first).mean() >= 0.99


def test_a_jump_in_one_late_window_is_called_by_the_abrupt_arm():
    gap = np.zeros(24)
    gap[20] = -0.35
    first = found(6, 400, gap)
    assert (first == 21).mean() > 0.9


def test_the_same_loss_in_correlated_records_is_found_later():
    """Negative control of the clustered variance: 80 alike records are not 80 patients."""
    rng = np.random.default_rng(7)
    alike = clustered_stream(rng, 200, 24, correlation=0.9, visits=(20, 100), records=4.0)
    lowered = alike.group.copy()
    lowered[..., 0] -= np.minimum(0.08 * lowered[..., 1], lowered[..., 0])
    assert np.isfinite(first_alarms(alike)).mean() <= 0.01
    assert np.isfinite(found(8, 200, -0.08)).mean() > 0.9
