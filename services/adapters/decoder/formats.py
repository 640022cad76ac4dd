"""Inside the worker: which parser a file goes to, and how requests and answers are laid out.

Request: ``{"image": {"name", "size"}, "mask": {"name", "size"} | null, "es_mask": the same, "frame", "slices",
"mask_form", "cine"}``, then the bytes of the files that are named.
Answer: ``{"images": [{"shape", "modality", "spacing", "slice", "offset", "mask"}]}``, then for each image its float32
pixels and, where ``mask`` is a shape and not null, its uint8 mask; or ``{"error": ...}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.adapters.decoder import cine, dicom, nifti, npy, raster, voxels
from services.adapters.decoder.limits import Limits
from services.adapters.decoder.masks import NamedBytes, about, as_declared, plane_count
from services.adapters.decoder.sources import Cine, Decoded, MaskForm, Slices
from services.errors import InvalidInput, NonFinite, ShapeMismatch, Undecodable, UnsupportedFormat
from services.maths.pixels import ImageNonFiniteError

_PARSERS = {"DICOM": dicom, "image": raster, "NPY": npy}

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"\x93NUMPY", "NPY"),
    (b"\x1f\x8b", "NIfTI"),
)
_NAMES = {
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".ima": "DICOM",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".npy": "NPY",
    ".png": "image",
    ".tif": "image",
    ".tiff": "image",
    ".jpg": "image",
    ".jpeg": "image",
}


@dataclass(frozen=True)
class _Wanted:
    """What of the file was asked for; see :class:`Source`."""

    frame: str | int
    slices: Slices
    form: MaskForm
    cine: Cine | None
    es_mask: NamedBytes | None


def answer(request: dict[str, Any], payload: bytes, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """Decode one request. Raises ServiceError for every refusal that was foreseen."""
    image, mask, es_mask = _files([request["image"], request["mask"], request["es_mask"]], payload)
    assert image is not None
    beating = None if request["cine"] is None else Cine(**request["cine"])
    form = MaskForm(**request["mask_form"])
    wanted = _Wanted(request["frame"], Slices(**request["slices"]), form, beating, es_mask)
    images = _decode(image, mask, wanted, limits)
    header, planes = [], []
    for decoded in images:
        header.append(
            {
                "shape": decoded.pixels.shape,
                "modality": decoded.modality,
                "spacing": decoded.spacing,
                "slice": decoded.slice_index,
                "offset": decoded.frame_offset,
                "mask": None if decoded.mask is None else decoded.mask.shape,
            }
        )
        planes.append(decoded.pixels.tobytes())
        if decoded.mask is not None:
            planes.append(decoded.mask.tobytes())
    return {"images": header}, planes


def _files(named: list[dict[str, Any] | None], payload: bytes) -> list[NamedBytes | None]:
    """Name and bytes of each file, which follow one another in ``payload``; None where none was named."""
    found: list[NamedBytes | None] = []
    at = 0
    for file in named:
        found.append(None if file is None else (file["name"], payload[at : at + file["size"]]))
        at += 0 if file is None else file["size"]
    return found


def _decode(image: NamedBytes, mask: NamedBytes | None, wanted: _Wanted, limits: Limits) -> list[Decoded]:
    frame, form = wanted.frame, wanted.form
    kind = _named(image, _kind)
    mask_kind = None if mask is None else _named(mask, _kind)
    if kind == "NIfTI":
        for file in (mask, wanted.es_mask):
            if file is not None and _named(file, _kind) != "NIfTI":
                message = "the mask of a NIfTI volume must be NIfTI too"
                raise InvalidInput(message, field=file[0], reason="MASK_MISMATCH")
        images: list[Decoded] = _named(image, lambda _, data: _volumes(data, mask, wanted, limits))
        return images
    if wanted.cine is not None:
        raise UnsupportedFormat("a cine must be a NIfTI file (X, Y, Z, T)", field=image[0])
    picture: Decoded = _named(image, lambda _, data: _PARSERS[kind].read(data, frame, limits))
    if mask is None:
        return [picture]
    if mask_kind == "NIfTI":
        raise InvalidInput("a NIfTI mask needs a NIfTI image", field=mask[0], reason="MASK_MISMATCH")
    extent = picture.pixels.shape[1:]
    kept = _named(mask, lambda _, data: _mask(_PARSERS[str(mask_kind)].stored(data, frame, limits), form, extent))
    return [Decoded(picture.pixels, picture.modality, picture.spacing, mask=kept)]


def _volumes(data: bytes, mask: NamedBytes | None, wanted: _Wanted, limits: Limits) -> list[Decoded]:
    if wanted.cine is None:
        return nifti.read(data, mask, wanted.slices, wanted.form, limits)
    masks = [file for file in (mask, wanted.es_mask) if file is not None]
    return cine.read(data, masks, wanted.cine, wanted.slices, form=wanted.form, limits=limits)


def _mask(stored: npt.NDArray[Any], form: MaskForm, extent: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    planes = plane_count(stored, form, spatial=2)
    if stored.shape[-2:] != extent:
        shape = stored.shape if form.labels else stored.shape[-2:]
        raise ShapeMismatch(f"the mask has shape {shape}, its image {extent}", reason="MASK_MISMATCH")
    return as_declared(stored.reshape(planes, *extent), form)


def _named(file: NamedBytes, parse: Any) -> Any:
    """``parse(name, data)`` with every refusal naming the file, and errors of pure maths turned into refusals."""
    name, data = file
    with about(name):
        try:
            return parse(name, data)
        except ImageNonFiniteError as error:
            raise NonFinite(str(error)) from error


def _kind(name: str, data: bytes) -> str:
    """The parser for these bytes. Raises UnsupportedFormat or, when the name says another kind, Undecodable."""
    if not data:
        raise Undecodable("has no bytes", reason="FILE_EMPTY")
    found = _signature(data)
    named = next((kind for ending, kind in _NAMES.items() if name.lower().endswith(ending)), None)
    if found is None and named == "DICOM":
        return "DICOM"  # old files lack the preamble; the parser looks closer
    if found is None and named is None:
        raise UnsupportedFormat("is neither DICOM, NIfTI, PNG, TIFF, JPEG nor NPY")
    if named is not None and found != named:
        raise Undecodable(f"is named like {named}, but its content is not", reason="CONTENT_NOT_AS_NAMED")
    return str(found)


def _signature(data: bytes) -> str | None:
    if data[128:132] == b"DICM":
        return "DICOM"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        raise UnsupportedFormat("is an archive (zip, npz); give its files one by one", reason="ARCHIVE_REFUSED")
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise UnsupportedFormat("is a pickle, which could run code", reason="PICKLE_REFUSED")
    if voxels.recognises(data):
        return "NIfTI"
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)
