"""The difference map: last frame minus first, in two hues over the grey anatomy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.adapters.encoder import picture_bytes
from services.adapters.encoder.lettering import (
    STRIP_INK,
    STRIP_PAPER,
    STRIP_QUIET,
    Picture,
    blank,
    fitted,
    strip,
    write,
)
from services.adapters.encoder.pixels import checked
from services.adapters.encoder.record import Record
from services.errors import OutOfRange, ShapeMismatch
from services.generator.report.pictures import distinct_planes, enlarged, factor_for, round_up, same_shape
from services.maths.pixels import Array

LEAST_SIDE = 512
_GAP, _KEY, _BAR, _HEAD = 12, 132, 22, 34
# Blue for darker, orange for brighter: told apart by every kind of colour vision, and by no tissue's grey.
_DARKER, _BRIGHTER = np.array([64, 156, 255.0]), np.array([255, 138, 31.0])
_UNDERLAY_FLOOR, _UNDERLAY_SPAN = 18.0, 150.0
# Below this share of full range a difference is the rounding of 8-bit files, not anatomy.
_LEAST_LIMIT = 0.01
_SMALL = 13


def difference_map(
    first: npt.NDArray[np.floating],
    last: npt.NDArray[np.floating],
    record: Record,
    *,
    limit: float | None = None,
    spacing: tuple[float, float] | None = None,
    caption: str = "last frame minus first",
    planes: Sequence[str] = (),
) -> bytes:
    """A PNG of ``last - first``, both (C, H, W) in [0, 1]: one panel for each channel that differs from the others.

    ``limit`` is the difference of full colour (else the 99.5th percentile, rounded up), ``spacing`` (row, column) in mm
    adds a scale bar, ``planes`` names the panels ("ED", "ES"). Raises ShapeMismatch, NonFinite or OutOfRange.
    """
    before, after = checked(first, field="first"), checked(last, field="last")
    same_shape(before, after, "last")
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise OutOfRange("the limit of the colours must be above 0", field="limit")
    if spacing is not None and not (np.isfinite(spacing).all() and min(spacing) > 0):
        raise OutOfRange("spacing must be two positive numbers, in mm", field="spacing")
    shown = distinct_planes(before, after)
    if planes and len(planes) != len(shown):
        raise ShapeMismatch(f"{len(shown)} planes are shown, {len(planes)} are named", field="planes")
    most = limit if limit is not None else colour_limit(after - before)
    factor = factor_for(min(before.shape[1:]), LEAST_SIDE)
    panels = [_panel(before[k], after[k], most, factor) for k in shown]
    for panel, name in zip(panels, planes or [""] * len(panels), strict=True):
        _label(panel, name)
    if spacing is not None:
        _scale_bar(panels[0], spacing[1] / factor)
    return picture_bytes(_laid_out(panels, most, float(np.abs(after - before).max()), caption), record)


def colour_limit(difference: Array) -> float:
    """The difference that gets full colour: the 99.5th percentile of |difference|, rounded up; at least 0.01."""
    return round_up(max(float(np.percentile(np.abs(difference), 99.5)), _LEAST_LIMIT))


def coloured(difference: npt.NDArray[np.floating], grey: npt.NDArray[np.floating], limit: float) -> Picture:
    """(H, W, 3): ``grey`` (H, W) in [0, 1] under ``difference`` (H, W), whose size gives the opacity."""
    share = np.clip(np.abs(difference) / limit, 0, 1)[..., None] ** 0.7
    hue = np.where(difference[..., None] > 0, _BRIGHTER, _DARKER)
    under = (_UNDERLAY_FLOOR + _UNDERLAY_SPAN * grey)[..., None]
    mixed: Picture = np.rint(share * hue + (1 - share) * under).astype(np.uint8)
    return mixed


def _panel(before: Array, after: Array, limit: float, factor: int) -> Picture:
    grey = enlarged((before + after) / 2, factor)
    return coloured(enlarged(after - before, factor), grey, limit)


def _label(panel: Picture, name: str) -> None:
    if name:
        write(panel, (12, 10), fitted(name, 18, panel.shape[1] - 24), size=18, ink=STRIP_INK, anchor="la", bold=True)


def _scale_bar(panel: Picture, millimetres: float) -> None:
    """A bar of a round length, about a fifth of the panel, at the lower left; ``millimetres`` is one pixel's width."""
    length = round_up(panel.shape[1] / 6 * millimetres)
    pixels = round(length / millimetres)
    bottom, left = panel.shape[0] - 16, 16
    panel[bottom - 1 : bottom + 5, left - 1 : left + pixels + 1] = 0
    panel[bottom : bottom + 4, left : left + pixels] = 255
    write(panel, (left, bottom - 7), f"{length:g} mm", size=15, ink=STRIP_INK)


def _laid_out(panels: list[Picture], limit: float, most: float, caption: str) -> Picture:
    """Panels side by side, the colour key on the right, the strip that says SYNTHETIC below."""
    height = panels[0].shape[0]
    gap = blank(height, _GAP, STRIP_PAPER)
    parts: list[Picture] = []
    for panel in panels:
        parts += [panel, gap]
    row = np.concatenate([*parts[:-1], _key(height, limit, most)], axis=1)
    return np.concatenate([row, strip(row.shape[1], caption)])


def _key(height: int, limit: float, most: float) -> Picture:
    """The colour key: differences from -limit to +limit over mid-grey, with five ticks and what they mean."""
    key = blank(height, _KEY, STRIP_PAPER)
    top, bottom = _HEAD, height - 2 * _HEAD
    scale = np.linspace(limit, -limit, bottom - top)[:, None].repeat(_BAR, axis=1)
    key[top:bottom, _GAP : _GAP + _BAR] = coloured(scale, np.full(scale.shape, 0.35), limit)
    beyond = most > limit * (1 + 1e-6)
    for share in (1.0, 0.5, 0.0, -0.5, -1.0):
        y = top + (1 - share) / 2 * (bottom - top - 1)
        key[round(y), _GAP + _BAR : _GAP + _BAR + 5] = STRIP_QUIET
        words = _tick(share * limit, beyond and abs(share) == 1.0)
        write(key, (_GAP + _BAR + 10, y), words, size=_SMALL, ink=STRIP_INK, anchor="lm")
    write(key, (_GAP, top - 12), "brighter", size=_SMALL, ink=STRIP_QUIET)
    write(key, (_GAP, bottom + 19), "darker", size=_SMALL, ink=STRIP_QUIET)
    write(key, (_GAP, bottom + 38), "share of full range", size=_SMALL - 2, ink=STRIP_QUIET)
    return key


def _tick(value: float, beyond: bool) -> str:
    """A tick's words; at the ends "≥" or "≤" where differences go beyond the colours."""
    if value == 0:
        return "0"
    sign = "+" if value > 0 else "−"
    return (("≥ " if value > 0 else "≤ ") if beyond else "") + f"{sign}{abs(value):.3g}"
