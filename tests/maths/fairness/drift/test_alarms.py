"""Verdicts of a monitor: e-BH, alarms that stay, since when, and rows in to alarms out."""

import dataclasses

import numpy as np
import pytest

from services.maths.fairness.drift.alarms import ARMS, WEIGHTS, Reference, e_bh, reference_of, verdicts, watch
from services.maths.fairness.drift.prediction_powered import cbpe
from services.maths.fairness.drift.series import GapSeries, Series
from services.maths.fairness.drift.windows import window_cells
from services.maths.fairness.groups import Grouping
from tests.maths.fairness.drift.worlds import stream

SERIES = 108


def arriving(rng, *, lost=0.0, prevalence=0.4, prevalence_of_f=None, patients=900, returning=None):
    """Window of one label: men and women, old and young; ``lost`` of women's flagged positives are missed."""
    identity = rng.integers(0, 10**9, patients)
    sex, age = rng.integers(0, 2, patients), rng.integers(0, 2, patients)
    records = np.repeat(np.arange(patients), rng.integers(1, 3, patients))
    chance = np.where(sex == 0, prevalence if prevalence_of_f is None else prevalence_of_f, prevalence)
    labels = (rng.random(patients) < chance)[records].astype(np.int8)
    scores = np.clip(np.where(labels == 1, 0.7, 0.3) + 0.2 * rng.standard_normal(len(records)), 0.0, 1.0)
    missed = (sex[records] == 0) & (labels == 1) & (scores >= 0.5) & (rng.random(len(records)) < lost)
    scores[missed] = 0.4
    groups = [Grouping("sex", ("F", "M"), sex[records]), Grouping("age", ("old", "young"), age[records])]
    return window_cells(
        scores[None].astype(np.float32), labels[None], groups, identity[records], np.array([0.5]), label_names=["Edema"]
    )


@pytest.mark.parametrize("count", [1, 7, 40])
def test_e_bh_calls_the_largest_k_values_that_reach_their_bound(count):
    e = np.exp(3 * np.random.default_rng(count).standard_normal((count, 30)) + 2)
    called = e_bh(e, 0.05)
    for window in range(30):
        ranked = np.sort(e[:, window])[::-1]
        k = max((k for k in range(1, count + 1) if ranked[k - 1] >= count / (0.05 * k)), default=0)
        assert called[:, window].sum() == k
        assert set(e[called[:, window], window]) == set(ranked[:k])
    assert called.any()


def monitors(rng, runs, gap=0.0):
    """Streams of ``runs`` monitors with 108 series each, one after the other."""
    drawn = stream(rng, runs * SERIES, 24, gap=gap)
    for run in range(runs):
        own = slice(run * SERIES, (run + 1) * SERIES)
        yield GapSeries(**{field.name: getattr(drawn, field.name)[own] for field in dataclasses.fields(drawn)})


def silent_share(seed, runs):
    found = [
        bool((verdicts(gaps, horizon=24).alarmed_at < 0).all()) for gaps in monitors(np.random.default_rng(seed), runs)
    ]
    return float(np.mean(found))


def test_108_series_over_24_windows_stay_silent():
    assert silent_share(1, 40) >= 0.95


@pytest.mark.slow
def test_108_series_over_24_windows_stay_silent_in_95_of_100_runs():
    found = silent_share(2, 400)
    print(f"silent runs of 108 null series: {found:.4f}")
    assert found >= 0.95


def test_rows_in_and_the_right_cell_alarms_with_its_size_and_its_beginning():
    rng = np.random.default_rng(3)
    reference = reference_of([arriving(rng) for _ in range(8)])
    windows = [arriving(rng) for _ in range(4)] + [arriving(rng, lost=0.3) for _ in range(8)]
    verdict = watch(windows, reference, horizon=24)
    alarm, *others = verdict.alarms()
    assert {a.series.attribute for a in (alarm, *others)} == {"sex"}
    own = verdict.verdict(Series("Edema", "tpr", "sex", "F")).alarm
    assert own.since == 4
    assert 4 <= own.window <= 7
    assert own.lower < own.size < own.upper < 0
    assert own.recent == pytest.approx(-0.3 * 0.84, abs=0.05)
    assert own.patients > 12 * 100
    assert own.arm in ARMS
    assert verdict.verdict(Series("Edema", "fpr", "sex", "F")).alarm is None
    mirrored = verdict.verdict(Series("Edema", "tpr", "sex", "M")).alarm
    assert mirrored.size == pytest.approx(-own.size)


def test_one_bad_window_is_told_with_its_own_size_whose_interval_is_clear_of_zero():
    rng = np.random.default_rng(8)
    windows = [arriving(rng) for _ in range(6)] + [arriving(rng, lost=0.6)]
    verdict = watch(windows, reference_of([arriving(rng) for _ in range(8)]), horizon=24)
    own = verdict.verdict(Series("Edema", "tpr", "sex", "F")).alarm
    assert (own.arm, own.window, own.since) == ("abrupt", 6, 6)
    place = verdict.keys.index(own.series)
    assert own.size == pytest.approx(verdict.gap[place, 6] - verdict.reference.value[place])
    assert own.lower < own.size < own.upper < 0
    assert verdict.upper[place, -1] > own.upper  # six windows without a change water the running gap down


def test_later_windows_repeat_every_earlier_verdict_and_an_alarm_stays():
    rng = np.random.default_rng(4)
    windows = [arriving(rng, lost=0.3) for _ in range(5)] + [arriving(rng) for _ in range(12)]
    whole = watch(windows, horizon=12)
    assert (whole.alarmed_at >= 0).any()
    for end in (5, 9, 16):
        part = watch(windows[:end], horizon=12)
        np.testing.assert_allclose(part.e_values, whole.e_values[:, :end], rtol=1e-9)
        np.testing.assert_allclose(part.lower, whole.lower[:, :end], rtol=1e-9)
        early = (whole.alarmed_at >= 0) & (whole.alarmed_at < end)
        np.testing.assert_array_equal(part.alarmed_at, np.where(early, whole.alarmed_at, -1))
    raised = whole.alarmed_at >= 0
    assert (whole.e_values[raised, -1] < whole.e_values[raised].max(axis=1)).any()


def test_a_group_with_another_prevalence_is_not_an_alarm_of_errors():
    rng = np.random.default_rng(5)
    windows = [arriving(rng) for _ in range(4)] + [arriving(rng, prevalence_of_f=0.7) for _ in range(12)]
    reference = [arriving(rng) for _ in range(8)]
    assert watch(windows, reference_of(reference)).alarms() == ()
    base_rates = watch(windows, reference_of(reference, ["prevalence"]), metrics=["prevalence"])
    assert {alarm.series.attribute for alarm in base_rates.alarms()} == {"sex"}


def test_a_reference_gap_that_stays_is_no_alarm_and_against_0_it_is():
    rng = np.random.default_rng(6)
    windows = [arriving(rng, lost=0.2) for _ in range(12)]
    assert watch(windows, reference_of([arriving(rng, lost=0.2) for _ in range(8)])).alarms() == ()
    assert watch(windows).alarms() != ()


def test_what_the_reference_does_not_know_never_alarms():
    rng = np.random.default_rng(7)
    windows = [arriving(rng, lost=0.4) for _ in range(6)]
    reference = reference_of([arriving(rng, patients=12)])
    assert np.isnan(reference.value).all()
    verdict = watch(windows, reference)
    assert verdict.alarms() == ()
    np.testing.assert_allclose(verdict.e_values, 1.0)
    assert np.isnan(verdict.estimate).all()


def test_no_estimate_without_labels_becomes_an_alarm():
    hint = cbpe(np.linspace(0, 1, 50), 0.5)
    assert hint.hint is True
    assert not {"e_value", "variance", "p"} & set(vars(hint))
    with pytest.raises(ValueError, match="never of Hint"):
        watch([arriving(np.random.default_rng(8)), hint])
    with pytest.raises(dataclasses.FrozenInstanceError):
        hint.hint = False


def test_unlabelled_windows_with_other_scores_raise_no_alarm_of_errors():
    rng = np.random.default_rng(9)
    reference = reference_of([arriving(rng) for _ in range(8)])
    windows = [arriving(rng, lost=0.5) for _ in range(6)]
    plain = [dataclasses.asdict(w) for w in windows]
    for window in plain:
        window["moments"] = window["moments"].copy()
        window["moments"][:, :, [0, 1, 2, 5, 6]] = 0
    assert watch([type(windows[0])(**window) for window in plain], reference).alarms() == ()
    assert watch(windows, reference).alarms() != ()


def test_shares_of_alpha_are_spent_once():
    assert sum(WEIGHTS) == pytest.approx(1.0)
    assert len(WEIGHTS) == len(ARMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"horizon": 0}, "horizon"),
        ({"reference": None, "metrics": ["auc"]}, "no metric auc"),
    ],
)
def test_plans_that_cannot_be_are_refused(change, message):
    windows = [arriving(np.random.default_rng(10))]
    with pytest.raises(ValueError, match=message):
        watch(windows, **change)


def test_a_reference_of_other_series_and_a_series_that_is_not_watched_are_refused():
    windows = [arriving(np.random.default_rng(11))]
    nobody = Reference((Series("Edema", "tpr", "sex", "X"),), np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match="other series"):
        watch(windows, nobody)
    with pytest.raises(ValueError, match="not among the 8 series"):
        watch(windows).verdict(nobody.keys[0])
