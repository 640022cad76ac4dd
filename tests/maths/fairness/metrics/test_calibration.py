"""Expected calibration error against torchmetrics and by hand, with its influence and its bands."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from services.maths.fairness.groups import Grouping
from services.maths.fairness.limits import limits
from services.maths.fairness.metrics.calibration import BINS, bin_of, binned_records, ece_estimates
from services.maths.fairness.sums import units_of


def ece(y_true, y_score, codes, cluster=None, levels=3):
    cluster = np.arange(len(codes)) if cluster is None else cluster
    units = units_of(cluster, [Grouping("a", tuple("ABCDEF"[:levels]), np.asarray(codes))])
    slots = units.sensitive_features[0].slots
    binned = binned_records(np.asarray(y_true, dtype=np.int8), np.asarray(y_score, dtype=float), units)
    return ece_estimates(binned, slots, levels)


def world(seed, records=1500, *, off=0.1, patients=None):
    draw = np.random.default_rng(seed)
    y_score = draw.random(records)
    y_true = (draw.random(records) < np.clip(y_score + off, 0, 1)).astype(np.int8)
    cluster = None if patients is None else draw.integers(0, patients, records)
    return y_true, y_score, draw.integers(0, 3, records), cluster


def test_every_group_equals_torchmetrics():
    y_true, y_score, codes, _ = world(0)
    ours = ece(y_true, y_score, codes).value
    for g in range(3):
        mine = codes == g
        scores = torch.tensor(y_score[mine], dtype=torch.float64)
        theirs = binary_calibration_error(scores, torch.tensor(y_true[mine]), n_bins=BINS, norm="l1")
        assert ours[g] == pytest.approx(float(theirs), abs=1e-6)


def test_edges_belong_to_the_bin_above_and_one_to_the_last():
    assert bin_of(np.array([0.0, 1 / 15, 0.5, 14 / 15, 1.0])).tolist() == [0, 1, 7, 14, 14]


def test_scores_that_are_right_have_no_error_and_those_that_are_wrong_all_of_it():
    assert ece([0, 0, 1, 1], [0, 0, 1, 1], [0] * 4, levels=1).value[0] == 0
    assert ece([0, 0, 1, 1], [1, 1, 0, 0], [0] * 4, levels=1).value[0] == 1
    # Half of the records at .5 are positive: calibrated, whatever a single record says.
    assert ece([0, 1, 0, 1], [0.5] * 4, [0] * 4, levels=1).value[0] == 0


def test_influence_is_the_jackknifes_away_from_zero():
    y_true, y_score, codes, cluster = world(1, off=0.3, patients=400)
    result = ece(y_true, y_score, codes, cluster)
    lost = []
    for patient in result.patient_ids[:80]:
        kept = cluster != patient
        lost.append(result.value - ece(y_true[kept], y_score[kept], codes[kept], cluster[kept]).value)
    np.testing.assert_allclose(result.influence.toarray()[:80], lost, atol=3e-5)
    np.testing.assert_allclose(result.influence.sum(axis=0), 0, atol=1e-14)


def test_band_errors_are_the_bins_clustered_standard_errors():
    y_true, y_score, codes, cluster = world(2, records=6000, patients=1500)
    bands = ece(y_true, y_score, codes, cluster).own_limits
    mine, b = codes == 1, 7
    excess = np.where(bin_of(y_score) == b, y_score - y_true, 0.0)
    mean = excess[mine].sum() / mine.sum()
    by_patient = np.bincount(cluster[mine], weights=excess[mine] - mean)
    patients = len(np.unique(cluster[mine]))
    error = np.sqrt((by_patient**2).sum() * patients / (patients - 1)) / mine.sum()
    assert bands.absolute[1, b] == pytest.approx(abs(mean))
    assert bands.error[1, b] == pytest.approx(error, rel=0.15)  # never smaller than a binomial's
    assert bands.error[1, b] >= error * (1 - 1e-12)


def test_limits_hold_the_value_and_reach_zero_when_bins_may_be_calibrated():
    y_true, y_score, codes, cluster = world(3, off=0.0, patients=500)
    result = ece(y_true, y_score, codes, cluster)
    low, high = limits(result)
    assert (low == 0).all()
    assert (high > result.value).all()
    far = ece(*world(3, off=0.4, patients=500))
    low, high = limits(far)
    assert (low > 0.05).all()
    assert (low < far.value).all()
    assert (high <= 1).all()


def test_equal_scores_and_labels_do_not_make_a_band_of_no_width():
    result = ece(np.zeros(30), np.full(30, 0.02), np.zeros(30, dtype=np.int64), levels=1)
    low, high = limits(result)
    assert result.value[0] == pytest.approx(0.02)
    assert low[0] == 0
    assert high[0] > 0.1


def test_an_empty_group_has_no_error_and_taken_groups_keep_their_bands():
    y_true, y_score, codes, _ = world(4)
    result = ece(y_true, y_score, np.where(codes == 1, 0, codes), levels=3)
    low, high = limits(result)
    assert np.isnan([result.value, low, high]).tolist() == [[False, True, False]] * 3
    np.testing.assert_array_equal(limits(result.take([2]))[0], low[[2]])
