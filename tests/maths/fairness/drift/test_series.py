"""Gaps of windows: values, variances and states against the definitions."""

import numpy as np
import pytest

from services.maths.fairness.cells import STATES
from services.maths.fairness.drift.prediction_powered import cbpe
from services.maths.fairness.drift.series import (
    PATIENTS,
    Series,
    correlation_so_far,
    gap_series,
    gaps_of,
    null_values,
    recurrence,
    score_moments,
)
from services.maths.fairness.drift.windows import window_cells
from services.maths.fairness.groups import Grouping
from tests.maths.fairness.drift.worlds import clustered_stream, keys, single_records, stream

SEX = ("F", "M", "X")


def rows(seed, records=3000):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 900, records)
    sex = rng.choice(3, 900, p=[0.5, 0.495, 0.005])[patients]
    scores = rng.random((2, records), dtype=np.float32)
    labels = (rng.random((2, records)) < scores).astype(np.int8)
    labels[rng.random((2, records)) < 0.1] = -1
    return scores, labels, [Grouping("sex", SEX, sex)], patients, np.array([0.5, 0.6])


def test_a_gap_is_the_groups_rate_less_that_of_everyone_else_and_its_variance_is_clustered():
    scores, labels, groups, patients, thresholds = data = rows(1)
    gaps = gap_series([window_cells(*data, label_names=("Edema", "Effusion"))], ("tpr", "mean_score"))
    place = gaps.keys.index(Series("Effusion", "tpr", "sex", "F"))
    values, variances = [], []
    for side in (groups[0].codes == 0, groups[0].codes != 0):
        chosen = side & (labels[1] == 1)
        flagged = scores[1, chosen] >= thresholds[1]
        values.append(flagged.mean())
        sums = np.bincount(patients[chosen], weights=flagged - values[-1])
        people = len(np.unique(patients[chosen]))
        variances.append(people / (people - 1) * (sums**2).sum() / chosen.sum() ** 2)
    assert gaps.gap[place, 0] == pytest.approx(values[0] - values[1], abs=1e-12)
    assert gaps.variance[place, 0] == pytest.approx(sum(variances), rel=1e-10)
    mean = gaps.keys.index(Series("Edema", "mean_score", "sex", "M"))
    assert gaps.value[mean, 0] == pytest.approx(scores[0, groups[0].codes == 1].mean(), abs=2**-14)


def test_series_come_in_the_order_of_labels_metrics_and_groups_over_time():
    windows = [window_cells(*rows(seed)) for seed in (1, 2, 3)]
    gaps = gap_series(windows)
    assert gaps.gap.shape == (2 * 2 * 3, 3)
    assert [(key.label, key.metric, key.group) for key in gaps.keys[:4]] == [
        ("0", "tpr", "F"),
        ("0", "tpr", "M"),
        ("0", "tpr", "X"),
        ("0", "fpr", "F"),
    ]
    for window, cells in enumerate(windows):
        np.testing.assert_array_equal(gap_series([cells]).gap[:, 0], gaps.gap[:, window])


def side(hits, cases, patients=None):
    sums = single_records(np.array([[hits]]), np.array([[cases]]))
    if patients is not None:
        sums[..., PATIENTS] = patients
    return sums


@pytest.mark.parametrize(
    ("cases", "patients", "state"),
    [
        (0, None, "undefined"),
        (9, None, "insufficient"),
        (10, None, "wide"),
        (59, None, "wide"),
        (60, None, "ok"),
        (100, 4, "insufficient"),
        (100, 5, "wide"),
        (100, 29, "wide"),
        (100, 30, "ok"),
    ],
)
def test_a_cell_says_how_much_it_can_say_and_so_does_its_rest(cases, patients, state):
    own, other = side(cases // 2, cases, patients), side(200, 400)
    assert STATES[gaps_of(keys(1), own, other).state[0, 0]] == state
    assert STATES[gaps_of(keys(1), other, own).state[0, 0]] == state


@pytest.mark.parametrize("reference", [-0.3, 0.0, 0.25])
def test_null_values_lie_the_reference_apart_within_0_and_1_and_fit_the_sums(reference):
    gaps = stream(np.random.default_rng(1), 50, 10, rate=0.5, gap=-0.1)
    group, rest = null_values(gaps, np.full((50, 1), reference))
    np.testing.assert_allclose(group - rest, reference, atol=1e-12)
    assert (np.minimum(group, rest) >= 0).all()
    assert (np.maximum(group, rest) <= 1).all()
    expected = group * gaps.group[..., 1] + rest * gaps.rest[..., 1]
    np.testing.assert_allclose(expected, gaps.group[..., 0] + gaps.rest[..., 0])


@pytest.mark.parametrize("correlation", [0.1, 0.4, 0.8])
def test_the_correlation_within_patients_is_found_and_gives_the_variance_of_the_gap(correlation):
    gaps = clustered_stream(np.random.default_rng(2), 100, 24, correlation=correlation)
    found = correlation_so_far(gaps)
    assert found[:, -1].mean() == pytest.approx(correlation, abs=0.04)
    variance, _, _ = score_moments(gaps, np.zeros((100, 1)), found)
    assert variance[:, -1].mean() == pytest.approx(gaps.gap[:, -5:].var(), rel=0.12)


def test_patients_who_come_back_make_the_running_gap_less_certain_by_what_their_visits_share():
    gaps = clustered_stream(
        np.random.default_rng(3), 200, 12, correlation=0.6, records=1.0, visits=(60, 60), pools=(120, 120)
    )
    variance = score_moments(gaps, np.zeros((200, 1)), np.full((200, 12), 0.6))[0]
    promised = (recurrence(gaps, np.full((200, 12), 0.6))[:, -1] * variance.mean(axis=1) / 12).mean()
    seen = gaps.gap.mean(axis=1).var()
    assert seen > 2 * variance.mean() / 12
    assert promised >= seen


def test_hints_and_other_things_are_no_windows():
    with pytest.raises(ValueError, match="never of Hint"):
        gap_series([cbpe(np.array([0.2, 0.9]), 0.5)])
    with pytest.raises(ValueError, match="at least one window"):
        gap_series([])
    with pytest.raises(ValueError, match="no metric auroc"):
        gap_series([window_cells(*rows(1))], ["auroc"])
    with pytest.raises(ValueError, match="windows differ"):
        gap_series([window_cells(*rows(1)), window_cells(*rows(1), label_names=("a", "b"))])
