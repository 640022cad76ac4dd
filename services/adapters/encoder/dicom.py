"""DICOM: 16-bit Secondary Capture objects whose every identifier is new and whose every mark says synthetic.

Secondary Capture with Conversion Type SYN (synthetic image) whatever the modality: a radiograph's or an MR's own class
requires a detector's pixel spacing or a scanner's sequence, which a generated image never had and which nobody should
invent. Modality keeps what the image looks like. Several channels (ED and ES of a cardiac pair) become frames.
"""

from __future__ import annotations

import hashlib
import io
import re

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from services.adapters.encoder.identifiers import uid
from services.adapters.encoder.pixels import checked, quantised, without_copies
from services.adapters.encoder.reading import record_of
from services.adapters.encoder.record import NOT_A_PATIENT, SOFTWARE, Record, derivation, record_digest, record_text
from services.errors import InvalidInput, OutOfRange, Undecodable
from services.maths.pixels import Array

PRIVATE_GROUP, PRIVATE_CREATOR, RECORD_ELEMENT = 0x0071, "EVENHAND", 0x01
# The window whose lower end is 0 and whose upper end is 65535 by the LINEAR function of PS3.3 C.11.2.1.2.
_WINDOW_CENTER, _WINDOW_WIDTH = "32768", "65536"
_LONGEST_DERIVATION = 1024
_DIGITS = 8


def dicom_bytes(
    pixels: npt.NDArray[np.floating],
    record: Record,
    *,
    modality: str = "OT",
    series: str = "",
    instance_number: int = 1,
    spacing: tuple[float, float] | None = None,
) -> bytes:
    """A DICOM file of ``pixels`` (C, H, W) in [0, 1] as 16-bit MONOCHROME2; equal channels are one frame.

    ``series`` names what the images of one synthetic patient share (a counterfactual's resource name): they get one
    patient, study and series; empty means that this image stands alone. ``spacing`` is (row, column) in mm.

    Raises ShapeMismatch, NonFinite, OutOfRange or InvalidInput.
    """
    image = without_copies(checked(pixels))
    if not re.fullmatch(r"[A-Z0-9_]{1,16}", modality):
        raise InvalidInput("a modality is a DICOM code such as DX or MR", field="modality")
    if spacing is not None and not (np.isfinite(spacing).all() and min(spacing) > 0):
        raise OutOfRange("spacing must be two positive numbers, in mm", field="spacing")
    shared = series or record_digest(record)
    dataset = Dataset()
    _identify(dataset, image, record, shared, instance_number)
    _describe(dataset, record, modality)
    _show(dataset, image)
    if spacing is not None:
        dataset.PixelSpacing = [float(f"{side:.{_DIGITS}g}") for side in spacing]
    if image.shape[0] > 1:
        _as_frames(dataset, image.shape[0])
    block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(RECORD_ELEMENT, "UT", record_text(record))
    return _written(dataset)


def read_dicom_record(data: bytes) -> dict[str, object]:
    """The record inside a DICOM file of ours. Raises Undecodable where there is none."""
    creator = Tag(PRIVATE_GROUP, 0x0010)
    element = Tag(PRIVATE_GROUP, 0x1000 + RECORD_ELEMENT)
    try:
        dataset = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=[creator, element])
        ours = str(dataset[creator].value) == PRIVATE_CREATOR if creator in dataset else False
        text = dataset[element].value if ours and element in dataset else None
    except Exception as error:  # a broken file makes pydicom raise anything
        raise Undecodable("is not a DICOM file", field="file") from error
    return record_of(text.decode() if isinstance(text, bytes) else text)


def _identify(dataset: Dataset, image: Array, record: Record, shared: str, instance_number: int) -> None:
    """Patient, study, series and instance: new, never taken from a source. Dates stay empty: nobody was examined."""
    own = hashlib.sha256(image.tobytes()).hexdigest()
    several = image.shape[0] > 1
    kind = MultiFrameGrayscaleWordSecondaryCaptureImageStorage if several else SecondaryCaptureImageStorage
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = uid("instance", shared, record_digest(record), own)
    dataset.SyntheticData = "YES"
    dataset.PatientName = "SYNTHETIC^NOT A PATIENT"
    dataset.PatientID = f"SYNTHETIC-{hashlib.sha256(shared.encode()).hexdigest()[:16]}"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyInstanceUID = uid("study", shared)
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyID = ""
    dataset.StudyDescription = "SYNTHETIC: no patient was examined"
    dataset.SeriesInstanceUID = uid("series", shared)
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = instance_number


def _describe(dataset: Dataset, record: Record, modality: str) -> None:
    """What it is and how it was made."""
    made = derivation(record)
    dataset.Modality = modality
    dataset.SeriesDescription = "SYNTHETIC"
    dataset.ConversionType = "SYN"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.Manufacturer = SOFTWARE
    dataset.SecondaryCaptureDeviceManufacturer = SOFTWARE
    dataset.PatientOrientation = ""
    dataset.DerivationDescription = made if len(made) <= _LONGEST_DERIVATION else made[: _LONGEST_DERIVATION - 1] + "…"
    dataset.ImageComments = f"{NOT_A_PATIENT} Record sha256:{record_digest(record)}"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.ContributingEquipmentSequence = Sequence([_equipment()])


def _equipment() -> Dataset:
    """Who made it, in the place that this class has for that (PS3.3 C.12.1, CID 7005)."""
    purpose = Dataset()
    purpose.CodeValue = "109102"
    purpose.CodingSchemeDesignator = "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = Sequence([purpose])
    equipment.Manufacturer = SOFTWARE
    equipment.ContributionDescription = "Generated the image with a trained model"
    return equipment


def _show(dataset: Dataset, image: Array) -> None:
    """Pixels over the whole range of 16 bits, with the window that shows all of it."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.WindowCenter, dataset.WindowWidth = _WINDOW_CENTER, _WINDOW_WIDTH
    dataset.add_new("PixelData", "OW", quantised(image, 16).astype("<u2").tobytes())


def _as_frames(dataset: Dataset, frames: int) -> None:
    """What PS3.3 C.8.6.3 asks of several frames: pages in order, and stored values as they are."""
    dataset.NumberOfFrames = frames
    dataset.FrameIncrementPointer = Tag("PageNumberVector")
    dataset.PageNumberVector = list(range(1, frames + 1))
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"


def _written(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    # Named by us: pydicom's own name would change the bytes with pydicom's version.
    dataset.file_meta.ImplementationClassUID = UID(uid("implementation"))
    dataset.file_meta.ImplementationVersionName = SOFTWARE.upper()
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
