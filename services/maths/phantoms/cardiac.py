"""Cardiac short-axis cine MRI, drawn: one frame at end-diastole (ED), one at end-systole (ES).

As in a balanced SSFP cine, blood and fat are bright and the myocardium is dark. Sex shows in the size of the heart, the
level of the body mass index in the ring of fat around the body, age in the texture of the tissue. Heart failure is a
left ventricle that empties less: its radius at ES stays close to that at ED. Race has no visual effect. The myocardium
keeps its area, so that a ventricle that empties has thicker walls, as in life.

Image left is the patient's right, where the right ventricle lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.maths.phantoms.shapes import Array, canvas, ellipse, grain, inside
from services.maths.phantoms.worlds import Patient

CARDIAC_LABELS = ("heart_failure",)
HEART_FAILURE_PREVALENCE = 0.4

LEFT_VENTRICLE, MYOCARDIUM, RIGHT_VENTRICLE = 1, 2, 3
MASK_LABELS = ("background", "left ventricle", "myocardium", "right ventricle")

BMI_CUTS: Mapping[str, float] = {"underweight": 18.5, "normal": 25.0, "overweight": 30.0, "obese": np.inf}
"""Level and the body mass index (kg/m²) that is no longer in it."""
FAT_RING: Mapping[str, float] = {"underweight": 0.07, "normal": 0.135, "overweight": 0.20, "obese": 0.265}
"""Mean thickness of the ring of fat by level, in canvas units."""
HEART_SIZE: Mapping[str, float] = {"Female": 0.32, "Male": 0.41}
"""Mean radius of the left ventricle's outer wall at ED by sex, in canvas units."""
HEALTHY_RATIO = 0.62
"""Mean of the left ventricle's radius at ES over that at ED without heart failure."""
FAILURE_EXCESS = 0.22
"""Added to that ratio by heart failure of strength 1."""

BLOOD, RIGHT_BLOOD, MUSCLE, TISSUE, FAT = 0.90, 0.78, 0.14, 0.40, 0.84
_CAVITY = 0.73  # inner over outer radius of the left ventricle's wall at ED
_BMI_SHARES = (0.14, 0.34, 0.27, 0.25)
_BMI_LOWEST, _BMI_HIGHEST = 15.5, 42.0


@dataclass(frozen=True)
class Body:
    """What stays the same between the images of one patient. Lengths in canvas units (half the image is 1)."""

    bmi: float
    size: float
    ratio: float
    failure: float
    ring: float
    radii: tuple[float, float]
    texture: float
    lean: float


@dataclass(frozen=True)
class Cine:
    """What changes from image to image. ``beat`` is added to the ratio of the radii."""

    shift: tuple[float, float]
    tilt: float
    beat: float
    gain: float
    noise: float


def bmi_level(bmi: float) -> str:
    """The level that a body mass index belongs to; 30 is obese already."""
    return next(level for level, cut in BMI_CUTS.items() if bmi < cut)


def draw_body(patient: Patient, rng: np.random.Generator) -> Body:
    """A patient's body and heart given sex and age; ``failure`` is the strength heart failure has where present."""
    edges = (_BMI_LOWEST, *list(BMI_CUTS.values())[:-1], _BMI_HIGHEST)
    level = int(rng.choice(len(_BMI_SHARES), p=_BMI_SHARES))
    bmi = round(float(rng.uniform(edges[level] + 0.05, edges[level + 1] - 0.05)), 1)
    return Body(
        bmi=bmi,
        size=HEART_SIZE[patient.sex] * _around(1.0, 0.03, 0.07, rng),
        ratio=_around(HEALTHY_RATIO, 0.018, 0.04, rng),
        failure=float(np.exp(_around(0.0, 0.10, 0.20, rng))),
        ring=FAT_RING[bmi_level(bmi)] + _around(0.0, 0.007, 0.016, rng),
        radii=(_around(0.95, 0.008, 0.02, rng), _around(0.92, 0.008, 0.02, rng)),
        texture=max(0.004, 0.012 + 0.028 * (patient.age - 20) / 75 + float(rng.normal(0.0, 0.002))),
        lean=float(rng.uniform(-0.25, 0.25)),
    )


def _around(mean: float, deviation: float, limit: float, rng: np.random.Generator) -> float:
    return mean + float(np.clip(rng.normal(0.0, deviation), -limit, limit))


def draw_cine(rng: np.random.Generator) -> Cine:
    """Positioning, beat and technique of one image."""
    return Cine(
        shift=(float(rng.normal(0, 0.012)), float(rng.normal(0, 0.012))),
        tilt=float(rng.normal(0, 0.05)),
        beat=float(np.clip(rng.normal(0, 0.008), -0.02, 0.02)),
        gain=float(rng.normal(1.0, 0.03)),
        noise=float(rng.uniform(0.010, 0.018)),
    )


def exact_features(body: Body, cine: Cine, strength: float) -> dict[str, float]:
    """What the picture of one record shows, exactly: :func:`radii_of`, their ratio, ring of fat and nuisances."""
    lengths = radii_of(body, cine, strength)
    ratio = lengths["lv_radius_es"] / lengths["lv_radius_ed"]
    return lengths | {
        "radius_ratio": ratio,
        "ejection_fraction": 1.0 - ratio**2,
        "fat_ring": body.ring,
        "texture": body.texture,
        "gain": cine.gain,
        "noise": cine.noise,
    }


def radii_of(body: Body, cine: Cine, strength: float) -> dict[str, float]:
    """Radii of the left ventricle's cavity and outer wall, in canvas units; ``strength`` 0 is a healthy heart."""
    ratio = body.ratio + cine.beat + FAILURE_EXCESS * strength
    inner = _CAVITY * body.size
    muscle = body.size**2 - inner**2
    return {
        "lv_radius_ed": inner,
        "lv_radius_es": ratio * inner,
        "heart_radius_ed": body.size,
        "heart_radius_es": float(np.sqrt((ratio * inner) ** 2 + muscle)),
    }


def draw_pair(
    size: int, body: Body, cine: Cine, strength: float, rng: np.random.Generator
) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Frames ED and ES, float32 in [0, 1], and their masks, uint8 0..3 (:data:`MASK_LABELS`); both (2, size, size)."""
    x, y = canvas(size, tilt=cine.tilt, shift=cine.shift)
    around = _surroundings(x, y, body, rng)
    lengths = radii_of(body, cine, strength)
    frames, masks = [], []
    for phase in ("ed", "es"):
        radii = (lengths[f"lv_radius_{phase}"], lengths[f"heart_radius_{phase}"])
        signal, mask = _beat((x, y), around, body.lean, radii)
        noise = cine.noise * rng.standard_normal(x.shape, dtype=np.float32)
        frames.append(np.clip(cine.gain * signal + noise, 0.0, 1.0).astype(np.float32))
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


def _surroundings(x: Array, y: Array, body: Body, rng: np.random.Generator) -> tuple[Array, Array]:
    """Everything but the heart, and the texture that tissue and muscle share."""
    outer = ellipse(x, y, (0.0, 0.0), body.radii)
    texture = np.float32(body.texture) * grain(x.shape[0], 2.2, rng)
    shade = 0.03 * x + 0.02 * grain(x.shape[0], 16.0, rng)
    signal = FAT * inside(outer, 0.010) + (TISSUE - FAT + shade + texture) * inside(outer + body.ring, 0.010)
    return np.asarray(0.02 + signal, dtype=np.float32), np.asarray(texture, dtype=np.float32)


def _beat(
    where: tuple[Array, Array], around: tuple[Array, Array], lean: float, radii: tuple[float, float]
) -> tuple[Array, npt.NDArray[np.uint8]]:
    """One frame without noise, and its mask; ``radii`` of the left ventricle's cavity and outer wall."""
    (x, y), (inner, outer), centre = where, radii, (0.15, 0.02)
    cavity = ellipse(x, y, centre, (inner, inner))
    wall = ellipse(x, y, centre, (outer, outer))
    v = y - lean * (x - centre[0])
    chamber = ellipse(x, v, (centre[0] - 0.85 * outer, centre[1]), (0.72 * outer, 0.95 * outer))
    background, texture = around
    signal = background + (RIGHT_BLOOD - background) * inside(chamber, 0.010)
    signal += (MUSCLE + 0.7 * texture - signal) * inside(wall, 0.010)
    signal += (BLOOD - signal) * inside(cavity, 0.010)
    mask = np.where(chamber < 0, RIGHT_VENTRICLE, 0)
    mask = np.where(wall < 0, MYOCARDIUM, mask)
    mask = np.where(cavity < 0, LEFT_VENTRICLE, mask)
    return np.asarray(signal, dtype=np.float32), mask.astype(np.uint8)
