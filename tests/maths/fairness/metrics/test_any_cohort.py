"""Whatever the cohort, a cell is either undefined or has numbers that belong together."""

import math
import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.maths.fairness.cells import Minimums
from services.maths.fairness.groups import Grouping
from services.maths.fairness.metrics.classification import METRICS, disaggregate_classification
from services.maths.fairness.metrics.means import disaggregate_mean

scores = st.sampled_from([0.0, 0.3, 0.5, 1.0]) | st.floats(0, 1)
rows = st.lists(
    st.tuples(
        st.integers(-1, 1), scores, st.sampled_from([0.5, 0.5, 0.5, math.nan]), st.integers(-1, 2), st.integers(0, 6)
    ),
    max_size=30,
)
values = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, 0.5, 0.5])


def assert_sound(part):
    for cell in (*part.cells, part.overall_cell):
        numbers = (cell.estimate, cell.standard_error, cell.ci_low, cell.ci_high)
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert (cell.estimate is None) == (cell.state == "undefined") == (cell.standard_error is None)
        assert (cell.ci_low is None) == (cell.ci_high is None)
        assert cell.deciding_patients <= cell.patients <= cell.records
        if cell.ci_low is not None:
            slack = 1e-9 * max(1.0, abs(cell.estimate))
            assert cell.ci_low - slack <= cell.estimate <= cell.ci_high + slack
        if cell.deciding_patients < 5:
            assert cell.state in ("insufficient", "undefined")
    defined = ~np.isnan(part.estimates.value)
    assert np.isfinite(part.estimates.standard_error[defined]).all()
    assert len(part.estimates.value) == len(part.cells) + 1


@settings(deadline=None, max_examples=200)
@given(rows)
def test_every_metric_of_a_label(cohort):
    truth, score, threshold, codes, cluster = zip(*cohort, strict=True) if cohort else ((),) * 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by = disaggregate_classification(
            np.array(truth, dtype=np.int8),
            np.array(score, dtype=float),
            np.array(threshold, dtype=float),
            sensitive_features=[Grouping("a", ("A", "B", "C"), np.array(codes, dtype=np.int64))],
            cluster=np.array(cluster, dtype=np.int64),
            minimums=Minimums(),
        ).by
        for part in by.values():
            assert_sound(part)
            assert len(part.overall_difference.value) == len(part.cells)
    for metric in METRICS:
        for cell in by[metric, "a"].cells:
            for number in (cell.estimate, cell.ci_low, cell.ci_high):
                # Brier's limits are those of a mean, and may leave its range.
                assert number is None or metric == "brier" or -1e-12 <= number <= 1 + 1e-12


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(values, st.integers(-1, 2), st.integers(0, 6)), max_size=20))
def test_means_of_anything(cohort):
    value, codes, cluster = zip(*cohort, strict=True) if cohort else ((),) * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = disaggregate_mean(
            "psnr",
            np.array(value, dtype=float),
            sensitive_features=[Grouping("a", ("A", "B", "C"), np.array(codes, dtype=np.int64))],
            cluster=np.array(cluster, dtype=np.int64),
            minimums=Minimums(),
        )
        for part in measured.by.values():
            assert_sound(part)
