"""NPY: canonical pixels as they are. The format has no room for a record; it travels beside the file."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from services.adapters.encoder.pixels import checked


def npy_bytes(pixels: npt.NDArray[np.floating]) -> bytes:
    """NPY 1.0 with ``pixels`` (C, H, W) in [0, 1] as little-endian float32, row-major."""
    file = io.BytesIO()
    np.lib.format.write_array(file, checked(pixels).astype("<f4"), version=(1, 0), allow_pickle=False)
    return file.getvalue()
