"""The order of scores is that of numpy's stable sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.maths.fairness.metrics.ranking import ascending


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=True) | st.sampled_from([0.0, -0.0, 0.5])))
def test_any_numbers_are_ordered_as_numpy_orders_them(values):
    scores = np.array(values, dtype=float)
    np.testing.assert_array_equal(ascending(scores), np.argsort(scores, kind="stable"))


@pytest.mark.parametrize("decimals", [1, 3, 17])
def test_many_scores_with_and_without_ties(decimals):
    scores = np.round(np.random.default_rng(decimals).random(20_000), decimals)
    for each in (scores, scores.astype(np.float32), scores[::3]):
        np.testing.assert_array_equal(ascending(each), np.argsort(each, kind="stable"))
