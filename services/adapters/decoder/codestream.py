"""What JPEG, JPEG-LS and JPEG 2000 codestreams say of their own size, read without decoding.

A DICOM header may declare 64 x 64 pixels around a codestream of 65535 x 65535, and the codec would believe the latter.
"""

from __future__ import annotations

import struct

_SOC_SIZ = b"\xff\x4f\xff\x51"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # SOF0..SOF15; 0xF7 is JPEG-LS
_ALONE = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers without a segment


def declared_size(codestream: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components), or None if that cannot be found."""
    start = codestream.find(_SOC_SIZ, 0, 4096)  # a JP2 file has its boxes before the codestream
    try:
        if start >= 0:
            return _size_of_jpeg2000(codestream, start + 4)
        return _size_of_jpeg(codestream) if codestream[:2] == b"\xff\xd8" else None
    except struct.error:
        return None


def _size_of_jpeg2000(codestream: bytes, at: int) -> tuple[int, int, int]:
    """ITU-T T.800 A.5.1: Lsiz, Rsiz, then the grid's extent and offset, four tile sizes, and the component count."""
    x, y, x_offset, y_offset = struct.unpack_from(">4I", codestream, at + 4)
    (components,) = struct.unpack_from(">H", codestream, at + 36)
    return y - y_offset, x - x_offset, components


def _size_of_jpeg(codestream: bytes) -> tuple[int, int, int] | None:
    """ITU-T T.81 B.2.2 and T.87 C.2.2: length, precision, rows, columns, components."""
    at = 2
    while at + 4 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAME_MARKERS:
            rows, columns, components = struct.unpack_from(">HHB", codestream, at + 5)
            return rows, columns, components
        else:
            at += 2 + max(2, *struct.unpack_from(">H", codestream, at + 2))
    return None
