import numpy as np
import pytest

from services.errors import InvalidInput, ShapeMismatch, TooLarge
from services.gateway import steps

LIMIT = 1000


def test_bytes_of_float32_are_not_copied():
    raw = np.arange(6, dtype="<f4").tobytes()
    array = steps.array_from_bytes("x", "FP32", (2, 3), raw, LIMIT)
    assert array.base is not None
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("datatype", steps.DATATYPES)
def test_every_accepted_type_becomes_float32(datatype):
    values = np.array([0.5, -1.0, 2.0])
    array = steps.array_from_bytes("x", datatype, (3,), values.astype(steps.DATATYPES[datatype]).tobytes(), LIMIT)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, values)


def test_a_blob_reads_back_whatever_the_arrays_layout():
    array = np.arange(12, dtype=np.float64).reshape(3, 4).T[::2]
    got = np.frombuffer(steps.blob_from_array(array), "<f4").reshape(array.shape)
    np.testing.assert_array_equal(got, array)


def test_numbers_may_be_flat_or_nested():
    for numbers in ([1, 2, 3, 4], [[1, 2], [3, 4]], [[1.0], [2.0], [3.0], [4.0]]):
        np.testing.assert_array_equal(steps.array_from_numbers("x", "FP32", (2, 2), numbers, LIMIT), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "numbers", ["1234", ["1", "2"], None, [None, 1], {"a": 1}, [[1], [2, 3]], [True, "x"], object()]
)
def test_what_is_no_number_is_refused(numbers):
    with pytest.raises(InvalidInput):
        steps.array_from_numbers("x", "FP32", (2,), numbers, LIMIT)


def test_a_value_that_float32_cannot_hold_becomes_infinite_for_the_host_to_refuse():
    assert np.isinf(steps.array_from_numbers("x", "FP64", (1,), [1e300], LIMIT))
    assert np.isinf(steps.array_from_bytes("x", "FP64", (1,), np.array([1e300]).tobytes(), LIMIT))


def test_sizes_are_checked_before_anything_is_made():
    with pytest.raises(TooLarge):
        steps.count_elements("x", (2**62, 2**62, 2**62), LIMIT)
    with pytest.raises(ShapeMismatch):
        steps.count_elements("x", (1,) * 9, LIMIT)
    with pytest.raises(ShapeMismatch) as caught:
        steps.check_shape("x", (1,) * 1000, (-1, 1), "m")
    assert len(str(caught.value)) < 200
