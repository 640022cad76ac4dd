"""NIfTI-1 and NIfTI-2 single files, plain or gzip: axial slices, each scaled to its own minimum and maximum."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from services.adapters.decoder.limits import Limits
from services.adapters.decoder.masks import as_declared, plane_count
from services.adapters.decoder.sources import Decoded, MaskForm, Slices
from services.errors import InvalidInput, OutOfRange, ShapeMismatch, TooLarge, Undecodable, UnsupportedFormat
from services.maths.pixels import axial_slice, canonical_from_volume, structure, world_axes

_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31
_AFFINE_TOLERANCE = 1e-3

Volume = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]


def recognises(data: bytes) -> bool:
    """True for an uncompressed single-file NIfTI; gzip is looked into only while decoding."""
    return data[344:347] == b"n+1" or data[4:7] == b"n+2"


def read(data: bytes, mask: tuple[str, bytes] | None, slices: Slices, form: MaskForm, limits: Limits) -> list[Decoded]:
    """The chosen axial slices in canonical form (1, H, W), with those of ``mask`` (name, bytes). Raises ServiceError.

    Planes of a mask are the last axis of its file, (X, Y, Z, P).
    """
    volume, affine = _volume(data, limits)
    labels = None if mask is None else _labels(mask[1], volume, affine, form, limits)
    (right, anterior, superior), _ = world_axes(affine)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    indices = _chosen(slices, labels, affine, volume.shape[superior])
    _check_answer(volume, indices, limits)
    return [
        Decoded(
            canonical_from_volume(volume, affine, slice_index=index)[None],
            spacing=(float(sizes[anterior]), float(sizes[right])),
            mask=None if mask is None or labels is None else _mask(mask[0], labels, affine, index, form),
            slice_index=index,
        )
        for index in indices
    ]


def _volume(data: bytes, limits: Limits, *, most_axes: int = 3) -> tuple[Volume, Affine]:
    """The voxels (X, Y, Z), scaled as the header says, and the affine (4, 4) to RAS millimetres.

    With ``most_axes`` 4 also (X, Y, Z, P).
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
    if not 3 <= len(shape) <= most_axes or min(shape) < 1:
        raise ShapeMismatch(f"must be one volume (X, Y, Z), got {shape}")
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
    voxels = np.frombuffer(data, dtype, count=math.prod(shape), offset=offset).reshape(shape, order="F")
    affine = np.asarray(header.get_best_affine(), np.float64)
    try:
        world_axes(affine)
    except ValueError as error:
        raise Undecodable(str(error), reason="AFFINE_INVALID") from error
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope, intercept) == (1.0, 0.0):
        return voxels, affine
    return voxels.astype(np.float32) * np.float32(slope) + np.float32(intercept), affine


def _labels(data: bytes, volume: Volume, affine: Affine, form: MaskForm, limits: Limits) -> Volume:
    """The mask's voxels (X, Y, Z, P) as stored."""
    labels, its_affine = _volume(data, limits, most_axes=4 if form.labels else 3)
    planes = plane_count(labels, form, spatial=3)
    if labels.shape[:3] != volume.shape or not np.allclose(its_affine, affine, atol=_AFFINE_TOLERANCE):
        raise ShapeMismatch("the mask has another shape or affine than its image", reason="MASK_MISMATCH")
    return labels.reshape(*volume.shape, planes, order="F")


def _mask(name: str, labels: Volume, affine: Affine, index: int, form: MaskForm) -> npt.NDArray[np.uint8]:
    planes = [axial_slice(labels[..., plane], affine, slice_index=index) for plane in range(labels.shape[3])]
    try:
        return as_declared(np.stack(planes), form)
    except InvalidInput as error:
        error.field = name
        raise


def _chosen(slices: Slices, labels: Volume | None, affine: Affine, depth: int) -> list[int]:
    """Indices of the slices asked for, from the feet."""
    if slices.which == "range":
        stop = depth if slices.stop is None else min(slices.stop, depth)
        chosen = list(range(slices.start, stop, slices.step))
        if not chosen:
            raise OutOfRange(f"slices from {slices.start} were asked for, the volume has {depth}")
        return chosen
    if slices.which == "largest-mask" and labels is not None:
        first = labels[..., 0]
        areas = [int(structure(axial_slice(first, affine, slice_index=index)).sum()) for index in range(depth)]
        if max(areas) > 0:
            return [int(np.argmax(areas))]
    return [depth // 2]


def _check_answer(volume: Volume, indices: list[int], limits: Limits) -> None:
    answer = volume.size // min(volume.shape) * 4 * len(indices)
    if answer > limits.output_bytes:
        raise TooLarge(
            f"{len(indices)} slices are more than {limits.output_bytes} bytes; ask for fewer",
            reason="DECODED_SIZE_OVER_LIMIT",
        )
