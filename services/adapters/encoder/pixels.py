"""Canonical pixels on their way into a file: checked, and rounded to the file's whole numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.errors import NonFinite, OutOfRange, ShapeMismatch
from services.maths.pixels import Array, ImageNonFiniteError, ImageRangeError, ImageShapeError, check_images

MOST_SIDE = 65535


def checked(pixels: npt.NDArray[np.floating], *, field: str = "pixels") -> Array:
    """``pixels`` (C, H, W), canonical, as contiguous float32 within [0, 1].

    Raises ShapeMismatch, NonFinite or OutOfRange, naming ``field``. What lies outside by a rounding step is drawn in.
    """
    if pixels.ndim != 3 or max(pixels.shape, default=0) > MOST_SIDE:
        raise ShapeMismatch(
            f"an image has shape (C, H, W) with sides of at most {MOST_SIDE}, got {pixels.shape}", field=field
        )
    try:
        check_images(pixels[None])
    except ImageShapeError as error:
        raise ShapeMismatch(str(error), field=field) from error
    except ImageNonFiniteError as error:
        raise NonFinite(str(error), field=field) from error
    except ImageRangeError as error:
        raise OutOfRange(str(error), field=field) from error
    return np.ascontiguousarray(np.clip(pixels, 0.0, 1.0), np.float32)


def quantised(pixels: Array, bits: int) -> npt.NDArray[np.unsignedinteger]:
    """Pixels in [0, 1] to the nearest of 2**bits levels; uint8 for 8 bits, uint16 for 16."""
    levels = np.rint(pixels.astype(np.float64) * (2**bits - 1))
    whole: npt.NDArray[np.unsignedinteger] = levels.astype(np.uint8 if bits == 8 else np.uint16)
    return whole


def without_copies(pixels: Array) -> Array:
    """(1, H, W) where all channels say the same, as grey organs of a colour model do; else unchanged."""
    return pixels[:1] if (pixels == pixels[:1]).all() else pixels
