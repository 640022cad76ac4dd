"""Axial brain FLAIR slices with a tumour, drawn.

On FLAIR the fluid is dark and oedema bright. A glioblastoma has a more irregular outline, wider oedema and a dark
necrotic core of varying depth; the other tumours are smoother and homogeneous. Sex shows slightly in the size of the
head, age in the ventricles and in bright periventricular caps, which look a little like oedema. Race has no visual
effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.maths.phantoms.shapes import Array, blob, canvas, ellipse, grain, inside
from services.maths.phantoms.worlds import Patient

GLIOBLASTOMA_PREVALENCE = 0.5
OTHER_GRADE_4_SHARE = 0.12
TUMOUR_FREE_SLICES = 0.05

BRAIN_LABELS = ("glioblastoma", "tumour_grade_4")


@dataclass(frozen=True)
class Head:
    """What stays the same between the slices of one patient. Lengths in canvas units (half the image is 1)."""

    radii: tuple[float, float]
    ventricle: float
    caps: float
    gyri: tuple[float, float]
    tumour: Tumour


@dataclass(frozen=True)
class Tumour:
    """``radius`` is that of the core; ``outline`` holds amplitude and phase of the harmonics 2, 3 and 5."""

    glioblastoma: bool
    strength: float
    centre: tuple[float, float]
    radius: float
    oedema: float
    necrosis: float
    outline: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scan:
    """What changes from slice to slice. ``level`` scales the tumour's radius: 0 is a slice without it."""

    shift: tuple[float, float]
    tilt: float
    level: float
    strength: float
    gain: float
    noise: float


def draw_head(patient: Patient, glioblastoma: bool, rng: np.random.Generator) -> Head:
    """A patient's head and tumour. The same number of draws whatever the tumour's type."""
    female = patient.sex == "Female"
    years = (patient.age - 60) / 20.0
    size = float(rng.normal(0.97 if female else 1.0, 0.02))
    side = 1 if rng.random() < 0.5 else -1
    tumour = Tumour(
        glioblastoma=glioblastoma,
        strength=float(np.exp(rng.normal(0.0, 0.28))),
        centre=(side * float(rng.uniform(0.22, 0.40)), float(rng.uniform(-0.42, 0.42))),
        radius=float(rng.uniform(0.12, 0.20)),
        oedema=float(rng.uniform(0.2, 1.0)),
        necrosis=float(rng.uniform(0.0, 1.0)),
        outline=np.stack([rng.normal(0.0, 1.0, 3), rng.uniform(0, 2 * np.pi, 3)]),
    )
    return Head(
        radii=(0.74 * size, 0.90 * size),
        ventricle=float(np.clip(rng.normal(1.0 + 0.18 * years, 0.12), 0.6, 1.7)),
        caps=float(np.clip(rng.normal(0.10 + 0.05 * years, 0.04), 0.0, 0.3)),
        gyri=(float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(15, 21))),
        tumour=tumour,
    )


def draw_scan(rng: np.random.Generator) -> Scan:
    """Positioning, level and technique of one slice."""
    absent = rng.random() < TUMOUR_FREE_SLICES
    level = float(rng.uniform(0.75, 1.1))
    return Scan(
        shift=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
        tilt=float(rng.normal(0, 0.04)),
        level=0.0 if absent else level,
        strength=float(np.exp(rng.normal(0.0, 0.08))),
        gain=float(rng.normal(1.0, 0.04)),
        noise=float(rng.uniform(0.015, 0.028)),
    )


def draw_slice(
    size: int, head: Head, scan: Scan, contrast: float, rng: np.random.Generator
) -> tuple[Array, npt.NDArray[np.uint8]]:
    """One slice, float32, and its whole-tumour mask (tumour and oedema), uint8 0/1; both (size, size).

    MR signal has no unit: as with real slices, the smallest and largest value of each become 0 and 1.
    """
    x, y = canvas(size, tilt=scan.tilt, shift=scan.shift)
    signal = _healthy(x, y, head, rng)
    mask = np.zeros((size, size), np.uint8)
    if scan.level > 0:
        added, outline = _tumour(x, y, head.tumour, scan.level, rng)
        brain = inside(_brain(x, y, head), 0.015)
        signal += np.float32(contrast * scan.strength * head.tumour.strength) * added * brain
        mask = ((outline < 0) & (brain > 0.5)).astype(np.uint8)
    signal = scan.gain * signal + scan.noise * rng.standard_normal((size, size), dtype=np.float32)
    signal = np.clip(signal, 0.0, None)
    signal -= signal.min()
    return (signal / signal.max()).astype(np.float32), mask


def _brain(x: Array, y: Array, head: Head) -> Array:
    a, b = head.radii
    return ellipse(x, y, (0.0, 0.0), (a - 0.13, b - 0.13))


def _healthy(x: Array, y: Array, head: Head, rng: np.random.Generator) -> Array:
    a, b = head.radii
    scalp = ellipse(x, y, (0.0, 0.0), (a, b))
    brain = _brain(x, y, head)
    folds = 0.025 * np.sin(head.gyri[1] * np.arctan2(y, x) + head.gyri[0])
    signal = 0.50 * inside(scalp, 0.012) - 0.45 * inside(scalp + 0.055, 0.012) + 0.06 * inside(brain - 0.02, 0.01)
    signal += 0.36 * inside(brain, 0.012) - 0.08 * inside(brain + 0.12 + folds, 0.015)
    signal -= 0.22 * inside(np.abs(x) - 0.012, 0.008) * inside(0.32 - np.abs(y), 0.03) * inside(brain, 0.01)
    for side in (-1, 1):
        for lean, middle in ((0.35, -0.16), (-0.35, 0.18)):
            horn = (side * 0.09 * head.ventricle, middle)
            x_horn = x - side * lean * -(y - middle) * 0.6
            fluid = ellipse(x_horn, y, horn, (0.055 * head.ventricle, 0.17 * head.ventricle**0.5))
            signal -= 0.27 * inside(fluid, 0.012)
        signal += head.caps * blob(x, y, (side * 0.15 * head.ventricle, -0.36), (0.05, 0.05)) * inside(brain, 0.02)
    for pixels, weight in ((2.0, 0.013), (6.0, 0.016)):
        signal += weight * grain(x.shape[0], pixels, rng) * inside(brain, 0.01)
    return np.asarray(signal, dtype=np.float32)


def _tumour(x: Array, y: Array, tumour: Tumour, level: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Added signal at strength 1 and the signed distance to the outline of tumour and oedema."""
    dx, dy = x - tumour.centre[0], y - tumour.centre[1]
    angle, reach = np.arctan2(dy, dx), np.hypot(dx, dy)
    amplitude, phase = tumour.outline
    rough = 0.09 if tumour.glioblastoma else 0.055
    wave = sum(amplitude[i] * np.cos(k * angle + phase[i]) for i, k in enumerate((2, 3, 5)))
    core = reach - level * tumour.radius * (1 + rough * wave)
    spread = 0.03 + (0.10 if tumour.glioblastoma else 0.055) * tumour.oedema
    outline = (core - level * spread * (1 + 0.35 * np.cos(3 * angle + phase[0]))).astype(np.float32)
    texture = 1.0 + 0.15 * grain(x.shape[0], 3.0, rng)
    added = 0.17 * inside(outline, 0.022) + 0.08 * inside(core, 0.018) * texture
    if tumour.glioblastoma:
        added -= 0.32 * tumour.necrosis * inside(core + 0.45 * level * tumour.radius, 0.02)
    return np.asarray(added, dtype=np.float32), outline
