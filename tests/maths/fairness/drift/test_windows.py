"""Sums of a window: what they hold, and that neither order nor batches change them."""

import dataclasses
import json
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.maths.canonical import digest
from services.maths.fairness.drift.moments import BINS, QUANTITIES
from services.maths.fairness.drift.patients import count_patients
from services.maths.fairness.drift.windows import WindowCells, merge, window_cells
from services.maths.fairness.groups import Grouping

SEXES, AGES = ("F", "M"), ("young", "old", "oldest")
THRESHOLDS = np.array([0.5, np.nan])

row = st.tuples(
    st.integers(0, 6),
    st.integers(-1, 1),
    st.integers(-1, 2),
    st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0, np.nan]), st.sampled_from([0.1, np.nan])),
)
rows_of = st.lists(row, max_size=30)


def window(rows, returning=()):
    patients, sex, age, labels, scores = zip(*rows, strict=True) if rows else ((),) * 5
    return window_cells(
        np.array(scores, dtype=np.float32).reshape(-1, 2).T,
        np.array(labels, dtype=np.int8).reshape(-1, 2).T,
        [
            Grouping("sex", SEXES, np.array(sex, dtype=np.int64)),
            Grouping("age", AGES, np.array(age, dtype=np.int64)),
        ],
        np.array(patients, dtype=np.int64),
        THRESHOLDS,
        returning=np.array([patient in returning for patient in patients], dtype=bool),
    )


def brute(rows, label, member):
    """(7, 7) moments of the records for which ``member`` is true, one patient after the other."""
    people = defaultdict(list)
    for record in rows:
        if member(record):
            people[record[0]].append(record)
    moments = np.zeros((7, 7), dtype=np.int64)
    for records in people.values():
        pairs = np.zeros((7, 2), dtype=np.int64)
        for *_, labels, scores in records:
            y, s = labels[label], float(np.float32(scores[label]))
            flagged, units = s >= THRESHOLDS[label], 0 if np.isnan(s) else int(s * 2**14 + 0.5)
            rated = not np.isnan(s) and not np.isnan(THRESHOLDS[label])
            pairs[0] += (rated and flagged and y == 1, rated and y == 1)
            pairs[1] += (rated and flagged and y == 0, rated and y == 0)
            pairs[2] += (y == 1, y >= 0)
            pairs[3] += (rated and flagged, rated)
            pairs[4] += (units, not np.isnan(s))
            pairs[5] += (units * (y == 1), not np.isnan(s) and y == 1)
            pairs[6] += (units * (y == 0), not np.isnan(s) and y == 0)
        for place, (n, d) in enumerate(pairs):
            if d:
                moments[place] += (n, d, n * n, n * d, d * d, 1, 0)
                moments[place, 6] = max(moments[place, 6], d)
    return moments


def assert_equal(ours, theirs):
    assert ours.to_dict() == theirs.to_dict()


@settings(deadline=None, max_examples=40)
@given(rows_of)
def test_sums_are_those_of_one_patient_after_the_other(rows):
    cells = window(rows, returning={0, 1})
    members = [
        *((lambda r, g=g: r[1] == g) for g in range(2)),
        *((lambda r, g=g: r[2] == g) for g in range(3)),
        lambda r: r[1] >= 0,
        lambda r: r[2] >= 0,
    ]
    for place, member in enumerate(members):
        chosen = [r for r in rows if member(r)]
        assert cells.records[place] == len(chosen)
        assert cells.patients[place] == len({r[0] for r in chosen})
        assert cells.returning[place] == len({r[0] for r in chosen} & {0, 1})
        for label in range(2):
            np.testing.assert_array_equal(cells.moments[label, place], brute(rows, label, member))
            assert cells.labelled[label, place] == sum(r[3][label] >= 0 for r in chosen)
            scores = np.array([r[4][label] for r in chosen], dtype=np.float32).astype(np.float64)
            bins = np.minimum((scores[~np.isnan(scores)] * BINS).astype(int), BINS - 1)
            np.testing.assert_array_equal(cells.histogram[label, place], np.bincount(bins, minlength=BINS))
    groups = defaultdict(set)
    for patient, sex, *_ in rows:
        if sex >= 0:
            groups[patient].add(sex)
    assert cells.several[0] == sum(len(found) > 1 for found in groups.values())


@settings(deadline=None, max_examples=40)
@given(rows_of)
def test_the_rest_is_everyone_else_and_too_uncertain_rather_than_too_sure_where_a_patient_is_in_both(rows):
    steady = [(p, p % 3 - 1, *others) for p, _, *others in rows]
    cells = window(steady)
    for group in range(2):
        rest = brute(steady, 0, lambda r, g=group: r[1] >= 0 and r[1] != g)
        np.testing.assert_array_equal(cells.rest_sums[0, group, :, :6], rest[:, :6])
        assert (cells.rest_sums[0, group, :, 6] >= rest[:, 6]).all()
    moving = window(rows)
    for group in range(2):
        rest = brute(rows, 0, lambda r, g=group: r[1] >= 0 and r[1] != g)
        np.testing.assert_array_equal(moving.rest_sums[0, group, :, :2], rest[:, :2])
        assert (moving.rest_sums[0, group, :, 2:5] >= rest[:, 2:5]).all()


@settings(deadline=None, max_examples=20)
@given(rows_of, st.randoms(use_true_random=False))
def test_neither_order_nor_numbering_of_patients_changes_the_digest(rows, random):
    numbers = random.sample(range(-50, 50), 7)
    shuffled = [(numbers[p], *others) for p, *others in random.sample(rows, len(rows))]
    assert digest(window(shuffled).to_dict()) == digest(window(rows).to_dict())


@settings(deadline=None, max_examples=20)
@given(rows_of, rows_of, rows_of)
def test_merged_windows_of_other_patients_are_the_window_of_all_in_any_order(first, second, third):
    parts = [[(10 * n + p, *others) for p, *others in rows] for n, rows in enumerate((first, second, third))]
    a, b, c = map(window, parts)
    everything = window([*parts[0], *parts[1], *parts[2]])
    assert_equal(merge(merge(a, b), c), everything)
    assert_equal(merge(a, merge(c, b)), everything)


@settings(deadline=None, max_examples=40)
@given(rows_of)
def test_a_window_survives_json_exactly_and_holds_whole_numbers_only(rows):
    cells = window(rows)
    back = WindowCells.from_dict(json.loads(json.dumps(cells.to_dict())))
    assert_equal(back, cells)
    for name in ("records", "patients", "returning", "several", "labelled", "moments", "histogram"):
        assert getattr(back, name).dtype == np.int64
        assert getattr(back, name).shape == getattr(cells, name).shape


def test_who_returns_can_be_said_of_a_window_that_is_closed_already():
    rows = [(p, p % 2, p % 3 - 1, (1, 0), (0.7, 0.1)) for p in (1, 2, 2, 3, 4, 5, 5)]
    patients, sex, age, *_ = zip(*rows, strict=True)
    groups = [Grouping("sex", SEXES, np.array(sex)), Grouping("age", AGES, np.array(age))]
    counted = count_patients(groups, np.array(patients), np.isin(patients, [2, 5]))
    said = dataclasses.replace(window(rows), returning=counted.returning)
    assert_equal(said, window(rows, returning={2, 5}))
    assert said.returning[[0, 1, 5]].tolist() == [1, 1, 2]


def test_a_record_without_label_counts_for_flags_and_scores_and_one_without_score_for_prevalence():
    cells = window([(1, 0, 0, (-1, -1), (0.9, 0.9)), (2, 0, 0, (1, 1), (np.nan, np.nan))])
    denominators = dict(zip(QUANTITIES, cells.moments[0, 0, :, 1], strict=True))
    assert denominators["flag_rate"] == denominators["mean_score"] == denominators["prevalence"] == 1
    assert denominators["tpr"] == denominators["fpr"] == 0
    assert cells.records[0] == 2
    assert cells.histogram[0, 0].sum() == 1


def test_a_patient_with_more_records_than_squares_can_hold_is_refused():
    records = 2**17
    with pytest.raises(ValueError, match="one patient holds too many"):
        window_cells(
            np.ones((1, records), np.float32), np.ones((1, records), np.int8), [], np.zeros(records, np.int64), [0.5]
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.array([[1.5, 0.5]], np.float32)}, "probabilities"),
        ({"scores": np.array([[-0.1, np.nan]], np.float32)}, "probabilities"),
        ({"labels": np.array([[2, 0]], np.int8)}, "labels must be 1, 0"),
        ({"labels": np.zeros((1, 3), np.int8)}, "must be \\(L, N\\)"),
        ({"patients": np.array([0.0, 1.0])}, "integers"),
        ({"thresholds": np.array([0.5, 0.5])}, "as many thresholds"),
        ({"groups": [Grouping("sex", SEXES, np.zeros(3, np.int64))]}, "each of the 2 records"),
    ],
)
def test_bad_rows_are_refused_with_what_is_wrong(change, message):
    given_rows = {
        "scores": np.array([[0.1, 0.5]], np.float32),
        "labels": np.zeros((1, 2), np.int8),
        "groups": [Grouping("sex", SEXES, np.zeros(2, np.int64))],
        "patients": np.arange(2),
        "thresholds": np.array([0.5]),
    }
    with pytest.raises(ValueError, match=message):
        window_cells(*(given_rows | change).values())


def test_windows_of_different_monitors_or_thresholds_do_not_merge():
    one = window([])
    other = WindowCells.from_dict({**one.to_dict(), "thresholds": [0.4, None]})
    with pytest.raises(ValueError, match="different thresholds"):
        merge(one, other)
    named = WindowCells.from_dict({**one.to_dict(), "label_names": ["Edema", "Effusion"]})
    with pytest.raises(ValueError, match="labels, attributes or groups"):
        merge(one, named)


def test_a_stored_window_that_lost_a_field_or_a_row_is_refused():
    plain = window([]).to_dict()
    with pytest.raises(ValueError, match="a window needs records"):
        WindowCells.from_dict({name: value for name, value in plain.items() if name != "records"})
    with pytest.raises(ValueError, match="patients of a window must be"):
        WindowCells.from_dict({**plain, "patients": [0]})
