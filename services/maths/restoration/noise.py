"""Noise for restoring an image: keyed by the image itself, so a result needs no record's name to be made again."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

LARGEST_SEED = 2**63 - 1


def pixel_noise(pixels: npt.NDArray[np.float32], seed: int, draw: int) -> npt.NDArray[np.float32]:
    """Standard normal float32 of the shape of one degraded image (C, H, W).

    Philox keyed by the digest of (seed, draw, sha256 of the pixels as little-endian float32). The same pixels and seed
    get the same noise in whatever batch they come; ValueError unless 0 <= seed < 2**63 and draw >= 0.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed must lie in 0..2**63 - 1, got {seed}")
    if draw < 0:
        raise ValueError(f"draw must be at least 0, got {draw}")
    content = hashlib.sha256(np.ascontiguousarray(pixels, "<f4").tobytes()).hexdigest()
    name = f"restoration-noise:{int(seed)}:{int(draw)}:{content}".encode()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name).digest()[:16])))
    return generator.standard_normal(pixels.size, dtype=np.float32).reshape(pixels.shape)
