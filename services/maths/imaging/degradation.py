"""Degradation: what a faster or weaker acquisition would have left of an image.

A record's degraded image is a function of the image, the seed, the operator and the record id, whatever else is in the
batch and in whichever order. It stays in the units of the original, clipped to [0, 1]: rescaling each image to its own
minimum and maximum, as published, changes contrast by amounts that differ between patients and shows up as PSNR.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from services.maths.imaging import kspace, projection
from services.maths.pixels import check_images

OPERATORS = ("radial-kspace", "low-dose-xray")


def degrade(
    images: npt.NDArray[np.float32],
    record_ids: Sequence[str],
    *,
    seed: int,
    operator: str,
    acceleration: int | None = None,
    photons: float | None = None,
    published_bowtie: bool = False,
    noise_model: str = "transmitted-counts",
) -> npt.NDArray[np.float32]:
    """Return canonical images (N, 1, S, S) as `operator` leaves them, float32 of the same shape in [0, 1].

    "radial-kspace" needs `acceleration`, one of 4, 8, 16, 24, and has no noise. "low-dose-xray" needs `photons` per
    detector element; `published_bowtie` and `noise_model` are explained in `projection`.

    Raises ValueError for other images, a wrong number of record ids, or parameters the operator lacks or does not take.
    """
    check_images(images)
    if images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be square and have one channel, (N, 1, S, S), got {images.shape}")
    if len(record_ids) != len(images):
        raise ValueError(f"one record id per image is needed, got {len(record_ids)} for {len(images)} images")
    if operator not in OPERATORS:
        raise ValueError(f"operator must be one of {OPERATORS}, got {operator!r}")
    originals = np.ascontiguousarray(images, np.float32)
    if operator == "radial-kspace":
        if photons is not None or published_bowtie:
            raise ValueError("radial-kspace takes acceleration; photons and published_bowtie belong to low-dose-xray")
        return _radial_kspace(originals, acceleration)
    if acceleration is not None:
        raise ValueError("low-dose-xray takes photons; acceleration belongs to radial-kspace")
    if photons is None:
        raise ValueError("low-dose-xray needs photons, the count per detector element, for example 10000")
    degraded = projection.low_dose(
        torch.from_numpy(originals),
        photons,
        [record_generator(seed, operator, record_id) for record_id in record_ids],
        noise_model=noise_model,
        published_bowtie=published_bowtie,
    )
    return np.asarray(np.clip(degraded.numpy(), 0.0, 1.0))


def _radial_kspace(originals: npt.NDArray[np.float32], acceleration: int | None) -> npt.NDArray[np.float32]:
    if acceleration is None:
        raise ValueError(f"radial-kspace needs acceleration, one of {sorted(kspace.SPOKES)}")
    size = originals.shape[2]
    mask = kspace.radial_mask(size, kspace.spokes_for(size, acceleration))
    return np.clip(kspace.undersample(originals, mask), 0.0, 1.0)


def record_generator(seed: int, operator: str, record_id: str) -> np.random.Generator:
    """Return the record's own generator: Philox keyed by the digest of (seed, operator, record id)."""
    name = f"{seed}:{operator}:{record_id}".encode("utf-8", "surrogatepass")
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name).digest()[:16])))
