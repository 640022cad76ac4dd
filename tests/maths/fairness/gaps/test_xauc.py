"""The xAUC gap: brute force, and intervals that hold the truth they were made from."""

import numpy as np
import pytest
from scipy.stats import norm

from services.maths.fairness.cells import Minimums
from services.maths.fairness.gaps.simultaneous import standard_normals
from services.maths.fairness.gaps.xauc import xauc_change, xauc_gap
from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.classification import disaggregate_classification

NORMALS = standard_normals(5, 2048)
SIGNAL = 1.4


def measured(seed, shifts, *, patients=300, images=2, prevalence=0.4, noise=0.0):
    """Areas and AUROC of one attribute; all scores of group g are shifted upward by ``shifts[g]``."""
    draw, groups = np.random.default_rng(seed), tuple("ABCDEF"[: len(shifts)])
    of = np.repeat(np.arange(patients), images)
    codes = draw.integers(0, len(shifts), patients)[of]
    y_true = (draw.random(len(of)) < prevalence).astype(np.int8)
    own, shared = draw.normal(size=len(of)), draw.normal(size=patients)[of]
    score = SIGNAL * y_true + np.asarray(shifts)[codes] + np.sqrt(0.7) * own + np.sqrt(0.3) * shared
    score = norm.cdf((score + noise * draw.normal(size=len(of))) / 3)
    found = disaggregate_classification(
        y_true,
        score,
        np.full(len(of), 0.5),
        sensitive_features=[Grouping("a", groups, codes)],
        cluster=of,
        minimums=Minimums(),
        between=["a"],
    )
    return found.between["a"], found.by["auroc", "a"]


def true_gap(shifts):
    """xAUC[a, b] of unit normals is the chance that a positive of a, shifted, passes a negative of b."""
    apart = max(shifts) - min(shifts)
    return norm.cdf((SIGNAL + apart) / np.sqrt(2)) - norm.cdf((SIGNAL - apart) / np.sqrt(2))


def test_gap_is_the_largest_of_the_antisymmetric_differences():
    areas, auroc = measured(1, (0.0, 0.3, -0.2, 0.1))
    gap = xauc_gap(areas, auroc, NORMALS)
    assert gap.estimate == pytest.approx(np.abs(areas.xauc_matrix - areas.xauc_matrix.T).max(), abs=1e-15)
    assert (gap.definition, gap.metric, gap.attribute, gap.groups) == ("xauc_gap", "xauc", "a", tuple("ABCD"))
    assert gap.ci_low <= gap.corrected <= gap.estimate <= gap.ci_high


def test_two_groups_have_the_limits_of_their_one_contrast():
    areas, auroc = measured(2, (0.0, 0.8))
    gap = xauc_gap(areas, auroc, NORMALS)
    influence = areas.xauc.influence.toarray()
    error = np.linalg.norm(influence[:, 1] - influence[:, 2])
    assert gap.ci_low == pytest.approx(gap.estimate - 1.96 * error, abs=0.02)
    assert gap.ci_high == pytest.approx(gap.estimate + 1.96 * error, abs=0.02)
    assert gap.noise_floor == pytest.approx(error * np.sqrt(2 / np.pi), rel=0.06)


def test_groups_that_are_too_small_take_no_part_and_one_group_has_no_gap():
    areas, auroc = measured(3, (0.0, 0.5, 0.0), patients=24)
    assert len(auroc.comparable_groups) < 3
    gap = xauc_gap(areas, auroc, NORMALS)
    assert gap.groups == auroc.comparable_groups
    assert set(gap.groups) | set(gap.excluded_groups) == set("ABC")
    alone = xauc_gap(*measured(3, (0.0,)), NORMALS)
    assert alone.estimate is alone.ci_low is alone.ci_high is alone.noise_floor is alone.corrected is None


def test_areas_of_one_are_certain_only_to_their_wilson_limits():
    """All positives above all negatives, whatever the groups: no variance is seen, and limits still have a width."""
    y_true = np.tile(np.array([0, 1], dtype=np.int8), 60)
    codes = np.repeat([0, 1], 60)
    found = disaggregate_classification(
        y_true,
        y_true * 0.5 + 0.25,
        np.full(120, 0.5),
        sensitive_features=[Grouping("a", ("A", "B"), codes)],
        cluster=np.arange(120),
        minimums=Minimums(),
        between=["a"],
    )
    gap = xauc_gap(found.between["a"], found.by["auroc", "a"], NORMALS)
    assert gap.estimate == gap.ci_low == 0
    assert gap.ci_high > 0.05


def test_change_is_paired():
    before = measured(7, (0.0, 0.9, 0.3), patients=1200)
    after = measured(7, (0.0, 0.5, 0.1), patients=1200, noise=0.1)
    change = xauc_change(before, after, NORMALS)
    gaps = [xauc_gap(*each, NORMALS) for each in (before, after)]
    assert change.estimate == pytest.approx(gaps[1].estimate - gaps[0].estimate, abs=1e-15)
    assert change.ci_low < change.estimate < change.ci_high < 0
    assert change.p_value is change.statistic is change.permuted is None


def test_change_of_two_groups_is_narrower_than_either_gap():
    before, after = measured(7, (0.0, 0.9)), measured(7, (0.0, 0.9), noise=0.1)
    change, gap = xauc_change(before, after, NORMALS), xauc_gap(*before, NORMALS)
    assert change.ci_low < change.estimate < change.ci_high
    assert change.ci_high - change.ci_low < (gap.ci_high - gap.ci_low) / 3


def test_change_is_unknown_where_other_groups_take_part():
    before, after = measured(8, (0.0, 0.5)), measured(8, (0.0, 0.5, 0.0))
    assert xauc_change(before, after, NORMALS).estimate is None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shifts", [(0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.5), (0.0, 0.5, 0.2, 0.4)])
def test_intervals_hold_the_truth_and_equality_is_rarely_refused(shifts):
    truth, runs = true_gap(shifts), 400
    gaps = [xauc_gap(*measured((9, run), shifts, patients=200), NORMALS) for run in range(runs)]
    held = np.mean([gap.ci_low <= truth + 1e-12 and truth <= gap.ci_high for gap in gaps])
    assert held > 0.95 - 2.6 * np.sqrt(0.95 * 0.05 / runs)
    assert np.mean([gap.corrected for gap in gaps]) < np.mean([gap.estimate for gap in gaps])
    if truth == 0:
        raised = np.mean([gap.estimate for gap in gaps])
        assert raised == pytest.approx(np.mean([gap.noise_floor for gap in gaps]), rel=0.1)
