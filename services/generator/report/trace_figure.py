"""The trace as small multiples: each feature and each probability against the frame, as one self-contained SVG.

A feature's scale always spans at least one standard deviation of the cohort, which stands as a bar at the right: what
hardly moves looks as if it hardly moved.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from services.generator.report.effects import Effect, effects
from services.generator.report.markup import Markup, element
from services.generator.report.spelling import decimals_for, number, signed, title
from services.generator.report.trace import Trace, Values

_COLUMNS, _WIDTH, _HEIGHT = 3, 340, 196
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 30, 46, 30
_LEAST_SHARE = 0.02
# Room above and below the values for what is written at the ends, in shares of their range.
_MARGIN = 0.2
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_STYLE = (
    ".trace{--ink:#1c1d1f;--quiet:#5c6067;--rule:#d5d5d0;--grid:#e6e6e2;--paper:#fff;--feature:#0b72b5;--chance:#b8540a;"
    "font:11px 'DejaVu Sans',Verdana,sans-serif;font-variant-numeric:tabular-nums}"
    "@media screen and (prefers-color-scheme:dark){.trace{--ink:#e9e9e6;--quiet:#a2a6ad;--rule:#3a3d42;--grid:#2c2f33;"
    "--paper:#1b1d20;--feature:#58b0ec;--chance:#f59a4c}}"
    ".trace text{fill:var(--quiet)}.trace .name{fill:var(--ink);font-weight:600;font-size:12px}"
    ".trace .value{fill:var(--ink)}.trace .end{text-anchor:end}.trace .middle{text-anchor:middle}"
    ".trace .grid{stroke:var(--grid)}.trace .axis{stroke:var(--rule)}.trace .half{stroke:var(--quiet);"
    "stroke-dasharray:3 3}.trace .paper{fill:var(--paper)}"
    ".trace .spread{stroke:var(--quiet);stroke-width:1.5;fill:none}"
    ".trace polyline{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    ".trace .feature{stroke:var(--feature)}.trace .chance{stroke:var(--chance)}"
    ".trace circle.feature{fill:var(--feature);stroke:none}.trace circle.chance{fill:var(--chance);stroke:none}"
)


@dataclass(frozen=True)
class _Panel:
    """One curve: what stands over it, its scale, and how it is drawn."""

    name: str
    under: str
    values: Values
    low: float
    high: float
    kind: str
    spread: float | None = None

    @property
    def decimals(self) -> int:
        """Of the end values: two digits of the scale."""
        return max(decimals_for((self.high - self.low) / 4) - 1, 0)


def trace_svg(
    trace: Trace, *, spreads: Mapping[str, float] | None = None, source: str = "source", target: str = "target"
) -> str:
    """A standalone SVG of ``trace``; ``source`` and ``target`` name the ends of the path."""
    panels = [_feature_panel(trace, effect) for effect in effects(trace, spreads)]
    panels += [_chance_panel(name, trace.probability(name)) for name in trace.probabilities]
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    drawn = [
        _drawn(panel, k % columns * _WIDTH, k // columns * _HEIGHT, (source, target)) for k, panel in enumerate(panels)
    ]
    told = f"{len(panels)} curves over {trace.frames} frames from {source} to {target}"
    width, height = columns * _WIDTH, rows * _HEIGHT
    svg = element(
        "svg",
        element("title", "Trace of a counterfactual"),
        element("desc", told),
        element("style", Markup(_STYLE)),
        element("rect", class_="paper", width=width, height=height),
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        class_="trace",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=told,
    )
    return _NO_TEXT.sub("\ufffd", svg)


def _feature_panel(trace: Trace, effect: Effect) -> _Panel:
    values = trace.feature(effect.feature)
    low, high = _scale(values, effect.spread)
    under = [effect.unit] if effect.unit else []
    if effect.in_sd is not None:
        under.append(f"{signed(effect.in_sd, 2)} SD")
    if effect.missing:
        under.append(f"{effect.missing} of {trace.frames} not measured")
    return _Panel(title(effect.feature), " · ".join(under), values, low, high, "feature", effect.spread)


def _chance_panel(name: str, values: Values) -> _Panel:
    return _Panel(f"P({name})", "classifier's probability", values, -_MARGIN, 1.0 + _MARGIN, "chance")


def _scale(values: Values, spread: float | None) -> tuple[float, float]:
    """Limits around the values, at least one spread apart, or 2 % of their size where no spread is known."""
    seen = values[np.isfinite(values)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    least = spread if spread is not None else _LEAST_SHARE * max(abs(low), abs(high)) or 1.0
    slack = max(least - (high - low), 0.0) / 2
    low, high = low - slack, high + slack
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def _drawn(panel: _Panel, left: float, top: float, ends: tuple[str, str]) -> Markup:
    parts = [
        element("text", _clipped(panel.name, 44), x=_LEFT, y=18, class_="name"),
        element("text", _clipped(panel.under, 46), x=_LEFT, y=34),
        *_grid(panel),
        *_frames(panel, ends),
        *_curve(panel),
        *_spread(panel),
    ]
    return element("g", *parts, transform=f"translate({left:g} {top:g})")


def _grid(panel: _Panel) -> list[Markup]:
    ticks = [0.0, 0.5, 1.0] if panel.kind == "chance" else list(MaxNLocator(4).tick_values(panel.low, panel.high))
    ticks = [tick for tick in ticks if panel.low <= tick <= panel.high]
    step = ticks[1] - ticks[0] if len(ticks) > 1 else panel.high - panel.low
    decimals = next((d for d in range(9) if abs(round(step, d) - step) < 1e-6 * step), 9)
    parts: list[Markup] = []
    for tick in ticks:
        y = _up(panel, tick)
        half = panel.kind == "chance" and tick == 0.5
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, "half" if half else "grid"))
        parts.append(element("text", number(tick, decimals), x=_LEFT - 7, y=f"{y + 3.8:.1f}", class_="end"))
    return parts


def _frames(panel: _Panel, ends: tuple[str, str]) -> list[Markup]:
    """The axis below: the first and the last frame with the names of the ends."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    first, last = (_clipped(end, 20) for end in ends)
    return [
        _line(_LEFT, bottom, right, bottom, "axis"),
        element("text", f"0 {first}", x=_LEFT, y=bottom + 15),
        element("text", "frame", x=f"{(_LEFT + right) / 2:g}", y=bottom + 15, class_="middle"),
        element("text", f"{last} {len(panel.values) - 1}", x=right, y=bottom + 15, class_="end"),
    ]


def _curve(panel: _Panel) -> list[Markup]:
    """The values, broken where nothing could be measured, with both ends marked and written out."""
    values = panel.values
    points = [(_across(panel, k), _up(panel, value)) for k, value in enumerate(values)]
    parts = [
        element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in run), class_=panel.kind)
        for run in _runs(points)
        if len(run) > 1
    ]
    parts += [
        element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=1.8, class_=panel.kind)
        for run in _runs(points)
        if len(run) == 1
        for x, y in run
    ]
    for k, align in ((0, ""), (len(values) - 1, " end")):
        if math.isfinite(values[k]):
            x, y = points[k]
            rises = values[-1] >= values[0] if math.isfinite(values[0] + values[-1]) else True
            above = (k == 0) != rises
            shift = -8 if above else 17
            parts.append(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, class_=panel.kind))
            parts.append(
                _end_value(panel, number(values[k], panel.decimals), x + (-6 if align else 6), y + shift, align)
            )
    return parts


def _end_value(panel: _Panel, text: str, x: float, y: float, align: str) -> Markup:
    inside = min(max(y, _TOP + 9), _HEIGHT - _BOTTOM - 4)
    return element("text", text, x=f"{x:.1f}", y=f"{inside:.1f}", class_=f"value{align}")


def _spread(panel: _Panel) -> list[Markup]:
    """A bar of one standard deviation, in the middle of the scale."""
    if panel.spread is None:
        return []
    middle = (panel.low + panel.high) / 2
    top, bottom = _up(panel, middle + panel.spread / 2), _up(panel, middle - panel.spread / 2)
    x = _WIDTH - _RIGHT + 9
    bar = element("path", d=f"M{x - 3} {top:.1f}h6M{x} {top:.1f}V{bottom:.1f}M{x - 3} {bottom:.1f}h6", class_="spread")
    at = f"rotate(-90 {x + 14} {(top + bottom) / 2:.1f})"
    words = element("text", "SD", x=x + 14, y=f"{(top + bottom) / 2:.1f}", class_="middle", transform=at)
    return [bar, words]


def _runs(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _across(panel: _Panel, frame: int) -> float:
    return _LEFT + frame / max(len(panel.values) - 1, 1) * (_WIDTH - _RIGHT - _LEFT)


def _up(panel: _Panel, value: float) -> float:
    return _HEIGHT - _BOTTOM - (value - panel.low) / (panel.high - panel.low) * (_HEIGHT - _BOTTOM - _TOP)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=f"{x1:g}", y1=f"{y1:.1f}", x2=f"{x2:g}", y2=f"{y2:.1f}", class_=class_)


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
