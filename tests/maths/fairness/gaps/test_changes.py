"""Swaps against brute force, and changes by hand."""

from itertools import product

import numpy as np
import pytest

from services.maths.fairness.gaps.changes import changes_of, overall_changes
from services.maths.fairness.gaps.pairing import aligned
from services.maths.fairness.gaps.swaps import Swaps, contributions, permutation_p


def pipelines(worlds, seed, rates=(0.8, 0.6, 0.7), patients=60, candidate=None):
    rng = np.random.default_rng(seed)
    codes, hits = worlds.clustered_rates(rng, rates, patients)
    other = worlds.clustered_rates(rng, candidate or rates, patients)[1]
    other = np.where(rng.random(len(codes)) < 0.5, hits, other)
    return codes, hits, other


def exchanged(swaps):
    """(K, B) booleans from the packed bits."""
    return np.unpackbits(swaps.bits, axis=1, bitorder="little")[:, : swaps.count].astype(bool)


def test_swapped_values_are_those_of_swapped_records(worlds):
    codes, hits, other = pipelines(worlds, 1)
    swaps = Swaps(5, np.arange(len(codes)), count=70)
    pairs = [(worlds.estimates_of(codes, hits), worlds.estimates_of(codes, other))]
    ((before, after),) = swaps.swapped(pairs)
    for swap, moved in enumerate(exchanged(swaps).T):
        assert before[:, swap] == pytest.approx(worlds.estimates_of(codes, np.where(moved, other, hits)).value)
        assert after[:, swap] == pytest.approx(worlds.estimates_of(codes, np.where(moved, hits, other)).value)


def test_metrics_swapped_together_are_those_swapped_alone(worlds):
    codes, hits, other = pipelines(worlds, 2)
    swaps = Swaps(5, np.arange(len(codes)), count=70)
    pairs = [
        (worlds.estimates_of(codes, hits), worlds.estimates_of(codes, other)),
        (worlds.estimates_of(codes, hits**2), worlds.estimates_of(codes, other)),
    ]
    for pair, together in zip(pairs, swaps.swapped(pairs), strict=True):
        assert np.allclose(together, swaps.swapped([pair])[0], rtol=1e-13)


def test_patients_of_a_label_have_the_same_bits_as_in_the_whole_audit(worlds):
    whole = Swaps(5, np.array(["d", "a", "c", "b"]), count=64)
    assert whole.places(np.array(["b", "d"])).tolist() == [1, 3]
    assert np.array_equal(whole.bits, Swaps(5, np.array(["a", "b", "c", "d"]), count=64).bits)
    assert not np.array_equal(whole.bits, Swaps(6, np.array(["a", "b", "c", "d"]), count=64).bits)
    with pytest.raises(ValueError, match="whole audit"):
        whole.places(np.array(["b", "e"]))
    with pytest.raises(ValueError, match="at least 1"):
        Swaps(5, np.array(["a"]), count=0)


def test_bits_are_fair_and_small():
    swaps = Swaps(7, np.arange(58_000))
    assert swaps.bits.nbytes < 16_000_000
    assert np.unpackbits(swaps.bits).mean() == pytest.approx(0.5, abs=0.001)


def test_contributions_add_up_to_the_values(worlds):
    codes, hits, _ = pipelines(worlds, 3)
    estimates = worlds.estimates_of(codes, hits, "wilson")
    assert contributions(estimates).sum(axis=0) == pytest.approx(estimates.value)


def test_p_value_counts_ties_and_the_observed_assignment():
    assert permutation_p(1.0, np.array([0.5, -1.0, 1.0 - 1e-12, 0.99])) == pytest.approx(3 / 5)
    assert permutation_p(-2.0, np.zeros(9)) == pytest.approx(0.1)
    assert permutation_p(1e-17, np.array([0.0, 0.2, -0.2])) == 1.0  # a zero that was added up in another order


def test_p_value_is_that_of_all_swaps(worlds, normals):
    """Ten patients: every one of the 1,024 swaps, by hand."""
    codes = np.repeat([0, 1], 5)
    hits, other = np.array([3, 3, 2, 3, 3, 1, 2, 0, 1, 2]), np.array([1, 2, 2, 1, 3, 2, 3, 2, 1, 3])
    parts = [worlds.disaggregation_of("psnr", worlds.estimates_of(codes, each)) for each in (hits, other)]
    change = changes_of({"psnr": parts[0]}, {"psnr": parts[1]}, normals, Swaps(1, np.arange(10), count=8191))[0]

    def gap(values):
        return abs(values[:5].mean() - values[5:].mean())

    null = [
        gap(np.where(moved, hits, other)) - gap(np.where(moved, other, hits))
        for moved in np.array(list(product([False, True], repeat=10)))
    ]
    observed = gap(other) - gap(hits)
    exact = np.mean(np.abs(null) >= abs(observed) - 1e-9)
    assert change.estimate == pytest.approx(observed / 3)
    assert change.p_value == pytest.approx(exact, abs=0.015)
    assert np.std(change.permuted) == pytest.approx(1.0, abs=0.02)
    assert change.permuted.dtype == np.float32


def test_two_groups_clearly_apart_have_the_paired_signed_contrast(worlds, normals):
    codes, hits, other = pipelines(worlds, 4, rates=(0.9, 0.4), patients=150, candidate=(0.9, 0.5))
    parts = [worlds.disaggregation_of("psnr", worlds.estimates_of(codes, each)) for each in (hits, other)]
    change = changes_of({"psnr": parts[0]}, {"psnr": parts[1]}, normals, Swaps(1, np.arange(300), count=99))[0]
    moved = (other - hits) / 3
    each = [moved[codes == group] for group in (0, 1)]
    error = np.sqrt(sum(values.var(ddof=1) / len(values) for values in each))
    assert change.estimate == pytest.approx(each[0].mean() - each[1].mean())
    assert change.standard_error == pytest.approx(error, rel=1e-9)
    reach = (change.ci_high - change.ci_low) / 2
    assert (change.ci_low + change.ci_high) / 2 == pytest.approx(change.estimate)
    assert reach == pytest.approx(2.07 * error, rel=0.01)


def test_equal_groups_have_an_interval_around_zero(worlds, normals):
    codes, hits, other = pipelines(worlds, 5, rates=(0.7, 0.7, 0.7))
    parts = [worlds.disaggregation_of("tpr", worlds.estimates_of(codes, each, "wilson")) for each in (hits, other)]
    (change,) = changes_of({"tpr": parts[0]}, {"tpr": parts[1]}, normals, Swaps(1, np.arange(180), count=99))
    assert change.ci_low < -abs(change.estimate) <= abs(change.estimate) < change.ci_high


def test_every_definition_has_a_change_and_error_ratio_is_a_difference_of_ratios(worlds, normals):
    codes, hits, other = pipelines(worlds, 6)
    both = []
    for values in (hits, other):
        estimates = worlds.estimates_of(codes, 0.2 + 0.2 * values)
        both.append(
            {m: worlds.disaggregation_of(m, estimates) for m in ("auroc", "tpr", "fpr", "prevalence", "dice", "psnr")}
        )
    changes = changes_of(*both, normals, Swaps(1, np.arange(180), count=99))
    names = [change.definition for change in changes]
    assert names == ["max_min", "eodd_half", "eodd_worst", "eop", "ser", "delta_dice", "max_min", "percent_max_min"]
    by_name = dict(zip(names, changes, strict=True))
    ratio = [(1 - p["dice"].by_group.min()) / (1 - p["dice"].by_group.max()) for p in both]
    assert by_name["ser"].estimate == pytest.approx(ratio[1] - ratio[0])
    for change in changes:
        assert change.ci_low <= change.estimate <= change.ci_high
        assert 0 < change.p_value <= 1


def test_identical_pipelines_have_no_change_and_p_one(worlds, normals):
    codes, hits, _ = pipelines(worlds, 7)
    part = worlds.disaggregation_of("tpr", worlds.estimates_of(codes, hits, "wilson"))
    (change,) = changes_of({"tpr": part}, {"tpr": part}, normals, Swaps(1, np.arange(180), count=99))
    assert (change.estimate, change.p_value, change.statistic) == (0.0, 1.0, 0.0)
    assert change.standard_error > 0  # no patient differed among sixty, which is not none ever


def test_no_change_over_other_groups(worlds, normals):
    codes, hits, other = pipelines(worlds, 8)
    before = worlds.disaggregation_of("tpr", worlds.estimates_of(codes, hits, "wilson"), ["ok", "ok", "insufficient"])
    after = worlds.disaggregation_of("tpr", worlds.estimates_of(codes, other, "wilson"))
    (change,) = changes_of({"tpr": before}, {"tpr": after}, normals, Swaps(1, np.arange(180), count=99))
    assert (change.estimate, change.p_value, change.permuted) == (None, None, None)


def test_overall_change_is_paired(worlds):
    codes, hits, other = pipelines(worlds, 9)
    everyone = np.zeros_like(codes)
    parts = [{"psnr": worlds.disaggregation_of("psnr", worlds.estimates_of(everyone, each))} for each in (hits, other)]
    (change,) = overall_changes(*parts, Swaps(1, np.arange(180), count=999))
    moved = (other - hits) / 3
    assert (change.definition, change.attribute) == ("overall", "")
    assert change.estimate == pytest.approx(moved.mean())
    assert change.standard_error == pytest.approx(moved.std(ddof=1) / np.sqrt(180))
    signs = 1 - 2 * exchanged(Swaps(1, np.arange(180), count=999))
    null = (moved[:, None] * signs).mean(axis=0)
    assert change.p_value == pytest.approx((1 + (np.abs(null) >= abs(moved.mean()) - 1e-12).sum()) / 1000)


def test_a_patient_that_one_pipeline_lacks_contributes_nothing_there(worlds):
    codes, hits, other = pipelines(worlds, 10)
    whole = worlds.estimates_of(codes, hits)
    part = worlds.estimates_of(codes[1:], other[1:])
    object.__setattr__(part, "patient_ids", np.arange(1, len(codes)))
    one, two = aligned(part, whole)
    assert np.array_equal(one.patient_ids, two.patient_ids)
    assert one.covariance == pytest.approx(part.covariance)
    assert contributions(one).toarray()[0].tolist() == [0.0, 0.0, 0.0]


def test_more_noise_in_all_groups_alike_is_no_change_of_the_gap(worlds, normals):
    """Ten equal groups, sensitivity .95 and then .70: the candidate's largest difference is larger for its errors."""
    codes, rejected, patients = np.repeat(np.arange(10), 80), 0, np.arange(800)
    for number in range(40):
        rng = np.random.default_rng([6, number])
        before = rng.random((800, 2)) < 0.95
        after = before & (rng.random((800, 2)) < 0.70 / 0.95)
        pair = [
            {"tpr": worlds.disaggregation_of("tpr", worlds.estimates_of(codes, hits.sum(axis=1), "wilson", images=2))}
            for hits in (before, after)
        ]
        (change,) = changes_of(*pair, normals, Swaps(number, patients, count=199))
        rejected += change.p_value <= 0.05
    assert rejected <= 4  # 2 expected; without regard to the noise it is every second one
