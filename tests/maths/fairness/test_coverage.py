"""Coverage of the 95 % limits of single cells, by simulation. Each group of one call is a data set of its own.

Every row's data are drawn from a fixed seed, so a rate either is in its band or is not. The Monte-Carlo standard error
of a coverage near .95 is .003 with 6,000 data sets.
"""

import numpy as np
import pytest
from scipy.stats import beta, norm

from services.maths.fairness.estimates import ratio_of_sums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.limits import limits
from services.maths.fairness.metrics.auroc import auroc_by_attribute
from services.maths.fairness.metrics.balanced_accuracy import balanced_accuracy
from services.maths.fairness.metrics.calibration import binned_records, ece_estimates
from services.maths.fairness.sums import units_of

DATA_SETS = 6000
IMAGES = 3  # per patient, on average


def _covered(estimates, truth):
    low, high = limits(estimates)
    defined = ~np.isnan(estimates.value)
    assert defined.mean() > 0.95
    return float(((low <= truth) & (truth <= high))[defined].mean())


def _units(data_set, patient, data_sets):
    names = tuple(f"data set {number}" for number in range(data_sets))
    return units_of(patient, [Grouping("data set", names, data_set)])


def _area_coverage(positives, area, *, seed, data_sets=DATA_SETS, icc=0.4, prevalence=0.1):
    """Binormal scores with a patient effect, exactly ``positives`` among positives / prevalence records."""
    draw = np.random.default_rng(seed)
    records = round(positives / prevalence)
    patients = records // IMAGES
    own = draw.integers(0, patients, (data_sets, records))
    y_true = (draw.random((data_sets, records)).argsort(axis=1) < positives).astype(np.int8)
    effect = np.take_along_axis(draw.normal(size=(data_sets, patients)), own, axis=1)
    noise = draw.normal(size=(data_sets, records))
    y_score = norm.ppf(area) * np.sqrt(2) * y_true + np.sqrt(icc) * effect + np.sqrt(1 - icc) * noise
    data_set = np.repeat(np.arange(data_sets), records)
    units = _units(data_set, data_set * patients + own.ravel(), data_sets)
    (result,) = auroc_by_attribute(y_true.ravel(), y_score.ravel(), units, units.sensitive_features)
    return _covered(result.take(np.arange(data_sets)), area)


def _hits(patients, rate, *, draw, data_sets, icc=0.5, images=2):
    """(data sets, patients) hits among two images each; a patient's own rate is beta with intraclass correlation."""
    spread = 1 / icc - 1
    return draw.binomial(images, draw.beta(rate * spread, (1 - rate) * spread, (data_sets, patients)))


def _rate(hits, *, images=2):
    data_sets, patients = hits.shape
    data_set = np.repeat(np.arange(data_sets), patients)
    units = _units(data_set, np.arange(data_sets * patients), data_sets)
    sums = units.sums({"hits": hits.ravel(), "cases": np.full(hits.size, images)})
    slots = sums.sensitive_features[0].slots
    return ratio_of_sums(sums, "hits", "cases", slots=slots, count=data_sets, scale="wilson")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("positives", [12, 30, 90])
@pytest.mark.parametrize("area", [0.80, 0.92])
def test_area_with_few_positives(positives, area):
    coverage = _area_coverage(positives, area, seed=positives + 1)
    print(f"AUROC {area}, {positives} positives: {coverage:.3f}")
    assert 0.93 <= coverage <= 0.98


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("patients", "rate", "most"), [(8, 0.95, 0.98), (20, 0.95, 0.98), (8, 0.70, 0.995), (20, 0.70, 0.98)]
)
def test_rate_with_few_patients(patients, rate, most):
    # Eight patients whose two images tend to agree can show few rates; around .70 the limits are wider than need be.
    hits = _hits(patients, rate, draw=np.random.default_rng(patients), data_sets=DATA_SETS)
    coverage = _covered(_rate(hits), rate)
    print(f"TPR {rate}, {patients} patients: {coverage:.3f}")
    assert 0.93 <= coverage <= most


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("patients", [12, 40])
def test_balanced_accuracy_with_few_patients(patients):
    # Every patient has two positive and two negative images, and one who is read well is read well in both.
    draw = np.random.default_rng(patients)
    spread = 1 / 0.5 - 1
    skill = draw.random((DATA_SETS, patients))
    hits = draw.binomial(2, beta.ppf(skill, 0.85 * spread, 0.15 * spread))
    false_alarms = draw.binomial(2, beta.ppf(1 - skill, 0.10 * spread, 0.90 * spread))
    coverage = _covered(balanced_accuracy(_rate(hits), _rate(false_alarms)), (0.85 + 0.90) / 2)
    print(f"balanced accuracy, {patients} patients: {coverage:.3f}")
    assert 0.93 <= coverage <= 0.98


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("records", "off"), [(100, 0.0), (1000, 0.0), (100, 0.15), (1000, 0.15)])
def test_calibration_error_is_covered_at_least_as_often_as_said(records, off):
    # Bands hold for all bins at once, so the limits are wide: too often is right, too seldom would be wrong.
    draw = np.random.default_rng(records)
    data_sets = 1000
    alike = np.arange(records) // 2  # two images of a patient have the same score and the same label
    y_score = draw.random((data_sets, records))[:, alike] * (1 - off)
    y_true = (draw.random((data_sets, records))[:, alike] < y_score + off).astype(np.int8)
    data_set = np.repeat(np.arange(data_sets), records)
    units = _units(data_set, np.arange(data_sets * records) // 2, data_sets)
    slots = units.sensitive_features[0].slots
    coverage = _covered(ece_estimates(binned_records(y_true.ravel(), y_score.ravel(), units), slots, data_sets), off)
    print(f"ECE {off}, {records} records: {coverage:.3f}")
    assert coverage >= 0.95


def test_a_few_data_sets_of_each_kind_are_covered_about_as_often_as_said():
    assert _area_coverage(30, 0.80, seed=1, data_sets=300) > 0.90
    hits = _hits(20, 0.95, draw=np.random.default_rng(1), data_sets=300)
    assert _covered(_rate(hits), 0.95) > 0.90
