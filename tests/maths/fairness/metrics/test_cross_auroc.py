"""Areas between groups against scikit-learn on the constructed subsets, and their influence against brute force."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.auroc import auroc_by_attribute
from services.maths.fairness.metrics.cross_auroc import cross_auroc
from services.maths.fairness.sums import units_of

GROUPS = ("A", "B", "C")


def world(seed, records=600, *, decimals=1, patients=None, missing=False):
    draw = np.random.default_rng(seed)
    codes = draw.integers(-1 if missing else 0, 3, records)
    y_true = (draw.random(records) < 0.3).astype(np.int8)
    y_score = np.round(draw.normal(y_true + 0.5 * codes, 1.0), decimals)
    cluster = np.arange(records) if patients is None else draw.integers(0, patients, records)
    return y_true, y_score, codes, cluster


def areas(y_true, y_score, codes, cluster, groups=GROUPS):
    units = units_of(cluster, [Grouping("a", groups, codes)])
    return cross_auroc(y_true, y_score, units, units.sensitive_features[0])


def subset_area(y_true, y_score, positives, negatives):
    chosen = ((y_true == 1) & positives) | ((y_true == 0) & negatives)
    return roc_auc_score(y_true[chosen], y_score[chosen])


@pytest.mark.parametrize("decimals", [0, 6], ids=["heavy ties", "hardly a tie"])
@pytest.mark.parametrize("missing", [False, True])
def test_every_area_is_scikit_learns_on_the_records_it_is_about(decimals, missing):
    y_true, y_score, codes, cluster = world(decimals, decimals=decimals, patients=200, missing=missing)
    result = areas(y_true, y_score, codes, cluster)
    for g in range(3):
        mine = codes == g
        assert result.bpsn.value[g] == pytest.approx(subset_area(y_true, y_score, ~mine, mine), abs=1e-14)
        assert result.bnsp.value[g] == pytest.approx(subset_area(y_true, y_score, mine, ~mine), abs=1e-14)
        for other in range(3):
            theirs = subset_area(y_true, y_score, mine, codes == other)
            assert result.xauc_matrix[g, other] == pytest.approx(theirs, abs=1e-14)


def test_influence_is_that_of_placements_between_the_two_sides():
    y_true, y_score, codes, cluster = world(3, 300)
    result = areas(y_true, y_score, codes, cluster)
    for a in range(3):
        for b in range(3):
            positive, negative = (y_true == 1) & (codes == a), (y_true == 0) & (codes == b)
            wins = np.sign(y_score[positive][:, None] - y_score[negative]) / 2 + 0.5
            expected = np.zeros(300)
            expected[positive] = (wins.mean(axis=1) - wins.mean()) / positive.sum()
            expected[negative] = (wins.mean(axis=0) - wins.mean()) / negative.sum()
            ours = result.xauc.influence.toarray()[:, 3 * a + b]
            np.testing.assert_allclose(ours, expected, atol=1e-15)


def test_influence_of_a_patient_with_images_on_both_sides_is_the_jackknifes():
    y_true, y_score, codes, cluster = world(4, 3000, decimals=2, patients=500)
    result = areas(y_true, y_score, codes, cluster)
    for side, estimates in (("bpsn", result.bpsn), ("bnsp", result.bnsp)):
        lost = []
        for patient in range(60):
            kept = cluster != patient
            mine = codes[kept] == 1
            sides = (~mine, mine) if side == "bpsn" else (mine, ~mine)
            lost.append(estimates.value[1] - subset_area(y_true[kept], y_score[kept], *sides))
        ours = estimates.influence.toarray()[:60, 1]
        assert np.corrcoef(ours, lost)[0, 1] > 0.999
        np.testing.assert_allclose(ours, lost, atol=5e-5)


def test_areas_within_a_group_are_its_auroc_with_the_same_influence():
    y_true, y_score, codes, cluster = world(5, patients=150)
    units = units_of(cluster, [Grouping("a", GROUPS, codes)])
    (within,) = auroc_by_attribute(y_true, y_score, units, units.sensitive_features)
    diagonal = areas(y_true, y_score, codes, cluster).xauc.take([0, 4, 8])
    np.testing.assert_allclose(diagonal.value, within.value[:3], rtol=1e-15)
    np.testing.assert_allclose(diagonal.influence.toarray(), within.influence.toarray()[:, :3], atol=1e-17)
    np.testing.assert_array_equal(diagonal.patients, within.patients[:3])
    np.testing.assert_allclose(diagonal.standard_error, within.standard_error[:3], rtol=1e-12)


def test_a_side_without_records_has_no_area():
    y_true, y_score, codes, cluster = world(6)
    y_true = np.where(codes == 2, 0, y_true).astype(np.int8)
    result = areas(y_true, y_score, codes, cluster, groups=(*GROUPS, "D"))
    assert np.isnan(result.bnsp.value).tolist() == [False, False, True, True]
    assert np.isnan(result.bpsn.value).tolist() == [False, False, False, True]
    assert np.isnan(result.xauc_matrix[2]).all()
    assert np.isnan(result.xauc_matrix[:2]).tolist() == [[False, False, False, True]] * 2
    assert not result.xauc.influence.toarray()[:, 8:].any()


def test_ranking_that_is_right_within_and_wrong_between_groups_shows_only_here():
    draw = np.random.default_rng(8)
    codes = draw.integers(0, 2, 4000)
    y_true = (draw.random(4000) < 0.5).astype(np.int8)
    y_score = draw.normal(1.5 * y_true + 1.5 * codes)  # every score of B is shifted upward
    result = areas(y_true, y_score, codes, np.arange(4000), groups=("A", "B"))
    within, between = np.diag(result.xauc_matrix), result.xauc_matrix[0, 1]
    assert abs(within[0] - within[1]) < 0.03
    assert between == pytest.approx(0.5, abs=0.03)
    assert result.bpsn.value[1] < 0.6 < result.bpsn.value[0]
