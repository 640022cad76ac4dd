"""Frontal pelvis radiographs, drawn, and the exact reader of their features.

Schematic on purpose: every landmark of the counterfactual study (Khosravi et al. 2024) is there, apart from the others,
so that its feature can be read from 32 pixels as well as from 128. Patients of the race ``Black`` have, in the planted
world only, a smaller inter-acetabular distance, a smaller neck-shaft angle and thicker cortices; ring and foramen are
the same everywhere. Severity of osteoarthritis differs by race in the planted and the confounded world, and has no
other group effect: it is the confounder. Sex shows in the ring, age in the plate around the foramina, body mass in the
waist, and laterality and projection are as the request to the technician says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.maths.phantoms.shapes import Array, canvas, ellipse, grain, inside
from services.maths.phantoms.worlds import Patient, World

LATERALITIES = ("left", "right")
PROJECTIONS = ("AP", "inlet")
GRADES = 4
SEVERE_GRADE = 3

PELVIS_LABELS = ("severe_osteoarthritis",)

# Mean and spread within a group; lengths in canvas units (half the image is 1), the angle in degrees.
DISTANCE, DISTANCE_SPREAD = 0.84, 0.04
ANGLE, ANGLE_SPREAD = 130.0, 6.0
CORTEX, CORTEX_SPREAD = 0.028, 0.005
RING, RING_SPREAD = {"Female": 1.32, "Male": 1.06}, 0.045
FORAMEN, FORAMEN_SPREAD = 1.25, 0.10
PELVIS_SPREADS = {
    "inter_acetabular_distance": DISTANCE_SPREAD,
    "neck_shaft_angle": ANGLE_SPREAD,
    "cortical_thickness": CORTEX_SPREAD,
    "ring_eccentricity": RING_SPREAD,
    "foramen_eccentricity": FORAMEN_SPREAD,
}
# What the planted world adds for race Black, and the chance of each of four steps of osteoarthritis.
PLANTED_SHIFTS = {"inter_acetabular_distance": -0.05, "neck_shaft_angle": -7.0, "cortical_thickness": 0.006}
STEP_CHANCE, STEP_CHANCE_RAISED = 0.30, 0.60

# Landmarks, in the frame of the pelvis at size 1.
RING_CENTRE, RING_RADIUS, RING_WIDTH = {"AP": -0.22, "inlet": -0.15}, 0.34, 0.10
SACRUM, SACRUM_RADIUS = (0.0, -0.84), 0.10
HEAD_HEIGHT, HEAD_RADIUS = 0.28, 0.11
NECK_LENGTH, NECK_START, NECK_WIDTH = 0.46, 0.23, 0.045
SHAFT_HALF_WIDTH = 0.08
FORAMEN_CENTRE, FORAMEN_RADIUS, PLATE_RADIUS = (0.19, 0.62), 0.115, 0.185
MARKER, MARKER_HALF_WIDTH = (0.88, -0.83), 0.06
# Densities above soft tissue (bone) or above air (soft tissue, marker).
SOFT_TISSUE, RING_DENSITY, SACRUM_DENSITY, MARKER_DENSITY = 0.22, 0.30, 0.40, 0.70
HEAD_DENSITY, HEAD_PER_GRADE, NECK_DENSITY = 0.24, 0.06, 0.20
MARROW_DENSITY, CORTEX_DENSITY = 0.10, 0.50
PLATE_DENSITY, PLATE_PER_YEAR = 0.26, -0.0016
_EDGE = 0.007


@dataclass(frozen=True)
class Pelvis:
    """The bones of one patient; see the constants above for units."""

    distance: float
    angle: float
    cortex: float
    ring: float
    foramen: float
    grade: int
    plate: float
    bmi: float


@dataclass(frozen=True)
class Exposure:
    """What changes from image to image."""

    laterality: str
    projection: str
    shift: tuple[float, float]
    size: float
    gain: float
    noise: float


def draw_pelvis(patient: Patient, world: World, rng: np.random.Generator) -> Pelvis:
    """A patient's bones. The same number of draws in every world."""
    shifted = world.shifted(patient)
    spread = rng.normal(0.0, 1.0, 5)
    steps = rng.random(GRADES)
    bmi = float(np.clip(rng.normal(27.0, 5.0), 16.0, 45.0))
    return Pelvis(
        distance=DISTANCE + DISTANCE_SPREAD * spread[0] + shifted * PLANTED_SHIFTS["inter_acetabular_distance"],
        angle=ANGLE + ANGLE_SPREAD * spread[1] + shifted * PLANTED_SHIFTS["neck_shaft_angle"],
        cortex=float(np.clip(CORTEX + CORTEX_SPREAD * spread[2], 0.010, 0.055))
        + shifted * PLANTED_SHIFTS["cortical_thickness"],
        ring=RING[patient.sex] + RING_SPREAD * spread[3],
        foramen=FORAMEN + FORAMEN_SPREAD * spread[4],
        grade=int((steps < (STEP_CHANCE_RAISED if world.more_severe(patient) else STEP_CHANCE)).sum()),
        plate=PLATE_DENSITY + PLATE_PER_YEAR * (patient.age - 60),
        bmi=bmi,
    )


def draw_exposure(rng: np.random.Generator) -> Exposure:
    """Positioning and technique of one image."""
    return Exposure(
        laterality=LATERALITIES[int(rng.random() < 0.5)],
        projection=PROJECTIONS[int(rng.random() < 0.3)],
        shift=(float(rng.normal(0, 0.012)), float(rng.normal(0, 0.012))),
        size=float(rng.normal(1.0, 0.02)),
        gain=float(rng.normal(1.0, 0.04)),
        noise=float(rng.uniform(0.004, 0.008)),
    )


def draw_radiograph(size: int, pelvis: Pelvis, exposure: Exposure, rng: np.random.Generator) -> Array:
    """One radiograph (size, size) float32 in [0, 1]."""
    x, y = canvas(size)
    body = _body(x, y, pelvis.bmi)
    marker_x = MARKER[0] if exposure.laterality == "right" else -MARKER[0]
    marker = np.maximum(np.abs(x - marker_x), np.abs(y - MARKER[1])) - MARKER_HALF_WIDTH
    density = SOFT_TISSUE * body + MARKER_DENSITY * inside(marker, _EDGE)
    x, y = ((axis - shift) / exposure.size for axis, shift in zip((x, y), exposure.shift, strict=True))
    density += _ring(x, y, pelvis, exposure.projection)
    for side in (-1, 1):
        density += _hip(side * x, y, pelvis) + _foramen(side * x, y, pelvis)
    density *= 1.0 + 0.008 * grain(size, 5.0, rng)
    density = exposure.gain * density + exposure.noise * rng.standard_normal((size, size), dtype=np.float32)
    return np.clip(density, 0.0, 1.0).astype(np.float32)


def exact_row(pelvis: Pelvis, exposure: Exposure) -> dict[str, Any]:
    """What the table says of an image: the label, the conditions, the planted features and the nuisances."""
    return {
        "severe_osteoarthritis": int(pelvis.grade >= SEVERE_GRADE),
        "osteoarthritis": pelvis.grade,
        "bmi": pelvis.bmi,
        "laterality": exposure.laterality,
        "projection": exposure.projection,
        "inter_acetabular_distance": pelvis.distance,
        "neck_shaft_angle": pelvis.angle,
        "cortical_thickness": pelvis.cortex,
        "ring_eccentricity": pelvis.ring,
        "foramen_eccentricity": pelvis.foramen,
        "size": exposure.size,
        "gain": exposure.gain,
        "noise": exposure.noise,
    }


def shaft_offset(angle: float) -> tuple[float, float]:
    """Where the neck's axis meets the shaft's, lateral to and below the centre of the head. ``angle`` in degrees."""
    radians = np.deg2rad(angle)
    return float(NECK_LENGTH * np.sin(radians)), float(-NECK_LENGTH * np.cos(radians))


def waist(bmi: float) -> float:
    """Half the body's width above the hips."""
    return 0.60 + 0.010 * (bmi - 27.0)


def _body(x: Array, y: Array, bmi: float) -> Array:
    """Narrow at the waist, as wide as the image from the hips down."""
    half_width = waist(bmi) + (1.3 - waist(bmi)) * inside(-(y + 0.10), 0.06)
    return inside(np.abs(x) - half_width, 0.012)


def _ring(x: Array, y: Array, pelvis: Pelvis, projection: str) -> Array:
    stretch = np.sqrt(pelvis.ring)
    radius = np.hypot(x / stretch, (y - RING_CENTRE[projection]) * stretch) / RING_RADIUS
    ring = np.exp(-0.5 * ((radius - 1.0) / RING_WIDTH) ** 2)
    sacrum = inside(ellipse(x, y, SACRUM, (SACRUM_RADIUS, SACRUM_RADIUS)), _EDGE)
    return np.asarray(RING_DENSITY * ring + SACRUM_DENSITY * sacrum, np.float32)


def _hip(x: Array, y: Array, pelvis: Pelvis) -> Array:
    """Head, neck and shaft of the hip at positive x."""
    head = (pelvis.distance / 2, HEAD_HEIGHT)
    density = (HEAD_DENSITY + HEAD_PER_GRADE * pelvis.grade) * inside(
        ellipse(x, y, head, (HEAD_RADIUS, HEAD_RADIUS)), _EDGE
    )
    across, down = shaft_offset(pelvis.angle)
    along = ((x - head[0]) * across + (y - head[1]) * down) / NECK_LENGTH
    beside = ((x - head[0]) * down - (y - head[1]) * across) / NECK_LENGTH
    neck = np.maximum(np.abs(beside) - NECK_WIDTH, np.maximum(NECK_START - along, along - NECK_LENGTH))
    from_axis = np.abs(x - head[0] - across)
    below = head[1] + down - 0.08 - y
    shaft = inside(np.maximum(from_axis - SHAFT_HALF_WIDTH, below), _EDGE)
    marrow = inside(np.maximum(from_axis - SHAFT_HALF_WIDTH + pelvis.cortex, below), _EDGE)
    density += NECK_DENSITY * inside(neck, _EDGE) * (1 - shaft)
    density += CORTEX_DENSITY * (shaft - marrow) + MARROW_DENSITY * marrow
    return np.asarray(density, np.float32)


def _foramen(x: Array, y: Array, pelvis: Pelvis) -> Array:
    plate = inside(ellipse(x, y, FORAMEN_CENTRE, (PLATE_RADIUS, PLATE_RADIUS)), _EDGE)
    stretch = np.sqrt(pelvis.foramen)
    hole = ellipse(x, y, FORAMEN_CENTRE, (FORAMEN_RADIUS / stretch, FORAMEN_RADIUS * stretch))
    return np.asarray(pelvis.plate * (plate - inside(hole, _EDGE)), np.float32)
