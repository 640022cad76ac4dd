"""DICOM files, checked against PS3.3's tables of the two classes that are written.

The tables hold the attributes of type 1 and 2 of each mandatory module, and those of type 1C whose condition is met.
"""

import copy
import io

import numpy as np
import pytest
from pydicom import dcmread, examples
from pydicom.datadict import dictionary_VR
from pydicom.uid import UID

from services.adapters.encoder import dicom_bytes, read_dicom_record, record_digest
from services.errors import InvalidInput, NonFinite, OutOfRange, ShapeMismatch, Undecodable

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_WORD = "1.2.840.10008.5.1.4.1.1.7.3"

COMMON = {
    "Patient": {"PatientName": 2, "PatientID": 2, "PatientBirthDate": 2, "PatientSex": 2},
    "General Study": {
        **{"StudyInstanceUID": 1, "StudyDate": 2, "StudyTime": 2, "AccessionNumber": 2},
        **{"ReferringPhysicianName": 2, "StudyID": 2},
    },
    "General Series": {"Modality": 1, "SeriesInstanceUID": 1, "SeriesNumber": 2},
    "SC Equipment": {"ConversionType": 1},
    "General Image": {"InstanceNumber": 2, "PatientOrientation": 2},
    "Image Pixel": dict.fromkeys(
        (
            *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored"),
            *("HighBit", "PixelRepresentation", "PixelData"),
        ),
        1,
    ),
    "VOI LUT": {"WindowCenter": 1, "WindowWidth": 1},
    "SOP Common": {"SOPClassUID": 1, "SOPInstanceUID": 1, "SpecificCharacterSet": 1},
}
FRAMES = {
    "Multi-frame": {"NumberOfFrames": 1, "FrameIncrementPointer": 1},
    "SC Multi-frame Image": dict.fromkeys(
        ("BurnedInAnnotation", "RescaleIntercept", "RescaleSlope", "RescaleType", "PresentationLUTShape"), 1
    ),
    "SC Multi-frame Vector": {"PageNumberVector": 1},
}
CLASSES = {SECONDARY_CAPTURE: COMMON, MULTI_FRAME_WORD: COMMON | FRAMES}


def violations(dataset):
    """What PS3.3 and PS3.5 forbid in ``dataset``, in words."""
    found = []
    for module, attributes in CLASSES[dataset.SOPClassUID].items():
        for keyword, kind in attributes.items():
            if keyword not in dataset:
                found.append(f"{module}: {keyword} of type {kind} is missing")
            elif kind == 1 and dataset[keyword].is_empty:
                found.append(f"{module}: {keyword} of type 1 is empty")
    for element in dataset.iterall():
        if element.tag.is_private:
            continue
        if dictionary_VR(element.tag) != element.VR and element.keyword != "PixelData":
            found.append(f"{element.keyword} has VR {element.VR}")
        values = element.value if element.VM > 1 else [element.value]
        longest = {"CS": 16, "SH": 16, "LO": 64, "DS": 16, "IS": 12, "ST": 1024, "LT": 10240, "UI": 64}
        for value in values:
            if element.VR in longest and len(str(value)) > longest[element.VR]:
                found.append(f"{element.keyword} is too long")
            if element.VR == "UI" and not UID(value).is_valid:
                found.append(f"{element.keyword} is no UID")
    if len(dataset.PixelData) != 2 * dataset.Rows * dataset.Columns * dataset.get("NumberOfFrames", 1):
        found.append("PixelData has another length than the header says")
    return found


def read(data):
    return dcmread(io.BytesIO(data))


@pytest.mark.parametrize(
    ("channels", "storage"), [(1, SECONDARY_CAPTURE), (2, MULTI_FRAME_WORD), (3, MULTI_FRAME_WORD)]
)
def test_every_attribute_that_the_class_requires_is_there(image, record, channels, storage):
    dataset = read(dicom_bytes(image(channels, 21, 34), record, modality="MR", spacing=(0.7, 1 / 3)))
    assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == storage
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    assert violations(dataset) == []


def test_the_checker_finds_what_is_wrong(image, record):
    broken = read(dicom_bytes(image(2, 8, 8), record))
    del broken.StudyID
    broken.ConversionType = ""
    with pytest.warns(UserWarning, match="exceeds the maximum length"):
        broken.PatientID = "x" * 65
    broken.Rows = 9
    assert violations(broken) == [
        "General Study: StudyID of type 2 is missing",
        "SC Equipment: ConversionType of type 1 is empty",
        "PatientID is too long",
        "PixelData has another length than the header says",
    ]


def test_every_mark_says_synthetic(image, record):
    dataset = read(dicom_bytes(image(1, 8, 8), record, modality="DX"))
    assert dataset["SyntheticData"].tag == 0x0008001C
    assert dataset.SyntheticData == "YES"
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
    assert (dataset.ConversionType, dataset.Modality, dataset.BurnedInAnnotation) == ("SYN", "DX", "NO")
    assert "SYNTHETIC" in str(dataset.PatientName)
    assert dataset.PatientID.startswith("SYNTHETIC")
    assert dataset.ImageComments.startswith("SYNTHETIC")
    assert dataset.SeriesDescription == "SYNTHETIC"


def test_derivation_names_model_digest_sampler_steps_seed_and_guidance(image, record):
    told = read(dicom_bytes(image(1, 8, 8), record)).DerivationDescription
    spec = record["spec"]
    for part in (spec["model_digest"], "dpmpp-2m", "steps 20", f"seed {spec['seed']}", "guidance scale 4"):
        assert part in told


def test_long_derivation_is_cut_to_what_its_vr_holds(image, record):
    record["spec"]["upscale_model"] = "models/" + "ü" * 2000
    dataset = read(dicom_bytes(image(1, 8, 8), record))
    assert len(dataset.DerivationDescription) == 1024
    assert violations(dataset) == []


@pytest.mark.parametrize(("channels", "frame"), [(1, "first"), (2, 0), (2, 1), (3, 2)])
def test_the_projects_decoder_reads_the_pixels_back_to_half_a_level_of_16_bits(decode, image, record, channels, frame):
    pixels = image(channels, 21, 35)
    decoded = decode(dicom_bytes(pixels, record, modality="MR", spacing=(0.7, 0.5)), "a.dcm", frame=frame)
    expected = pixels[0 if frame == "first" else frame]
    np.testing.assert_allclose(decoded.pixels[0], expected, atol=0.5 / 65535 + 1e-7)
    assert (decoded.modality, decoded.spacing) == ("MR", (0.7, 0.5))


def test_flat_pixels_keep_their_level(decode, record):
    decoded = decode(dicom_bytes(np.full((1, 4, 4), 0.25, np.float32), record), "a.dcm")
    np.testing.assert_allclose(decoded.pixels, 0.25, atol=1e-5)


def test_equal_channels_are_one_frame(image, record):
    grey = image(1, 8, 8)
    assert dicom_bytes(np.repeat(grey, 3, axis=0), record) == dicom_bytes(grey, record)


def test_record_comes_back_whole(image, record):
    data = dicom_bytes(image(1, 8, 8), record)
    assert read_dicom_record(data) == record
    assert read(data).ImageComments.endswith(record_digest(record))


def test_same_record_gives_the_same_bytes(image, record):
    pixels = image(1, 8, 8)
    assert dicom_bytes(pixels, record) == dicom_bytes(pixels.copy(), copy.deepcopy(record))


def test_images_of_one_synthetic_patient_share_study_and_series_and_nothing_else_does(image, record):
    def identifiers(pixels, made, series=""):
        dataset = read(dicom_bytes(pixels, made, series=series))
        return dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID

    other = copy.deepcopy(record)
    other["spec"]["first_index"] = 4
    first = identifiers(image(1, 8, 8), record, "counterfactuals/a")
    second = identifiers(image(1, 8, 8), other, "counterfactuals/a")
    assert first[:3] == second[:3]
    assert first[3] != second[3]
    assert identifiers(image(1, 8, 8, seed=1), record, "counterfactuals/a")[3] != first[3]
    alone = identifiers(image(1, 8, 8), record), identifiers(image(1, 8, 8), other)
    assert len({*first, *alone[0], *alone[1]}) == 12


def test_no_two_kinds_of_identifier_meet_and_all_are_derived_from_uuids(image, record):
    dataset = read(dicom_bytes(image(1, 8, 8), record))
    uids = {dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID}
    assert len(uids) == 3
    assert all(uid.startswith("2.25.") and UID(uid).is_valid for uid in uids)


@pytest.mark.parametrize(
    ("pixels", "keywords", "error", "field"),
    [
        (np.full((1, 4, 4), np.nan, np.float32), {}, NonFinite, "pixels"),
        (np.full((1, 4, 4), 2.0, np.float32), {}, OutOfRange, "pixels"),
        (np.zeros((4, 4), np.float32), {}, ShapeMismatch, "pixels"),
        (np.zeros((1, 4, 4), np.float32), {"modality": "dx radiograph"}, InvalidInput, "modality"),
        (np.zeros((1, 4, 4), np.float32), {"modality": ""}, InvalidInput, "modality"),
        (np.zeros((1, 4, 4), np.float32), {"spacing": (0.0, 1.0)}, OutOfRange, "spacing"),
        (np.zeros((1, 4, 4), np.float32), {"spacing": (np.nan, 1.0)}, OutOfRange, "spacing"),
    ],
)
def test_bad_input_is_refused_by_field(record, pixels, keywords, error, field):
    with pytest.raises(error) as caught:
        dicom_bytes(pixels, record, **keywords)
    assert caught.value.field == field


def strangers_file():
    file = io.BytesIO()
    examples.ct.save_as(file)
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"no dicom", b"\0" * 128 + b"DICM", strangers_file(), strangers_file()[:300]])
def test_file_without_a_record_is_refused(data):
    with pytest.raises(Undecodable):
        read_dicom_record(data)
