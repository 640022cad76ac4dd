"""The one place where numbers are rounded: what goes into a report has ten significant digits and is never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

DIGITS = 10


def rounded(value: Any) -> Any:
    """Plain JSON values: floats with ``DIGITS`` significant digits, None for what is not finite, all else as it is.

    Ten digits are far beyond any sampling error and far above the last bits in which two orders of adding up, two
    processors or two versions of a library may differ; so those cannot change a report's digest.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        # Adding 0.0 turns -0.0 into 0.0 and leaves every other number alone.
        return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
