"""Colours by name. A drawing holds stand-ins that become CSS variables, so one drawing serves light, dark and paper."""

from __future__ import annotations

SERIES = 6
# Circle, square, diamond, triangles, plus: pipelines are told apart by shape too, never by colour alone.
MARKERS = ("o", "s", "D", "^", "v", "P")
DEPTHS = 4
_NAMES = (
    *("ink", "quiet", "rule", "grid", "paper", "unsure", "hatch", "deep-ink", "h0"),
    *(f"s{i}" for i in range(SERIES)),
    *(f"h{side}{depth}" for side in "mp" for depth in range(1, DEPTHS + 1)),
)
_STAND_INS = {name: f"#0a0b{i:02x}" for i, name in enumerate(_NAMES)}
VARIABLES = {stand_in: f"var(--{name})" for name, stand_in in _STAND_INS.items()}


def ink(name: str) -> str:
    """The stand-in of a colour; KeyError for a name that the style sheet does not know."""
    return _STAND_INS[name]


def series_ink(series: int) -> str:
    """The colour of a pipeline; more than six pipelines share colours and shapes from the start."""
    return _STAND_INS[f"s{series % SERIES}"]


def series_marker(series: int) -> str:
    """The shape of a pipeline."""
    return MARKERS[series % SERIES]
