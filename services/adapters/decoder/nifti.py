"""NIfTI volumes: axial slices, each scaled to its own minimum and maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from services.adapters.decoder.limits import Limits
from services.adapters.decoder.masks import NamedBytes, about, as_declared, plane_count
from services.adapters.decoder.sources import Decoded, MaskForm, Slices
from services.adapters.decoder.voxels import Voxels, read_voxels
from services.errors import OutOfRange, ShapeMismatch, TooLarge
from services.maths.pixels import axial_slice, canonical_from_volume, structure, world_axes

Volume = npt.NDArray[Any]


def read(data: bytes, mask: NamedBytes | None, slices: Slices, form: MaskForm, limits: Limits) -> list[Decoded]:
    """The chosen axial slices in canonical form (1, H, W), with those of the mask. Raises ServiceError.

    Planes of a mask are the last axis of its file, (X, Y, Z, P).
    """
    voxels = read_voxels(data, limits, expected="one volume (X, Y, Z)")
    volume, affine = voxels.scaled(voxels.stored), voxels.affine
    labels = None if mask is None else _labels(mask, voxels, form, limits)
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


def _labels(file: NamedBytes, volume: Voxels, form: MaskForm, limits: Limits) -> Volume:
    """The mask's voxels (X, Y, Z, P)."""
    axes = (3, 4) if form.labels else (3,)
    mask = read_voxels(file[1], limits, axes=axes, expected="one volume (X, Y, Z)")
    with about(file[0]):
        planes = plane_count(mask.stored, form, spatial=3)
    if not mask.lies_on(volume):
        raise ShapeMismatch("the mask has another shape or affine than its image", reason="MASK_MISMATCH")
    return mask.scaled(mask.stored).reshape(*mask.stored.shape[:3], planes, order="F")


def _mask(
    name: str, labels: Volume, affine: npt.NDArray[np.float64], index: int, form: MaskForm
) -> npt.NDArray[np.uint8]:
    planes = [axial_slice(labels[..., plane], affine, slice_index=index) for plane in range(labels.shape[3])]
    with about(name):
        return as_declared(np.stack(planes), form)


def _chosen(slices: Slices, labels: Volume | None, affine: npt.NDArray[np.float64], depth: int) -> list[int]:
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
