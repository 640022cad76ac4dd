"""Frontal chest radiographs, drawn.

The picture is a sum of densities: air 0, lung low, soft tissue middle, bone high, as on a film shown with MONOCHROME2.
Image left is the patient's right; ``side`` -1 is image left. Sex shows in breast shadows and the width of the thorax,
age in the density of bone and the size of the aortic knob. Race has no visual effect at all, so that a difference
between races is a false finding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.maths.phantoms.shapes import Array, blob, canvas, ellipse, grain, inside, stroke
from services.maths.phantoms.worlds import Patient

SIDES = (-1, 1)
RIB_SPACING = 0.215
_SOFT_TISSUE, _LUNG_AIR = 0.56, 0.40


@dataclass(frozen=True)
class Build:
    """What stays the same between the images of one patient. Lengths in canvas units (half the image is 1)."""

    thorax: float
    diaphragm: float
    dome: float
    heart_ratio: float
    mediastinum: float
    aorta: float
    bone: float
    breast: float
    rib_phase: float
    vessels: Array


@dataclass(frozen=True)
class Exposure:
    """What changes from image to image."""

    shift: tuple[float, float]
    tilt: float
    inspiration: float
    gain: float
    gamma: float
    noise: float


@dataclass(frozen=True)
class Chest:
    """A canvas with the landmarks on which findings are drawn. All fields (S, S) float32.

    ``lungs`` is indexed by side (0 image left, 1 image right); ``wall`` is the distance inwards from the rib cage and
    ``base`` the height above the diaphragm, both negative outside.
    """

    x: Array
    y: Array
    lungs: tuple[Array, Array]
    wall: Array
    base: Array


def draw_build(patient: Patient, rng: np.random.Generator) -> Build:
    """A patient's anatomy given sex and age."""
    female = patient.sex == "Female"
    years = (patient.age - 60) / 20.0
    return Build(
        thorax=float(rng.normal(0.74 if female else 0.79, 0.02)),
        diaphragm=float(rng.normal(0.66, 0.03)),
        dome=float(rng.normal(0.17, 0.02)),
        heart_ratio=float(rng.normal(0.45 + 0.01 * years, 0.022)),
        mediastinum=float(rng.normal(0.135, 0.010)),
        aorta=float(np.clip(rng.normal(0.075 + 0.02 * years, 0.01), 0.03, 0.15)),
        bone=float(np.clip(rng.normal(0.105 - 0.022 * years, 0.01), 0.04, 0.17)),
        breast=float(rng.normal(0.13, 0.03)) if female else float(abs(rng.normal(0.0, 0.012))),
        rib_phase=float(rng.uniform(-0.06, 0.06)),
        vessels=rng.random((2, 7, 3), dtype=np.float32),
    )


def draw_exposure(rng: np.random.Generator) -> Exposure:
    """Positioning, breath and technique of one image."""
    return Exposure(
        shift=(float(rng.normal(0, 0.025)), float(rng.normal(0, 0.025))),
        tilt=float(rng.normal(0, 0.02)),
        inspiration=float(rng.normal(0, 0.025)),
        gain=float(rng.normal(1.0, 0.035)),
        gamma=float(np.exp(rng.normal(0, 0.06))),
        noise=float(rng.uniform(0.012, 0.022)),
    )


def lay_out(size: int, build: Build, exposure: Exposure, *, heart_ratio: float, mediastinum: float) -> Chest:
    """Landmarks of one image. ``heart_ratio`` is heart width over thorax width, ``mediastinum`` a half-width."""
    x, y = canvas(size, tilt=exposure.tilt, shift=exposure.shift)
    outwards = np.abs(x)
    wall = build.thorax * np.sqrt(np.clip(1.0 - ((y - 0.25) / 1.12) ** 2, 0.0, None)) - outwards
    domes = build.dome * (1.0 - ((outwards - 0.36) / 0.42) ** 2) + np.where(x < 0, 0.03, 0.0)
    base = build.diaphragm + exposure.inspiration - domes - y
    centre = np.minimum(_heart(x, y, build, exposure, heart_ratio), outwards - mediastinum)
    centre = np.minimum(centre, ellipse(x, y, (mediastinum - 0.025, -0.28), (build.aorta, 1.3 * build.aorta)))
    both = np.maximum(np.maximum(-wall, -base), np.maximum(-centre, -0.84 - y)).astype(np.float32)
    lung = inside(both, 0.011)
    return Chest(x, y, (lung * (x < 0), lung * (x >= 0)), wall.astype(np.float32), base.astype(np.float32))


def _heart(x: Array, y: Array, build: Build, exposure: Exposure, ratio: float) -> Array:
    middle = build.diaphragm + exposure.inspiration - 0.25
    half = ratio * build.thorax
    return ellipse(x, y - 0.18 * (x - 0.09), (0.09, middle), (half, 0.27 + 0.25 * half))


def draw_anatomy(chest: Chest, build: Build, rng: np.random.Generator) -> Array:
    """Densities of a healthy chest, (S, S) float32, before exposure and noise."""
    x, y = chest.x, chest.y
    outwards = np.abs(x)
    shoulders = inside(np.minimum(outwards - 0.25, -0.86 + 0.30 * outwards**2 - y), 0.02)
    body = shoulders * inside(outwards - 1.02 + 0.12 * np.clip(-y, 0, 1), 0.02)
    lung = chest.lungs[0] + chest.lungs[1]
    density = body * (_SOFT_TISSUE + 0.10 * inside(chest.base, 0.02) + 0.07 * inside(outwards - 0.2, 0.05) * (1 - lung))
    density -= _LUNG_AIR * lung
    density -= 0.10 * inside(np.abs(x + 0.01) - 0.045, 0.012) * inside(y + 0.22, 0.03) * body
    density -= 0.10 * blob(x, y, (0.42, 0.80), (0.12, 0.07))
    density += build.bone * draw_bones(chest, build) * body
    density += lung * (_vessels(chest, build) + 0.016 * grain(x.shape[0], 1.6, rng))
    for side in SIDES:
        density += build.breast * inside(ellipse(x, y, (side * 0.40, 0.34), (0.34, 0.30)), 0.035) * body
    return np.asarray(density + 0.010 * grain(x.shape[0], 5.0, rng), dtype=np.float32)


def draw_bones(chest: Chest, build: Build) -> Array:
    """Ribs, spine and clavicles, 1 at full density."""
    x, y = chest.x, chest.y
    cage = inside(-chest.wall - 0.03, 0.015) * inside(np.abs(y + 0.08) - 0.72, 0.03)
    bones = cage * (rib_profile(chest, build) + 0.45 * _front_ribs(chest, build))
    bones += inside(np.abs(x) - 0.075, 0.012) * (0.45 + 0.2 * np.cos(y * 2 * np.pi / 0.13))
    for side in SIDES:
        bones += 1.2 * stroke(x, y, (side * 0.09, -0.58), (side * 0.78, -0.74), 0.026)
    return np.asarray(bones, dtype=np.float32)


def rib_height(outwards: Array | float, build: Build) -> Array | float:
    """How far (canvas units) a posterior rib has come down at a distance ``outwards`` from the midline."""
    return build.rib_phase + 0.10 * outwards + 0.36 * outwards**2


def rib_profile(chest: Chest, build: Build) -> Array:
    """Posterior ribs: a periodic ridge along curves that fall away from the spine."""
    phase = (chest.y - rib_height(np.abs(chest.x), build)) / RIB_SPACING
    return np.asarray(np.exp(4.5 * (np.cos(2 * np.pi * phase) - 1.0)), dtype=np.float32)


def _front_ribs(chest: Chest, build: Build) -> Array:
    outwards = np.abs(chest.x)
    phase = (chest.y - 0.1 - build.rib_phase + 0.35 * outwards) / (1.35 * RIB_SPACING)
    ridge = np.exp(4.0 * (np.cos(2 * np.pi * phase) - 1.0))
    return np.asarray(ridge * inside(0.32 - outwards, 0.04), dtype=np.float32)


def _vessels(chest: Chest, build: Build) -> Array:
    """Hila and branching vessels, which taper outwards."""
    total = np.zeros_like(chest.x)
    for side, branches in zip(SIDES, build.vessels, strict=True):
        hilum = (side * 0.20, -0.02)
        total += 0.07 * blob(chest.x, chest.y, hilum, (0.06, 0.12))
        for number, (turn, length, weight) in enumerate(branches):
            angle = -1.25 + 2.7 * (number + 0.8 * turn) / len(branches)
            across, down, reach = side * np.cos(angle), np.sin(angle), 0.28 + 0.2 * length
            start = (hilum[0] + 0.07 * across, hilum[1] + 0.07 * down)
            end = (hilum[0] + reach * across, hilum[1] + reach * down)
            total += (0.035 + 0.04 * weight) * stroke(chest.x, chest.y, start, end, 0.015)
    return total


def expose(density: Array, exposure: Exposure, rng: np.random.Generator) -> Array:
    """Film of a density field: contrast curve, gain, quantum noise; float32 in [0, 1]."""
    film = exposure.gain * np.clip(density, 0.0, None) ** exposure.gamma
    film += exposure.noise * rng.standard_normal(density.shape, dtype=np.float32)
    return np.asarray(np.clip(film, 0.0, 1.0), dtype=np.float32)
