"""Ratios of sums with their influence, against textbook formulas and a jackknife over patients."""

import numpy as np
import pytest
from scipy import sparse

from services.maths.fairness.estimates import Estimates, by_patient, everywhere, ratio_of_sums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.sums import patient_sums


def world(seed=0, records=300, patients=60, groups=3):
    draw = np.random.default_rng(seed)
    cluster = draw.integers(0, patients, records)
    codes = draw.integers(0, groups, records)
    values = draw.normal(size=patients)[cluster] + draw.normal(size=records) + 5
    sums = patient_sums(
        {"value": values, "records": np.ones(records)},
        cluster=cluster,
        sensitive_features=[Grouping("a", tuple("ABCDEFGH"[:groups]), codes)],
    )
    return sums, values, cluster, codes


def mean(sums, count=3):
    slots = sums.sensitive_features[0].slots
    return ratio_of_sums(sums, "value", "records", slots=slots, count=count, scale="identity")


def test_value_is_the_mean_and_influences_add_up_to_nothing():
    sums, values, _, codes = world()
    result = mean(sums)
    np.testing.assert_allclose(result.value, [values[codes == g].mean() for g in range(3)], rtol=1e-14)
    np.testing.assert_allclose(result.influence.sum(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose((result.influence + result.share @ np.diag(result.value)).sum(axis=0), result.value)


def test_influence_is_what_the_value_loses_without_the_patient_to_first_order():
    sums, values, cluster, codes = world(records=3000, patients=600)
    result = mean(sums)
    for patient in range(20):
        kept = cluster != result.patient_ids[patient]
        without = [values[kept & (codes == g)].mean() for g in range(3)]
        np.testing.assert_allclose(result.influence.toarray()[patient], result.value - without, rtol=0.02, atol=1e-7)


def test_one_record_a_patient_gives_the_textbook_standard_error_of_a_mean():
    draw = np.random.default_rng(1)
    values = draw.normal(size=40)
    sums = patient_sums(
        {"value": values, "records": np.ones(40)},
        cluster=np.arange(40),
        sensitive_features=[Grouping("a", ("A",), np.zeros(40, dtype=np.int64))],
    )
    result = mean(sums, count=1)
    assert result.standard_error[0] == pytest.approx(values.std(ddof=1) / np.sqrt(40), rel=1e-13)
    assert result.degrees.tolist() == [39]


def test_repeating_every_record_of_a_patient_changes_nothing():
    _, values, cluster, codes = world()
    grouping = Grouping("a", ("A", "B", "C"), codes)
    once = patient_sums({"value": values, "records": np.ones(300)}, cluster=cluster, sensitive_features=[grouping])
    twice = patient_sums(
        {"value": np.tile(values, 2), "records": np.ones(600)},
        cluster=np.tile(cluster, 2),
        sensitive_features=[Grouping("a", ("A", "B", "C"), np.tile(codes, 2))],
    )
    np.testing.assert_allclose(mean(once).standard_error, mean(twice).standard_error, rtol=1e-12)


def test_groups_that_share_patients_have_the_covariance_of_what_they_share():
    sums, *_ = world()
    result = mean(sums)
    dense = result.influence.toarray()
    inflation = np.sqrt(result.patients / (result.patients - 1))
    np.testing.assert_allclose(result.covariance, dense.T @ dense * np.outer(inflation, inflation), rtol=1e-12)
    np.testing.assert_allclose(np.sqrt(np.diag(result.covariance)), result.standard_error, rtol=1e-12)


def test_a_group_without_a_denominator_has_no_value_no_influence_and_no_covariance():
    sums, *_ = world()
    slots = np.where(sums.sensitive_features[0].slots == 1, 0, sums.sensitive_features[0].slots)
    result = ratio_of_sums(sums, "value", "records", slots=slots, count=4, scale="identity")
    assert np.isnan(result.value).tolist() == [False, True, False, True]
    assert np.isnan(result.standard_error).tolist() == [False, True, False, True]
    assert np.isnan(result.covariance[0]).tolist() == [False, True, False, True]
    assert result.patients[1] == 0


def test_patients_without_a_case_do_not_decide():
    sums = patient_sums(
        {"hits": np.array([1.0, 0, 0]), "cases": np.array([1.0, 1, 0])},
        cluster=np.array([1, 2, 3]),
        sensitive_features=[],
    )
    result = ratio_of_sums(sums, "hits", "cases", slots=np.zeros(3, dtype=np.int64), count=1, scale="wilson")
    assert result.value.tolist() == [0.5]
    assert result.patients.tolist() == [2]


def test_taken_and_stacked_groups_keep_their_numbers():
    result = mean(world()[0])
    turned = result.take([2, 0])
    np.testing.assert_array_equal(turned.value, result.value[[2, 0]])
    np.testing.assert_allclose(turned.covariance, result.covariance[np.ix_([2, 0], [2, 0])])
    stacked = everywhere(result, turned)
    np.testing.assert_array_equal(stacked.value, np.concatenate([result.value, turned.value]))
    np.testing.assert_allclose(stacked.covariance[:3, 3:], result.covariance[:, [2, 0]])


def test_estimates_of_other_patients_do_not_stand_side_by_side():
    with pytest.raises(ValueError, match="different patients"):
        everywhere(mean(world(patients=60)[0]), mean(world(patients=50)[0]))


def test_sums_at_one_place_are_added_and_zeros_are_kept():
    columns = (np.array([1.0, 2.0, 4.0, 0.0]), np.ones(4))
    first, second = by_patient(columns, np.array([0, 1, 1, 2]), np.array([1, 0, 0, 1]), (3, 2))
    np.testing.assert_array_equal(first.toarray(), [[0, 1], [6, 0], [0, 0]])
    assert first.nnz == second.nnz == 3
    np.testing.assert_array_equal(second.toarray(), [[0, 1], [2, 0], [0, 1]])


@pytest.mark.parametrize("values", [[0.3] * 7, [0.1, 0.2, 0.7, 0.3, 0.4, 0.1, 0.7]], ids=["all alike", "one patient"])
def test_rounding_does_not_pass_for_variance(values):
    cluster = np.arange(7) if len(set(values)) == 1 else np.zeros(7)
    changing = Grouping("age", ("young", "old"), np.arange(7) % 2)
    sums = patient_sums(
        {"value": np.array(values), "records": np.ones(7)}, cluster=cluster, sensitive_features=[changing]
    )
    slots = np.zeros(len(sums.patient), dtype=np.int64)
    result = ratio_of_sums(sums, "value", "records", slots=slots, count=1, scale="wilson")
    assert result.standard_error.tolist() == [0.0]


@pytest.mark.parametrize("chosen", [[2, 0], [-1], [1, 1, 0], []], ids=["turned", "last", "twice", "none"])
def test_columns_are_those_of_the_dense_matrix_in_the_order_asked_for(chosen):
    draw = np.random.default_rng(17)
    table = draw.normal(size=(40, 3)) * (draw.random((40, 3)) < 0.4)
    matrix = sparse.csr_array(table)
    whole = Estimates(np.ones(3), matrix, matrix, np.array([9, 8, 7]), np.arange(40), "identity")
    part = whole.take(chosen)
    np.testing.assert_array_equal(part.influence.toarray(), table[:, chosen])
    np.testing.assert_array_equal(part.patients, np.array([9, 8, 7], dtype=np.int64)[chosen])
    inflation = np.sqrt(part.patients / (part.patients - 1))
    expected = table[:, chosen].T @ table[:, chosen] * np.outer(inflation, inflation)
    np.testing.assert_allclose(part.covariance, expected, rtol=1e-13, atol=1e-15)
