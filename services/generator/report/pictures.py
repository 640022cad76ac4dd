"""Pieces that maps and filmstrips share: planes of an image, enlarged ones, round numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.errors import ShapeMismatch
from services.maths.pixels import Array

_ROUND = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0)


def distinct_planes(*images: Array) -> list[int]:
    """Indices of the channels that say something new in any of ``images`` (C, H, W): [ED, ES, ED] gives 0 and 1."""
    kept: list[int] = []
    for channel in range(images[0].shape[0]):
        if not any(all((image[channel] == image[k]).all() for image in images) for k in kept):
            kept.append(channel)
    return kept


def same_shape(first: Array, other: Array, field: str) -> None:
    """Raises ShapeMismatch naming ``field`` where two frames of one path differ in shape."""
    if first.shape != other.shape:
        raise ShapeMismatch(f"all frames have one shape; got {first.shape} and {other.shape}", field=field)


def enlarged(plane: npt.NDArray[np.floating], factor: int) -> Array:
    """(H, W) real numbers enlarged smoothly by a whole factor, as float32; never beyond the plane's own range."""
    if factor == 1:
        return np.asarray(plane, np.float32)
    height, width = plane.shape
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    large = image.resize((width * factor, height * factor), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(large, np.float32), plane.min(), plane.max())


def factor_for(side: int, least: int) -> int:
    """The whole factor that brings ``side`` to at least ``least`` pixels."""
    return max(1, -(-least // side))


def round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _ROUND if step * power >= value * (1 - 1e-6))
