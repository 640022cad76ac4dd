"""DICOM: every file that pydicom carries for its own tests, and each transformation on planted pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from services.adapters.decoder import Decoded, InFolder, InMemory, Source

CARRIED = Path(pydicom.data.__file__).parent
FILES = sorted(
    str(path.relative_to(CARRIED))
    for path in CARRIED.rglob("*")
    if path.is_file() and path.suffix not in (".py", ".pyc")
)
OUTCOMES = json.loads((Path(__file__).parent / "pydicom_outcomes.json").read_text("utf-8"))
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)


def decode(decoder, data, **options):
    (image,) = decoder.decode(Source(InMemory("image.dcm", data), **options))
    return image


def test_every_file_pydicom_carries_is_ingested_or_refused_for_the_reason_on_record(decoder):
    found = {}
    for outcome in decoder.decode_many(Source(InFolder(CARRIED, name)) for name in FILES):
        name = FILES[outcome.source]
        found[name] = "ok" if isinstance(outcome, Decoded) else outcome.error.reason
        if isinstance(outcome, Decoded):
            assert outcome.pixels.dtype == np.float32 and outcome.pixels.ndim == 3, name
            assert outcome.pixels.min() >= 0 and outcome.pixels.max() <= 1, name
        else:
            assert outcome.error.field == name
            assert outcome.error.status == "INVALID_ARGUMENT", name
    assert found == OUTCOMES


def expected_pixels(path):
    """Canonical pixels by another way: pydicom's own decoding and its own rescale and window functions."""
    dataset = dcmread(path)
    frames = int(dataset.get("NumberOfFrames", 1))
    stored = dataset.pixel_array if frames == 1 else dataset.pixel_array[frames // 2]
    values = stored * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    if "WindowCenter" not in dataset:
        return (values - values.min()) / (values.max() - values.min())
    rescaled = pydicom.pixels.apply_modality_lut(stored, dataset)
    windowed = pydicom.pixels.apply_windowing(rescaled.astype(np.float64), dataset)
    low, high = output_range(dataset)
    shown = (windowed - low) / (high - low)
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def output_range(dataset):
    """What pydicom's windowing maps a window to: the stored range, rescaled."""
    bits, signed = dataset.BitsStored, dataset.PixelRepresentation
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


@pytest.mark.parametrize(
    "name",
    [
        "test_files/CT_small.dcm",
        "test_files/MR_small.dcm",
        "test_files/MR_small_implicit.dcm",
        "test_files/MR_small_bigendian.dcm",
        "test_files/MR_small_RLE.dcm",
        "test_files/JPEG2000.dcm",
        "test_files/JPGExtended.dcm",
        "test_files/JPEGLSNearLossless_16.dcm",
        "test_files/693_J2KI.dcm",
        "test_files/image_dfl.dcm",
        "test_files/liver_1frame.dcm",
        "test_files/rtdose.dcm",
        "test_files/rtdose_rle.dcm",
        "test_files/dicomdirtests/77654033/CR1/6154",
    ],
)
def test_pixels_agree_with_pydicom_by_another_way(decoder, name):
    (image,) = decoder.decode(Source(InFolder(CARRIED, name)))
    np.testing.assert_allclose(image.pixels[0], expected_pixels(CARRIED / name), atol=1e-6)


@pytest.mark.parametrize("variant", ["RLE", "jp2klossless", "jpeg_ls_lossless", "implicit", "bigendian", "expb"])
def test_lossless_transfer_syntaxes_give_the_same_bits(decoder, variant):
    plain, other = (
        decoder.decode(Source(InFolder(CARRIED, f"test_files/MR_small{ending}.dcm")))[0]
        for ending in ("", f"_{variant}")
    )
    np.testing.assert_array_equal(other.pixels, plain.pixels)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_each_uncompressed_transfer_syntax_gives_the_planted_pixels(decoder, dicom_bytes, syntax):
    stored = RAMP.astype(">u2") if syntax == ExplicitVRBigEndian else RAMP
    image = decode(decoder, dicom_bytes(stored, syntax))
    np.testing.assert_allclose(image.pixels[0], RAMP / 63, atol=1e-7)


def test_modality_and_spacing_come_along(decoder, dicom_bytes):
    image = decode(decoder, dicom_bytes(RAMP, PixelSpacing=[0.5, 0.25]))
    assert (image.modality, image.spacing) == ("CR", (0.5, 0.25))


def test_detector_spacing_stands_in_where_the_patient_spacing_is_not_known(decoder, dicom_bytes):
    assert decode(decoder, dicom_bytes(RAMP, ImagerPixelSpacing=[0.2, 0.1])).spacing == (0.2, 0.1)


def test_modality_that_is_no_code_is_not_passed_on(decoder, dicom_bytes):
    assert decode(decoder, dicom_bytes(RAMP, Modality="Jane Doe")).modality == ""


def test_first_window_applies_after_rescaling(decoder, dicom_bytes):
    data = dicom_bytes(RAMP, RescaleSlope=2, RescaleIntercept=-10, WindowCenter=[50, 0], WindowWidth=[41, 9])
    values = RAMP * 2.0 - 10  # a window of width 41 around 50 runs from 29.5 to 69.5
    np.testing.assert_allclose(decode(decoder, data).pixels[0], np.clip((values - 29.5) / 40, 0, 1), atol=1e-6)


def test_exact_window_function_is_honoured(decoder, dicom_bytes):
    data = dicom_bytes(RAMP, WindowCenter=30, WindowWidth=20, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(decode(decoder, data).pixels[0], np.clip((RAMP - 20.0) / 20, 0, 1), atol=1e-6)


def test_monochrome1_is_inverted(decoder, dicom_bytes):
    image = decode(decoder, dicom_bytes(RAMP, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(image.pixels[0], 1 - RAMP / 63, atol=1e-7)


def lookup(first, values, bits=8):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", values)
    return [item]


def test_modality_table_replaces_the_rescale(decoder, dicom_bytes):
    table = [value * value % 251 for value in range(64)]
    image = decode(decoder, dicom_bytes(RAMP, ModalityLUTSequence=lookup(0, table)))
    expected = np.array(table)[RAMP]
    np.testing.assert_allclose(image.pixels[0], expected / expected.max(), atol=1e-6)


def test_display_table_maps_its_own_full_range(decoder, dicom_bytes):
    table = [255 - value for value in range(64)]
    image = decode(decoder, dicom_bytes(RAMP, VOILUTSequence=lookup(0, table)))
    np.testing.assert_allclose(image.pixels[0], (255 - RAMP) / 255, atol=1e-6)


@pytest.mark.parametrize(("frame", "index"), [("middle", 2), ("first", 0), (3, 3)])
def test_chosen_frame_of_a_multi_frame_file_is_read(decoder, dicom_bytes, frame, index):
    frames = np.random.default_rng(5).integers(0, 4096, (5, 6, 7)).astype(np.uint16)
    image = decode(decoder, dicom_bytes(frames, WindowCenter=2048, WindowWidth=4096), frame=frame)
    np.testing.assert_allclose(image.pixels[0], frames[index] / 4095, atol=1e-6)


def test_frame_that_is_not_there_is_refused(reason_of, dicom_bytes):
    data = dicom_bytes(np.zeros((3, 4, 4), np.uint8))
    assert reason_of(Source(InMemory("a.dcm", data), frame=3)) == "FRAME_OUT_OF_RANGE"


def test_functional_group_of_the_frame_wins_over_the_shared_one(decoder, dicom_bytes):
    def group(slope, spacing):
        item, values, measures = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = slope, 0
        measures.PixelSpacing = spacing
        item.PixelValueTransformationSequence, item.PixelMeasuresSequence = [values], [measures]
        return item

    frames = np.stack([RAMP, RAMP])
    window = {"WindowCenter": 64, "WindowWidth": 129}
    data = dicom_bytes(
        frames,
        SharedFunctionalGroupsSequence=[group(1, [9, 9])],
        PerFrameFunctionalGroupsSequence=[group(1, [1, 1]), group(2, [3, 4])],
        **window,
    )
    image = decode(decoder, data, frame=1)
    np.testing.assert_allclose(image.pixels[0], (RAMP * 2 + 0.5) / 128, atol=1e-6)
    assert image.spacing == (3, 4)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "BURNED_IN_ANNOTATION"),
        ({"PhotometricInterpretation": "RGB"}, "COLOUR_NOT_SUPPORTED"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "COLOUR_NOT_SUPPORTED"),
        ({"SamplesPerPixel": 3}, "COLOUR_NOT_SUPPORTED"),
        ({"PixelData": None}, "NO_PIXEL_DATA"),
        ({"Rows": None}, "PIXEL_HEADER_INVALID"),
        ({"Rows": 0}, "PIXEL_HEADER_INVALID"),
        ({"BitsAllocated": 7000}, "PIXEL_HEADER_INVALID"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "DISPLAY_INVALID"),
        ({"WindowCenter": 10, "WindowWidth": -5}, "DISPLAY_INVALID"),
        ({"WindowCenter": 10, "WindowWidth": 5, "VOILUTFunction": "CUBIC"}, "DISPLAY_INVALID"),
        ({"Rows": 9}, "PIXEL_DATA_TRUNCATED"),
        ({"Rows": 65535, "Columns": 65535}, "DECODED_SIZE_OVER_LIMIT"),
        ({"NumberOfFrames": 2**31 - 1}, "DECODED_SIZE_OVER_LIMIT"),
    ],
)
def test_header_that_cannot_be_served_is_refused_for_its_reason(reason_of, dicom_bytes, elements, reason):
    assert reason_of(Source(InMemory("a.dcm", dicom_bytes(RAMP, **elements)))) == reason


def test_burned_in_annotation_no_is_read(decoder, dicom_bytes):
    assert decode(decoder, dicom_bytes(RAMP, BurnedInAnnotation="NO")).pixels.shape == (1, 8, 8)


def test_float_pixel_data_is_read(decoder, dicom_bytes):
    values = np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8)
    data = dicom_bytes(RAMP, PixelData=None, BitsAllocated=32, FloatPixelData=values.tobytes())
    np.testing.assert_allclose(decode(decoder, data).pixels[0], (values + 3) / 8, atol=1e-6)


def test_mask_is_what_is_above_zero_untouched_by_windows(decoder, dicom_bytes):
    mask = dicom_bytes(
        (RAMP % 3).astype(np.uint8), WindowCenter=1000, WindowWidth=10, RescaleSlope=0, RescaleIntercept=0
    )
    (image,) = decoder.decode(Source(InMemory("a.dcm", dicom_bytes(RAMP)), InMemory("m.dcm", mask)))
    np.testing.assert_array_equal(image.mask, RAMP % 3 > 0)
