"""What a caption says, read from pixels alone: did a generator draw what it was asked for?

The readers know the drawings of this package and are exact on them, not on radiographs of people. They take an image as
a generator gives it: three channels, [ED, ES, ED] for the heart, three times the same for the other organs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.maths.phantoms.captions import UNREAD, caption_attributes
from services.maths.phantoms.cardiac import FAT_RING
from services.maths.phantoms.cardiac_readers import read_cardiac
from services.maths.phantoms.chest_reader import read_chest, standard_blocks
from services.maths.phantoms.cohorts import LABELS, draw_records
from services.maths.phantoms.lesion_readers import read_lesion
from services.maths.phantoms.pelvis_reader import read_pelvis
from services.maths.phantoms.worlds import Kind

Doubles = npt.NDArray[np.float64]
Images = npt.NDArray[np.floating]
Attributes = dict[str, str | None]

# Half of the way between the two levels, as read at 64 pixels.
_MALE_HEART = 0.361
_FAILING_RATIO = 0.715
_RING_READS_WIDER = 0.006
_ENLARGED_HEART = 0.507
_EFFUSION = 0.39
_DARK_CORE = 0.87
_FAINT = 0.2
_SEVERE = 2.0
_TEMPLATE_PATIENTS, _TEMPLATE_SEED, _TEMPLATE_SIZE = 6, 2024, 32


def read_attributes(kind: Kind, images: Images) -> pd.DataFrame:
    """One row an image of (N, 1 or 3, S, S) in [0, 1]: the readable attributes of ``kind``, None where none is seen.

    Raises ValueError for an unknown kind, another shape, or hearts of one channel.
    """
    if kind not in _READERS:
        raise ValueError(f"kind must be one of {', '.join(_READERS)}, not {kind!r}")
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must have shape (N, C, S, S), got {images.shape}")
    if kind == "cardiac" and images.shape[1] < 2:
        raise ValueError(f"a heart is read from two frames, got {images.shape[1]} channel")
    columns = [name for name in caption_attributes(kind) if name not in UNREAD.get(kind, ())]
    return pd.DataFrame(_READERS[kind](images), columns=columns, dtype=object)


def read_organ(images: Images) -> list[Kind]:
    """The organ of each image of (N, C, S, S) in [0, 1]: that of the most similar mean phantom."""
    names, templates = _templates()
    shown = np.stack([standard_blocks(image[0]).ravel() for image in images])
    return [names[best] for best in np.argmax(shown @ templates.T, axis=1)]


@lru_cache(maxsize=1)
def _templates() -> tuple[tuple[Kind, ...], Doubles]:
    """Kinds and the mean of a few phantoms of each, (kinds, grid²)."""
    names: tuple[Kind, ...] = tuple(LABELS)  # type: ignore[arg-type]
    means = []
    for kind in names:
        records = [
            record
            for patient in range(_TEMPLATE_PATIENTS)
            for record in draw_records(kind, "null", patient, _TEMPLATE_SEED, _TEMPLATE_SIZE)
        ]
        mean = np.mean([standard_blocks(record.image[0]).ravel() for record in records], axis=0)
        means.append(mean / np.linalg.norm(mean))
    return names, np.stack(means)


def _chests(images: Images) -> list[Attributes]:
    found = read_chest(images.mean(axis=1))
    return [
        {
            "sex": "Female" if female > 0.5 else "Male",
            "cardiomegaly": "present" if heart > _ENLARGED_HEART else "absent",
            "pleural_effusion": "none" if abs(fluid) < _EFFUSION else "left" if fluid > 0 else "right",
        }
        for female, heart, fluid in found
    ]


def _brains(images: Images) -> list[Attributes]:
    rows: list[Attributes] = []
    for image in images:
        lesion = read_lesion(image.mean(axis=0))
        if lesion is None or lesion.excess < _FAINT:
            rows.append({"lesion": None, "hemisphere": None})
            continue
        core = "necrotic" if lesion.core < _DARK_CORE else "homogeneous"
        rows.append({"lesion": core, "hemisphere": "right" if lesion.side < 0 else "left"})
    return rows


def _pelves(images: Images) -> list[Attributes]:
    table = read_pelvis(images.mean(axis=1, keepdims=True).astype(np.float32))
    return [
        {
            "sex": row["sex"] if isinstance(row["sex"], str) else None,
            "osteoarthritis": _split(row["osteoarthritis"], _SEVERE, ("none", "severe")),
            "laterality": row["laterality"] if isinstance(row["laterality"], str) else None,
        }
        for row in table.to_dict("records")
    ]


def _hearts(images: Images) -> list[Attributes]:
    cuts = np.convolve(list(FAT_RING.values()), [0.5, 0.5], mode="valid") + _RING_READS_WIDER
    levels = tuple(FAT_RING)
    rows: list[Attributes] = []
    for image in images:
        seen = read_cardiac(image)
        rows.append(
            {
                "sex": _split(seen["heart_radius_ed"], _MALE_HEART, ("Female", "Male")),
                "bmi": levels[int(np.searchsorted(cuts, seen["fat_ring"]))],
                "diagnosis": _split(seen["radius_ratio"], _FAILING_RATIO, ("healthy", "heart failure")),
            }
        )
    return rows


def _split(value: float, at: float, names: tuple[str, str]) -> str | None:
    return None if np.isnan(value) else names[int(value > at)]


_READERS: Mapping[str, Callable[[Images], list[Attributes]]] = {
    "chest": _chests,
    "brain": _brains,
    "pelvis": _pelves,
    "cardiac": _hearts,
}
