"""The lesion of a drawn brain, found without its mask: by what one hemisphere shows and the other does not.

The head is first turned upright by the moments of its outline. The brighter half less its mirror image is then the
lesion alone, since ventricles and cortex are drawn in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_closing, binary_fill_holes, gaussian_filter, label, map_coordinates

Doubles = npt.NDArray[np.float64]

_SIZE = 64  # pixels at which a brain is read
_BRAIN = (0.56, 0.72)  # half-axes, inside the skull of the smallest head
_MIDLINE = 0.04
_EDGE = 0.4  # share of a lesion's brightest signal that counts as its edge


@dataclass(frozen=True)
class Lesion:
    """``side`` in the image (-1 left, 1 right), ``excess`` over the other hemisphere as a share of the brain's signal,
    and ``core``: darkest signal of the innermost part over that of the brightest; low where there is a dark core."""

    side: int
    excess: float
    core: float


def read_lesion(image: npt.NDArray[np.floating]) -> Lesion | None:
    """The lesion of one slice (S, S) in [0, 1]; None where the hemispheres are alike."""
    upright = _upright(_resampled(image.astype(np.float64)))
    x, y = _axes()
    brain = np.hypot(x / _BRAIN[0], y / _BRAIN[1]) < 1
    smooth = gaussian_filter(upright, 1.0)
    added = (smooth - smooth[:, ::-1]) * brain
    spread = gaussian_filter(added, 2.0)
    gains = [float(np.clip(spread, 0, None)[brain & (side * x > _MIDLINE)].sum()) for side in (-1, 1)]
    side = 1 if gains[1] > gains[0] else -1
    half = brain & (side * x > _MIDLINE)
    region = _largest(
        binary_fill_holes(binary_closing((spread > _EDGE * spread[half].max()) & half, iterations=2)) & half
    )
    if not region.any() or max(gains) <= 0:
        return None
    bright = float(np.quantile(added[region], 0.9))
    depth = gaussian_filter(region.astype(np.float64), 2.5)[region]
    inner = float(np.quantile(added[region][depth >= np.quantile(depth, 0.85)], 0.05))
    return Lesion(side, bright / float(np.median(smooth[brain])), inner / max(bright, 1e-6))


def _axes() -> tuple[Doubles, Doubles]:
    axis = (np.arange(_SIZE) + 0.5) * 2.0 / _SIZE - 1.0
    x, y = np.meshgrid(axis, axis)
    return x, y


def _resampled(image: Doubles) -> Doubles:
    """The image at the size of reading: blocks averaged where it divides, else interpolated."""
    size = len(image)
    if size % _SIZE == 0:
        step = size // _SIZE
        return np.asarray(image.reshape(_SIZE, step, _SIZE, step).mean(axis=(1, 3)))
    places = (np.arange(_SIZE) + 0.5) * size / _SIZE - 0.5
    return np.asarray(map_coordinates(image, np.meshgrid(places, places, indexing="ij"), order=1, mode="nearest"))


def _upright(image: Doubles) -> Doubles:
    """The image with the head in its middle and the head's long axis vertical."""
    smooth = gaussian_filter(image, 1.0)
    rows, columns = np.nonzero(binary_fill_holes(smooth > 0.5 * np.quantile(smooth, 0.7)))
    if len(rows) < 2:
        return image
    spread = np.cov(np.stack([columns, rows]))
    lean = 0.5 * np.arctan2(2 * spread[0, 1], spread[1, 1] - spread[0, 0])
    x, y = (axis * _SIZE / 2 for axis in _axes())
    places = [
        rows.mean() + np.cos(lean) * y - np.sin(lean) * x,
        columns.mean() + np.cos(lean) * x + np.sin(lean) * y,
    ]
    return np.asarray(map_coordinates(image, places, order=1, mode="nearest"))


def _largest(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    parts, count = label(region)
    if count == 0:
        return region
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))
