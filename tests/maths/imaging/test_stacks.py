"""Acquired slices: the picture of an axial one where both exist, and never a cut across an oblique stack."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.maths.imaging.stacks import acquired_slice, in_plane_axes
from services.maths.pixels import ImageShapeError, axial_slice

VOLUME = np.random.default_rng(3).integers(0, 900, (5, 7, 4))
SIGNS = list(itertools.product((-1.0, 1.0), repeat=2))


def affine_of(x, y, z):
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([x, y, z], axis=1)
    return matrix


@pytest.mark.parametrize(("right", "anterior"), SIGNS)
@pytest.mark.parametrize("swapped", [False, True])
def test_axial_stack_is_shown_as_an_axial_slice(right, anterior, swapped):
    x, y = (right * 2, 0, 0), (0, anterior * 3, 0)
    affine = affine_of(*((y, x) if swapped else (x, y)), (0, 0, 8.0))
    for index in range(4):
        shown = acquired_slice(VOLUME, affine, slice_index=index)
        np.testing.assert_array_equal(shown, axial_slice(VOLUME, affine, slice_index=index))


def test_short_axis_keeps_its_own_planes_where_an_axial_cut_would_cross_them():
    """Directions of a heart's short axis: the stack runs to the left, forwards and down, its rows mostly downwards."""
    along = np.array([-0.68, 0.58, -0.45])
    down = np.array([0.0, -0.6, -0.8]) - along * (np.array([0.0, -0.6, -0.8]) @ along) / (along @ along)
    affine = affine_of(np.cross(down, along), down, 8 * along)
    assert axial_slice(VOLUME, affine, slice_index=0).shape != (7, 5)
    columns, rows = in_plane_axes(affine)
    assert (columns, rows) == (0, 1)
    for index in range(4):
        plane = VOLUME[:, :, index].T
        to_the_left = plane if affine[0, 0] < 0 else plane[:, ::-1]
        np.testing.assert_array_equal(acquired_slice(VOLUME, affine, slice_index=index), to_the_left)


@pytest.mark.parametrize(("right", "up"), SIGNS)
def test_coronal_stack_is_shown_from_head_to_feet(right, up):
    affine = affine_of((right, 0, 0), (0, 0, up), (0, 5.0, 0))
    expected = VOLUME[:, :, 2].T[:: -int(up), :: -int(right)]
    np.testing.assert_array_equal(acquired_slice(VOLUME, affine, slice_index=2), expected)


def test_what_is_no_stack_is_refused():
    with pytest.raises(ImageShapeError):
        acquired_slice(VOLUME[..., None], np.eye(4), slice_index=0)
    with pytest.raises(ValueError, match="slice_index"):
        acquired_slice(VOLUME, np.eye(4), slice_index=4)
    with pytest.raises(ValueError, match="affine"):
        acquired_slice(VOLUME, np.zeros((4, 4)), slice_index=0)
