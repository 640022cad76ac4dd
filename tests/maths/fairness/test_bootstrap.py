"""The patient bootstrap against scikit-learn's weighted AUROC, direct weighted rates and its draws' closed forms."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from services.maths.fairness import bootstrap
from services.maths.fairness.bootstrap import (
    LANES,
    bootstrap_classification,
    gap_replicates,
    membership,
    paired_change,
    patient_weights,
    resample_patients,
)
from services.maths.fairness.bootstrap.plans import plan_by_group, plan_by_pair, plan_for
from services.maths.fairness.bootstrap.walk import Rows, count_block
from services.maths.fairness.groups import Grouping, everyone, intersect

TIE_HEAVY = {
    "distinct": lambda score: score,
    "float32": lambda score: score.astype(np.float32),
    "8 bit": lambda score: np.round(score * 255) / 255,
    "4 values": lambda score: np.round(score * 3) / 3,
}


def cohort(patients=300, seed=0):
    """Patients with 1 to 9 images, and groupings by sex, age and race (some missing) and all their intersections."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 10, size=patients))
    levels = {"sex": ("F", "M"), "age": ("young", "old"), "race": ("A", "B", "C", "D", "E")}
    single = []
    for name, groups in levels.items():
        codes = rng.integers(-1 if name == "race" else 0, len(groups), size=patients)
        single.append(Grouping(name, groups, codes[patient]))
    sex, age, race = single
    sets = [*single, intersect([sex, age]), intersect([sex, race]), intersect([age, race]), intersect(single)]
    return patient, sets


def scored(records, prevalence, ties, seed=1):
    rng = np.random.default_rng(seed)
    y_true = (rng.random(records) < prevalence).astype(np.int8)
    y_true[rng.random(records) < 0.05] = -1
    score = 1 / (1 + np.exp(-(rng.normal(size=records) + (y_true == 1))))
    return y_true, TIE_HEAVY[ties](score)


def group_rows(sets, attribute, group):
    grouping = next(grouping for grouping in sets if grouping.attribute == attribute)
    return np.array(grouping.slot_names)[grouping.slots] == group


def by_hand(y_true, score, threshold, weight):
    """AUROC by scikit-learn and rates by their definitions, of the rows with positive weight."""
    rows = (weight > 0) & (y_true >= 0)
    truth, score, weight, flagged = (
        y_true[rows] == 1,
        score[rows],
        weight[rows].astype(float),
        (score >= threshold)[rows],
    )
    positives, negatives = weight[truth].sum(), weight[~truth].sum()
    area = roc_auc_score(truth, score, sample_weight=weight) if positives and negatives else np.nan
    tpr = weight[truth & flagged].sum() / positives if positives else np.nan
    fpr = weight[~truth & flagged].sum() / negatives if negatives else np.nan
    return area, tpr, fpr, positives, negatives


@pytest.mark.parametrize("ties", TIE_HEAVY)
@pytest.mark.parametrize("prevalence", [0.02, 0.15, 0.5])
def test_every_group_and_replicate_is_scikit_learns_weighted_value(prevalence, ties):
    patient, sets = cohort()
    y_true, score = scored(len(patient), prevalence, ties)
    member, resamples = membership(sets), resample_patients(300, replicates=70, seed=5)
    found = bootstrap_classification(y_true, score, 0.6, patient=patient, member=member, resamples=resamples)
    assert found.auroc.shape == found.tpr.shape == found.fpr.shape == (70, len(member.groups))
    worst = 0.0
    for replicate in (0, 1, 63, 64, 69):
        weight = resamples.weights[replicate // LANES, patient, replicate % LANES]
        for column, (attribute, group) in enumerate(found.groups):
            inside = group_rows(sets, attribute, group)
            expected = by_hand(y_true, score, 0.6, np.where(inside, weight, 0))
            got = [values[replicate, column] for values in (found.auroc, found.tpr, found.fpr)]
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected[:3]))
            worst = max(worst, np.nanmax(np.abs(np.subtract(got, expected[:3])), initial=0.0))
            assert (found.positives[replicate, column], found.negatives[replicate, column]) == expected[3:]
    assert worst <= 1e-12


def test_both_plans_count_the_same():
    patient, sets = cohort()
    rng = np.random.default_rng(2)
    member, resamples = membership(sets), resample_patients(300, replicates=64, seed=1)
    kind = rng.integers(0, 8, size=len(patient)).astype(np.uint8)
    kind[-1] &= 3  # nothing follows the last row that it could be tied with
    rows = Rows(kind, patient.astype(np.uint32), member.cell)
    by_group = count_block(rows, member, plan_by_group(member), resamples, 0)
    by_pair = count_block(rows, member, plan_by_pair(member), resamples, 0)
    for one, other in zip(by_group, by_pair, strict=True):
        np.testing.assert_array_equal(one, other)


def test_plan_goes_by_pair_where_positives_are_rare_and_cells_are_few():
    member = membership(cohort()[1])
    cells = len(member.groups_of_cell)
    assert plan_for(member, 0.01).counts == cells
    assert plan_for(member, 0.9).counts == len(member.groups)
    many = membership([Grouping("site", tuple(map(str, range(100))), np.arange(100)), everyone(100)])
    assert plan_for(many, 0.0).counts == 101


def test_wins_beyond_32_bits_are_kept():
    """20,000 positives and as many negatives of one patient who is drawn w times: 2 w² times 400 million pairs."""
    count = 40_000
    y_true = np.r_[np.zeros(count // 2, np.int8), np.ones(count // 2, np.int8)]
    score = np.linspace(0, 1, count)
    score[: count // 4] = 0.9  # half of the negatives above most positives
    patient = np.zeros(count, np.int64)
    resamples = resample_patients(20, replicates=128, seed=0)
    assert resamples.largest >= 4
    found = bootstrap_classification(
        y_true, score, 0.5, patient=patient, member=membership([everyone(count)]), resamples=resamples
    )
    drawn = resamples.weights[:, 0].ravel() > 0
    np.testing.assert_allclose(found.auroc[drawn, 0], roc_auc_score(y_true, score), rtol=0, atol=1e-12)
    assert np.isnan(found.auroc[~drawn]).all() and (~drawn).any()


def test_weights_are_draws_of_as_many_patients_as_there_are():
    weights = patient_weights(1000, seed=3, block=2)
    assert weights.shape == (1000, LANES) and weights.dtype == np.uint8
    assert (weights.sum(axis=0, dtype=np.int64) == 1000).all()
    # Each count is Binomial(1000, 1/1000): sixty-four thousand of them against its probabilities.
    observed = np.bincount(weights.ravel(), minlength=7)[:7]
    expected = stats.binom.pmf(np.arange(7), 1000, 1 / 1000) * weights.size
    chi_square = ((observed - expected) ** 2 / expected)[:6].sum()
    assert stats.chi2.sf(chi_square, 5) > 0.001
    # Multinomial, not independent: two patients' counts lean against each other by -1/K.
    few = np.concatenate([patient_weights(2, seed=1, block=block) for block in range(50)], axis=1)
    assert np.corrcoef(few)[0, 1] == pytest.approx(-1.0)


def test_weights_depend_on_seed_block_and_patients_alone():
    whole = resample_patients(50, replicates=150, seed=9)
    assert whole.weights.shape == (3, 50, LANES)
    for block in (2, 0, 1):
        np.testing.assert_array_equal(whole.weights[block], patient_weights(50, 9, block))
    assert not np.array_equal(whole.weights[0], whole.weights[1])
    assert not np.array_equal(whole.weights[0], patient_weights(50, 10, 0))
    assert (patient_weights(1, 0, 0) == 1).all()


def test_draws_are_the_upper_halves_of_philox_words_times_the_patients():
    """A change of the stream would change every published number, so it is spelled out here a second time."""
    words = np.random.Philox(key=[7, 1]).random_raw(2000)
    halves = [half for word in words.tolist() for half in (word & 0xFFFFFFFF, word >> 32)]
    draws = [half * 7 >> 32 for half in halves[: 7 * LANES]]
    expected = np.array([np.bincount(draws[7 * lane : 7 * lane + 7], minlength=7) for lane in range(LANES)])
    np.testing.assert_array_equal(patient_weights(7, 7, 1), expected.T)


def test_uneven_draws_are_rejected():
    """Of 2**32 draws, 2**32 mod 3 = 1 is one too many: the one whose product is 0."""
    weights = np.zeros((3, LANES), np.uint8)
    assert bootstrap.resamples._draw(np.array([0, 2**32 - 1, 0, 1, 2**31], np.uint32), 0, weights) == 3
    assert weights[:, 0].tolist() == [1, 1, 1] and weights[:, 1:].sum() == 0


def test_a_count_that_a_byte_cannot_hold_is_an_error(monkeypatch):
    monkeypatch.setattr(bootstrap.resamples, "_draw", lambda bits, drawn, weights: weights.fill(255) or weights.size)
    with pytest.raises(OverflowError, match="another seed"):
        patient_weights(3, 0, 0)


def test_order_of_rows_does_not_matter_bit_for_bit():
    patient, sets = cohort()
    y_true, score = scored(len(patient), 0.3, "8 bit")
    resamples = resample_patients(300, replicates=64, seed=5)
    straight = bootstrap_classification(
        y_true, score, 0.5, patient=patient, member=membership(sets), resamples=resamples
    )
    shuffled = np.random.default_rng(0).permutation(len(patient))
    mixed = bootstrap_classification(
        y_true[shuffled],
        score[shuffled],
        0.5,
        patient=patient[shuffled],
        member=membership([grouping.take(shuffled) for grouping in sets]),
        resamples=resamples,
    )
    for name in ("auroc", "tpr", "fpr", "positives", "negatives"):
        np.testing.assert_array_equal(getattr(straight, name), getattr(mixed, name))


def test_thresholds_may_differ_by_row_and_be_unknown():
    patient, sets = cohort()
    y_true, score = scored(len(patient), 0.3, "distinct")
    threshold = np.random.default_rng(3).choice([0.4, 0.6, 0.8], size=len(patient))
    women = group_rows(sets, "sex", "F")
    member, resamples = membership(sets[:1]), resample_patients(300, replicates=64, seed=5)
    found = bootstrap_classification(y_true, score, threshold, patient=patient, member=member, resamples=resamples)
    weight = resamples.weights[0, patient, 7]
    _, tpr, fpr, *_ = by_hand(y_true, score, threshold, np.where(women, weight, 0))
    assert (found.tpr[7, 0], found.fpr[7, 0]) == (tpr, fpr)

    threshold[np.flatnonzero(women & (y_true >= 0))[0]] = np.nan
    partly = bootstrap_classification(y_true, score, threshold, patient=patient, member=member, resamples=resamples)
    assert np.isnan(partly.tpr[:, 0]).all() and np.isnan(partly.fpr[:, 0]).all()
    np.testing.assert_array_equal(partly.tpr[:, 1], found.tpr[:, 1])
    np.testing.assert_array_equal(partly.auroc, found.auroc)


def test_standard_error_is_that_of_the_defined_replicates_and_agrees_with_theory():
    """Independent records of one patient each: the variance of a rate over m cases is p (1 - p) / m."""
    rng = np.random.default_rng(0)
    records = 4000
    y_true = (rng.random(records) < 0.5).astype(np.int8)
    score = rng.random(records)
    member, resamples = membership([everyone(records)]), resample_patients(records, replicates=1000, seed=2)
    found = bootstrap_classification(y_true, score, 0.3, patient=np.arange(records), member=member, resamples=resamples)
    assert found.standard_error("tpr")[0] == pytest.approx(np.sqrt(0.7 * 0.3 / y_true.sum()), rel=0.1)
    m = records / 2
    assert found.standard_error("auroc")[0] == pytest.approx(np.sqrt((2 * m + 1) / (12 * m * m)), rel=0.1)
    np.testing.assert_allclose(found.standard_error("fpr"), found.fpr.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found.prevalence, found.positives / records, rtol=1e-12)
    np.testing.assert_allclose(found.balanced_accuracy, (found.tpr + 1 - found.fpr) / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="no replicates of 'dice'"):
        found.metric("dice")


def test_gaps_are_their_definitions_in_every_replicate():
    patient, sets = cohort()
    y_true, score = scored(len(patient), 0.3, "distinct")
    resamples = resample_patients(300, replicates=64, seed=5)
    found = bootstrap_classification(y_true, score, 0.5, patient=patient, member=membership(sets), resamples=resamples)
    columns = found.columns("race", ("A", "C", "E"))
    tpr, fpr = found.tpr[:, columns], found.fpr[:, columns]
    spread = [values.max(axis=1) - values.min(axis=1) for values in (tpr, fpr)]
    pairs = {
        ("eop", ("tpr",)): spread[0],
        ("eodd_half", ("tpr", "fpr")): (spread[0] + spread[1]) / 2,
        ("eodd_worst", ("tpr", "fpr")): np.maximum(*spread),
        ("max_min", ("auroc",)): found.auroc[:, columns].max(axis=1) - found.auroc[:, columns].min(axis=1),
    }
    for (definition, metrics), expected in pairs.items():
        np.testing.assert_allclose(gap_replicates(found, definition, metrics, columns), expected, rtol=0, atol=1e-15)
    assert np.isnan(gap_replicates(found, "eop", ("tpr",), columns[:1])).all()
    with pytest.raises(ValueError, match="no gap 'percentile'"):
        gap_replicates(found, "percentile", ("tpr",), columns)


def test_change_is_paired_and_zero_for_the_same_pipeline():
    patient, sets = cohort()
    y_true, score = scored(len(patient), 0.3, "distinct")
    member, resamples = membership(sets), resample_patients(300, replicates=200, seed=5)

    def replicates(values, drawn=resamples):
        return bootstrap_classification(y_true, values, 0.5, patient=patient, member=member, resamples=drawn)

    baseline = replicates(score)
    columns = baseline.columns("sex", ("F", "M"))
    same = paired_change(baseline, replicates(score), "eop", ("tpr",), columns)
    assert (same.mean, same.standard_deviation, same.replicates) == (0.0, 0.0, 200)

    nearly = replicates(np.clip(score + 0.01 * group_rows(sets, "sex", "F"), 0, 1))
    change = paired_change(baseline, nearly, "eop", ("tpr",), columns)
    gaps = [gap_replicates(r, "eop", ("tpr",), columns) for r in (baseline, nearly)]
    assert change.mean == pytest.approx(np.mean(gaps[1] - gaps[0]))
    assert change.standard_deviation == pytest.approx(np.std(gaps[1] - gaps[0], ddof=1))
    # Common draws are what makes a small change visible at all.
    assert change.standard_deviation < 0.7 * np.hypot(gaps[0].std(), gaps[1].std())

    with pytest.raises(ValueError, match="same resamples"):
        paired_change(
            baseline, replicates(score, resample_patients(300, replicates=200, seed=6)), "eop", ("tpr",), columns
        )


def test_change_without_two_defined_replicates_is_undefined():
    patient = np.arange(4)
    member = membership([Grouping("sex", ("F", "M"), np.array([0, 0, 1, 1]))])
    resamples = resample_patients(4, replicates=64, seed=0)
    nobody = bootstrap_classification(
        np.zeros(4, np.int8), np.linspace(0, 1, 4), 0.5, patient=patient, member=member, resamples=resamples
    )
    assert np.isnan(nobody.auroc).all() and np.isnan(nobody.standard_error("tpr")).all()
    change = paired_change(nobody, nobody, "eop", ("tpr",), [0, 1])
    assert np.isnan(change.mean) and np.isnan(change.standard_deviation) and change.replicates == 0


def test_no_rows_at_all_give_undefined_values():
    found = bootstrap_classification(
        np.zeros(0, np.int8),
        np.zeros(0),
        0.5,
        patient=np.zeros(0, np.int64),
        member=membership([Grouping("sex", ("F", "M"), np.zeros(0, np.int64))]),
        resamples=resample_patients(3, replicates=10, seed=0),
    )
    assert found.auroc.shape == (10, 2) and np.isnan(found.auroc).all()


def test_members_keep_every_attribute_and_its_missing():
    sex = Grouping("sex", ("F", "M"), np.array([0, 1, -1]))
    age = Grouping("age", ("young", "old"), np.array([1, 1, 0]))
    member = membership([sex, age])
    assert member.groups == (("sex", "F"), ("sex", "M"), ("sex", "(missing)"), ("age", "young"), ("age", "old"))
    names = [[member.groups[place] for place in member.groups_of_cell[cell]] for cell in member.cell]
    assert names == [
        [("sex", "F"), ("age", "old")],
        [("sex", "M"), ("age", "old")],
        [("sex", "(missing)"), ("age", "young")],
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": np.array([0, 1, 2, 0])}, "0, 1 or -1"),
        ({"y_score": np.array([0.1, np.nan, 0.2, 0.3])}, "finite"),
        ({"y_score": np.array([0.1, np.inf, 0.2, 0.3])}, "finite"),
        ({"y_score": np.zeros(3)}, "same records"),
        ({"patient": np.array([0, 1, 2, 4])}, r"0\.\.3"),
        ({"patient": np.array([0, 1, 2, -1])}, r"0\.\.3"),
        ({"member": membership([everyone(5)])}, "same records"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {
        "y_true": np.array([0, 1, 0, -1]),
        "y_score": np.linspace(0, 1, 4),
        "threshold": 0.5,
        "patient": np.arange(4),
        "member": membership([everyone(4)]),
        "resamples": resample_patients(4, replicates=2, seed=0),
    }
    with pytest.raises(ValueError, match=message):
        bootstrap_classification(**{**arguments, **change})


def test_bad_plans_of_a_bootstrap_are_refused():
    for patients, replicates in ((0, 10), (10, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            resample_patients(patients, replicates=replicates, seed=0)
    with pytest.raises(ValueError, match="seed"):
        resample_patients(3, replicates=1, seed=-1)
    for groupings in ([], [everyone(3), everyone(4)]):
        with pytest.raises(ValueError, match="same records"):
            membership(groupings)


def test_there_is_no_interval_of_a_gap():
    """Percentiles of a resampled largest difference never hold 0, so nothing here may offer them."""
    assert not [
        name for name in dir(bootstrap) + dir(bootstrap.replicates) if "quantile" in name or "percentile" in name
    ]
