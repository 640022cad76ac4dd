"""Stacks of slices that lie obliquely in the body, such as a heart's short axis: their own planes, as acquired."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.maths.pixels import ImageShapeError, world_axes


def acquired_slice(
    volume: npt.NDArray[np.generic], affine: npt.NDArray[np.floating], *, slice_index: int
) -> npt.NDArray[np.generic]:
    """Return slice number `slice_index` (H, W) along the third axis of a volume (X, Y, Z), values and dtype untouched.

    Not `axial_slice`: in an oblique stack the axis nearest to feet-to-head may lie within the slices, and a cut across
    them has a row for each slice. Columns run from the patient's right to the left as well as the plane allows, rows
    from anterior to posterior, or from head to feet in a plane that is nearer to that. Where the third axis runs
    between feet and head the picture is that of `axial_slice`.

    Raises ImageShapeError for another shape, ValueError for a singular affine or an index outside the volume.
    """
    if volume.ndim != 3 or volume.size == 0:
        raise ImageShapeError(f"a volume has shape (X, Y, Z) and at least one voxel, got {volume.shape}")
    world_axes(affine)
    if not 0 <= slice_index < volume.shape[2]:
        raise ValueError(f"slice_index must be between 0 and {volume.shape[2] - 1}, got {slice_index}")
    columns, rows = in_plane_axes(affine)
    plane = volume[:, :, slice_index].transpose(rows, columns)
    matrix = np.asarray(affine, np.float64)[:3, :3]
    forwards = 1 if abs(matrix[1, rows]) >= abs(matrix[2, rows]) else 2
    flipped = [axis for axis, along in enumerate((matrix[forwards, rows], matrix[0, columns])) if along > 0]
    return np.ascontiguousarray(np.flip(plane, tuple(flipped)))


def in_plane_axes(affine: npt.NDArray[np.floating]) -> tuple[int, int]:
    """Return which of a stack's first two axes, 0 and 1, runs along the columns (x) of a slice, and which down it."""
    matrix = np.asarray(affine, np.float64)[:3, :3]
    leftwards = np.abs(matrix[0, :2]) / np.linalg.norm(matrix[:, :2], axis=0)
    columns = int(leftwards[1] > leftwards[0])
    return columns, 1 - columns
