"""The files of one image, in the formats that were asked for, each with its record inside, and put into the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from services.adapters.encoder import dicom_bytes, npy_bytes, png_bytes
from services.adapters.object_store import ObjectStore
from services.errors import InvalidInput

Artifact = dict[str, Any]
FORMATS = ("png", "npy", "dicom")

MEDIA_TYPES = {
    ".png": "image/png",
    ".npy": "application/x-npy",
    ".dcm": "application/dicom",
    ".mp4": "video/mp4",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".parquet": "application/vnd.apache.parquet",
}
# DICOM's code for what an image looks like; a modality that has none here is "other".
_MODALITIES = {"chest": "DX", "pelvis": "DX", "brain": "MR", "cardiac": "MR"}


def checked_formats(formats: Sequence[str], *, field: str = "spec.formats") -> list[str]:
    """Those asked for, in one order and none twice; PNG where none is named."""
    for name in formats:
        if name not in FORMATS:
            raise InvalidInput(
                f"formats are {', '.join(FORMATS)}, got {name[:20]!r}", field=field, reason="FORMAT_UNKNOWN"
            )
    return [name for name in FORMATS if name in formats] or ["png"]


def put_file(store: ObjectStore, filename: str, data: bytes) -> Artifact:
    """Store a file and describe it as the API's Artifact does."""
    media_type = MEDIA_TYPES["." + filename.rpartition(".")[2]]
    return {"filename": filename, **asdict(store.put(data, media_type=media_type)), "media_type": media_type}


def put_image(
    store: ObjectStore,
    stem: str,
    pixels: np.ndarray,
    record: Mapping[str, Any],
    formats: Sequence[str],
    *,
    modality: str,
    series: str = "",
    number: int = 1,
) -> list[Artifact]:
    """The image's files in the order of ``formats``."""
    kind = modality.partition("-")[0]
    writers: dict[str, tuple[str, Callable[[], bytes]]] = {
        "png": (".png", lambda: png_bytes(pixels, record)),
        "npy": (".npy", lambda: npy_bytes(pixels)),
        "dicom": (
            ".dcm",
            lambda: dicom_bytes(
                pixels, record, modality=_MODALITIES.get(kind, "OT"), series=series, instance_number=number
            ),
        ),
    }
    return [put_file(store, stem + writers[name][0], writers[name][1]()) for name in formats]
