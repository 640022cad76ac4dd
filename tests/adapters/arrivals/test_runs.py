"""The table of sorted runs against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.adapters.arrivals.runs import Keys, SortedRuns, first_places

# Few first halves, so that many keys share one.
KEY = st.tuples(st.integers(0, 3), st.integers(0, 30))
TOP = np.uint64(2**64 - 5)


def as_keys(pairs: list[tuple[int, int]]) -> Keys:
    return np.array([pair[0] for pair in pairs], np.uint64) + TOP, np.array([pair[1] for pair in pairs], np.uint64)


@settings(max_examples=200, deadline=None)
@given(
    batches=st.lists(st.lists(KEY, max_size=12), max_size=12),
    asked=st.lists(KEY, max_size=20),
    least=st.integers(0, 60),
)
def test_it_finds_writes_keeps_and_removes_as_a_dictionary_does(
    batches: list[list[tuple[int, int]]], asked: list[tuple[int, int]], least: int
) -> None:
    runs, twin, number = SortedRuns((np.int64, np.uint64)), dict[tuple[int, int], tuple[int, int]](), 0
    for batch in batches:
        fresh = [key for key in dict.fromkeys(batch) if key not in twin]
        values = [(number + place, place) for place in range(len(fresh))]
        number += len(fresh)
        runs.add(
            as_keys(fresh), (np.array([v[0] for v in values], np.int64), np.array([v[1] for v in values], np.uint64))
        )
        twin |= dict(zip(fresh, values, strict=True))
    assert len(runs) == len(twin)
    runs.write(as_keys(asked[:5]), {1: np.full(len(asked[:5]), 77, np.uint64)})
    twin |= {key: (twin[key][0], 77) for key in asked[:5] if key in twin}
    runs.remove(as_keys(asked[5:8]))
    twin = {key: value for key, value in twin.items() if key not in asked[5:8]}
    runs.keep(0, least)
    twin = {key: value for key, value in twin.items() if value[0] >= least}
    there, (first, second) = runs.find(as_keys(asked))
    assert there.tolist() == [key in twin for key in asked]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [twin.get(key, (0, 0)) for key in asked]
    assert sorted(runs.column(0).tolist()) == sorted(value[0] for value in twin.values())


@given(st.lists(KEY, max_size=30))
def test_the_first_place_of_a_key_is_where_a_list_has_it(pairs: list[tuple[int, int]]) -> None:
    assert first_places(as_keys(pairs)).tolist() == [pairs.index(pair) for pair in pairs]
