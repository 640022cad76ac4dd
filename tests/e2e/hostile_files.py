"""Files that lie: each with the reason that decoding must give, wherever the file is met."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom.data

MIB = 2**20
DICOM = (Path(pydicom.data.__file__).parent / "test_files" / "MR_small.dcm").read_bytes()


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def _lying_npy(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64)


def _nifti() -> bytes:
    return nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4)).to_bytes()


def _lying_nifti() -> bytes:
    data = bytearray(_nifti())
    struct.pack_into("<8h", data, 40, 3, 30000, 30000, 30000, 1, 1, 1, 1)  # dim
    return bytes(data)


def _lying_dicom() -> bytes:
    """Rows says 60000 where the pixels are of 64."""
    rows = struct.pack("<2H2sH", 0x0028, 0x0010, b"US", 2)
    at = DICOM.index(rows) + len(rows)
    return DICOM[:at] + struct.pack("<H", 60000) + DICOM[at + 2 :]


def _png_bomb() -> bytes:
    """30000 × 30000 grey pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">2I5B", 30000, 30000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(MIB))) + chunk(b"IEND", b"")


def _archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", npy(np.zeros((8, 8), np.float32)))
    return file.getvalue()


def _with(value: float) -> bytes:
    pixels = np.full((8, 8), 0.5, np.float32)
    pixels[2, 3] = value
    return npy(pixels)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty.dcm": (b"", "FILE_EMPTY"),
    "cut.dcm": (DICOM[: len(DICOM) // 2], "PIXEL_DATA_TRUNCATED"),
    "lying.dcm": (_lying_dicom(), "PIXEL_DATA_TRUNCATED"),
    "text.dcm": (b"to whom it may concern " * 50, "NO_PIXEL_DATA"),
    "cut.nii": (_nifti()[:400], "SIZE_NOT_AS_DECLARED"),
    "lying.nii": (_lying_nifti(), "DECODED_SIZE_OVER_LIMIT"),
    "cut.nii.gz": (gzip.compress(_nifti())[:-20], "COMPRESSED_STREAM_BROKEN"),
    "bomb.nii.gz": (gzip.compress(bytes(300 * MIB), 9), "DECODED_SIZE_OVER_LIMIT"),
    "cut.npy": (npy(np.zeros((16, 16), np.float32))[:-9], "SIZE_NOT_AS_DECLARED"),
    "lying.npy": (_lying_npy("(60000, 60000)"), "DECODED_SIZE_OVER_LIMIT"),
    "negative.npy": (_lying_npy("(-8, -8)"), "SIZE_NOT_AS_DECLARED"),
    "objects.npy": (npy(np.array([{"a": 1}], dtype=object), allow_pickle=True), "PICKLE_REFUSED"),
    "nan.npy": (_with(np.nan), "NON_FINITE_PIXELS"),
    "infinite.npy": (_with(-np.inf), "NON_FINITE_PIXELS"),
    "pickle.npy": (pickle.dumps({"pixels": [1, 2, 3]}) + bytes(200), "PICKLE_REFUSED"),
    "archive.npy": (_archive(), "ARCHIVE_REFUSED"),
    "bomb.png": (_png_bomb(), "DECODED_SIZE_OVER_LIMIT"),
}
"""name → (bytes, reason)"""
