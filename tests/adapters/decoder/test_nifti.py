"""NIfTI: orientation, slices, masks and lying headers, on volumes whose voxels say where they are."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest

from services.adapters.decoder import InMemory, Slices, Source
from services.errors import ServiceError

RAS = np.diag([2.0, 3.0, 4.0, 1.0])


def volume(shape=(5, 6, 7), seed=0):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def nifti(voxels, affine=RAS, kind=nibabel.Nifti1Image):
    return kind(voxels, affine).to_bytes()


def scaled(plane):
    return (plane - plane.min()) / (plane.max() - plane.min())


def shown(voxels, index):
    """An axial slice of a RAS volume as it is shown: rows from anterior to posterior, columns from right to left."""
    return scaled(voxels[::-1, ::-1, index].T.astype(np.float64))


def decode(decoder, data, mask=None, **slices):
    masks = None if mask is None else InMemory("m.nii.gz" if mask[:2] == b"\x1f\x8b" else "m.nii", mask)
    name = "v.nii.gz" if data[:2] == b"\x1f\x8b" else "v.nii"
    return decoder.decode(Source(InMemory(name, data), masks, slices=Slices(**slices)))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_middle_slice_is_read_with_its_spacing(decoder, kind, pack):
    voxels = volume()
    (image,) = decode(decoder, pack(nifti(voxels, kind=kind)))
    np.testing.assert_allclose(image.pixels[0], shown(voxels, 3), atol=1e-6)
    assert (image.slice_index, image.spacing, image.mask) == (3, (3.0, 2.0), None)


def test_storage_order_does_not_change_the_picture(decoder):
    voxels = volume()
    (plain,) = decode(decoder, nifti(voxels))
    other = np.zeros((4, 4))
    other[2, 0], other[0, 1], other[1, 2], other[3, 3] = -4.0, 2.0, -3.0, 1.0  # stored as (feet, right, back)
    (turned,) = decode(decoder, nifti(np.transpose(voxels, (2, 0, 1))[::-1, :, ::-1].copy(), other))
    np.testing.assert_array_equal(turned.pixels, plain.pixels)
    assert turned.spacing == plain.spacing


def test_range_of_slices_gives_one_image_each(decoder):
    voxels = volume()
    images = decode(decoder, nifti(voxels), which="range", start=1, stop=6, step=2)
    assert [image.slice_index for image in images] == [1, 3, 5]
    for image in images:
        np.testing.assert_allclose(image.pixels[0], shown(voxels, image.slice_index), atol=1e-6)


def test_slice_with_most_mask_is_chosen_and_the_mask_lies_on_the_image(decoder):
    voxels, labels = volume(), np.zeros((5, 6, 7), np.uint8)
    labels[1:3, 2:5, 5] = 4
    labels[1, 2, 2] = 1
    (image,) = decode(decoder, nifti(voxels), gzip.compress(nifti(labels)), which="largest-mask")
    assert image.slice_index == 5
    np.testing.assert_array_equal(image.mask, labels[::-1, ::-1, 5].T > 0)


def test_empty_mask_falls_back_to_the_middle(decoder):
    (image,) = decode(decoder, nifti(volume()), nifti(np.zeros((5, 6, 7), np.uint8)), which="largest-mask")
    assert image.slice_index == 3 and image.mask.sum() == 0


def test_negative_scale_of_the_header_turns_the_greys_round(decoder):
    voxels = volume()
    image = nibabel.Nifti1Image(voxels, RAS)
    data = bytearray(image.to_bytes())
    struct.pack_into("<2f", data, 112, -2.0, 5.0)  # scl_slope, scl_inter
    (decoded,) = decode(decoder, bytes(data))
    np.testing.assert_allclose(decoded.pixels[0], 1 - shown(voxels, 3), atol=1e-6)


def refused(decoder, *arguments, **slices):
    with pytest.raises(ServiceError) as caught:
        decode(decoder, *arguments, **slices)
    return caught.value.reason


def test_mask_of_another_shape_is_refused(decoder):
    assert refused(decoder, nifti(volume()), nifti(volume((5, 6, 8)))) == "MASK_MISMATCH"


def test_mask_in_another_place_is_refused(decoder):
    moved = RAS.copy()
    moved[0, 3] = 10
    assert refused(decoder, nifti(volume()), nifti(volume(), moved)) == "MASK_MISMATCH"


def test_header_of_a_few_bytes_that_declares_a_huge_volume_is_refused(decoder):
    data = bytearray(nifti(volume())[:352])
    struct.pack_into("<8h", data, 40, 3, 32767, 32767, 100, 1, 1, 1, 1)
    assert refused(decoder, bytes(data)) == "DECODED_SIZE_OVER_LIMIT"


def test_volume_that_ends_early_is_refused(decoder):
    assert refused(decoder, nifti(volume())[:-1]) == "SIZE_NOT_AS_DECLARED"


def test_gzip_that_ends_early_is_refused(decoder):
    assert refused(decoder, gzip.compress(nifti(volume()))[:-20]) == "COMPRESSED_STREAM_BROKEN"


def test_gzip_of_something_else_is_refused(decoder):
    assert refused(decoder, gzip.compress(b"hello" * 100)) == "FORMAT_UNSUPPORTED"


def test_gzip_bomb_is_refused_before_it_is_held(decoder):
    bomb = gzip.compress(bytes(300 * 1024 * 1024), 1)
    assert len(bomb) < 2 * 1024 * 1024
    assert refused(decoder, bomb) == "DECODED_SIZE_OVER_LIMIT"


def test_time_series_is_refused(decoder):
    assert refused(decoder, nifti(volume((5, 6, 7, 3)))) == "SHAPE_MISMATCH"


def test_infinite_voxels_are_refused(decoder):
    assert refused(decoder, nifti(np.full((4, 4, 3), np.inf, np.float32))) == "NON_FINITE_PIXELS"


def test_flat_affine_is_refused(decoder):
    data = bytearray(nifti(volume()))
    struct.pack_into("<4f", data, 280, 0.0, 0.0, 0.0, 0.0)  # srow_x
    assert refused(decoder, bytes(data)) == "AFFINE_INVALID"


def test_slices_beyond_the_volume_are_refused(decoder):
    assert refused(decoder, nifti(volume()), which="range", start=60, stop=130) == "VALUE_OUT_OF_RANGE"
