"""One decoder for the whole folder, and a writer of small real DICOM files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from services.adapters.decoder import Decoder, Limits
from services.errors import ServiceError

CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"


@pytest.fixture(scope="session")
def decoder() -> Iterator[Decoder]:
    with Decoder(Limits(cpu_s=10.0), workers=1) as shared:
        yield shared


@pytest.fixture
def reason_of(decoder: Decoder) -> Callable[[Any], str]:
    """The reason a source is refused for; an image where a refusal was expected fails the test."""

    def ask(source: Any) -> str:
        with pytest.raises(ServiceError) as caught:
            decoder.decode(source)
        assert caught.value.status == "INVALID_ARGUMENT"
        assert caught.value.field == source.image.name or source.mask is not None
        return caught.value.reason

    return ask


@pytest.fixture(scope="session")
def dicom_bytes() -> Callable[..., bytes]:
    """``dicom_bytes(pixels, Keyword=value, ...)``: a monochrome file; a keyword set to None is left out."""

    def build(pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> bytes:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CR_STORAGE
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
        dataset.Modality = "CR"
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        if pixels.ndim == 3:
            dataset.NumberOfFrames = pixels.shape[0]
        dataset.Rows, dataset.Columns = pixels.shape[-2:]
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.add_new("PixelData", "OW", pixels.tobytes())
        for keyword, value in elements.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()

    return build
