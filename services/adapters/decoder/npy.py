"""NPY: (H, W) or (C, H, W) with up to four channels.

Real numbers are taken as canonical already; 8 and 16 bits without sign map their full range, other integers their own.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from services.adapters.decoder.limits import Limits
from services.adapters.decoder.sources import Decoded
from services.errors import NonFinite, OutOfRange, ShapeMismatch, Undecodable, UnsupportedFormat
from services.maths.pixels import canonical_from_stored

_LONGEST_HEADER = 4096
_MOST_CHANNELS = 4
_FULL_RANGE = {"bool": (0.0, 1.0), "uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}


def read(data: bytes, frame: str | int, limits: Limits) -> Decoded:
    """The array in canonical form (C, H, W). Raises ServiceError."""
    array = _array(data, limits)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] > _MOST_CHANNELS) or array.size == 0:
        raise ShapeMismatch(f"must have shape (H, W) or (C, H, W) with C up to {_MOST_CHANNELS}, got {array.shape}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise NonFinite("holds NaN or infinite values")
        if array.min() < 0 or array.max() > 1:
            raise OutOfRange(f"real-valued pixels must lie in [0, 1], got [{array.min():g}, {array.max():g}]")
        pixels = array.astype(np.float32)
    else:
        pixels = canonical_from_stored(array, value_range=_FULL_RANGE.get(array.dtype.name))
    return Decoded(pixels.reshape(-1, *array.shape[-2:]))


def stored(data: bytes, frame: str | int, limits: Limits) -> npt.NDArray[Any]:
    """The array as it is, for masks: (H, W) or (P, H, W). Raises ServiceError."""
    return _array(data, limits)


def _array(data: bytes, limits: Limits) -> npt.NDArray[Any]:
    """The array as a view on ``data``; nothing is allocated on the word of the header."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file, max_header_size=_LONGEST_HEADER)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(file, max_header_size=_LONGEST_HEADER)
    else:
        raise UnsupportedFormat(f"NPY version {version} is not read, only 1.0 and 2.0")
    shape, fortran_order, dtype = header
    if dtype.hasobject:
        raise UnsupportedFormat("holds Python objects (a pickle), which could run code", reason="PICKLE_REFUSED")
    if dtype.kind not in "biuf":
        raise UnsupportedFormat(f"must hold integers, booleans or real numbers, got {dtype}")
    declared, given = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    limits.admit(declared, len(data))
    if declared != given or min(shape, default=0) < 0:
        raise Undecodable(
            f"the header declares {declared} bytes of pixels, the file has {given}", reason="SIZE_NOT_AS_DECLARED"
        )
    flat = np.frombuffer(data, dtype=dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")
