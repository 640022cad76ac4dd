"""The lesion of a drawn brain, found without its mask: by what one hemisphere shows and the other does not.

The head is first turned upright by the moments of its outline. The brighter half less its mirror image is then the
lesion alone, since ventricles and cortex are drawn in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    binary_closing,
    binary_fill_holes,
    distance_transform_edt,
    gaussian_filter,
    label,
    map_coordinates,
    maximum_filter,
)

Doubles = npt.NDArray[np.float64]

_SIZE = 64  # pixels at which a brain is read
_BRAIN = (0.56, 0.72)  # half-axes, inside the skull of the smallest head
_MIDLINE = 0.04
_RIM = 1.5  # pixels from the edge that are not inside
_RING = (2.0, 7.0)  # pixels from a place
_EDGE = 0.4  # share of a lesion's brightest signal that counts as its edge


@dataclass(frozen=True)
class Lesion:
    """``side`` in the image (-1 left, 1 right), ``excess`` over the other hemisphere as a share of the brain's signal,
    and ``core``: least signal of a place inside over that of the ring around it; low with a necrotic core."""

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
    return Lesion(side, bright / float(np.median(smooth[brain])), _core(added, region))


def _core(added: Doubles, region: npt.NDArray[np.bool_]) -> float:
    """The least, over places inside a region, of their signal over that of the ring around them.

    The ring is bright in all directions around a necrotic core: it counts as the mean of the four least bright of
    eight directions, each by its brightest pixel.
    """
    region = binary_fill_holes(binary_closing(region, iterations=3))
    depth = distance_transform_edt(region)
    shown = np.where(region, added, -1.0)
    around = np.sort([maximum_filter(shown, footprint=part, mode="constant", cval=-1.0) for part in _ring()], axis=0)
    ratio = added / np.maximum(around[:4].mean(axis=0), 0.02)
    inside = (depth >= min(_RIM, 0.8 * float(depth.max()))) & (around[0] > 0)
    return float(ratio[inside].min()) if inside.any() else 1.0


@lru_cache(maxsize=1)
def _ring() -> tuple[npt.NDArray[np.bool_], ...]:
    """Footprints of the ring's eight parts."""
    reach = int(_RING[1])
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(down, across)
    direction = np.rint(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 8
    return tuple((distance >= _RING[0]) & (distance <= _RING[1]) & (direction == k) for k in range(8))


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
