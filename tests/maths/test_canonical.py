"""Canonical JSON: one spelling per value."""

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.maths.canonical import canonical_json, digest

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_reading_back_gives_the_same_value(value):
    assert json.loads(canonical_json(value)) == value


def test_bytes_are_spelled_out():
    value = {"b": [1, 2.0, 0.1], "a": {"é": None, "t": True}}
    assert canonical_json(value) == '{"a":{"t":true,"é":null},"b":[1,2.0,0.1]}'.encode()


def test_key_order_does_not_matter():
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_a_number_becomes_null(value):
    assert canonical_json([value]) == b"[null]"


def test_minus_zero_is_zero():
    assert canonical_json([-0.0, np.float64(-0.0)]) == b"[0.0,0.0]"


def test_numpy_values_are_spelled_like_plain_ones():
    plain = {"n": 3, "x": 0.1, "flag": True, "row": [1.0, 2.0]}
    arrays = {"n": np.int64(3), "x": np.float64(0.1), "flag": np.bool_(True), "row": np.array([1.0, 2.0])}
    assert canonical_json(arrays) == canonical_json(plain)


@pytest.mark.parametrize("value", [{1, 2}, {1: "a"}, b"bytes", object(), "\ud800"])
def test_values_without_one_spelling_are_refused(value):
    with pytest.raises(ValueError):
        canonical_json(value)


def test_digest_leaves_out_the_named_keys_only():
    report = {"a": 1, "digest": "x", "envelope": {"time": 3}}
    assert digest(report, without=("digest", "envelope")) == hashlib.sha256(b'{"a":1}').hexdigest()
    assert digest(report) != digest(report, without=("digest",))
