"""Columns and seeds as callers hand them in, checked where they come in: an error names the argument, not an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST_SEED = 2**64 - 1


def numbers(name: str, values: object) -> NDArray[np.float64]:
    """``values`` as float64 in their own shape, None as NaN. Raises ValueError for anything that is no real number."""
    column = np.asarray(values)
    if column.dtype.kind not in "biufO":
        raise ValueError(f"{name} must hold numbers, not {column.dtype}")
    try:
        return column.astype(np.float64, copy=False)
    except (TypeError, ValueError) as fault:
        raise ValueError(f"{name} must hold numbers, and something in it is none") from fault


def stream_key(seed: int, number: int = 0) -> NDArray[np.uint64]:
    """The (2,) Philox key of stream ``number`` of a seed. Raises ValueError for a seed outside 0..2**64 - 1."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed must lie in 0..2**64 - 1, got {seed}")
    return np.array([seed, number], dtype=np.uint64)
