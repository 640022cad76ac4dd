import io

import numpy as np
import pytest

from services.adapters.encoder import npy_bytes
from services.errors import InvalidInput, NonFinite, OutOfRange, ShapeMismatch


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pixels_come_back_to_the_bit_as_little_endian_float32(image, channels):
    pixels = image(channels, 5, 7)
    back = np.load(io.BytesIO(npy_bytes(pixels)), allow_pickle=False)
    assert back.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(back, pixels)


def test_order_and_width_of_the_input_do_not_show_in_the_bytes(image):
    pixels = image(1, 6, 4)
    assert npy_bytes(np.asfortranarray(pixels)) == npy_bytes(pixels.astype(np.float64)) == npy_bytes(pixels)


def test_the_projects_decoder_reads_it(decode, image):
    pixels = image(1, 9, 8)
    np.testing.assert_array_equal(decode(npy_bytes(pixels), "a.npy").pixels, pixels)


@pytest.mark.parametrize(
    ("pixels", "error", "reason"),
    [
        (np.full((1, 4, 4), np.nan, np.float32), NonFinite, "NON_FINITE_PIXELS"),
        (np.full((1, 4, 4), np.inf, np.float32), NonFinite, "NON_FINITE_PIXELS"),
        (np.full((1, 4, 4), 1.01, np.float32), OutOfRange, "VALUE_OUT_OF_RANGE"),
        (np.full((1, 4, 4), -0.5, np.float32), OutOfRange, "VALUE_OUT_OF_RANGE"),
        (np.zeros((4, 4), np.float32), ShapeMismatch, "SHAPE_MISMATCH"),
        (np.zeros((1, 0, 4), np.float32), ShapeMismatch, "SHAPE_MISMATCH"),
        (np.zeros((1, 1, 4, 4), np.float32), ShapeMismatch, "SHAPE_MISMATCH"),
        (np.zeros((1, 4, 4), np.uint8), ShapeMismatch, "SHAPE_MISMATCH"),
        (np.zeros((1, 1, 70000), np.float32), ShapeMismatch, "SHAPE_MISMATCH"),
    ],
)
def test_what_is_no_canonical_image_is_refused_by_name(pixels, error, reason):
    with pytest.raises(error) as caught:
        npy_bytes(pixels)
    assert isinstance(caught.value, InvalidInput)
    assert (caught.value.field, caught.value.reason) == ("pixels", reason)


def test_a_rounding_step_outside_the_range_is_drawn_in():
    back = np.load(io.BytesIO(npy_bytes(np.array([[[1.00001, -0.00001]]], np.float32))))
    np.testing.assert_array_equal(back, [[[1.0, 0.0]]])
