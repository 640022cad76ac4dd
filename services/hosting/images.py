"""The Image and Tensor messages of the single-image calls ↔ canonical arrays, for every model host alike."""

from __future__ import annotations

import asyncio
import math

import numpy as np
from evenhand.resources.v1 import image_pb2

from services.adapters.decoder import Decoder, decode_bytes
from services.adapters.weights import ModelRecord
from services.errors import InvalidInput, NonFinite, OutOfRange, ShapeMismatch, TooLarge
from services.hosting.host import OUTPUT_NAME, ModelHost
from services.maths.pixels import PixelSpec, to_model

MOST_ELEMENTS = 64 * 2**20


def model_name(name: str) -> str:
    """ "models/x" → "x"; a bare "x" is taken as well."""
    return name.removeprefix("models/")


def image_message(pixels: np.ndarray) -> image_pb2.Tensor:
    return image_pb2.Tensor(shape=list(pixels.shape), data=np.ascontiguousarray(pixels, "<f4").tobytes())


async def model_input(image: image_pb2.Image, spec: PixelSpec, decoder: Decoder) -> np.ndarray:
    """One image as (1, C, H, W) float32 in the model's range; ``decoder`` reads files in its sandbox."""
    source = image.WhichOneof("source")
    if source == "file":
        pixels = (await asyncio.to_thread(decode_bytes, image.file, image.filename, decoder=decoder)).pixels
    elif source == "tensor":
        pixels = canonical_tensor(image.tensor)
    else:
        raise InvalidInput("give the image as a file or as a tensor", field="image", reason="IMAGE_MISSING")
    if pixels.shape[0] != spec.channels:
        raise ShapeMismatch(f"the model takes {spec.channels} channel(s), got {pixels.shape[0]}", field="image")
    return to_model(pixels[None], spec)


def canonical_tensor(tensor: image_pb2.Tensor) -> np.ndarray:
    """(C, H, W) float32 in [0, 1] out of a Tensor message; a leading batch extent of 1 is dropped."""
    shape = tuple(tensor.shape)
    if len(shape) == 4 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeMismatch(f"a tensor has shape (C, H, W), got {shape[:8]}", field="image.tensor.shape")
    elements = math.prod(shape)
    if elements > MOST_ELEMENTS:
        raise TooLarge(f"a tensor may have {MOST_ELEMENTS} values, shape {shape} has more", field="image.tensor.shape")
    if len(tensor.data) != 4 * elements:
        raise ShapeMismatch(
            f"shape {shape} needs {4 * elements} bytes of float32, got {len(tensor.data)}",
            field="image.tensor.data",
        )
    pixels = np.frombuffer(tensor.data, "<f4").reshape(shape)
    if not np.isfinite(pixels).all():
        raise NonFinite("NaN or infinity among the pixels", field="image.tensor.data")
    if pixels.min() < 0.0 or pixels.max() > 1.0:
        raise OutOfRange("canonical pixels lie in [0, 1]", field="image.tensor.data")
    return pixels


async def answer_image(
    host: ModelHost, decoder: Decoder, model: str, image: image_pb2.Image
) -> tuple[ModelRecord, np.ndarray]:
    """The record that answered and its output row for one image of a message."""
    record = host.find(model)
    images = await model_input(image, record.input.spec(), decoder)
    outputs = await host.infer(record.name, record.version, {"image": images}, {})
    return record, outputs[OUTPUT_NAME[record.task]][0]
