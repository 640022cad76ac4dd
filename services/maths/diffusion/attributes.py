"""The attribute vector that a class-conditional network is given.

Named levels become one place each, 1 for the level and 0 for the others; a number becomes one place in [-1, 1]. An
attribute that is not given is NaN in all its places: the network puts its learned value there, which among levels is
unlike any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Attribute:
    """``levels``, or where there are none a number from ``low`` to ``high``."""

    name: str
    levels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @property
    def places(self) -> int:
        """How much of the vector it takes."""
        return len(self.levels) or 1


def attribute_vector(attributes: Sequence[Attribute], given: Mapping[str, str | float]) -> npt.NDArray[np.float32]:
    """(V,) float32 of the given values in the attributes' order.

    Raises ValueError, with the attribute's name first, for a level or a number that it does not have, and for a name
    that is not among the attributes.
    """
    names = [attribute.name for attribute in attributes]
    for name in given:
        if name not in names:
            raise ValueError(f"{name}: there is no such attribute; there are {', '.join(names)}")
    parts = [_places(attribute, given.get(attribute.name)) for attribute in attributes]
    return np.concatenate(parts).astype(np.float32)


def _places(attribute: Attribute, value: str | float | None) -> npt.NDArray[np.float64]:
    if value is None:
        return np.full(attribute.places, np.nan)
    if attribute.levels:
        value = str(value)
        if value not in attribute.levels:
            raise ValueError(f"{attribute.name}: must be one of {', '.join(attribute.levels)}, not {value!r}")
        return np.array([float(level == value) for level in attribute.levels])
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not attribute.low <= number <= attribute.high:
        raise ValueError(f"{attribute.name}: must lie in {attribute.low:g}..{attribute.high:g}, not {value!r}")
    return np.array([2.0 * (number - attribute.low) / (attribute.high - attribute.low) - 1.0])
