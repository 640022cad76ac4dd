from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from evenhand.resources.v1 import image_pb2
from PIL import Image

from services.adapters.decoder import Decoder
from services.adapters.weights import DirectoryRegistry
from services.errors import ServiceError
from services.hosting.host import ModelHost
from services.hosting.images import answer_image, image_message, model_input
from services.maths.pixels import PixelSpec
from tests.packages import write_package

SPEC = PixelSpec(1, 8, 8)


def tensor(shape: list[int], data: bytes) -> image_pb2.Image:
    return image_pb2.Image(tensor=image_pb2.Tensor(shape=shape, data=data))


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(workers=1) as opened:
        yield opened


async def test_a_tensor_of_the_models_own_size_is_taken_as_it_is(decoder: Decoder) -> None:
    pixels = np.random.default_rng(0).random((1, 8, 8), np.float32)
    given = await model_input(image_pb2.Image(tensor=image_message(pixels)), SPEC, decoder)
    np.testing.assert_array_equal(given[0], pixels)


async def test_a_png_file_and_its_pixels_give_the_same_answer(tmp_path: Path, decoder: Decoder) -> None:
    stored = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    stored[-1, -1], stored[0, 0] = 255, 0
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG")
    write_package(tmp_path)
    host = ModelHost(DirectoryRegistry([tmp_path]), ["reconstruction"])
    image = image_pb2.Image(file=file.getvalue(), filename="x.png")
    record, row = await answer_image(host, decoder, "affine", image)
    assert record.name == "affine"
    np.testing.assert_allclose(row[0], 0.5 * stored / 255 + 0.25, atol=1e-6)


@pytest.mark.parametrize(
    "image, reason",
    [
        (image_pb2.Image(), "IMAGE_MISSING"),
        (tensor([1, 8], b""), "SHAPE_MISMATCH"),
        (tensor([1, 8, -8], b""), "SHAPE_MISMATCH"),
        (tensor([1, 2**40, 2**40], b""), "TOO_LARGE"),
        (tensor([1, 8, 8], b"\0" * 255), "SHAPE_MISMATCH"),
        (tensor([2, 8, 8], b"\0" * 512), "SHAPE_MISMATCH"),
        (tensor([1, 1, 1], np.float32(np.nan).tobytes()), "NON_FINITE_PIXELS"),
        (tensor([1, 1, 1], np.float32(1.01).tobytes()), "VALUE_OUT_OF_RANGE"),
        (image_pb2.Image(file=b"not an image", filename="x.dcm"), None),
        (image_pb2.Image(file=b""), None),
    ],
)
async def test_a_bad_image_is_the_callers_error(image: image_pb2.Image, reason: str | None, decoder: Decoder) -> None:
    with pytest.raises(ServiceError) as caught:
        await model_input(image, SPEC, decoder)
    assert caught.value.http < 500
    if reason:
        assert caught.value.reason == reason
