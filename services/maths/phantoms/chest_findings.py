"""The twelve findings of a chest phantom, each a visible feature. Names are CheXpert's.

A finding has a ``strength`` (1 on average where present, with log-normal variation; the world may scale it), a side and
four numbers in [0, 1) that place and size it. Ten findings add density; two enlarge the heart or the mediastinum and
act on the anatomy before it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from services.maths.phantoms.chest import RIB_SPACING, Build, Chest, rib_height
from services.maths.phantoms.shapes import Array, blob, ellipse, inside, stroke

HEART_EXCESS = 0.085
"""Added to heart width / thorax width by Cardiomegaly of strength 1."""
MEDIASTINUM_EXCESS = 0.055
"""Added to the half-width of the mediastinum by Enlarged Cardiomediastinum of strength 1."""

PREVALENCE: Mapping[str, float] = {
    "Enlarged Cardiomediastinum": 0.16,
    "Cardiomegaly": 0.22,
    "Lung Opacity": 0.28,
    "Lung Lesion": 0.15,
    "Edema": 0.22,
    "Consolidation": 0.15,
    "Pneumonia": 0.15,
    "Atelectasis": 0.22,
    "Pneumothorax": 0.15,
    "Pleural Effusion": 0.30,
    "Pleural Other": 0.12,
    "Fracture": 0.15,
}
"""Probability that a patient has the finding, in the null world."""

CHEST_LABELS = tuple(PREVALENCE)


@dataclass(frozen=True)
class Finding:
    """One finding in one image; ``strength`` 0 means absent."""

    strength: float
    side: int
    place: tuple[float, float, float, float]


def add_findings(density: Array, chest: Chest, build: Build, findings: Mapping[str, Finding]) -> Array:
    """The density with every present finding drawn in; (S, S) float32."""
    total = density.copy()
    for label, draw in _DRAWERS.items():
        finding = findings[label]
        if finding.strength > 0:
            total += np.float32(finding.strength) * draw(chest, build, finding)
    return total


def _lung(chest: Chest, side: int) -> Array:
    return chest.lungs[0] if side < 0 else chest.lungs[1]


def _lung_opacity(chest: Chest, build: Build, finding: Finding) -> Array:
    """Hazy, ill-defined, large."""
    a, b, c, d = finding.place
    centre = (finding.side * (0.34 + 0.14 * a), -0.4 + 0.6 * b)
    return 0.150 * _lung(chest, finding.side) * blob(chest.x, chest.y, centre, (0.17 + 0.06 * c, 0.19 + 0.08 * d))


def _lung_lesion(chest: Chest, build: Build, finding: Finding) -> Array:
    """A round nodule with a clear edge."""
    a, b, c, _ = finding.place
    radius = 0.060 + 0.035 * c
    centre = (finding.side * (0.30 + 0.25 * a), -0.5 + 0.75 * b)
    return 0.190 * _lung(chest, finding.side) * inside(ellipse(chest.x, chest.y, centre, (radius, radius)), 0.012)


def _edema(chest: Chest, build: Build, finding: Finding) -> Array:
    """Bat-wing haze about both hila, with septal lines near the base."""
    a, b, *_ = finding.place
    lungs = chest.lungs[0] + chest.lungs[1]
    wings = blob(np.abs(chest.x), chest.y, (0.26, 0.02 + 0.06 * a), (0.16 + 0.04 * b, 0.26))
    septa = np.cos(chest.y * 2 * np.pi / 0.07) * inside(np.abs(chest.wall - 0.07) - 0.06, 0.01)
    septa *= inside(np.abs(chest.base - 0.2) - 0.16, 0.03)
    return np.asarray(lungs * (0.125 * wings + 0.02 * septa), dtype=np.float32)


def _consolidation(chest: Chest, build: Build, finding: Finding) -> Array:
    """A dense lobe with a straight edge along a fissure, crossed by an air bronchogram."""
    a, b, c, _ = finding.place
    middle = -0.42 + 0.55 * a + 0.25 * (b - 0.5) * (np.abs(chest.x) - 0.35)
    lobe = inside(np.abs(chest.y - middle) - (0.10 + 0.04 * c), 0.014)
    start, end = (finding.side * 0.2, -0.42 + 0.55 * a), (finding.side * 0.6, -0.36 + 0.55 * a)
    return 0.165 * _lung(chest, finding.side) * lobe * (1 - 0.6 * stroke(chest.x, chest.y, start, end, 0.015))


def _pneumonia(chest: Chest, build: Build, finding: Finding) -> Array:
    """A cluster of patches in the lower zone."""
    a, b, c, d = finding.place
    u, v = finding.side * (0.36 + 0.12 * a), 0.10 + 0.14 * b
    patches = np.zeros_like(chest.x)
    for number in range(5):
        angle = 2 * np.pi * (number / 5 + c)
        reach = 0.10 + 0.05 * ((number * 2 + d) % 1.0)
        patches += blob(chest.x, chest.y, (u + reach * np.cos(angle), v + reach * np.sin(angle)), (0.05, 0.045))
    return 0.155 * _lung(chest, finding.side) * patches


def _atelectasis(chest: Chest, build: Build, finding: Finding) -> Array:
    """Plate-like bands above the diaphragm."""
    a, b, c, _ = finding.place
    height = 0.12 + 0.10 * a
    bands = np.zeros_like(chest.x)
    for level in (height, height + 0.11):
        line = chest.base - level - 0.35 * (b - 0.5) * (np.abs(chest.x) - 0.4)
        bands += np.exp(-0.5 * (line / 0.020) ** 2) * inside(np.abs(np.abs(chest.x) - 0.40) - 0.13 - 0.05 * c, 0.02)
    return 0.150 * _lung(chest, finding.side) * bands


def _pneumothorax(chest: Chest, build: Build, finding: Finding) -> Array:
    """Air outside a collapsed lung: a dark rim without vessels towards the apex, bounded by a thin pleural line."""
    a, *_ = finding.place
    depth = (0.10 + 0.09 * a) * inside(chest.y - 0.05, 0.12)
    rim = inside(chest.wall - depth, 0.010) * inside(chest.y - 0.30, 0.05)
    line = np.exp(-0.5 * ((chest.wall - depth) / 0.016) ** 2) * inside(chest.y - 0.12, 0.05)
    return np.asarray(_lung(chest, finding.side) * (0.115 * line - 0.095 * rim), dtype=np.float32)


def _pleural_effusion(chest: Chest, build: Build, finding: Finding) -> Array:
    """Fluid that blunts the costophrenic angle, with a meniscus that climbs the wall."""
    a, b, *_ = finding.place
    level = (0.05 + 0.06 * a) + (0.16 + 0.10 * b) * np.exp(-np.clip(chest.wall, 0.0, None) / 0.12)
    return 0.200 * _lung(chest, finding.side) * inside(chest.base - level, 0.020)


def _pleural_other(chest: Chest, build: Build, finding: Finding) -> Array:
    """Pleural thickening along the wall, with calcified plaques."""
    a, b, c, _ = finding.place
    middle = -0.15 + 0.35 * a
    band = inside(chest.wall - 0.050 - 0.02 * b, 0.012) * inside(np.abs(chest.y - middle) - 0.22, 0.04)
    plaque = blob(chest.wall, chest.y, (0.05, middle + 0.12 * (c - 0.5)), (0.025, 0.05))
    return 0.155 * _lung(chest, finding.side) * (band + 0.6 * plaque)


def _fracture(chest: Chest, build: Build, finding: Finding) -> Array:
    """A gap across one rib, its lateral end displaced, callus around it."""
    a, b, c, _ = finding.place
    u = 0.42 + 0.16 * a
    rib = np.floor((-0.45 + 0.55 * b - rib_height(u, build)) / RIB_SPACING) + 1.0
    v = float(rib * RIB_SPACING + rib_height(u, build))
    x = finding.side * u
    step = 0.065 if c < 0.5 else -0.065
    gap = blob(chest.x, chest.y, (x, v), (0.026, 0.055))
    displaced = stroke(
        chest.x, chest.y, (x + finding.side * 0.03, v + step), (x + finding.side * 0.13, v + step), 0.026
    )
    callus = blob(chest.x, chest.y, (x - finding.side * 0.05, v), (0.045, 0.045))
    return np.asarray(0.15 * displaced + 0.11 * callus - 0.13 * gap, dtype=np.float32)


_DRAWERS: Mapping[str, Callable[[Chest, Build, Finding], Array]] = {
    "Lung Opacity": _lung_opacity,
    "Lung Lesion": _lung_lesion,
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Pneumonia": _pneumonia,
    "Atelectasis": _atelectasis,
    "Pneumothorax": _pneumothorax,
    "Pleural Effusion": _pleural_effusion,
    "Pleural Other": _pleural_other,
    "Fracture": _fracture,
}
