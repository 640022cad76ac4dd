"""Cines: a drawn heart that beats with known frames ED and ES, in real files' orientations and units; and bad ones."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from services.adapters.decoder import Cine, Decoder, InMemory, Limits, MaskForm, Slices, Source
from services.errors import ServiceError

FRAMES, DEPTH = 10, 5
WIDTH, HEIGHT = 40, 32
ED, ES = 8, 3
AFFINE = np.diag([1.8, 2.0, 8.0, 1.0])
LABELS = MaskForm(labels=4, planes=2)
CAVITY, WALL, RIGHT = 1, 2, 3
HALF_THERE = np.array([1, 1, 0, 0, 1, 0, 0, 0, 1, 0], bool)


def beating_heart():
    """Values int16 and labels uint8, both (X, Y, Z, T): an annulus whose cavity is widest at ED and narrowest at ES.

    Blood brightens at ES, as contrast and inflow make it, so that a window of each frame's own would show.
    """
    x, y = np.mgrid[:WIDTH, :HEIGHT].astype(float)
    values = np.zeros((WIDTH, HEIGHT, DEPTH, FRAMES), np.int16)
    labels = np.zeros(values.shape, np.uint8)
    from_ed = [min(abs(t - ED), FRAMES - abs(t - ED)) for t in range(FRAMES)]
    for t in range(FRAMES):
        for z in range(DEPTH):
            inner = (9.0 - 0.8 * from_ed[t]) * (1 - 0.08 * abs(z - 1))
            r = np.hypot(x - 22, y - 15)
            mask = np.where(np.hypot(x - 10, y - 15) < 7, RIGHT, 0)
            mask = np.where(r < np.hypot(inner, 6), WALL, mask)
            mask = np.where(r < inner, CAVITY, mask)
            bright = np.choose(mask, [100, 500 + 40 * from_ed[t], 60, 450]) + x + 2 * y + 3 * z
            values[:, :, z, t], labels[:, :, z, t] = bright, mask
    return values, labels


VALUES, MASK = beating_heart()


def nifti(voxels, affine=AFFINE, slope=None, inter=0.0):
    image = nibabel.Nifti1Image(voxels, affine)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
        data = bytearray(image.to_bytes())
        struct.pack_into("<2f", data, 112, slope, inter)
        return bytes(data)
    return image.to_bytes()


def source(cine=VALUES, mask=MASK, asked=None, **fields):
    data = cine if isinstance(cine, bytes) else nifti(cine)
    labels = mask if isinstance(mask, bytes | None) else nifti(mask)
    ending = ".nii.gz" if data[:2] == b"\x1f\x8b" else ".nii"
    masks = None if labels is None else InMemory("m.nii.gz" if labels[:2] == b"\x1f\x8b" else "m.nii", labels)
    return Source(InMemory("c" + ending, data), masks, mask_form=LABELS, cine=asked or Cine(), **fields)


def turned(planes):
    """Planes (X, Y, ...) as they are shown: columns from right to left, rows from anterior to posterior."""
    return np.swapaxes(planes[::-1, ::-1], 0, 1)


def shown(z, frames=(ED, ES)):
    values = np.stack([turned(VALUES[:, :, z, t]) for t in frames]).astype(float)
    return (values - values.min()) / (values.max() - values.min())


def labels_at(z, frames=(ED, ES)):
    return np.stack([turned(MASK[:, :, z, t]) for t in frames])


def refusal(decoder, asked):
    with pytest.raises(ServiceError) as caught:
        decoder.decode(asked)
    assert caught.value.status == "INVALID_ARGUMENT"
    return caught.value


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_phases_are_found_in_the_mask_and_stacked_in_one_window(decoder, pack):
    (image,) = decoder.decode(source(pack(nifti(VALUES)), pack(nifti(MASK))))
    ed, es = shown(DEPTH // 2)
    np.testing.assert_allclose(image.pixels, np.stack([ed, es, ed]), atol=1e-6)
    np.testing.assert_array_equal(image.mask, labels_at(DEPTH // 2))
    assert (image.slice_index, image.frame_offset) == (DEPTH // 2, 0)
    assert image.spacing == pytest.approx((2.0, 1.8), rel=1e-6)


def test_a_phase_that_is_brighter_stays_brighter(decoder):
    (image,) = decoder.decode(source())
    assert image.pixels[1].max() == 1.0 and image.pixels[0].max() < 0.85


def test_channels_come_in_the_order_asked_for(decoder):
    (pair,) = decoder.decode(source(asked=Cine(channels=(0, 1))))
    (other,) = decoder.decode(source(asked=Cine(channels=(0, 1, 1))))
    assert pair.pixels.shape == (2, HEIGHT, WIDTH)
    np.testing.assert_array_equal(other.pixels[[0, 1]], pair.pixels)
    np.testing.assert_array_equal(other.pixels[2], pair.pixels[1])


def test_frames_that_are_given_come_before_what_the_mask_says(decoder):
    (image,) = decoder.decode(source(asked=Cine(ed=0, es=5)))
    ed, es = shown(DEPTH // 2, (0, 5))
    np.testing.assert_allclose(image.pixels, np.stack([ed, es, ed]), atol=1e-6)
    np.testing.assert_array_equal(image.mask, labels_at(DEPTH // 2, (0, 5)))
    (half,) = decoder.decode(source(asked=Cine(ed=0)))
    np.testing.assert_array_equal(half.mask, labels_at(DEPTH // 2, (0, ES)))


def test_frames_that_are_given_need_no_mask(decoder):
    (image,) = decoder.decode(source(mask=None, asked=Cine(ed=ED, es=ES)))
    np.testing.assert_allclose(image.pixels[:2], shown(DEPTH // 2), atol=1e-6)
    assert image.mask is None


def test_a_mask_of_two_volumes_is_at_ed_and_es(decoder):
    (image,) = decoder.decode(source(mask=MASK[..., [ED, ES]], asked=Cine(ed=ED, es=ES)))
    np.testing.assert_array_equal(image.mask, labels_at(DEPTH // 2))


def phases_apart(ed=MASK[..., ED], es=MASK[..., ES], **fields):
    """A cine whose phases have a mask file each, as ACDC's."""
    files = [InMemory(f"{name}_gt.nii", nifti(labels)) for name, labels in (("frame09", ed), ("frame04", es))]
    asked = Cine(ed=ED, es=ES, **fields)
    return replace(source(asked=asked), mask=files[0], es_mask=files[1])


def test_a_mask_file_of_each_phase_gives_the_planes_and_its_frames_the_image(decoder):
    (image,) = decoder.decode(phases_apart())
    (expected,) = decoder.decode(source(asked=Cine(ed=ED, es=ES)))
    np.testing.assert_array_equal(image.mask, expected.mask)
    np.testing.assert_array_equal(image.pixels, expected.pixels)
    (swapped,) = decoder.decode(phases_apart(es=MASK[..., ED], ed=MASK[..., ES]))
    np.testing.assert_array_equal(swapped.mask, expected.mask[::-1])


def test_mask_files_of_each_phase_may_have_units_of_their_own(decoder):
    halved = InMemory("frame04_gt.nii", nifti((2 * MASK[..., ES]).astype(np.int16), slope=0.5))
    (image,) = decoder.decode(replace(phases_apart(), es_mask=halved))
    np.testing.assert_array_equal(image.mask, labels_at(2))


def test_largest_mask_is_that_of_the_file_at_ed(decoder):
    (image,) = decoder.decode(replace(phases_apart(), slices=Slices("largest-mask")))
    (expected,) = decoder.decode(source(asked=Cine(ed=ED, es=ES), slices=Slices("largest-mask")))
    assert image.slice_index == expected.slice_index


APART = {
    "a volume of every frame": (phases_apart(es=MASK), "SHAPE_MISMATCH", "frame04_gt.nii"),
    "another shape": (phases_apart(es=MASK[:-1, ..., ES]), "MASK_MISMATCH", "frame04_gt.nii"),
    "no label": (phases_apart(ed=0 * MASK[..., ED]), "MASK_EMPTY_AT_PHASE", "frame09_gt.nii"),
    "an unknown label": (phases_apart(es=MASK[..., ES] + 3), "MASK_LABEL_UNKNOWN", "frame04_gt.nii"),
    "shifts": (phases_apart(offsets=3), "MASK_PLANES_MISMATCH", "frame09_gt.nii"),
    "another format": (replace(phases_apart(), es_mask=InMemory("es.txt", b"x")), "FORMAT_UNSUPPORTED", "es.txt"),
}


@pytest.mark.parametrize("case", APART)
def test_what_does_not_fit_of_two_mask_files_is_refused_by_the_name_of_the_file(decoder, case):
    asked, reason, field = APART[case]
    with pytest.raises(ServiceError) as raised:
        decoder.decode(asked)
    assert (raised.value.reason, raised.value.field) == (reason, field)


def test_frames_without_labels_are_no_small_hearts(decoder):
    """Many segmentations hold ED and ES only, and zeros between."""
    (image,) = decoder.decode(source(mask=np.where(np.isin(np.arange(FRAMES), (ED, ES)), MASK, 0).astype(np.uint8)))
    np.testing.assert_array_equal(image.mask, labels_at(DEPTH // 2))


def test_another_label_can_be_the_cavity(decoder):
    permuted = np.array([0, 2, 3, 1], np.uint8)[MASK]  # as in ACDC, where the right ventricle is 1
    (image,) = decoder.decode(source(mask=permuted, asked=Cine(cavity=2)))
    np.testing.assert_allclose(image.pixels[:2], shown(DEPTH // 2), atol=1e-6)


def test_training_rows_become_slices_times_shifts(decoder):
    images = decoder.decode(source(asked=Cine(slices=3, offsets=3)))
    places = [(image.slice_index, image.frame_offset) for image in images]
    assert places == [(z, offset) for z in (1, 2, 3) for offset in (-1, 0, 1)]
    for image, (z, offset) in zip(images, places, strict=True):
        frames = (ED + offset, ES + offset)
        np.testing.assert_allclose(image.pixels[:2], shown(z, frames), atol=1e-6)
        np.testing.assert_array_equal(image.mask, labels_at(z, frames))


def test_shifts_go_round_the_beat(decoder):
    images = decoder.decode(source(asked=Cine(ed=0, es=FRAMES - 1, offsets=3)))
    for image, frames in zip(images, ((FRAMES - 1, FRAMES - 2), (0, FRAMES - 1), (1, 0)), strict=True):
        np.testing.assert_array_equal(image.mask, labels_at(DEPTH // 2, frames))


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (3, [0, 1, 2])])
def test_slice_with_most_heart_at_ed_can_be_the_middle(decoder, count, expected):
    images = decoder.decode(source(asked=Cine(slices=count), slices=Slices("largest-mask")))
    assert [image.slice_index for image in images] == expected


def test_slices_around_the_last_one_stay_in_the_stack(decoder):
    images = decoder.decode(source(mask=MASK[:, :, ::-1], asked=Cine(slices=5), slices=Slices("largest-mask")))
    assert [image.slice_index for image in images] == [0, 1, 2, 3, 4]


def test_storage_order_does_not_change_the_picture(decoder):
    (plain,) = decoder.decode(source())
    flipped = np.diag([-1.8, -2.0, 8.0, 1.0])
    values, labels = nifti(VALUES[::-1, ::-1].copy(), flipped), nifti(MASK[::-1, ::-1].copy(), flipped)
    (turned_round,) = decoder.decode(source(values, labels))
    np.testing.assert_array_equal(turned_round.pixels, plain.pixels)
    np.testing.assert_array_equal(turned_round.mask, plain.mask)


def test_an_oblique_stack_is_not_cut_across(decoder):
    """The third axis is a short axis's own, though the second one lies nearer to feet and head."""
    oblique = np.eye(4)
    oblique[:3, :3] = np.array([[-0.7, 0.1, 0.7], [0.4, -0.75, 0.55], [-0.55, -0.65, -0.45]]) * (1.8, 2.0, 8.0)
    (image,) = decoder.decode(source(nifti(VALUES, oblique), nifti(MASK, oblique)))
    assert image.pixels.shape == (3, HEIGHT, WIDTH)


def test_units_of_the_header_and_a_window_give_absolute_greys(decoder):
    data = nifti(VALUES, slope=0.5, inter=10.0)
    (image,) = decoder.decode(source(data, asked=Cine(window=(10.0, 510.0))))
    expected = turned(VALUES[:, :, DEPTH // 2, ES]) * 0.5 / 500.0
    np.testing.assert_allclose(image.pixels[1], expected, atol=1e-6)


def test_what_lies_beyond_a_window_is_clamped_but_hardly_any(decoder):
    peak = VALUES.copy()
    peak[3, 3, DEPTH // 2, ED] = 30000
    (image,) = decoder.decode(source(peak, asked=Cine(window=(100, 1000))))
    assert image.pixels.min() == 0.0 and image.pixels.max() == 1.0
    error = refusal(decoder, source(asked=Cine(window=(0, 255))))
    assert error.reason == "CINE_SATURATED" and "255" in error.message


def test_a_frame_that_is_not_shown_may_hold_anything(decoder):
    values = VALUES.astype(np.float32)
    values[..., 0] = np.nan
    (image,) = decoder.decode(source(values))
    np.testing.assert_allclose(image.pixels[:2], shown(DEPTH // 2), atol=1e-6)
    assert refusal(decoder, source(values, asked=Cine(ed=0))).reason == "NON_FINITE_PIXELS"


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        (source(VALUES[..., 0]), "SHAPE_MISMATCH", "c.nii"),
        (source(VALUES[..., :1]), "SHAPE_MISMATCH", "c.nii"),
        (source(np.stack([VALUES, VALUES], axis=-1)), "SHAPE_MISMATCH", "c.nii"),
        (source(mask=None), "CINE_PHASES_UNKNOWN", "c.nii"),
        (source(mask=None, asked=Cine(ed=0)), "CINE_PHASES_UNKNOWN", "c.nii"),
        (source(mask=MASK[..., [ED, ES]]), "CINE_PHASES_UNKNOWN", "c.nii"),
        (source(mask=0 * MASK), "CINE_PHASES_UNKNOWN", "c.nii"),
        (source(mask=np.where(MASK == CAVITY, 0, MASK)), "CINE_PHASES_UNKNOWN", "c.nii"),
        (source(asked=Cine(ed=FRAMES)), "FRAME_OUT_OF_RANGE", "c.nii"),
        (source(asked=Cine(ed=ES)), "CINE_PHASES_EQUAL", "c.nii"),
        (source(mask=np.repeat(MASK[..., :1], FRAMES, axis=3)), "CINE_PHASES_EQUAL", "c.nii"),
        (source(asked=Cine(slices=DEPTH + 2)), "CINE_TOO_SMALL", "c.nii"),
        (source(asked=Cine(offsets=FRAMES + 1)), "CINE_TOO_SMALL", "c.nii"),
        (source(mask=MASK[..., 0]), "SHAPE_MISMATCH", "m.nii"),
        (source(mask=MASK[..., :4]), "MASK_PLANES_MISMATCH", "m.nii"),
        (source(mask=MASK[:, :-1]), "MASK_MISMATCH", "m.nii"),
        (source(mask=nifti(MASK, AFFINE + np.eye(4)[3] * 9)), "MASK_MISMATCH", "m.nii"),
        (source(mask=MASK[..., [ED, ES]], asked=Cine(ed=ED, es=ES, offsets=3)), "MASK_PLANES_MISMATCH", "m.nii"),
        (source(mask=np.where(HALF_THERE, MASK, 0), asked=Cine(es=ES)), "MASK_EMPTY_AT_PHASE", "m.nii"),
        (source(mask=MASK * np.uint8(2), asked=Cine(cavity=2)), "MASK_LABEL_UNKNOWN", "m.nii"),
    ],
)
def test_cine_that_does_not_fit_is_refused_for_its_reason(decoder, asked, reason, field):
    error = refusal(decoder, asked)
    assert (error.reason, error.field) == (reason, field)


def test_only_nifti_files_are_cines(decoder, dicom_bytes):
    frames = dicom_bytes(np.moveaxis(VALUES[:, :, 0], 2, 0).astype(np.uint16))
    asked = Source(InMemory("c.dcm", frames), cine=Cine(ed=0, es=1))
    assert refusal(decoder, asked).reason == "FORMAT_UNSUPPORTED"


@pytest.mark.parametrize(
    ("at", "form", "numbers", "reason"),
    [
        (40, "<8h", (4, 32767, 32767, 100, 100, 1, 1, 1), "DECODED_SIZE_OVER_LIMIT"),
        (40, "<8h", (4, WIDTH, HEIGHT, DEPTH, FRAMES + 1, 1, 1, 1), "SIZE_NOT_AS_DECLARED"),
        (40, "<8h", (4, WIDTH, HEIGHT, 0, FRAMES, 1, 1, 1), "SHAPE_MISMATCH"),
        (40, "<8h", (5, WIDTH, HEIGHT, DEPTH, 5, 2, 1, 1), "SHAPE_MISMATCH"),
        (70, "<2h", (128, 24), "COLOUR_NOT_SUPPORTED"),  # datatype RGB
        (108, "<f", (4e9,), "SIZE_NOT_AS_DECLARED"),  # vox_offset
        (280, "<4f", (0.0, 0.0, 0.0, 0.0), "AFFINE_INVALID"),  # srow_x
        (112, "<2f", (2.0, float("nan")), "FILE_UNDECODABLE"),  # scl_slope, scl_inter
    ],
)
def test_lying_header_is_refused(decoder, at, form, numbers, reason):
    data = bytearray(nifti(VALUES))
    struct.pack_into(form, data, at, *numbers)
    assert refusal(decoder, source(bytes(data))).reason == reason


def test_spoiled_headers_end_no_worker():
    """Any bytes of a header, of the cine or of its mask, give images or a refusal with a reason."""
    draw = np.random.default_rng(11)
    good = nifti(VALUES), nifti(MASK)
    sources = []
    for number in range(120):
        files = [bytearray(data) for data in good]
        for at in draw.integers(0, 352, 3):
            files[number % 2][at] = draw.integers(256)
        sources.append(source(bytes(files[0]), bytes(files[1]), asked=Cine(slices=3, offsets=3)))
    with Decoder(workers=1) as own:
        reasons = [getattr(outcome, "error", None) for outcome in own.decode_many(sources)]
    assert all(error is None or error.reason not in ("DECODER_CRASHED", "DECODE_TIMEOUT", "") for error in reasons)
    assert any(reasons) and None in reasons


def test_more_images_than_the_limits_allow_are_refused():
    with Decoder(Limits(output_bytes=VALUES.nbytes), workers=1) as small:
        assert len(small.decode(source(mask=None, asked=Cine(ed=0, es=5, slices=3)))) == 3
        wide = replace(source(mask=None, asked=Cine(ed=0, es=5, slices=5, offsets=9, channels=(0, 1, 0, 1))))
        assert refusal(small, wide).reason == "DECODED_SIZE_OVER_LIMIT"
