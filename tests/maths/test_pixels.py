"""Stored pixels to canonical pixels to a model and back: one definition, pinned by digest."""

import hashlib

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from services.maths.pixels import (
    ImageNonFiniteError,
    ImageRangeError,
    ImageShapeError,
    PixelSpec,
    axial_slice,
    canonical_from_stored,
    canonical_from_volume,
    check_images,
    from_model,
    resize_masks,
    structure,
    to_model,
)

GOLDEN = "b12f22d00949296df8308de4bf9ce66bc01abd16ad880ddc7116d1219d1cc295"
RAMP = np.array([[0, 50, 100, 150, 200]], np.int16)


def raw_image() -> np.ndarray:
    rows, columns = np.mgrid[0:96, 0:80]
    return ((rows * rows * 7 + columns * 131 + rows * columns) % 4096).astype(np.uint16)


def test_golden_digest_of_one_raw_image_through_canonical_and_to_model():
    canonical = canonical_from_stored(raw_image(), slope=1.5, intercept=-1024.0, window=(600.0, 3000.0), invert=True)
    model = to_model(canonical[None, None], PixelSpec(1, 64, 64, -1.0, 1.0))
    assert hashlib.sha256(canonical.tobytes() + model.tobytes()).hexdigest() == GOLDEN


def test_linear_window_is_the_formula_of_the_standard():
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5), clamped
    shown = canonical_from_stored(RAMP, window=(100.0, 101.0))
    np.testing.assert_allclose(shown, [[0.0, 0.005, 0.505, 1.0, 1.0]], atol=1e-7)


def test_exact_linear_window_spans_its_full_width():
    shown = canonical_from_stored(RAMP, window=(100.0, 200.0), voi_function="LINEAR_EXACT")
    np.testing.assert_allclose(shown, [[0.0, 0.25, 0.5, 0.75, 1.0]], atol=1e-7)


def test_sigmoid_window_is_the_formula_of_the_standard():
    shown = canonical_from_stored(RAMP, window=(100.0, 200.0), voi_function="SIGMOID")
    np.testing.assert_allclose(shown, 1 / (1 + np.exp(-4 * (RAMP - 100.0) / 200.0)), rtol=1e-6)


def test_window_of_width_one_is_a_step_between_two_integers():
    shown = canonical_from_stored(RAMP, window=(100.0, 1.0))
    assert shown.tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0]]


def test_rescale_comes_before_the_window():
    rescaled = canonical_from_stored(RAMP, slope=2.0, intercept=-100.0, window=(100.0, 401.0))
    assert np.array_equal(rescaled, canonical_from_stored(RAMP * 2 - 100, window=(100.0, 401.0)))


def test_monochrome1_is_the_negative_of_monochrome2():
    image = raw_image()
    plain, inverted = (canonical_from_stored(image, invert=invert) for invert in (False, True))
    np.testing.assert_allclose(plain + inverted, 1.0, atol=1e-6)
    assert plain[image == image.max()].min() == 1.0 and inverted[image == image.max()].max() == 0.0


@pytest.mark.parametrize("invert", [False, True])
def test_constant_image_becomes_zeros(invert):
    shown = canonical_from_stored(np.full((4, 5), 77, np.uint8), invert=invert)
    assert shown.dtype == np.float32 and not shown.any()


def test_value_range_fixes_the_scale_and_clips():
    shown = canonical_from_stored(RAMP, value_range=(50.0, 150.0))
    assert shown.tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]


def test_frames_of_one_file_share_one_scale():
    frames = np.stack([np.full((2, 2), 10), np.full((2, 2), 20), np.full((2, 2), 30)])
    assert canonical_from_stored(frames)[:, 0, 0].tolist() == [0.0, 0.5, 1.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=30),
    st.floats(-1e4, 1e4),
    st.floats(1, 1e5),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_any_window_gives_canonical_values_in_the_order_of_the_stored_ones(values, center, width, function):
    stored = np.array([sorted(values)], np.int16)
    shown = canonical_from_stored(stored, window=(center, width), voi_function=function)
    check_images(shown[None, None])
    assert (np.diff(shown) >= 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_stored_nan_and_inf_are_refused(bad):
    with pytest.raises(ImageNonFiniteError, match="NaN"):
        canonical_from_stored(np.array([[0.0, bad]]))


@pytest.mark.parametrize(
    "options",
    [
        {"slope": 0.0},
        {"slope": np.nan},
        {"window": (100.0, 0.5)},
        {"window": (np.nan, 10.0)},
        {"window": (1.0, 0.0), "voi_function": "SIGMOID"},
        {"window": (1.0, 5.0), "voi_function": "CUBIC"},
        {"value_range": (1.0, 1.0)},
        {"value_range": (0.0, np.inf)},
    ],
)
def test_impossible_display_parameters_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        canonical_from_stored(RAMP, **options)


@pytest.mark.parametrize("stored", [np.zeros(4), np.zeros((0, 3)), np.zeros((2, 2), complex), np.zeros((1, 1, 2, 2))])
def test_what_is_not_an_image_is_refused(stored):
    with pytest.raises(ImageShapeError):
        canonical_from_stored(stored)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "SRA", "PIL", "ASR"])
def test_nifti_in_any_orientation_gives_the_same_radiological_slice(codes):
    ras = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    nifti = nibabel.Nifti1Image(ras.astype(np.int16), np.diag([1.0, 1.5, 2.0, 1.0]))
    wanted = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(nifti.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = nifti.as_reoriented(wanted)
    shown = axial_slice(np.asarray(turned.dataobj), turned.affine, slice_index=2)
    assert shown.shape == (6, 5)
    # row 0 is anterior (largest y), column 0 the patient's right (largest x)
    assert shown[0, 0] == ras[4, 5, 2] and shown[5, 0] == ras[4, 0, 2] and shown[0, 4] == ras[0, 5, 2]


def test_oblique_nifti_agrees_with_nibabel():
    rng = np.random.default_rng(5)
    for _ in range(20):
        tilt, _ = np.linalg.qr(np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = tilt[:, rng.permutation(3)] * rng.uniform(0.5, 3.0, 3)
        nifti = nibabel.Nifti1Image(rng.normal(size=(4, 5, 6)), affine)
        closest = np.asarray(nibabel.as_closest_canonical(nifti).dataobj)
        index = closest.shape[2] // 2
        assert np.array_equal(axial_slice(np.asarray(nifti.dataobj), affine), closest[::-1, ::-1, index].T)


def test_volume_slice_is_scaled_by_its_own_range():
    volume = np.arange(24.0).reshape(2, 3, 4)
    volume[..., 0] = 1e6
    shown = canonical_from_volume(volume[..., None], np.eye(4), slice_index=3)
    assert (shown.min(), shown.max()) == (0.0, 1.0)


def test_volume_without_three_axes_or_directions_is_refused():
    with pytest.raises(ImageShapeError):
        axial_slice(np.zeros((2, 3)), np.eye(4))
    with pytest.raises(ValueError, match="affine"):
        axial_slice(np.zeros((2, 3, 4)), np.diag([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="slice_index must be between 0 and 3"):
        axial_slice(np.zeros((2, 3, 4)), np.eye(4), slice_index=4)


def test_model_range_round_trip_gives_the_canonical_image_back():
    images = np.random.default_rng(0).random((3, 1, 16, 16), np.float32)
    spec = PixelSpec(1, 16, 16, -1.0, 1.0)
    np.testing.assert_allclose(from_model(to_model(images, spec), spec), images, atol=1e-7)


def test_resize_is_antialiased():
    stripes = np.zeros((1, 1, 64, 64), np.float32)
    stripes[..., ::2] = 1.0
    shown = to_model(stripes, PixelSpec(1, 16, 16))
    np.testing.assert_allclose(shown[..., 2:-2], 0.5, atol=0.02)


def test_resize_keeps_the_mean_and_the_place_of_a_blob():
    rows, columns = np.mgrid[0:96, 0:96]
    blob = np.exp(-((rows - 30.0) ** 2 + (columns - 60.0) ** 2) / 200).astype(np.float32)
    shown = to_model(blob[None, None], PixelSpec(1, 48, 48))[0, 0]
    assert shown.mean() == pytest.approx(blob.mean(), rel=1e-3)
    np.testing.assert_allclose(shown, resize(blob, (48, 48), order=1, anti_aliasing=True), atol=0.02)


def test_resized_row_does_not_depend_on_its_neighbours():
    images = np.random.default_rng(1).random((5, 1, 50, 70), np.float32)
    spec = PixelSpec(3, 64, 64)
    assert np.array_equal(to_model(images, spec)[3:4], to_model(images[3:4], spec))


def test_one_channel_is_repeated_and_three_are_not_merged():
    images = np.random.default_rng(2).random((2, 1, 8, 8), np.float32)
    shown = to_model(images, PixelSpec(3, 8, 8))
    assert shown.shape == (2, 3, 8, 8) and np.array_equal(shown[:, 0], shown[:, 2])
    with pytest.raises(ImageShapeError, match="2 channels"):
        to_model(np.repeat(images, 3, axis=1), PixelSpec(2, 8, 8))


def test_output_is_clipped_and_a_broken_one_refused():
    spec = PixelSpec(1, 1, 2)
    assert from_model(np.array([[[[-0.5, 1.5]]]], np.float32), spec).ravel().tolist() == [0.0, 1.0]
    with pytest.raises(ImageNonFiniteError):
        from_model(np.array([[[[0.5, np.nan]]]], np.float32), spec)
    with pytest.raises(ImageShapeError, match=r"\(N, 1, 1, 2\)"):
        from_model(np.zeros((1, 1, 2, 2), np.float32), spec)


def test_masks_keep_their_labels_when_resized():
    masks = np.kron(np.array([[0, 3], [7, 1]], np.uint8), np.ones((4, 4), np.uint8))[None]
    assert np.array_equal(resize_masks(masks, 2, 2), [[[0, 3], [7, 1]]])
    assert np.array_equal(resize_masks(resize_masks(masks, 16, 16), 8, 8), masks)
    with pytest.raises(ImageShapeError):
        resize_masks(masks.astype(np.float32), 4, 4)


def test_the_structure_of_a_mask_is_any_label_of_its_first_plane():
    labels = np.array([[0, 3], [7, 1]], np.uint8)
    expected = [[0, 1], [1, 1]]
    assert np.array_equal(structure(labels), expected)
    assert np.array_equal(structure(np.stack([labels, 0 * labels])), expected)
    assert np.array_equal(structure(structure(labels)), expected)
    for wrong in (labels[0], labels[None, None], labels[:0]):
        with pytest.raises(ImageShapeError):
            structure(wrong)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_smaller_mask_lies_where_the_larger_one_lay(factor):
    """The centres of discs; the nearest pixel moves them all by a quarter pixel at half the size."""
    side, shifts, areas = 24 * factor, [], []
    y, x = (np.mgrid[:side, :side] + 0.5) / factor
    for across, down in np.random.default_rng(5).uniform(10, 14, (40, 2)):
        small = resize_masks((np.hypot(x - across, y - down) < 6.2).astype(np.uint8)[None], 24, 24)[0]
        rows, columns = np.nonzero(small)
        shifts.append((columns.mean() + 0.5 - across, rows.mean() + 0.5 - down))
        areas.append(small.sum() / (np.pi * 6.2**2))
    assert abs(np.mean(areas) - 1) < 0.03
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.03 and np.abs(shifts).max() < 0.2


def test_each_fault_of_a_batch_has_its_own_error():
    good = np.full((2, 1, 4, 4), 0.5, np.float32)
    check_images(good)
    check_images(good * 300 - 100, PixelSpec(1, 4, 4, -100.0, 100.0))
    with pytest.raises(ImageShapeError, match="float32"):
        check_images((good * 255).astype(np.uint8))
    with pytest.raises(ImageShapeError, match="N, C, H, W"):
        check_images(good[0])
    with pytest.raises(ImageShapeError, match=r"\(N, 3, 4, 4\)"):
        check_images(good, PixelSpec(3, 4, 4))
    with pytest.raises(ImageNonFiniteError):
        check_images(np.where(np.arange(32).reshape(2, 1, 4, 4) == 9, np.nan, good))
    with pytest.raises(ImageRangeError, match=r"\[0, 1\]"):
        check_images(good * 255)


@pytest.mark.parametrize("arguments", [(0, 4, 4), (1, 4, 4, 1.0, 1.0), (1, 4, 4, 0.0, float("inf"))])
def test_impossible_pixel_spec_is_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        PixelSpec(*arguments)
