"""What the phantom readers take from the pixels: levels of attributes, numbers, masks; and what they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.maths.phantoms.caption_readers import read_attributes, read_organ
from services.maths.phantoms.cardiac_readers import read_cardiac, segment_cardiac
from services.maths.phantoms.pelvis import GRADES
from services.maths.phantoms.pelvis_reader import PELVIS_FEATURES, read_pelvis
from services.maths.phantoms.worlds import Kind

Pixels = npt.NDArray[np.float32]

ORGAN = "organ"
NO_READER = "there is no reader for these images"
_NOT_IN_PIXELS = "no reader takes it from the pixels"
_WHY_UNREAD = {
    "race": "it does not show in one image; the features by group say what it does on average",
    "bmi": "the reader is out by 2.5 kg/m², too much for levels; the waist is among the features",
}
_SMALLEST_PELVIS = 24


@dataclass(frozen=True)
class Readings:
    """``levels`` and ``features`` (NaN where not found) of N images, and why each other attribute is ``unread``."""

    levels: pd.DataFrame
    features: pd.DataFrame
    unread: Mapping[str, str]


def read_images(organ: str, task: str, pixels: Pixels, asked: list[str]) -> Readings:
    """Readings of (N, C, H, W) in [0, 1] of one organ, for the attributes that were asked for."""
    nothing = pd.DataFrame(index=range(len(pixels)))
    square = pixels.shape[2] == pixels.shape[3]
    if not organ or not square:
        return Readings(nothing, nothing, dict.fromkeys(asked, NO_READER))
    with np.errstate(all="ignore"):  # where a landmark is missing the readers divide by nothing, and say NaN
        if task == "class-to-image":
            return _by_shape(organ, pixels, asked)
        levels = read_attributes(cast("Kind", organ), pixels)
        levels[ORGAN] = pd.Series(read_organ(pixels), dtype=object)
        features = _hearts(pixels) if organ == "cardiac" else _pelves(pixels) if organ == "pelvis" else nothing
    return Readings(levels, features, {name: _NOT_IN_PIXELS for name in asked if name not in levels})


def _by_shape(organ: str, pixels: Pixels, asked: list[str]) -> Readings:
    nothing = pd.DataFrame(index=range(len(pixels)))
    if organ != "pelvis" or pixels.shape[2] < _SMALLEST_PELVIS:
        return Readings(nothing, nothing, dict.fromkeys(asked, NO_READER))
    seen = read_pelvis(pixels.mean(axis=1, keepdims=True))
    levels = pd.DataFrame(
        {
            **{name: seen[name].astype(object) for name in ("sex", "laterality", "projection")},
            "osteoarthritis": [_grade(value) for value in seen["osteoarthritis"]],
        },
        dtype=object,
    )
    unread = {name: _WHY_UNREAD.get(name, _NOT_IN_PIXELS) for name in asked if name not in levels}
    return Readings(levels, seen[[*PELVIS_FEATURES, "waist"]], unread)


def _grade(value: float) -> str | None:
    return f"{int(np.clip(np.rint(value), 0, GRADES))}" if np.isfinite(value) else None


def _pelves(pixels: Pixels) -> pd.DataFrame:
    if pixels.shape[2] < _SMALLEST_PELVIS:
        return pd.DataFrame(index=range(len(pixels)))
    return read_pelvis(pixels.mean(axis=1, keepdims=True))[list(PELVIS_FEATURES)]


def _hearts(pixels: Pixels) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [dict(read_cardiac(image)) for image in pixels]
    return pd.DataFrame(rows)


def heart_masks(pixels: Pixels, phases: int) -> npt.NDArray[np.uint8]:
    """(N, phases, H, W) labels found in the first ``phases`` frames of (N, C, H, W)."""
    return np.stack([np.stack([segment_cardiac(image[phase]) for phase in range(phases)]) for image in pixels])
