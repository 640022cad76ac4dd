"""The published procedure against scikit-learn and direct resampling, and how often it finds what is not there."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_curve

from services.maths.fairness.bootstrap import (
    LANES,
    gap_replicates,
    membership,
    resample_patients,
)
from services.maths.fairness.cells import Minimums
from services.maths.fairness.gaps.changes import changes_of
from services.maths.fairness.gaps.simultaneous import standard_normals
from services.maths.fairness.gaps.swaps import Swaps
from services.maths.fairness.groups import MISSING, Grouping
from services.maths.fairness.metrics.classification import disaggregate_classification
from services.maths.fairness.published import (
    PublishedChange,
    absolute_mean,
    dice_gaps,
    mean_replicates,
    published_change,
    published_spread,
    published_threshold,
    rate_replicates,
    sample_once,
)

NORMALS = standard_normals(1)


def rows(seed=0, count=400, digits=2):
    draw = np.random.default_rng(seed)
    y_true = (draw.random(count) < 0.3).astype(np.int8)
    codes = draw.integers(-1, 3, size=count)
    return y_true, np.round(expit(draw.normal(y_true * 1.5)), digits), Grouping("race", ("A", "B", "C"), codes)


@pytest.mark.parametrize("digits", [1, 2, 15])
@pytest.mark.parametrize("seed", range(5))
def test_threshold_is_the_roc_point_of_scikit_learn_with_the_least_difference(seed, digits):
    y_true, score, _ = rows(seed, digits=digits)
    fpr, tpr, thresholds = roc_curve(y_true, score, drop_intermediate=False)
    apart = np.abs(tpr - (1 - fpr))
    found = apart[np.flatnonzero(thresholds == published_threshold(y_true, score))]
    np.testing.assert_allclose(found, apart.min(), atol=1e-12)


def test_threshold_ignores_rows_without_a_label():
    y_true, score, _ = rows()
    missing = np.r_[y_true, np.full(100, -1, np.int8)]
    assert published_threshold(missing, np.r_[score, np.linspace(0, 1, 100)]) == published_threshold(y_true, score)


@pytest.mark.parametrize("y_true", [[], [1, 1, 1], [0, 0], [-1, -1]])
def test_threshold_needs_both_classes(y_true):
    assert np.isnan(published_threshold(np.array(y_true, dtype=np.int8), np.linspace(0, 1, len(y_true))))


@pytest.mark.parametrize(
    ("y_true", "score", "named"),
    [([0, 1], [0.1], "same rows"), ([0, 2], [0.1, 0.2], "y_true"), ([0, 1], [0.1, np.nan], "y_score")],
)
def test_threshold_refuses_what_is_no_score_or_label(y_true, score, named):
    with pytest.raises(ValueError, match=named):
        published_threshold(np.array(y_true), np.array(score))


def test_rates_are_those_of_the_rows_that_each_replicate_drew():
    y_true, score, race = rows()
    limit, count = published_threshold(y_true, score), len(y_true)
    resamples = resample_patients(count, replicates=70, seed=4)
    found = rate_replicates(y_true, score, row=np.arange(count), member=membership([race]), resamples=resamples)
    for replicate in (0, 63, 69):
        drawn = np.repeat(np.arange(count), resamples.weights[replicate // LANES, :, replicate % LANES])
        assert len(drawn) == count
        for column, (_, group) in enumerate(found.groups):
            inside = drawn[race.slots[drawn] == race.slot_names.index(group)]
            tpr, fpr = (np.mean(score[inside][y_true[inside] == truth] >= limit) for truth in (1, 0))
            assert found.tpr[replicate, column] == pytest.approx(tpr, abs=1e-12)
            assert found.fpr[replicate, column] == pytest.approx(fpr, abs=1e-12)


def test_means_are_those_of_the_rows_that_each_replicate_drew():
    _, _, race = rows()
    value = np.random.default_rng(2).normal(30, 2, len(race.codes))
    value[:30] = np.nan
    value[30:40] = np.inf
    resamples = resample_patients(500, replicates=70, seed=4)
    row = np.random.default_rng(3).permutation(500)[: len(value)]
    member = membership([race])
    found = mean_replicates(value, row=row, member=member, resamples=resamples)
    assert found.shape == (70, 4) and member.groups[-1] == ("race", MISSING)
    for replicate in (0, 63, 64, 69):
        weight = resamples.weights[replicate // LANES, row, replicate % LANES] * np.isfinite(value)
        for column in range(4):
            inside = (race.slots == column) & np.isfinite(value)
            expected = np.average(value[inside], weights=weight[inside])
            assert found[replicate, column] == pytest.approx(expected, rel=1e-12)


def test_means_refuse_rows_that_are_not_drawn():
    _, _, race = rows()
    count, member = len(race.codes), membership([race])
    for row, named in ((np.arange(count) + 1, "0..399"), (np.arange(count - 1), "same rows")):
        with pytest.raises(ValueError, match=named):
            mean_replicates(np.ones(count), row=row, member=member, resamples=resample_patients(count, seed=0))


def test_the_sample_itself_is_one_replicate():
    y_true, score, race = rows()
    found = rate_replicates(
        y_true, score, row=np.arange(400), member=membership([race]), resamples=sample_once(len(y_true))
    )
    called = score >= published_threshold(y_true, score)
    expected = [called[(race.codes == group) & (y_true == 1)].mean() for group in range(3)]
    np.testing.assert_allclose(found.tpr[0, :3], expected)


def test_a_change_is_mean_sd_and_share_on_the_other_side():
    baseline, candidate = np.array([0.1, 0.2, 0.3, np.nan, 0.1]), np.array([0.2, 0.1, 0.6, 0.2, 0.1])
    change = published_change(baseline, candidate)
    steps = np.array([0.1, -0.1, 0.3, 0.0])
    assert change.replicates == 4
    assert change.mean == pytest.approx(steps.mean())
    assert change.standard_error == pytest.approx(steps.std(ddof=1))
    assert change.p_one_tailed == 0.5  # -0.1 and the one that is 0
    assert published_change(candidate, baseline).p_one_tailed == 0.5


def test_p_is_zero_where_no_replicate_lies_on_the_other_side():
    assert published_change(np.zeros(1000), np.full(1000, 0.01)).p_one_tailed == 0.0
    assert published_change(np.full(1000, 0.01), np.zeros(1000)).p_one_tailed == 0.0


def test_pipelines_that_agree_have_not_changed():
    assert published_change(np.full(100, 0.2), np.full(100, 0.2)) == PublishedChange(0.0, 0.0, 1.0, 100)


def test_fewer_than_two_replicates_are_no_change():
    change = published_change(np.array([0.1, np.nan]), np.array([0.2, 0.2]))
    assert change.replicates == 1
    assert np.isnan([change.mean, change.standard_error, change.p_one_tailed]).all()
    with pytest.raises(ValueError, match="same replicates"):
        published_change(np.zeros(2), np.zeros(3))


def test_dice_gaps_are_the_published_formulas():
    means = np.array([[0.9, 0.8, 0.6], [1.0, 0.5, 0.7]])
    np.testing.assert_allclose(dice_gaps(means, "delta_dice"), [0.3, 0.5])
    np.testing.assert_allclose(dice_gaps(means, "ser"), [0.4 / 0.1, np.nan])
    with pytest.raises(ValueError, match="ser and delta_dice"):
        dice_gaps(means, "eop")


def test_spread_is_in_percent_of_the_best_group_and_keeps_its_sign():
    spread = published_spread(np.array([[30.0, 1.0, 33.0], [31.0, 1.0, 30.0], [20.0, 1.0, 40.0]]), best=2, worst=0)
    percent = np.array([100 * 3 / 33, -100 / 30, 50.0])
    assert spread.mean == pytest.approx(percent.mean())
    assert spread.standard_error == pytest.approx(percent.std(ddof=1))
    assert spread.p_one_tailed == pytest.approx(1 / 3)


def test_absolute_mean_of_changes_that_cancel_is_not_zero():
    changes = [PublishedChange(value, 0.1, 0.2, 10) for value in (0.04, -0.02, float("nan"))]
    assert absolute_mean(changes) == pytest.approx(0.03)
    assert np.isnan(absolute_mean(changes[2:]))


def null_world(seed, patients, images, shares):
    """Two pipelines that are equally good in every group; what each makes of a patient is alike in all images."""
    draw = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), images)
    codes = draw.choice(len(shares), p=shares, size=patients)[of].astype(np.int64)
    y_true = (draw.random(patients) < 0.4)[of].astype(np.int8)
    shared = 1.5 * y_true + 0.6 * draw.normal(size=patients)[of] + 0.4 * draw.normal(size=len(of)) - 0.8
    scores = [expit(shared + 0.6 * draw.normal(size=patients)[of] + 0.2 * draw.normal(size=len(of))) for _ in range(2)]
    return of, Grouping("race", tuple("ABCDEF"[: len(shares)]), codes), y_true, scores


def found_in(seed, patients, images, shares, replicates):
    """(published p, mean, SE; the same of patients; p of the swap test) of the change of EODD."""
    of, race, y_true, scores = null_world(seed, patients, images, shares)
    member, columns = membership([race]), list(range(len(shares)))
    changes = []
    for unit, count in ((np.arange(len(of)), len(of)), (of, patients)):
        resamples = resample_patients(count, replicates=replicates, seed=seed)
        drawn = (rate_replicates(y_true, s, row=unit, member=member, resamples=resamples) for s in scores)
        changes.append(published_change(*(gap_replicates(r, "eodd_half", ("tpr", "fpr"), columns) for r in drawn)))
    measured = []
    for score in scores:
        by = disaggregate_classification(
            y_true,
            score,
            np.full(len(of), 0.5),
            sensitive_features=[race],
            cluster=of,
            minimums=Minimums(cases=1, patients=1),
        ).by
        measured.append({metric: by[metric, "race"] for metric in ("tpr", "fpr")})
    tested = changes_of(*measured, NORMALS, Swaps(seed, np.arange(patients), count=199))
    swap = next(change.p_value for change in tested if change.definition == "eodd_half")
    return changes[0], changes[1], swap


def error_rates(worlds, patients, images, shares, replicates):
    found = [found_in(seed, patients, images, shares, replicates) for seed in range(worlds)]
    by_rows, by_patients = ([change.p_one_tailed for change in column] for column in list(zip(*found, strict=True))[:2])
    swaps = np.array([swap for _, _, swap in found if swap is not None])
    assert len(swaps) > 0.8 * worlds
    rates = (np.mean(np.array(by_rows) < 0.05), np.mean(np.array(by_patients) < 0.05), np.mean(swaps <= 0.05))
    return rates, found


def test_where_nothing_changed_the_published_p_finds_changes_and_ours_does_not():
    (published, by_patient, swap), found = error_rates(40, 120, 8, [0.5, 0.5], 64)
    assert published > 0.15
    assert by_patient <= 0.05
    assert swap <= 0.1
    errors = np.array([[rows.standard_error, patients.standard_error] for rows, patients, _ in found])
    assert errors[:, 0].mean() < 0.7 * errors[:, 1].mean()
    # An average of absolute changes is not 0 in a world without any.
    assert absolute_mean([rows for rows, _, _ in found]) > 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "shares", "at_least"),
    [(4, [0.4, 0.25, 0.15, 0.1, 0.06, 0.04], 0.07), (8, [0.5, 0.3, 0.2], 0.12), (8, [0.5, 0.5], 0.15)],
    ids=["six skewed groups", "three groups", "two groups"],
)
def test_error_rates_of_the_published_p(images, shares, at_least):
    (published, by_patient, swap), _ = error_rates(200, 300, images, shares, 128)
    assert published > at_least
    assert by_patient <= 0.05
    assert swap <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 200)
