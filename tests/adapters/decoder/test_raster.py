"""PNG, TIFF and JPEG through Pillow."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from services.adapters.decoder import InMemory, Source

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)


def picture(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def decode(decoder, name, data, **options):
    (image,) = decoder.decode(Source(InMemory(name, data), **options))
    return image


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.tif", "TIFF")])
@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_full_range_of_the_pixel_type_becomes_zero_to_one(decoder, name, kind, dtype, top):
    array = np.linspace(0, top, 48).astype(dtype).reshape(6, 8)
    image = decode(decoder, name, picture(array, kind))
    np.testing.assert_allclose(image.pixels, array[None] / top, atol=1e-7)
    assert (image.modality, image.spacing) == ("", None)


def test_grey_jpeg_is_read(decoder):
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    image = decode(decoder, "a.jpg", picture(smooth, "JPEG", quality=95))
    np.testing.assert_allclose(image.pixels[0], smooth / 255, atol=0.02)


def test_float_tiff_maps_its_own_range(decoder):
    values = np.linspace(-1, 3, 48, dtype=np.float32).reshape(6, 8)
    np.testing.assert_allclose(
        decode(decoder, "a.tiff", picture(values, "TIFF")).pixels[0], (values + 1) / 4, atol=1e-6
    )


def test_page_of_a_tiff_is_chosen(decoder):
    pages = [Image.fromarray(np.full((4, 5), grey, np.uint8)) for grey in (10, 20, 30)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    image = decode(decoder, "a.tif", file.getvalue(), frame=2)
    np.testing.assert_allclose(image.pixels, 30 / 255, atol=1e-7)


def test_mask_is_what_is_above_zero(decoder):
    mask = picture((RAMP > 20).astype(np.uint8) * 255, "PNG")
    image = decoder.decode(Source(InMemory("a.png", picture(RAMP, "PNG")), InMemory("m.png", mask)))[0]
    np.testing.assert_array_equal(image.mask, RAMP > 20)


def test_mask_of_another_size_is_refused(reason_of):
    mask = InMemory("m.png", picture(RAMP[:5], "PNG"))
    assert reason_of(Source(InMemory("a.png", picture(RAMP, "PNG")), mask)) == "MASK_MISMATCH"


def test_colour_is_refused(reason_of):
    data = picture(np.zeros((4, 4, 3), np.uint8), "PNG")
    assert reason_of(Source(InMemory("a.png", data))) == "COLOUR_NOT_SUPPORTED"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_truncated_picture_is_refused(reason_of, kind):
    noise = np.random.default_rng(1).integers(0, 255, (64, 64)).astype(np.uint8)
    data = picture(noise, kind)
    assert reason_of(Source(InMemory("a", data[: len(data) // 2]))) in ("PIXEL_DATA_BROKEN", "FILE_UNDECODABLE")


def test_png_that_declares_four_thousand_million_pixels_is_refused(reason_of):
    header = struct.pack(">2I5B", 65535, 65535, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body = b"IDAT" + zlib.compress(bytes(1000))
    data += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    assert reason_of(Source(InMemory("a.png", data))) == "DECODED_SIZE_OVER_LIMIT"


def test_png_of_zeros_beyond_the_ratio_is_refused(reason_of):
    data = picture(np.zeros((10_000, 10_000), np.uint8), "PNG")
    assert len(data) * 100 < 10_000 * 10_000
    assert reason_of(Source(InMemory("a.png", data))) == "DECODED_SIZE_OVER_LIMIT"
