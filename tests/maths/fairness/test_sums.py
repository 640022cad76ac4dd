"""Sums per patient: what they add up, and that two sites' sums are the sums of both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.maths.fairness.groups import Grouping
from services.maths.fairness.sums import merge, patient_sums, units_of

SEXES, AGES = ("F", "M"), ("young", "old")

records = st.lists(
    st.tuples(st.sampled_from("pqrst"), st.integers(-1, 1), st.integers(-1, 1), st.integers(-5, 5)), max_size=25
)


def sums(rows):
    patient, sex, age, value = zip(*rows, strict=True) if rows else ((), (), (), ())
    return patient_sums(
        {"value": np.array(value, dtype=float), "records": np.ones(len(rows))},
        cluster=np.array(patient, dtype="U1"),
        sensitive_features=[
            Grouping("sex", SEXES, np.array(sex, dtype=np.int64)),
            Grouping("age", AGES, np.array(age, dtype=np.int64)),
        ],
    )


def assert_equal(ours, theirs):
    assert ours.patient_ids.tolist() == theirs.patient_ids.tolist()
    assert ours.columns == theirs.columns
    np.testing.assert_array_equal(ours.patient, theirs.patient)
    np.testing.assert_array_equal(ours.values, theirs.values)
    for a, b in zip(ours.sensitive_features, theirs.sensitive_features, strict=True):
        assert (a.attribute, a.groups, a.codes.tolist()) == (b.attribute, b.groups, b.codes.tolist())


def test_units_are_patients_with_one_combination_of_groups():
    result = sums([("b", 1, 0, 2), ("a", 0, 0, 1), ("a", 0, 1, 5), ("a", 0, 0, 3), ("b", -1, 0, 7)])
    assert result.patient_ids.tolist() == ["a", "b"]
    assert result.patient.tolist() == [0, 0, 1, 1]
    assert result.sensitive_features[0].codes.tolist() == [0, 0, -1, 1]
    assert result.sensitive_features[1].codes.tolist() == [0, 1, 0, 0]
    assert result.column("value").tolist() == [4, 5, 7, 2]
    assert result.column("records").tolist() == [2, 1, 1, 1]


@settings(deadline=None)
@given(records, records)
def test_merged_sums_are_the_sums_of_the_union_with_patients_in_both(first, second):
    assert_equal(merge(sums(first), sums(second)), sums(first + second))


@settings(deadline=None)
@given(records, st.randoms(use_true_random=False))
def test_order_of_records_does_not_matter(rows, random):
    assert_equal(sums(random.sample(rows, len(rows))), sums(rows))


@settings(deadline=None)
@given(records)
def test_every_record_is_in_the_unit_of_its_patient_and_its_groups(rows):
    patient = np.array([row[0] for row in rows], dtype="U1")
    sex = Grouping("sex", SEXES, np.array([row[1] for row in rows], dtype=np.int64))
    units = units_of(patient, [sex])
    assert units.patient_ids[units.patient[units.unit]].tolist() == patient.tolist()
    assert units.sensitive_features[0].codes[units.unit].tolist() == sex.codes.tolist()
    assert (np.diff(units.patient) >= 0).all()


def test_many_attributes_do_not_overflow_the_key():
    draw = np.random.default_rng(0)
    groupings = [Grouping(f"a{n}", tuple(map(str, range(500))), draw.integers(-1, 500, 300)) for n in range(12)]
    units = units_of(draw.integers(0, 50, 300), groupings)
    rows = {(p, *codes) for p, *codes in zip(units.patient, *(g.codes for g in units.sensitive_features), strict=True)}
    assert len(rows) == len(units.patient)
    for ours, theirs in zip(units.sensitive_features, groupings, strict=True):
        assert ours.codes[units.unit].tolist() == theirs.codes.tolist()


def test_columns_attributes_or_levels_that_differ_are_not_merged():
    one = sums([("a", 0, 0, 1)])
    other = patient_sums({"value": np.ones(1)}, cluster=np.array(["a"]), sensitive_features=one.sensitive_features)
    with pytest.raises(ValueError, match="columns differ"):
        merge(one, other)
    renamed = patient_sums(
        {"value": np.ones(1), "records": np.ones(1)},
        cluster=np.array(["a"]),
        sensitive_features=[Grouping("sex", ("M", "F"), np.zeros(1, dtype=np.int64)), one.sensitive_features[1]],
    )
    with pytest.raises(ValueError, match="same levels"):
        merge(one, renamed)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="value has 3 records, cluster has 2"):
        patient_sums({"value": np.ones(3)}, cluster=np.array([1, 2]), sensitive_features=[])
    with pytest.raises(ValueError, match="'sex' has 1 records"):
        units_of(np.array([1, 2]), [Grouping("sex", SEXES, np.zeros(1, dtype=np.int64))])


@pytest.mark.parametrize("cluster", [np.array(["a", None], dtype=object), np.array([1.0, np.nan])])
def test_a_record_without_a_patient_is_refused(cluster):
    with pytest.raises(ValueError, match="patient for every record"):
        units_of(cluster, [])
