"""What a cardiac phantom shows, read back from its pixels without knowing how it was drawn.

Walls are found along rays from the middle of the left ventricle, where the signal crosses half of the way between two
tissues. That place does not move when an image is made smaller with antialiasing or is slightly blurred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, binary_fill_holes, distance_transform_edt, label, map_coordinates

from services.maths.phantoms.cardiac import LEFT_VENTRICLE, MYOCARDIUM, RIGHT_VENTRICLE

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_RAYS = 96
_STEP = 0.01  # canvas units between the samples of a ray
_BRIGHT = 0.60  # between tissue and blood
_BODY = 0.2  # between air and anything
_WALL_REACH = 0.32  # no wall is thicker, canvas units
_LEAST_CAVITY = 0.004  # share of the image
_RING_MARGIN = 0.03
_TISSUE = 0.4  # usual signal


@dataclass(frozen=True)
class _Ventricle:
    """Middle (row, column) in pixels; inner and outer wall (R,) along the rays, in canvas units; signal levels."""

    middle: tuple[float, float]
    inner: Doubles
    outer: Doubles
    muscle: float


def read_cardiac(image: npt.NDArray[np.floating]) -> dict[str, float]:
    """Features of one pair (2 or 3, S, S) in [0, 1] whose first channels are ED and ES; NaN where no heart is seen.

    ``lv_radius_ed``, ``lv_radius_es``, ``heart_radius_ed`` (outer wall of the left ventricle) and ``fat_ring`` in
    canvas units, ``radius_ratio`` and ``ejection_fraction`` (1 - ratio²), ``texture`` (spread of the tissue's signal).
    """
    ed, es = image[0].astype(np.float64), image[1].astype(np.float64)
    at_ed, at_es = _ventricle(ed), _ventricle(es)
    radius, radius_es = (_radius(at.inner) if at else float("nan") for at in (at_ed, at_es))
    ratio = radius_es / radius
    return {
        "lv_radius_ed": radius,
        "lv_radius_es": radius_es,
        "heart_radius_ed": _radius(at_ed.outer) if at_ed else float("nan"),
        "radius_ratio": ratio,
        "ejection_fraction": 1.0 - ratio**2,
        "fat_ring": 0.5 * (_fat_ring(ed) + _fat_ring(es)),
        "texture": _texture(ed),
    }


def segment_cardiac(frame: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Mask (S, S) uint8 of one frame (S, S) in [0, 1]: 0..3 as drawn, found in the pixels; all 0 without a heart."""
    signal: Doubles = frame.astype(np.float64)
    found = _ventricle(signal)
    mask = np.zeros(frame.shape, np.uint8)
    if found is None:
        return mask
    rows, columns = np.indices(frame.shape)
    down, across = rows - found.middle[0], columns - found.middle[1]
    reach = np.hypot(down, across) * 2.0 / len(frame)
    angles = np.arctan2(down, across) % (2 * np.pi)
    inner, outer = (np.interp(angles, _angles(), walls, period=2 * np.pi) for walls in (found.inner, found.outer))
    right = _right_ventricle(signal, reach > outer, found.muscle)
    mask[right] = RIGHT_VENTRICLE
    mask[reach <= outer] = MYOCARDIUM
    mask[reach <= inner] = LEFT_VENTRICLE
    return mask


def _radius(walls: Doubles) -> float:
    """Radius of the circle of the same area as an outline given at equal angles."""
    return float(np.sqrt(np.mean(walls**2)))


def _angles() -> Doubles:
    return np.asarray(np.arange(_RAYS) * (2 * np.pi / _RAYS), np.float64)


def _rays(frame: Doubles, middle: tuple[float, float], reach: float) -> Doubles:
    """Signal (R, reach / step) along rays from ``middle``; image right is angle 0."""
    lengths = np.arange(0.0, reach, _STEP) * len(frame) / 2.0
    angles = _angles()[:, None]
    places = np.stack([middle[0] + lengths * np.sin(angles), middle[1] + lengths * np.cos(angles)])
    return np.asarray(map_coordinates(frame, places, order=1, mode="nearest"), np.float64)


def _regions(frame: Doubles) -> list[Bools]:
    """Connected bright regions inside the ring of fat that are large enough for a ventricle."""
    depth = distance_transform_edt(binary_fill_holes(frame > _BODY)) * 2.0 / len(frame)
    regions, count = label((frame > _BRIGHT) & (depth > _fat_ring(frame) + _RING_MARGIN))
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    return [regions == number for number in range(1, count + 1) if areas[number] >= _LEAST_CAVITY * frame.size]


def _ventricle(frame: Doubles) -> _Ventricle | None:
    """The left ventricle: the bright region that is most darkly walled in."""
    best: tuple[float, tuple[float, float]] | None = None
    for region in _regions(frame):
        rows, columns = np.nonzero(region)
        middle = (float(rows.mean()), float(columns.mean()))
        darkness = float(_rays(frame, middle, 0.55).min(axis=1).mean())
        if best is None or darkness < best[0]:
            best = (darkness, middle)
    return None if best is None else _walls(frame, best[1])


def _walls(frame: Doubles, middle: tuple[float, float]) -> _Ventricle:
    rays = _rays(frame, middle, 0.75)
    blood = float(np.median(rays[:, :6]))
    start = _falls(rays, 0.5 * blood)
    reach = start.astype(int)[:, None] + np.arange(round(_WALL_REACH / _STEP))
    muscle = float(np.quantile(_sampled(rays, reach).min(axis=1), 0.3))
    between = frame[(frame > 0.28) & (frame < 0.55)]
    tissue = float(np.median(between)) if len(between) else _TISSUE
    inner = _falls(rays, (blood + muscle) / 2)
    first = inner.astype(int)
    low = first + _sampled(rays, first[:, None] + np.arange(9)).argmin(axis=1)
    outer = _rises(rays, (muscle + tissue) / 2, low)
    beyond = np.median(_sampled(rays, outer.astype(int)[:, None] + np.arange(3, 9)), axis=1)
    to_blood = _rises(rays, (muscle + beyond) / 2, low)  # half of the way up to the right ventricle
    outer = np.where(beyond > _BRIGHT, to_blood, outer)
    return _Ventricle(middle, inner * _STEP, outer * _STEP, muscle)


def _sampled(rays: Doubles, places: npt.NDArray[np.int_]) -> Doubles:
    """Samples (R, K) of rays (R, L) at indices (R, K), the last one beyond their end."""
    return np.asarray(np.take_along_axis(rays, np.minimum(places, rays.shape[1] - 1), axis=1), np.float64)


def _falls(rays: Doubles, level: float | Doubles, start: npt.NDArray[np.int_] | int = 0) -> Doubles:
    """Index (R,), with fraction, where each ray (R, L) first falls to ``level`` from ``start`` on; its end if never."""
    count, length = rays.shape
    start, level = np.broadcast_to(start, count), np.broadcast_to(level, count)
    below = (rays <= level[:, None]) & (np.arange(length) >= start[:, None])
    end = np.where(below.any(axis=1), below.argmax(axis=1), length - 1)
    row = np.arange(count)
    here, before = rays[row, end], rays[row, np.maximum(end - 1, 0)]
    crosses = below.any(axis=1) & (end > start) & (before > here)
    back = np.where(crosses, (level - here) / np.where(crosses, before - here, 1.0), 0.0)
    return np.asarray(end - back, np.float64)


def _rises(rays: Doubles, level: float | Doubles, start: npt.NDArray[np.int_] | int = 0) -> Doubles:
    return _falls(-rays, -np.asarray(level), start)


def _right_ventricle(frame: Doubles, outside: Bools, muscle: float) -> Bools:
    """The largest bright region beyond the left ventricle's wall, grown to half of the way to the muscle beside it."""
    regions = _regions(np.where(outside, frame, _TISSUE))
    if not regions:
        return np.zeros_like(outside)
    right = max(regions, key=lambda region: int(region.sum()))
    blood = float(np.median(frame[right]))
    right = right & (frame > _BRIGHT)
    beside = binary_dilation(~outside, iterations=2) & outside
    return np.asarray(right | (binary_dilation(right) & beside & (frame > (blood + muscle) / 2)))


def _fat_ring(frame: Doubles) -> float:
    """Median thickness of the outermost bright ring, in canvas units; 0 without a body."""
    rows, columns = np.nonzero(frame > _BODY)
    if not len(rows):
        return 0.0
    inwards = _rays(frame, (float(rows.mean()), float(columns.mean())), 1.15)[:, ::-1]
    fat = float(np.median(inwards[:, : int(0.5 / _STEP)].max(axis=1)))
    edges = _rises(inwards, fat / 2)
    depths = _falls(inwards, (fat + _TISSUE) / 2, np.minimum(edges.astype(int) + 4, inwards.shape[1] - 1)) - edges
    return float(np.median(depths)) * _STEP


def _texture(frame: Doubles) -> float:
    """Spread of the signal of the body's tissue, away from edges."""
    tissue = (frame > 0.22) & (frame < 0.58)
    size = max(1, round(3 * len(frame) / 128))
    core = ~binary_dilation(~tissue, iterations=size)
    return float(frame[core].std()) if core.any() else 0.0
