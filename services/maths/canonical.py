"""One byte string per value: the canonical JSON that every digest of the platform is taken over.

Rules: object keys sorted by code point, no spaces, UTF-8 without escapes, floats in their shortest form that reads back
the same, -0.0 as 0.0, NaN and infinities as null (JSON has no other honest word for "no number"), numpy scalars and
arrays as the plain numbers and lists they hold. Strings are kept as they are: no Unicode normalisation.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np


def canonical_json(value: Any) -> bytes:
    """Canonical JSON of dicts with string keys, lists, tuples, strings, numbers, booleans, None and numpy arrays.

    Raises ValueError for anything else (sets have no order, dates no single spelling) and for text that is not Unicode.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def digest(value: Any, *, without: Collection[str] = ()) -> str:
    """sha256 of ``canonical_json(value)``, 64 hex digits; ``without`` names top-level keys that are left out."""
    if without:
        value = {key: item for key, item in value.items() if key not in without}
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        # Adding 0.0 turns -0.0 into 0.0 and leaves every other number alone.
        return value + 0.0 if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise ValueError(f"canonical JSON has no form for {type(value).__name__}; pass dicts, lists, strings and numbers")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"canonical JSON needs string keys, not {type(key).__name__}")
    return key
