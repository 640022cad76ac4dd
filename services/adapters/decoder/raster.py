"""PNG, TIFF and JPEG with one grey channel, through Pillow. 8 and 16 bits map their full range to [0, 1]."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from services.adapters.decoder.frames import frame_index
from services.adapters.decoder.limits import Limits
from services.adapters.decoder.sources import Decoded
from services.errors import Undecodable, UnsupportedFormat
from services.maths.pixels import canonical_from_stored

# Registered now, with all that Image.open would import at its first call: in the sandbox nothing can be imported later.
Image.preinit()
_PARSERS = (JpegImagePlugin.JpegImageFile, PngImagePlugin.PngImageFile, TiffImagePlugin.TiffImageFile)
_FORMATS = tuple(str(parser.format) for parser in _PARSERS)

_FULL_RANGE = {"1": (0.0, 1.0), "L": (0.0, 255.0), "I;16": (0.0, 65535.0), "I;16B": (0.0, 65535.0)}
_BYTES = {"1": 1, "L": 1, "I;16": 2, "I;16B": 2, "I": 4, "F": 4}


def read(data: bytes, frame: str | int, limits: Limits) -> Decoded:
    """The image in canonical form (1, H, W); 32 bits have no full range, so min..max. Raises ServiceError."""
    array, mode = _array(data, frame, limits)
    return Decoded(canonical_from_stored(array, value_range=_FULL_RANGE.get(mode))[None])


def stored(data: bytes, frame: str | int, limits: Limits) -> npt.NDArray[Any]:
    """The values (H, W) as they are, for masks. Raises ServiceError."""
    return _array(data, frame, limits)[0]


def _array(data: bytes, frame: str | int, limits: Limits) -> tuple[npt.NDArray[Any], str]:
    Image.MAX_IMAGE_PIXELS = None  # our own limit, below, also knows the size of a pixel and of the file
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        pages = int(getattr(image, "n_frames", 1))
        if pages > 1:
            image.seek(frame_index(frame, pages))
        if image.mode not in _BYTES:
            raise UnsupportedFormat(f"must have one grey channel, has mode {image.mode}", reason="COLOUR_NOT_SUPPORTED")
        limits.admit(image.width * image.height * _BYTES[image.mode], len(data))
        try:
            image.load()
        except (OSError, SyntaxError) as error:
            raise Undecodable("its pixels are truncated or broken", reason="PIXEL_DATA_BROKEN") from error
        return np.asarray(image), image.mode
