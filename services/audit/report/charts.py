"""Small SVG charts. Colours are CSS classes, so that one drawing serves light, dark and paper.

Series are told apart by colour and by shape (circle, square, diamond, triangle), never by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.audit.report.markup import Markup, element

ROW = 20
FONT = 11
SHAPES = 4
_LABEL, _PLOT, _NOTE = 118, 190, 92


@dataclass(frozen=True)
class Point:
    """One estimate. ``series`` picks colour and shape; a hollow point says too little to be compared.

    A hollow point beyond the scale is drawn at its edge: what says little must not squeeze what says much.
    """

    series: int
    value: float
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    title: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a chart: a name, its points, a note (n) on the right; without points it says why in ``absent``.

    ``joined`` draws a bar between its two points: they are comparable.
    """

    name: str
    points: tuple[Point, ...]
    note: str = ""
    absent: str = ""
    joined: bool = True


@dataclass(frozen=True)
class Scale:
    """A linear scale with round ticks."""

    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _LABEL + min(max(share, 0.0), 1.0) * _PLOT

    @property
    def ticks(self) -> list[float]:
        return [self.low + i * self.step for i in range(round((self.high - self.low) / self.step) + 1)]

    def spell(self, value: float) -> str:
        return f"{value:.{max(0, -math.floor(math.log10(self.step) + 1e-9))}f}"


def scale(values: Sequence[float], *, zero: bool = False) -> Scale:
    """A scale that holds all values; ``zero`` makes it start at 0, as gaps must."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low = 0.0 if zero else low
    spread = max(high - low, abs(high) * 0.01, 1e-6)
    magnitude = 10.0 ** math.floor(math.log10(spread / 3))
    step = next(magnitude * k for k in (1, 2, 5, 10) if spread / (magnitude * k) <= 4)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Scale(start * step, max(end, start + 1) * step, step)


def dot_plot(title: str, rows: Sequence[Row], axis: Scale, *, reference: float | None = None) -> Markup:
    """Points by row. ``reference`` draws a dashed vertical line (the baseline's overall value)."""
    marks: list[Markup] = []
    if reference is not None:
        marks.append(_line(axis.at(reference), 0, axis.at(reference), len(rows) * ROW, "reference"))
    for i, row in enumerate(rows):
        # Pipelines of one group lie a little apart, so that equal values stay visible.
        for k, point in enumerate(row.points):
            y = (i + 0.5) * ROW + (k - (len(row.points) - 1) / 2) * min(4.5, 12 / max(1, len(row.points)))
            marks.append(_point(point, axis, y))
    return _chart(title, rows, axis, marks)


def dumbbells(title: str, rows: Sequence[Row], axis: Scale) -> Markup:
    """Baseline (first point) to candidate (second point), one pair a row, joined by a bar."""
    marks: list[Markup] = []
    for i, row in enumerate(rows):
        y = (i + 0.5) * ROW
        if row.joined and len(row.points) == 2:
            start, end = (axis.at(point.value) for point in row.points)
            marks.append(_line(start, y, end, y, f"bar s{row.points[1].series % SHAPES}"))
        marks += [_point(point, axis, y) for point in row.points]
    return _chart(title, rows, axis, marks)


def heat_map(
    title: str, row_names: Sequence[str], column_names: Sequence[str], cells: Sequence[Sequence[tuple[str, str, str]]]
) -> Markup:
    """Coloured cells with their number printed in them. A cell is (class, text, title)."""
    width, height, label = 62, 26, 170
    # Names stand at 35 degrees: sin(35) times about 6.5 px a letter.
    head = 22 + 3.8 * min(20, max(map(len, column_names), default=0))
    marks = [
        element(
            "text", _short(name, 26), x=label - 8, y=head + (i + 0.5) * height + 4, class_="name", text_anchor="end"
        )
        for i, name in enumerate(row_names)
    ]
    for j, name in enumerate(column_names):
        x, y = label + (j + 0.5) * width + 2, head - 8
        turn = f"rotate(-35 {x:.1f} {y})"
        marks.append(element("text", element("title", name), _short(name, 20), x=x, y=y, transform=turn, class_="name"))
    for i, row in enumerate(cells):
        for j, (class_, text, hint) in enumerate(row):
            x, y = label + j * width, head + i * height
            box = element("rect", x=x + 1, y=y + 1, width=width - 2, height=height - 2, rx=2, class_=f"heat {class_}")
            ink = element(
                "text", text, x=x + width / 2, y=y + height / 2 + 4, text_anchor="middle", class_=f"ink {class_}"
            )
            marks.append(element("g", element("title", hint), box, ink))
    return _svg(title, label + len(column_names) * width + 50, head + len(row_names) * height + 4, marks)


def legend_mark(series: int) -> Markup:
    """The shape of a series, for a legend."""
    return element(
        "svg", _shape(series, 7.0, 7.0, hollow=False), width=14, height=14, class_="chart", aria_hidden="true"
    )


def _chart(title: str, rows: Sequence[Row], axis: Scale, marks: Sequence[Markup]) -> Markup:
    height = len(rows) * ROW
    frame: list[Markup] = []
    for tick in axis.ticks:
        frame.append(_line(axis.at(tick), 0, axis.at(tick), height, "grid"))
        frame.append(
            element("text", axis.spell(tick), x=axis.at(tick), y=height + 13, text_anchor="middle", class_="tick")
        )
    for i, row in enumerate(rows):
        y = (i + 0.5) * ROW + 4
        name = element(
            "text",
            element("title", row.name),
            _short(row.name, 19),
            x=_LABEL - 10,
            y=y,
            text_anchor="end",
            class_="name",
        )
        frame.append(name)
        if row.note:
            frame.append(element("text", row.note, x=_LABEL + _PLOT + 10, y=y, class_="note"))
        if row.absent:
            frame.append(element("text", row.absent, x=_LABEL + 4, y=y, class_="absent"))
    return _svg(title, _LABEL + _PLOT + _NOTE, height + 20, [*frame, *marks])


def _svg(title: str, width: float, height: float, marks: Sequence[Markup]) -> Markup:
    return element(
        "svg",
        element("title", title),
        *marks,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=round(width),
        style=f"max-width:{width:.0f}px",
        role="img",
        class_="chart",
    )


def _point(point: Point, axis: Scale, y: float) -> Markup:
    x = axis.at(point.value)
    parts = [element("title", point.title)]
    if point.low is not None and point.high is not None:
        parts.append(_line(axis.at(point.low), y, axis.at(point.high), y, f"whisker s{point.series % SHAPES}"))
    parts.append(_shape(point.series, x, y, hollow=point.hollow))
    return element("g", *parts)


def _shape(series: int, x: float, y: float, *, hollow: bool) -> Markup:
    class_ = f"mark s{series % SHAPES}" + (" hollow" if hollow else "")
    kind = series % SHAPES
    if kind == 0:
        return element("circle", cx=x, cy=y, r=4.0, class_=class_)
    if kind == 1:
        return element("rect", x=x - 3.6, y=y - 3.6, width=7.2, height=7.2, class_=class_)
    outline = [(0, -5), (5, 0), (0, 5), (-5, 0)] if kind == 2 else [(0, -5), (4.8, 4), (-4.8, 4)]
    return element("polygon", points=" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in outline), class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
