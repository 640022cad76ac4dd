"""What is said of how an image was made, so that it can be made again, bit for bit on the same device class."""

from __future__ import annotations

import hashlib
from importlib import metadata

import numpy as np

PLATFORM = "evenhand-platform"


def platform_version() -> str:
    """The platform's version with that of the library that computes: both decide bits."""
    return f"{metadata.version(PLATFORM)} (torch {metadata.version('torch')})"


def pixels_digest(pixels: np.ndarray) -> str:
    """sha256 of canonical float32 pixels, row-major, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(pixels, "<f4").tobytes()).hexdigest()


def joint_digest(digests: list[str]) -> str:
    """One digest for several in order; of a single one, that one."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
