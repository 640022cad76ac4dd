"""Gap definitions by hand, which groups they are over, and what chance adds to them."""

import numpy as np
import pytest
from fairlearn.metrics import equalized_odds_difference
from hypothesis import given, settings
from hypothesis import strategies as st

from services.maths.fairness.gaps.definitions import DEFINITIONS, gaps_of
from services.maths.fairness.gaps.references import reference_gaps
from services.maths.fairness.gaps.simultaneous import standard_normals

NORMALS = standard_normals(1, draws=256)
rates = st.lists(st.floats(0.05, 0.95), min_size=2, max_size=6)


@pytest.fixture(scope="module")
def gap_of(worlds):
    def of(definition, normals=NORMALS, states=None, errors=0.02, **values):
        parts = {
            metric: worlds.disaggregation_of(metric, worlds.fixed(each, [errors] * len(each)), states)
            for metric, each in values.items()
        }
        return next(gap for gap in gaps_of(parts, normals) if gap.definition == definition)

    return of


def test_both_equalised_odds_by_hand(gap_of):
    parts = {"tpr": [0.9, 0.6, 0.7], "fpr": [0.10, 0.15, 0.20]}
    assert gap_of("eodd_half", **parts).estimate == pytest.approx((0.3 + 0.1) / 2)
    assert gap_of("eodd_worst", **parts).estimate == pytest.approx(0.3)
    assert gap_of("eop", **parts).estimate == pytest.approx(0.3)


def test_worst_case_is_fairlearns(worlds):
    rng = np.random.default_rng(4)
    truth, called, group = rng.integers(0, 2, 600), rng.integers(0, 2, 600), rng.integers(0, 3, 600)
    parts = {}
    for metric, label in (("tpr", 1), ("fpr", 0)):
        chosen = truth == label
        estimates = worlds.estimates_of(group, called * chosen, "wilson", images=chosen)
        parts[metric] = worlds.disaggregation_of(metric, estimates)
    expected = equalized_odds_difference(truth, called, sensitive_features=group)
    (worst,) = [gap for gap in gaps_of(parts, NORMALS) if gap.definition == "eodd_worst"]
    assert worst.estimate == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(rates, st.data())
def test_half_sum_never_exceeds_the_worst_case_and_is_at_least_half_of_it(gap_of, tprs, data):
    fprs = data.draw(st.lists(st.floats(0.05, 0.95), min_size=len(tprs), max_size=len(tprs)))
    half, worst = (gap_of(name, tpr=tprs, fpr=fprs).estimate for name in ("eodd_half", "eodd_worst"))
    assert worst / 2 <= half + 1e-12
    assert half <= worst + 1e-12


@settings(deadline=None, max_examples=40)
@given(rates, st.floats(0.001, 0.2))
def test_numbers_of_a_gap_are_in_order(gap_of, tprs, errors):
    for name in ("eop", "eodd_half", "eodd_worst"):
        gap = gap_of(name, errors=errors, tpr=tprs, fpr=tprs[::-1])
        assert 0.0 <= gap.ci_low <= gap.estimate + 1e-12
        assert gap.estimate <= gap.ci_high + 1e-12
        assert 0.0 <= gap.corrected <= gap.estimate


def test_skewed_error_ratio_and_dice_difference_by_hand(gap_of):
    assert gap_of("ser", dice=[0.8, 0.6]).estimate == pytest.approx(0.4 / 0.2)
    assert gap_of("delta_dice", dice=[0.8, 0.6]).estimate == pytest.approx(0.2)


def test_equal_groups_have_ratio_one_and_difference_zero(gap_of):
    ser, delta = gap_of("ser", dice=[0.7, 0.7]), gap_of("delta_dice", dice=[0.7, 0.7])
    assert (ser.estimate, ser.corrected, ser.ci_low) == (1.0, 1.0, 1.0)
    assert (delta.estimate, delta.corrected, delta.ci_low) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("groups", "expected"), [(2, 1.128), (5, 2.326), (20, 3.735)])
def test_noise_floor_is_the_expected_range_of_equal_groups(gap_of, normals, groups, expected):
    gap = gap_of("max_min", normals, errors=0.02, auroc=[0.8] * groups)
    assert gap.noise_floor == pytest.approx(0.02 * expected, rel=0.03)


def test_correction_takes_out_what_chance_adds(worlds, normals):
    rng, raw, corrected = np.random.default_rng(8), [], []
    for _ in range(150):
        estimates = worlds.fixed(0.05 * rng.normal(size=10), [0.05] * 10)
        gap = gaps_of({"psnr": worlds.disaggregation_of("psnr", estimates)}, normals)[0]
        raw.append(gap.estimate)
        corrected.append(gap.corrected)
    assert np.mean(raw) > 0.14
    assert np.mean(corrected) < 0.04


def test_a_large_gap_is_hardly_corrected(gap_of, normals):
    gap = gap_of("max_min", normals, errors=0.01, auroc=[0.5, 0.9, 0.7])
    assert gap.corrected == pytest.approx(0.4, abs=0.005)


def test_equalised_odds_needs_both_rates_of_a_group(worlds):
    # C has a false positive rate far off, but no comparable true positive rate.
    tpr = worlds.disaggregation_of("tpr", worlds.fixed([0.8, 0.7, 0.1], [0.02] * 3), ["ok", "wide", "insufficient"])
    fpr = worlds.disaggregation_of("fpr", worlds.fixed([0.1, 0.1, 0.9], [0.02] * 3))
    (gap,) = [gap for gap in gaps_of({"tpr": tpr, "fpr": fpr}, NORMALS) if gap.definition == "eodd_half"]
    assert gap.estimate == pytest.approx(0.05)
    assert (gap.metric, gap.groups, gap.excluded_groups) == ("tpr,fpr", ("A", "B"), ("C",))


def test_every_gap_is_null_with_fewer_than_two_groups(worlds):
    parts = {
        metric: worlds.disaggregation_of(metric, worlds.fixed([0.8, 0.7], [0.1, 0.1]), ["ok", "insufficient"])
        for metric in ("auroc", "tpr", "fpr", "dice", "psnr")
    }
    for gap in gaps_of(parts, NORMALS):
        assert (gap.estimate, gap.noise_floor, gap.corrected, gap.ci_low, gap.ci_high) == (None,) * 5
        assert gap.excluded_groups == ("B",)


def test_gaps_are_those_whose_metrics_are_there(worlds):
    dice = worlds.disaggregation_of("dice", worlds.fixed([0.8, 0.7], [0.01, 0.01]))
    assert [(gap.definition, gap.metric) for gap in gaps_of({"dice": dice}, NORMALS)] == [
        ("ser", "dice"),
        ("delta_dice", "dice"),
    ]


def test_spread_is_reported_from_eight_groups(worlds):
    for count in (7, 8):
        part = worlds.disaggregation_of("auroc", worlds.fixed(np.linspace(0.7, 0.9, count), [0.01] * count))
        names = [gap.definition for gap in gaps_of({"auroc": part}, NORMALS)]
        assert names == ["max_min", "between_group_sd"][: 1 + (count == 8)]


def test_definitions_have_distinct_names_and_metrics():
    keys = [(definition.name, definition.metric) for definition in DEFINITIONS]
    assert len(set(keys)) == len(keys)


def test_gaps_to_a_reference_by_hand(worlds, normals):
    part = worlds.disaggregation_of(
        "tpr", worlds.fixed([0.8, 0.6, 0.9, 0.5], [0.02] * 4), ["ok", "ok", "wide", "insufficient"]
    )
    gaps = reference_gaps(part, "B", normals)
    assert [(gap.definition, gap.group, gap.reference) for gap in gaps] == [
        (f"{kind}_to_reference", group, "B") for kind in ("difference", "ratio") for group in ("A", "C")
    ]
    assert [gap.estimate for gap in gaps] == pytest.approx([0.2, 0.3, 0.8 / 0.6, 1.5])
    # Dunnett for two contrasts: 2.21 in place of 1.96.
    assert gaps[0].ci_low == pytest.approx(0.2 - 2.22 * 0.02 * np.sqrt(2), abs=0.002)
    assert reference_gaps(part, "D", normals) == []
    with pytest.raises(ValueError, match="no group"):
        reference_gaps(part, "Z", normals)


def test_ratio_to_a_reference_that_may_be_zero_is_null(worlds, normals):
    part = worlds.disaggregation_of("fpr", worlds.fixed([0.001, 0.1], [0.01, 0.01]))
    assert [gap.estimate is None for gap in reference_gaps(part, "A", normals)] == [False, True]
