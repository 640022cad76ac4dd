"""Masks of requests: label planes out of a file or out of numbers, checked against the model that takes them."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from evenhand.generation.v1 import generation_pb2

from services.adapters.decoder import Decoder, decode_bytes
from services.adapters.weights import ModelRecord
from services.errors import InvalidInput, ShapeMismatch, UnsupportedFormat
from services.hosting.diffusion.host import MASK_PHASES

FIELD = "spec.mask"
_NPY, _BYTES_IN_NPY = b"\x93NUMPY", b"'|u1'"
_PNG = b"\x89PNG"
_LONGEST_HEADER = 4096
_NEAR_WHOLE = 1e-3


def read_mask(mask: generation_pb2.Mask, record: ModelRecord, decoder: Decoder) -> np.ndarray:
    """(P, H, W) uint8, one plane for each of the model's phases. ``decoder`` reads files in its sandbox.

    Raises SHAPE_MISMATCH, MASK_LABEL_UNKNOWN, and what the decoder says of a file.
    """
    planes = _from_labels(mask.labels) if mask.WhichOneof("source") == "labels" else _from_file(mask, decoder)
    return check_planes(planes, record, field=FIELD)


def check_planes(planes: np.ndarray, record: ModelRecord, *, field: str) -> np.ndarray:
    """The planes as (P, H, W) uint8, if the model takes them so."""
    spec = record.output
    assert spec is not None
    expected = (len(MASK_PHASES), spec.height, spec.width)
    if planes.ndim == 2:
        planes = planes[None]
    if planes.shape != expected:
        raise ShapeMismatch(
            f"{record.name} takes masks of shape {expected}, a plane for each of {', '.join(MASK_PHASES)}; "
            f"got {tuple(planes.shape)}",
            field=field,
        )
    highest = len(record.mask_labels) - 1
    if planes.min() < 0 or planes.max() > highest or (planes != np.round(planes)).any():
        raise InvalidInput(
            f"labels of {record.name} are 0..{highest} ({', '.join(record.mask_labels)})",
            field=field,
            reason="MASK_LABEL_UNKNOWN",
        )
    return np.ascontiguousarray(planes, np.uint8)


def as_labels(planes: np.ndarray) -> generation_pb2.Mask:
    """A mask message that holds the numbers themselves."""
    data = planes.tobytes()
    return generation_pb2.Mask(
        labels=generation_pb2.LabelMap(shape=planes.shape, data=data), sha256=hashlib.sha256(data).hexdigest()
    )


def planes_of(mask: generation_pb2.Mask) -> np.ndarray:
    """The inverse of :func:`as_labels`."""
    return np.frombuffer(mask.labels.data, np.uint8).reshape(tuple(mask.labels.shape))


def _from_labels(labels: generation_pb2.LabelMap) -> np.ndarray:
    shape = tuple(labels.shape)
    if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) != len(labels.data):
        raise ShapeMismatch(
            f"a label map has shape (H, W) or (P, H, W) and one byte a pixel; got {shape[:4]} and "
            f"{len(labels.data)} bytes",
            field=f"{FIELD}.labels",
        )
    return np.frombuffer(labels.data, np.uint8).reshape(shape)


def _from_file(mask: generation_pb2.Mask, decoder: Decoder) -> np.ndarray:
    """The decoder gives canonical pixels; files of bytes hold the label times 1/255."""
    data = mask.file
    if not data:
        raise InvalidInput("give the mask as a file or as labels", field=FIELD, reason="MASK_MISSING")
    of_bytes = data.startswith(_PNG) or (data.startswith(_NPY) and _BYTES_IN_NPY in data[:_LONGEST_HEADER])
    if not of_bytes:
        raise UnsupportedFormat("a mask is an 8-bit PNG or an NPY file of uint8", field=f"{FIELD}.file")
    values = decode_bytes(data, mask.filename, decoder=decoder).pixels * 255.0
    whole = np.round(values)
    if np.abs(values - whole).max() > _NEAR_WHOLE:
        raise UnsupportedFormat("a mask's file has 8 bits a pixel", field=f"{FIELD}.file")
    return whole if len(whole) > 1 else whole[0]
