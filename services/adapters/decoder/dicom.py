"""DICOM: one frame of a monochrome image, through its modality and display transformations, in canonical form.

No text of the file but the modality's code leaves this module.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import _PIXEL_DATA_DECODERS
from pydicom.pixels.processing import apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from services.adapters.decoder.codestream import declared_size
from services.adapters.decoder.frames import frame_index
from services.adapters.decoder.limits import Limits
from services.adapters.decoder.sources import Decoded
from services.errors import InvalidInput, Undecodable, UnsupportedFormat
from services.maths.pixels import canonical_from_stored

_PREAMBLE = 132
_RAW_DEFLATE = -15
_MOST_ROWS = 65535
_RLE_HEADER = 64
_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_READ: list[BaseTag | int] = [
    Tag(keyword)
    for keyword in (
        *("Modality", "BurnedInAnnotation", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
        *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
        *("PixelSpacing", "ImagerPixelSpacing", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
        *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "ExtendedOffsetTable"),
        *("ExtendedOffsetTableLengths", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
        *("PixelData", *_FLOAT_BITS),
    )
]


def read(data: bytes, frame: str | int, limits: Limits) -> Decoded:
    """The chosen frame in canonical form (1, H, W). Raises ServiceError.

    Without a window or a display table in the file, the frame's own minimum and maximum become 0 and 1.
    """
    dataset = _dataset(data, limits)
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        raise InvalidInput("says that text is burned into its pixels", reason="BURNED_IN_ANNOTATION")
    values, index = _frame(dataset, frame, len(data), limits)
    pixels = _canonical(values, dataset, index)
    return Decoded(pixels[None], _modality(dataset), _spacing(dataset, index))


def stored(data: bytes, frame: str | int, limits: Limits) -> npt.NDArray[Any]:
    """The chosen frame (H, W) as stored, for masks. Raises ServiceError."""
    return _frame(_dataset(data, limits), frame, len(data), limits)[0]


def _dataset(data: bytes, limits: Limits) -> Dataset:
    """The elements of ``_READ``. Deflated files are inflated here, because pydicom would do it without a limit."""
    if data[128:_PREAMBLE] == b"DICM":
        file = io.BytesIO(data)
        file.seek(_PREAMBLE)
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            inflated = limits.inflate(data[file.tell() :], _RAW_DEFLATE)
            dataset = read_dataset(io.BytesIO(inflated), False, True, specific_tags=_READ)
            dataset.file_meta = FileMetaDataset(meta)
            dataset.set_original_encoding(False, True)
            return dataset
    try:
        return dcmread(io.BytesIO(data), force=True, specific_tags=_READ)
    except InvalidDicomError as error:
        raise Undecodable("is not a DICOM file") from error


def _frame(dataset: Dataset, frame: str | int, given: int, limits: Limits) -> tuple[npt.NDArray[Any], int]:
    """One frame (H, W) as stored, and its index."""
    keyword = next((name for name in ("PixelData", *_FLOAT_BITS) if name in dataset), None)
    if keyword is None:
        raise Undecodable("holds no image (no pixel data)", reason="NO_PIXEL_DATA")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if _integer(dataset, "SamplesPerPixel", 1, 4) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedFormat("is not monochrome; colour images are not read", reason="COLOUR_NOT_SUPPORTED")
    rows = _integer(dataset, "Rows", 1, _MOST_ROWS)
    columns = _integer(dataset, "Columns", 1, _MOST_ROWS)
    bits = _integer(dataset, "BitsAllocated", 1, 64, otherwise=_FLOAT_BITS.get(keyword))
    frames = _integer(dataset, "NumberOfFrames", 1, 2**31 - 1, otherwise=1)
    limits.admit(math.ceil(rows * columns * bits / 8 * frames), given)
    index = frame_index(frame, frames)
    syntax = _transfer_syntax(dataset)
    if syntax.is_compressed and not syntax.is_deflated:
        _check_codestream(_codestream(dataset, index, frames), syntax, rows, columns, bits)
    else:
        _check_length(dataset[keyword].value, math.ceil(rows * columns * frames * bits / 8))
    plugin = "pylibjpeg" if syntax.is_compressed and not syntax.is_deflated else ""
    values = pixel_array(dataset, index=index, raw=True, decoding_plugin=plugin)
    if values.shape != (rows, columns):
        raise Undecodable("its pixels have another size than its header says", reason="SIZE_NOT_AS_DECLARED")
    return values, index


def _transfer_syntax(dataset: Dataset) -> UID:
    """The transfer syntax, where a file without one gets what its elements were written in."""
    meta = getattr(dataset, "file_meta", None)
    named = None if meta is None else meta.get("TransferSyntaxUID")
    if named is None:
        implicit, little = dataset.original_encoding
        native = {(True, True): "1.2.840.10008.1.2", (False, True): "1.2.840.10008.1.2.1"}
        named = UID(native.get((bool(implicit), bool(little)), "1.2.840.10008.1.2.2"))
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = named
    if named not in _PIXEL_DATA_DECODERS:
        raise UnsupportedFormat("has a transfer syntax that is not read", reason="TRANSFER_SYNTAX_UNSUPPORTED")
    return UID(named)


def _check_length(pixels: Any, declared: int) -> None:
    if len(pixels) < declared:
        raise Undecodable(
            f"the header declares {declared} bytes of pixels, the file has {len(pixels)}", reason="PIXEL_DATA_TRUNCATED"
        )


def _codestream(dataset: Dataset, index: int, frames: int) -> bytes:
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    return get_frame(dataset.PixelData, index, number_of_frames=frames, extended_offsets=offsets)


def _check_codestream(codestream: bytes, syntax: UID, rows: int, columns: int, bits: int) -> None:
    """Refuse a frame whose codestream speaks of another size than the header, before a codec believes it."""
    if syntax == RLELossless:  # says no size; but incompressible pixels grow by 1 in 128 only
        honest = len(codestream) <= 2 * math.ceil(rows * columns * bits / 8) + _RLE_HEADER
    else:
        honest = declared_size(codestream) == (rows, columns, 1)
    if not honest:
        raise Undecodable("its codestream has another size than its header says", reason="SIZE_NOT_AS_DECLARED")


def _canonical(values: npt.NDArray[Any], dataset: Dataset, index: int) -> npt.NDArray[np.float32]:
    """PS3.3 C.11: modality transformation, then the first display transformation, then MONOCHROME1's inversion."""
    slope, intercept = 1.0, 0.0
    if dataset.get("ModalityLUTSequence"):
        values = apply_modality_lut(values, dataset)
    else:
        rescale = _macro(dataset, index, "PixelValueTransformationSequence", "RescaleSlope")
        slope = _number(rescale, "RescaleSlope", 1.0)
        intercept = _number(rescale, "RescaleIntercept", 0.0)
    display = _macro(dataset, index, "FrameVOILUTSequence", "WindowCenter")
    window, value_range, function = None, None, "LINEAR"
    if dataset.get("VOILUTSequence"):
        rescaled = values if (slope, intercept) == (1.0, 0.0) else values * slope + intercept
        values, slope, intercept = apply_voi(rescaled, dataset), 1.0, 0.0
        value_range = (0.0, 2.0 ** _lut_bits(dataset) - 1)
    elif display.get("WindowCenter") is not None and display.get("WindowWidth") is not None:
        window = (_number(display, "WindowCenter", 0.0), _number(display, "WindowWidth", 0.0))
        function = str(display.get("VOILUTFunction") or "LINEAR").strip().upper()
    try:
        return canonical_from_stored(
            values,
            slope=slope,
            intercept=intercept,
            window=window,
            voi_function=function,
            invert=dataset.PhotometricInterpretation == "MONOCHROME1",
            value_range=value_range,
        )
    except ValueError as error:
        if type(error) is not ValueError:  # non-finite pixels have a reason of their own
            raise
        raise Undecodable(f"its rescale or window is impossible: {error}", reason="DISPLAY_INVALID") from error


def _lut_bits(dataset: Dataset) -> int:
    bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
    if not 1 <= bits <= 16:
        raise Undecodable("its display table has an impossible depth", reason="DISPLAY_INVALID")
    return bits


def _macro(dataset: Dataset, index: int, macro: str, keyword: str) -> Dataset:
    """Where ``keyword`` stands: in the frame's functional group, in the shared ones, or in the image itself."""
    for item in _groups(dataset, index):
        found = item.get(macro)
        if found and keyword in found[0]:
            return Dataset(found[0])
    return dataset


def _groups(dataset: Dataset, index: int) -> Iterator[Dataset]:
    each = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if index < len(each):
        yield each[index]
    yield from (dataset.get("SharedFunctionalGroupsSequence") or [])[:1]


def _integer(dataset: Dataset, keyword: str, low: int, high: int, otherwise: int | None = None) -> int:
    value = dataset.get(keyword)
    if value in (None, "") and otherwise is not None:
        return otherwise
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = low - 1
    if not low <= number <= high:
        raise Undecodable(f"its {keyword} is missing or not between {low} and {high}", reason="PIXEL_HEADER_INVALID")
    return number


def _number(dataset: Dataset, keyword: str, otherwise: float) -> float:
    """The first value of a decimal element. A file may offer several windows; the first is the preferred one."""
    numbers = _numbers(dataset, keyword)
    return numbers[0] if numbers else otherwise


def _numbers(dataset: Dataset, keyword: str) -> list[float]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    several = value if isinstance(value, list | tuple) or hasattr(value, "__iter__") else [value]
    try:
        return [float(number) for number in several]
    except (TypeError, ValueError) as error:
        raise Undecodable(f"its {keyword} is not a number", reason="DISPLAY_INVALID") from error


def _spacing(dataset: Dataset, index: int) -> tuple[float, float] | None:
    measures = _macro(dataset, index, "PixelMeasuresSequence", "PixelSpacing")
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        distances = _numbers(measures, keyword)
        if len(distances) == 2 and all(math.isfinite(distance) and distance > 0 for distance in distances):
            return distances[0], distances[1]
    return None


def _modality(dataset: Dataset) -> str:
    code = str(dataset.get("Modality", ""))
    return code if re.fullmatch(r"[A-Z0-9_]{1,16}", code) else ""
