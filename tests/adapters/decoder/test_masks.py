"""Masks: binary unless labels are declared, exact labels in planes where they are, and refusals of everything else."""

from __future__ import annotations

import io

import nibabel
import numpy as np
import pytest
from PIL import Image

from services.adapters.decoder import InMemory, MaskForm, Slices, Source
from services.errors import ServiceError

RAS = np.diag([2.0, 3.0, 4.0, 1.0])
PIXELS = np.linspace(0, 1, 48).reshape(6, 8)
LABELS = (np.arange(48) % 4).reshape(6, 8).astype(np.uint8)
PLANES = np.stack([LABELS, 3 - LABELS])
VOLUME = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)
HEART = np.random.default_rng(1).integers(0, 4, (5, 6, 7, 2)).astype(np.uint8)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def nifti(voxels, slope=None):
    image = nibabel.Nifti1Image(voxels, RAS)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    return image.to_bytes()


def picture(mask, form, name="m.npy"):
    return Source(InMemory("a.npy", npy(PIXELS)), InMemory(name, mask), mask_form=form)


def scan(mask, form, **slices):
    return Source(InMemory("v.nii", nifti(VOLUME)), InMemory("m.nii", mask), slices=Slices(**slices), mask_form=form)


def refusal(decoder, source):
    with pytest.raises(ServiceError) as caught:
        decoder.decode(source)
    return caught.value


@pytest.mark.parametrize(
    ("stored", "name"),
    [(npy(LABELS), "m.npy"), (npy(LABELS.astype(np.float64)), "m.npy"), (png(LABELS), "m.png")],
)
def test_labels_are_kept_as_they_are_in_one_plane(decoder, stored, name):
    (image,) = decoder.decode(picture(stored, MaskForm(labels=4), name))
    np.testing.assert_array_equal(image.mask, LABELS[None])
    assert image.mask.dtype == np.uint8


def test_planes_of_an_array_are_kept_in_order(decoder):
    (image,) = decoder.decode(picture(npy(PLANES), MaskForm(labels=4, planes=2)))
    np.testing.assert_array_equal(image.mask, PLANES)


def test_planes_of_a_volume_lie_on_the_image(decoder):
    images = decoder.decode(scan(nifti(HEART), MaskForm(labels=4, planes=2), which="range", start=1, stop=7, step=2))
    for image in images:
        shown = [HEART[::-1, ::-1, image.slice_index, plane].T for plane in (0, 1)]
        np.testing.assert_array_equal(image.mask, np.stack(shown))
        assert image.mask.shape[1:] == image.pixels.shape[1:]


def test_slice_with_most_mask_goes_by_the_first_plane(decoder):
    labels = np.zeros((5, 6, 7, 2), np.uint8)
    labels[1:3, 1:3, 5, 0] = 1
    labels[..., 2, 1] = 3
    (image,) = decoder.decode(scan(nifti(labels), MaskForm(labels=4, planes=2), which="largest-mask"))
    assert image.slice_index == 5


def test_without_declared_labels_a_mask_is_binary(decoder):
    (image,) = decoder.decode(picture(npy(LABELS), MaskForm()))
    np.testing.assert_array_equal(image.mask, LABELS > 0)


@pytest.mark.parametrize(
    "mask",
    [
        LABELS + 1,
        LABELS.astype(np.int16) - 1,
        LABELS + 0.5,
        np.where(LABELS == 3, np.nan, LABELS),
        np.where(LABELS == 3, np.inf, LABELS),
        LABELS.astype(np.uint16) * 256,  # would be all background after a cast to 8 bits
    ],
)
def test_value_that_is_no_declared_label_is_refused(decoder, mask):
    error = refusal(decoder, picture(npy(mask), MaskForm(labels=4)))
    assert (error.reason, error.field) == ("MASK_LABEL_UNKNOWN", "m.npy")
    assert "0 to 3" in error.message


def test_scaled_labels_of_a_volume_are_refused_too(decoder):
    error = refusal(decoder, scan(nifti(HEART[..., 0], slope=0.5), MaskForm(labels=4)))
    assert (error.reason, error.field) == ("MASK_LABEL_UNKNOWN", "m.nii")


@pytest.mark.parametrize(
    ("mask", "form", "reason"),
    [
        (npy(PLANES), MaskForm(labels=4), "MASK_PLANES_MISMATCH"),
        (npy(LABELS), MaskForm(labels=4, planes=2), "MASK_PLANES_MISMATCH"),
        (npy(np.concatenate([PLANES, PLANES])), MaskForm(labels=4, planes=2), "MASK_PLANES_MISMATCH"),
        (npy(PLANES[:, :5]), MaskForm(labels=4, planes=2), "MASK_MISMATCH"),
        (npy(PLANES), MaskForm(), "SHAPE_MISMATCH"),
        (npy(PLANES[None]), MaskForm(labels=4, planes=2), "SHAPE_MISMATCH"),
        (npy(PLANES[:0]), MaskForm(labels=4, planes=2), "MASK_PLANES_MISMATCH"),
    ],
)
def test_array_with_other_planes_or_extent_is_refused(decoder, mask, form, reason):
    assert refusal(decoder, picture(mask, form)).reason == reason


@pytest.mark.parametrize(
    ("mask", "form", "reason"),
    [
        (nifti(HEART), MaskForm(labels=4), "MASK_PLANES_MISMATCH"),
        (nifti(HEART[..., 0]), MaskForm(labels=4, planes=2), "MASK_PLANES_MISMATCH"),
        (nifti(HEART[:, :, :6]), MaskForm(labels=4, planes=2), "MASK_MISMATCH"),
        (nifti(HEART), MaskForm(), "SHAPE_MISMATCH"),
    ],
)
def test_volume_with_other_planes_or_extent_is_refused(decoder, mask, form, reason):
    assert refusal(decoder, scan(mask, form)).reason == reason
