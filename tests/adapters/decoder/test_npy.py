"""NPY arrays, and the pickles and lies that the format allows."""

from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest

from services.adapters.decoder import InMemory, Source

UNIT = np.linspace(0, 1, 48, dtype=np.float64).reshape(6, 8)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def with_header(text, body=b""):
    text = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def declaring(dtype, shape):
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"


def decode(decoder, data):
    (image,) = decoder.decode(Source(InMemory("a.npy", data)))
    return image.pixels


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2", ">f4"])
def test_real_numbers_are_canonical_already(decoder, dtype):
    array = UNIT.astype(dtype)
    np.testing.assert_array_equal(decode(decoder, npy(array))[0], array.astype(np.float32))


def test_channels_come_first(decoder):
    array = np.stack([UNIT, UNIT**2]).astype(np.float32)
    np.testing.assert_array_equal(decode(decoder, npy(array)), array)


@pytest.mark.parametrize(("dtype", "top"), [("u1", 255), ("<u2", 65535), (">u2", 65535), ("?", 1)])
def test_unsigned_integers_map_their_full_range(decoder, dtype, top):
    array = (UNIT * top).astype(dtype)
    np.testing.assert_allclose(decode(decoder, npy(array))[0], array.astype(float) / top, atol=1e-7)


def test_column_order_is_honoured(decoder):
    array = np.asfortranarray(UNIT.astype(np.float32))
    np.testing.assert_array_equal(decode(decoder, npy(array))[0], array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy(np.array([{"a": 1}], dtype=object)), "PICKLE_REFUSED"),
        (npy(np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])), "FORMAT_UNSUPPORTED"),
        (npy(UNIT * 2), "VALUE_OUT_OF_RANGE"),
        (npy(UNIT - 1), "VALUE_OUT_OF_RANGE"),
        (npy(np.where(UNIT > 0.5, np.nan, UNIT)), "NON_FINITE_PIXELS"),
        (npy(np.zeros((5, 4, 4), np.float32)), "SHAPE_MISMATCH"),
        (npy(np.zeros(7, np.float32)), "SHAPE_MISMATCH"),
        (npy(np.zeros((0, 7), np.float32)), "SHAPE_MISMATCH"),
        (npy(np.array(0.5)), "SHAPE_MISMATCH"),
        (npy(UNIT)[:-8], "SIZE_NOT_AS_DECLARED"),
        (npy(UNIT) + b"more", "SIZE_NOT_AS_DECLARED"),
        (npy(UNIT)[:40], "FILE_UNDECODABLE"),
        (
            with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 1000000)}"),
            "DECODED_SIZE_OVER_LIMIT",
        ),
        (
            with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-4, -6)}", bytes(192)),
            "SIZE_NOT_AS_DECLARED",
        ),
        (with_header("{'descr': '|V999999999999', 'fortran_order': False, 'shape': (4, 4)}"), "FILE_UNDECODABLE"),
        (with_header("__import__('os').system('true')"), "FILE_UNDECODABLE"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "FILE_UNDECODABLE"),
        (b"\x93NUMPY\x03\x00" + bytes(100), "FORMAT_UNSUPPORTED"),
    ],
)
def test_array_that_is_no_image_is_refused_for_its_reason(reason_of, data, reason):
    assert reason_of(Source(InMemory("a.npy", data))) == reason


def test_archive_of_arrays_is_refused(reason_of):
    file = io.BytesIO()
    np.savez(file, UNIT)
    assert reason_of(Source(InMemory("a.npz", file.getvalue()))) == "ARCHIVE_REFUSED"


def test_pickle_is_refused_whatever_it_is_called(reason_of):
    assert reason_of(Source(InMemory("a.npy", pickle.dumps(UNIT)))) == "PICKLE_REFUSED"
