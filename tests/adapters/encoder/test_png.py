import io
import struct

import numpy as np
import pytest
from PIL import Image

from services.adapters.encoder import picture_bytes, png_bytes, read_png_record
from services.errors import NonFinite, ShapeMismatch, Undecodable, UnsupportedFormat


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def header(data):
    """(width, height, bits, colour type) of the IHDR chunk."""
    return struct.unpack(">IIBB", data[16:26])


@pytest.mark.parametrize("bits", [8, 16])
def test_the_projects_decoder_reads_grey_pixels_back_to_half_a_level(decode, image, record, bits):
    pixels = image(1, 33, 47)
    data = png_bytes(pixels, record, bits=bits)
    assert header(data) == (47, 33, bits, 0)
    back = decode(data, "a.png").pixels
    np.testing.assert_allclose(back, pixels, atol=0.5 / (2**bits - 1) + 1e-7)


def test_colour_keeps_its_three_channels(image, record):
    pixels = image(3, 20, 30)
    data = png_bytes(pixels, record)
    assert header(data)[2:] == (8, 2)
    np.testing.assert_allclose(np.asarray(opened(data)).transpose(2, 0, 1) / 255, pixels, atol=0.5 / 255 + 1e-7)


def test_three_equal_channels_are_written_as_one_and_read_as_grey(image, record):
    grey = image(1, 20, 30)
    data = png_bytes(np.repeat(grey, 3, axis=0), record, bits=16)
    assert data == png_bytes(grey, record, bits=16)
    assert header(data)[2:] == (16, 0)


def test_file_says_synthetic_and_carries_the_whole_record(image, record):
    data = png_bytes(image(1, 8, 8), record)
    text = opened(data).text
    assert text["Synthetic"] == "YES"
    assert text["Software"] == "Evenhand"
    assert text["Description"].startswith("SYNTHETIC")
    assert record["spec"]["model_digest"] in text["Comment"]
    assert "trainedAlgorithmicMedia" in text["XML:com.adobe.xmp"]
    assert read_png_record(data) == record


def test_same_record_and_pixels_give_the_same_bytes_whatever_the_order_of_keys(image, record):
    pixels = image(1, 16, 16)
    assert png_bytes(pixels, record) == png_bytes(pixels.copy(), dict(reversed(record.items())))
    assert png_bytes(pixels, record) != png_bytes(pixels, record | {"device": "other"})


def test_picture_keeps_its_colours_to_the_bit(record):
    picture = np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    data = picture_bytes(picture, record)
    np.testing.assert_array_equal(np.asarray(opened(data)), picture)
    assert read_png_record(data) == record


@pytest.mark.parametrize("pixels", [np.zeros((2, 4, 4), np.float32), np.zeros((4, 4, 4), np.float32)])
def test_channels_that_differ_and_are_not_three_are_refused(pixels, record):
    pixels[1] = 0.5
    with pytest.raises(ShapeMismatch) as caught:
        png_bytes(pixels, record)
    assert caught.value.field == "pixels"


def test_not_a_number_is_refused(record):
    with pytest.raises(NonFinite):
        png_bytes(np.full((1, 4, 4), np.nan, np.float32), record)


@pytest.mark.parametrize(("channels", "bits"), [(3, 16), (1, 12)])
def test_depth_that_png_or_pillow_does_not_have_is_refused(image, record, channels, bits):
    with pytest.raises(UnsupportedFormat) as caught:
        png_bytes(image(channels, 4, 4), record, bits=bits)
    assert caught.value.field == "bits"


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)]
)
def test_what_is_no_picture_is_refused(picture, record):
    with pytest.raises(ShapeMismatch) as caught:
        picture_bytes(picture, record)
    assert caught.value.field == "picture"


def strange_png():
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"no picture", strange_png(), strange_png()[:-20]])
def test_file_without_a_record_is_refused(data):
    with pytest.raises(Undecodable):
        read_png_record(data)
