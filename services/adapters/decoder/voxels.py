"""The header of a NIfTI-1 or NIfTI-2 single file, checked, and its voxels as a view on the file's own bytes."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from services.adapters.decoder.limits import Limits
from services.errors import ShapeMismatch, Undecodable, UnsupportedFormat
from services.maths.pixels import world_axes

_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31
_AFFINE_TOLERANCE = 1e-3

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Voxels:
    """``stored`` (X, Y, Z) or (X, Y, Z, N) and the ``affine`` (4, 4) from voxels to RAS millimetres."""

    stored: Array
    affine: npt.NDArray[np.float64]
    slope: float
    intercept: float

    def scaled(self, part: Array) -> Array:
        """A part of ``stored`` in the units that the header says."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return part
        return part.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)

    def lies_on(self, other: Voxels) -> bool:
        """Whether both have the same volume at the same place."""
        same_shape = self.stored.shape[:3] == other.stored.shape[:3]
        return bool(same_shape and np.allclose(self.affine, other.affine, atol=_AFFINE_TOLERANCE))


def recognises(data: bytes) -> bool:
    """True for an uncompressed single-file NIfTI; gzip is looked into only while decoding."""
    return data[344:347] == b"n+1" or data[4:7] == b"n+2"


def read_voxels(data: bytes, limits: Limits, *, axes: tuple[int, ...] = (3,), expected: str) -> Voxels:
    """The voxels, of which nothing is copied. Raises ServiceError unless there are as many ``axes`` as one says there.

    Axes of length 1 after the third count as none. ``expected`` says in words what the file must hold.
    """
    if data.startswith(_GZIP):
        data = limits.inflate(data, _GZIP_WBITS)
        if not recognises(data):
            raise UnsupportedFormat("is gzip, but not of a NIfTI file")
    kind = Nifti2Header if data[4:7] == b"n+2" else Nifti1Header
    header = kind.from_fileobj(io.BytesIO(data))  # type: ignore[no-untyped-call]
    shape = tuple(int(size) for size in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in axes or min(shape) < 1:
        raise ShapeMismatch(f"must be {expected}, got {shape}")
    dtype = header.get_data_dtype()
    if dtype.kind not in "biuf":
        raise UnsupportedFormat(f"voxels must be integers or real numbers, got {dtype}", reason="COLOUR_NOT_SUPPORTED")
    declared, offset = math.prod(shape) * dtype.itemsize, int(header.get_data_offset())
    limits.admit(declared, len(data))
    if offset < 0 or offset + declared > len(data):
        raise Undecodable(
            f"the header declares {declared} bytes of voxels from byte {offset}, the file has {len(data)}",
            reason="SIZE_NOT_AS_DECLARED",
        )
    stored = np.frombuffer(data, dtype, count=math.prod(shape), offset=offset).reshape(shape, order="F")
    affine = np.asarray(header.get_best_affine(), np.float64)
    try:
        world_axes(affine)
    except ValueError as error:
        raise Undecodable(str(error), reason="AFFINE_INVALID") from error
    slope, intercept = header.get_slope_inter()
    return Voxels(stored, affine, 1.0 if slope is None else float(slope), 0.0 if slope is None else float(intercept))
