"""Tensors of the Open Inference Protocol as arrays: bytes, numbers or texts in, arrays of the stated shape out.

Values are not looked at here: that they are finite and in range is checked once, by the model host.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.errors import InvalidInput, ShapeMismatch, TooLarge

DATATYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP16": np.dtype("<f2"), "FP64": np.dtype("<f8")}
BYTES = "BYTES"
MOST_TEXTS = 4096  # an object each, where numbers are views
MOST_EXTENTS = 8
LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor


def count_elements(name: str, shape: Sequence[int], limit: int) -> int:
    """Number of values of ``shape``, computed without overflow and before anything is allocated."""
    if len(shape) > MOST_EXTENTS or any(extent < 1 for extent in shape):
        raise ShapeMismatch(
            f"{name!r} may have {MOST_EXTENTS} extents, each at least 1, got {_text(shape)}",
            field=f"inputs.{name}.shape",
        )
    elements = math.prod(shape)
    if elements > limit:
        raise TooLarge(f"{name!r} has more values than a request may have, {limit}", field=f"inputs.{name}.shape")
    return elements


def dtype_of(name: str, datatype: str) -> np.dtype[Any]:
    """numpy's dtype for FP32, FP16 or FP64, little-endian."""
    if datatype not in DATATYPES:
        raise ShapeMismatch(
            f"{name!r} has datatype {datatype[:20]!r}; accepted are {', '.join(DATATYPES)}",
            field=f"inputs.{name}.datatype",
            reason="DATATYPE_UNSUPPORTED",
        )
    return DATATYPES[datatype]


def check_datatype(name: str, datatype: str, expected: str, model: str) -> None:
    """BYTES where texts are expected, any of FP32, FP16 and FP64 where numbers are."""
    if expected != BYTES:
        dtype_of(name, datatype)
    elif datatype != BYTES:
        raise ShapeMismatch(
            f"{model} takes {name!r} as BYTES, got {datatype[:20]!r}",
            field=f"inputs.{name}.datatype",
            reason="DATATYPE_UNSUPPORTED",
        )


def texts_from_bytes(name: str, shape: Sequence[int], raw: bytes | memoryview, limit: int) -> np.ndarray[Any, Any]:
    """Length-prefixed UTF-8 texts, row-major, as an array of str objects of ``shape``."""
    elements, at = count_elements(name, shape, min(limit, MOST_TEXTS)), 0
    texts: list[bytes] = []
    while at < len(raw) and len(texts) < elements:
        if at + LENGTH.size > len(raw):
            break
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        texts.append(bytes(raw[at : at + length]))
        at += length
    if at != len(raw) or len(texts) != elements:
        raise ShapeMismatch(
            f"{name!r}: shape {_text(shape)} needs {elements} texts, each behind its length in 4 bytes",
            field=f"inputs.{name}",
        )
    return texts_from_list(name, shape, texts, limit)


def texts_from_list(name: str, shape: Sequence[int], given: Any, limit: int) -> np.ndarray[Any, Any]:
    """A flat or nested sequence of texts (bytes in UTF-8 will do) as an array of str objects of ``shape``."""
    elements, texts = count_elements(name, shape, min(limit, MOST_TEXTS)), _flat(given)
    if len(texts) != elements:
        raise ShapeMismatch(
            f"{name!r}: shape {_text(shape)} needs {elements} texts, got {len(texts)}", field=f"inputs.{name}.data"
        )
    array = np.empty(elements, object)
    try:
        array[:] = [text.decode() if isinstance(text, bytes) else text.encode().decode() for text in texts]
    except (UnicodeError, AttributeError):
        raise InvalidInput(
            f"{name!r} must be texts in UTF-8", field=f"inputs.{name}.data", reason="TENSOR_DATA_INVALID"
        ) from None
    return array.reshape(shape)


def _flat(given: Any) -> list[Any]:
    """The innermost elements of lists in lists, at most as deep as a tensor may be."""
    found = list(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    for _ in range(MOST_EXTENTS):
        if not any(isinstance(item, list) for item in found):
            break
        found = [inner for item in found for inner in (item if isinstance(item, list) else [item])]
    return found


def array_from_bytes(
    name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview, limit: int
) -> np.ndarray[Any, Any]:
    """Little-endian row-major values as float32 of ``shape``; for FP32 a read-only view on ``raw``, not a copy."""
    dtype, elements = dtype_of(name, datatype), count_elements(name, shape, limit)
    if len(raw) != elements * dtype.itemsize:
        raise ShapeMismatch(
            f"{name!r}: shape {_text(shape)} of {datatype} needs {elements * dtype.itemsize} bytes, got {len(raw)}",
            field=f"inputs.{name}",
        )
    values = np.frombuffer(raw, dtype).reshape(shape)
    return values if dtype == np.float32 else _narrowed(values)


def array_from_numbers(
    name: str, datatype: str, shape: Sequence[int], numbers: Any, limit: int
) -> np.ndarray[Any, Any]:
    """A flat or nested sequence of numbers as float32 of ``shape``."""
    dtype_of(name, datatype)
    elements = count_elements(name, shape, limit)
    try:
        values = np.asarray(numbers)
    except (TypeError, ValueError, OverflowError):
        values = np.asarray(None)
    if values.dtype.kind not in "iuf":
        raise InvalidInput(
            f"{name!r} must be a list of numbers, flat or nested like its shape",
            field=f"inputs.{name}.data",
            reason="TENSOR_DATA_INVALID",
        )
    if values.size != elements:
        raise ShapeMismatch(
            f"{name!r}: shape {_text(shape)} needs {elements} values, got {values.size}", field=f"inputs.{name}.data"
        )
    return _narrowed(values.reshape(shape))


def blob_from_array(array: np.ndarray[Any, Any]) -> memoryview:
    """Little-endian row-major float32 bytes; of an array that is so already, a view."""
    return np.ascontiguousarray(array, "<f4").data.cast("B")


def check_shape(name: str, shape: Sequence[int], expected: Sequence[int], model: str) -> None:
    """``expected`` has -1 where any extent will do."""
    fits = len(shape) == len(expected) and all(
        wanted in (-1, got) for got, wanted in zip(shape, expected, strict=False)
    )
    if not fits:
        raise ShapeMismatch(
            f"{model} takes {name!r} with shape {_text(expected)}, got {_text(shape)}", field=f"inputs.{name}.shape"
        )


def _narrowed(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float32; what that cannot hold becomes infinite, and the model host refuses it as such."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _text(shape: Sequence[int]) -> str:
    shown = ", ".join(str(extent)[:20] for extent in list(shape)[:8])
    return f"({shown}{', …' if len(shape) > 8 else ''})"
