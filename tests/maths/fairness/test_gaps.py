"""Gap definitions by hand, and which groups they are taken over."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.maths.fairness.cells import Cell
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.gaps.definitions import delta_dice, eodd_half, eodd_worst, eop, gaps_of, max_min, ser
from services.maths.fairness.groups import Grouping

rates = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def by_group(values, metric="tpr", states=None):
    names = tuple("ABCDEFGH"[: len(values)])
    states = states or ["ok"] * len(values)
    cells = tuple(Cell(n, 50, 50, 20, 0, s, v) for n, s, v in zip(names, states, values, strict=True))
    nobody = np.zeros(0, dtype=np.int64)
    whole = Cell("overall", 50, 50, 20, 0, "ok", 0.5)
    return Disaggregation(metric, cells, whole, Grouping("race", names, nobody), nobody)


def test_both_equalised_odds_by_hand():
    tpr, fpr = by_group([0.9, 0.6, 0.7]), by_group([0.10, 0.15, 0.20], "fpr")
    assert eodd_half(tpr, fpr) == pytest.approx((0.3 + 0.1) / 2)
    assert eodd_worst(tpr, fpr) == pytest.approx(0.3)
    assert eop(tpr) == pytest.approx(0.3)


@settings(deadline=None)
@given(rates, st.data())
def test_half_sum_never_exceeds_the_worst_case_and_is_at_least_half_of_it(tprs, data):
    fprs = data.draw(st.lists(st.floats(0, 1), min_size=len(tprs), max_size=len(tprs)))
    half, worst = eodd_half(by_group(tprs), by_group(fprs, "fpr")), eodd_worst(by_group(tprs), by_group(fprs, "fpr"))
    assert worst / 2 <= half <= worst


@settings(deadline=None)
@given(rates, st.randoms(use_true_random=False))
def test_order_of_groups_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert max_min(by_group(values)) == max_min(by_group(shuffled))


def test_skewed_error_ratio_and_dice_difference_by_hand():
    dice = by_group([0.8, 0.6], "dice")
    assert ser(dice) == pytest.approx(0.4 / 0.2)
    assert delta_dice(dice) == pytest.approx(0.2)


def test_equal_groups_have_ratio_one_and_difference_zero():
    dice = by_group([0.7, 0.7], "dice")
    assert (ser(dice), delta_dice(dice)) == (1.0, 0.0)


def test_error_ratio_to_a_perfect_group_has_no_value():
    assert math.isnan(ser(by_group([1.0, 0.7], "dice")))


def test_equalised_odds_needs_both_rates_of_a_group():
    # C has a false positive rate far off, but no comparable true positive rate.
    tpr = by_group([0.8, 0.7, 0.0], states=["ok", "ok", "insufficient"])
    fpr = by_group([0.1, 0.1, 0.9], "fpr")
    assert eodd_half(tpr, fpr) == pytest.approx(0.05)
    (gap,) = [gap for gap in gaps_of({"tpr": tpr, "fpr": fpr}) if gap.definition == "eodd_half"]
    assert (gap.metric, gap.groups, gap.excluded_groups) == ("tpr,fpr", ("A", "B"), ("C",))


def test_every_gap_is_null_with_fewer_than_two_groups():
    parts = {m: by_group([0.8, 0.7], m, ["ok", "insufficient"]) for m in ("auroc", "tpr", "fpr", "dice", "psnr")}
    gaps = gaps_of(parts)
    assert {gap.estimate for gap in gaps} == {None}
    assert {gap.excluded_groups for gap in gaps} == {("B",)}


def test_gaps_are_those_whose_metrics_are_there():
    assert [(gap.definition, gap.metric) for gap in gaps_of({"dice": by_group([0.8, 0.7], "dice")})] == [
        ("ser", "dice"),
        ("delta_dice", "dice"),
    ]
