"""The features of a drawn pelvis read back from its pixels, from any number of pixels and whatever the exposure.

Everything is read from integrals and moments over soft windows, which blur and pixel size leave as they are (but for
the pixel's own variance); no threshold decides but where the feature itself is one of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from services.maths.phantoms import pelvis as drawn

Doubles = npt.NDArray[np.float64]

PELVIS_FEATURES = (
    "inter_acetabular_distance",
    "neck_shaft_angle",
    "cortical_thickness",
    "ring_eccentricity",
    "foramen_eccentricity",
    "osteoarthritis",
)
SEX_AT_RING = 1.19
PROJECTION_AT = 0.655
_ROUNDS = 6
_AT_A_TIME = 4
# Radii about a foramen: all of its plate, and so much of it that a blurred femoral head nearby has no part in it.
_WHOLE_PLATE, _CLEAR_OF_HEAD = 0.225, 0.205


def read_pelvis(images: npt.NDArray[np.float32]) -> pd.DataFrame:
    """One row an image of (N, 1, S, S) in [0, 1], S at least 24.

    inter_acetabular_distance, cortical_thickness and size in canvas units (half the image is 1) at size 1;
    neck_shaft_angle in degrees; ring_eccentricity (width over height) and foramen_eccentricity (height over width);
    osteoarthritis as a continuous grade; waist (canvas units); sex, laterality and projection as their levels. NaN
    where a landmark is not there.
    """
    # A few at a time: the windows of many large images do not fit the processor's cache.
    parts = [_read(images[start : start + _AT_A_TIME]) for start in range(0, len(images), _AT_A_TIME)]
    return pd.concat(parts, ignore_index=True)


def _read(images: npt.NDArray[np.float32]) -> pd.DataFrame:
    values = images[:, 0].astype(np.float64)
    scene = _Scene.of(values)
    ring = _read_ring(scene)
    sacrum_y, density = _read_sacrum(scene, ring)
    sides = [_read_hip(scene, ring, density, side) for side in (-1, 1)]
    foramina = [_read_foramen(scene, ring, side) for side in (-1, 1)]
    left, right = (side["head_x"] for side in sides)
    projected = (ring.y - sacrum_y) / ring.size
    waists = _read_waist(values, scene)
    return pd.DataFrame(
        {
            "inter_acetabular_distance": (left + right) / ring.size,
            "neck_shaft_angle": np.mean([side["angle"] for side in sides], axis=0),
            "cortical_thickness": np.mean([side["cortex"] for side in sides], axis=0),
            "ring_eccentricity": ring.width / ring.height,
            "foramen_eccentricity": np.mean(foramina, axis=0),
            "osteoarthritis": np.mean([side["grade"] for side in sides], axis=0),
            "waist": waists,
            "size": ring.size,
            "sex": np.where(ring.width / ring.height > SEX_AT_RING, "Female", "Male"),
            "laterality": np.where(_marker(values, scene, 1) > _marker(values, scene, -1), "right", "left"),
            "projection": np.where(projected > PROJECTION_AT, "inlet", "AP"),
        }
    )


@dataclass(frozen=True)
class _Scene:
    """``excess`` (N, S, S) over soft tissue, ``soft`` (N, 1, 1), coordinates (1, S, S) and the area of a pixel."""

    excess: Doubles
    soft: Doubles
    x: Doubles
    y: Doubles
    pixel: float

    @staticmethod
    def of(values: Doubles) -> _Scene:
        size = values.shape[-1]
        axis = (np.arange(size) + 0.5) * 2.0 / size - 1.0
        x, y = np.meshgrid(axis, axis)
        quiet = (np.abs(x) < 0.14) & (np.abs(y + 0.19) < 0.10)
        soft = np.median(values[:, quiet], axis=1)[:, None, None]
        return _Scene(values - soft, soft, x[None], y[None], 2.0 / size)

    def total(self, weights: Doubles) -> Doubles:
        """(N,) integral of excess × weights."""
        return np.asarray((self.excess * weights).sum(axis=(1, 2)) * self.pixel**2)


@dataclass(frozen=True)
class _Ring:
    """Centre, half axes and size, each (N,)."""

    x: Doubles
    y: Doubles
    width: Doubles
    height: Doubles

    @property
    def size(self) -> Doubles:
        return np.asarray(np.sqrt(self.width * self.height) / drawn.RING_RADIUS)


def _read_ring(scene: _Scene) -> _Ring:
    count = len(scene.excess)
    shape = (1.0 + 3.0 * drawn.RING_WIDTH**2) / 2.0  # second moment of the drawn profile, in squared half axes
    ring = _Ring(np.zeros(count), np.full(count, -0.20), np.full(count, 0.37), np.full(count, 0.31))
    for _ in range(_ROUNDS):
        dx, dy = scene.x - _wide(ring.x), scene.y - _wide(ring.y)
        radius = np.hypot(dx / _wide(ring.width), dy / _wide(ring.height))
        window = expit((1.32 - radius) / 0.02)
        mass = scene.total(window)
        x, y = (scene.total(window * axis) / mass for axis in (dx, dy))
        blur = scene.pixel**2 / 12
        squares = [scene.total(window * axis**2) / mass - mean**2 - blur for axis, mean in ((dx, x), (dy, y))]
        width, height = (np.sqrt(np.clip(square, 1e-4, None) / shape) for square in squares)
        ring = _Ring(ring.x + x, ring.y + y, width, height)
    return ring


def _read_sacrum(scene: _Scene, ring: _Ring) -> tuple[Doubles, Doubles]:
    """(y of the centre, the picture's value per unit of density): the sacrum is as dense in everybody."""
    centre_x = ring.x
    centre_y = np.full(len(ring.x), drawn.SACRUM[1])
    for _ in range(_ROUNDS):
        window = _disc(scene, centre_x, centre_y, 0.15 * ring.size)
        mass = scene.total(window)
        centre_x, centre_y = (scene.total(window * axis) / mass for axis in (scene.x, scene.y))
    area = np.pi * (drawn.SACRUM_RADIUS * ring.size) ** 2
    return centre_y, scene.total(_disc(scene, centre_x, centre_y, 0.15 * ring.size)) / (drawn.SACRUM_DENSITY * area)


def _read_hip(scene: _Scene, ring: _Ring, density: Doubles, side: int) -> dict[str, Doubles]:
    size = ring.size
    head_x, head_y = ring.x + side * 0.41 * size, np.full(len(size), drawn.HEAD_HEIGHT) * size
    for _ in range(_ROUNDS):
        window = _disc(scene, head_x, head_y, 0.17 * size)
        mass = scene.total(window)
        head_x, head_y = (scene.total(window * axis) / mass for axis in (scene.x, scene.y))
    head_area = np.pi * (drawn.HEAD_RADIUS * size) ** 2
    head_density = scene.total(_disc(scene, head_x, head_y, 0.17 * size)) / (density * head_area)
    beside = side * (scene.x - _wide(ring.x)) / _wide(size)
    rows = expit((scene.y - 0.74) / 0.01) * expit((0.96 - scene.y) / 0.01)
    window = rows * expit((beside - 0.50) / 0.01) * expit((1.02 - beside) / 0.01)
    mass, height = scene.total(window), (rows.sum(axis=1) * scene.pixel).mean(axis=-1)
    shaft_x = scene.total(window * scene.x) / mass
    sine = np.clip(side * (shaft_x - head_x) / (size * drawn.NECK_LENGTH), -1.0, 1.0)
    width = mass / (density * size * height)
    marrow = 2 * drawn.SHAFT_HALF_WIDTH * drawn.MARROW_DENSITY
    return {
        "head_x": side * (head_x - ring.x),
        "angle": 180.0 - np.rad2deg(np.arcsin(sine)),
        "cortex": (width - marrow) / (2 * (drawn.CORTEX_DENSITY - drawn.MARROW_DENSITY)),
        "grade": (head_density - drawn.HEAD_DENSITY) / drawn.HEAD_PER_GRADE,
    }


def _read_foramen(scene: _Scene, ring: _Ring, side: int) -> Doubles:
    """Height over width of one foramen: its plate is round, so what is not round about the plate is the foramen."""
    size = ring.size
    own_half = expit(side * (scene.x - _wide(ring.x)) / 0.004)
    x, y = ring.x + side * drawn.FORAMEN_CENTRE[0] * size, drawn.FORAMEN_CENTRE[1] * size
    for _ in range(_ROUNDS):
        window = own_half * _disc(scene, x, y, _WHOLE_PLATE * size)
        mass = scene.total(window)
        x, y = (scene.total(window * axis) / mass for axis in (scene.x, scene.y))
    plate_mass = scene.total(own_half * _disc(scene, x, y, _WHOLE_PLATE * size))
    window = own_half * _disc(scene, x, y, _CLEAR_OF_HEAD * size)
    dx, dy = scene.x - _wide(x), scene.y - _wide(y)
    excess = scene.total(window * dy**2) - scene.total(window * dx**2)
    hole, plate = drawn.FORAMEN_RADIUS**2, drawn.PLATE_RADIUS**2
    density = plate_mass / (np.pi * (plate - hole) * size**2)
    ratio = -4.0 * excess / (density * np.pi * hole**2 * size**4)  # f - 1/f
    return np.asarray((ratio + np.sqrt(ratio**2 + 4.0)) / 2.0)


def _read_waist(values: Doubles, scene: _Scene) -> Doubles:
    """Half the width of the body in the rows above sacrum and marker."""
    rows = scene.y[0, :, 0] < -0.945
    return np.asarray(values[:, rows].mean(axis=1).sum(axis=1) * scene.pixel / (2.0 * scene.soft[:, 0, 0]))


def _marker(values: Doubles, scene: _Scene, side: int) -> Doubles:
    corner = (side * scene.x[0] > 0.80) & (np.abs(scene.y[0] - drawn.MARKER[1]) < 0.12)
    return np.asarray(values[:, corner].mean(axis=1))


def _disc(scene: _Scene, x: Doubles, y: Doubles, radius: Doubles) -> Doubles:
    distance = np.hypot(scene.x - _wide(x), scene.y - _wide(y))
    return np.asarray(expit((_wide(radius) - distance) / 0.01))


def _wide(values: Doubles) -> Doubles:
    return values[:, None, None]
