"""A plotting area without axes objects: hundreds of panels are drawn, and building axes would take most of the time.

Lines, marks, fields and words are matplotlib artists placed in pixels; ticks come from matplotlib's locator.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from matplotlib.transforms import IdentityTransform

from services.audit.report.figures.ink import ink
from services.audit.report.spelling import clipped

FONT = 10.0
SMALL = 8.5
# From the middle of a line of text to its base line, in font sizes.
_BASE = 0.36
# Width of a usual letter of a wide sans-serif, in font sizes: the reader's font is not known.
_LETTER = 0.6
_SMALLEST = 7.5
_PIXELS = IdentityTransform()
Align = Literal["left", "center", "right"]


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` by ``height`` pixels, without a background."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    return figure


@lru_cache(maxsize=64)
def _font(size: float, weight: str = "normal", style: Literal["normal", "italic"] = "normal") -> FontProperties:
    return FontProperties(size=size, weight=weight, style=style)


def _wide(letter: str) -> float:
    return 1.0 if unicodedata.east_asian_width(letter) in "WF" else _LETTER


@dataclass(frozen=True)
class Word:
    """Text at (x, base) in pixels from the lower left corner of the figure."""

    x: float
    base: float
    text: str
    align: Align
    colour: str
    font: FontProperties
    angle: float = 0.0


class Words(Artist):
    """All words of a figure, each at its base line.

    matplotlib's own text measures every word to place it; here the place is known, and the reader's font is not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: list[Word] = []
        self._anchor = Text(rotation_mode="anchor", parse_math=False)
        self._anchor.set_transform(_PIXELS)
        self.set_zorder(9)
        self.set_transform(_PIXELS)

    def add(self, word: Word) -> None:
        """One more word."""
        self._told.append(word)

    def draw(self, renderer: RendererBase) -> None:
        height = self.figure.bbox.height
        pen = renderer.new_gc()
        for word in self._told:
            pen.set_foreground(word.colour)
            self._anchor.set_position((word.x, word.base))
            self._anchor.set_horizontalalignment(word.align)
            renderer.draw_text(pen, word.x, height - word.base, word.text, word.font, word.angle, False, self._anchor)
        pen.restore()


class Plot:
    """Values across, rows from top to bottom, in a rectangle of the figure.

    ``box`` is (left, top, width, height) in pixels from the upper left corner; ``limits`` are the values at its left
    and right edge. Rows are 0, 1, .. and may be fractions.
    """

    def __init__(
        self, figure: Figure, box: tuple[float, float, float, float], limits: tuple[float, float], rows: float
    ) -> None:
        self._figure = figure
        self._box = box
        self._limits = limits
        self._rows = max(rows, 1)
        self._whole = float(figure.bbox.height)
        self._words = Words()
        figure.add_artist(self._words)

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self._limits
        left, _, width, _ = self._box
        return left + (value - low) / (high - low) * width

    def down(self, row: float) -> float:
        """The pixel of the middle of a row, from the lower edge of the figure."""
        _, top, _, height = self._box
        return self._whole - top - (row + 0.5) / self._rows * height

    def lines(
        self, lines: Sequence[tuple[float, float, float]], colour: str, width: float = 1.3, alpha: float | None = None
    ) -> None:
        """Horizontal lines, each (row, from, to)."""
        ends = [[(self.at(start), self.down(row)), (self.at(end), self.down(row))] for row, start, end in lines]
        self._segments(ends, colour, width, alpha=alpha)

    def upright(self, value: float, colour: str, *, dashed: bool = False) -> None:
        """A line from the top to the bottom."""
        x = self.at(value)
        ends = [[(x, self.down(-0.5)), (x, self.down(self._rows - 0.5))]]
        self._segments(ends, colour, 1.0, dashed=dashed)

    def marks(
        self,
        points: Sequence[tuple[float, float]],
        colour: str,
        marker: str | int,
        size: float,
        *,
        fill: str = "",
        edge: float = 0.0,
    ) -> None:
        """Marks at (value, row); ``fill`` is the colour inside, the same as outside unless given."""
        if points:
            xs, ys = zip(*((self.at(value), self.down(row)) for value, row in points), strict=True)
            style = {"marker": marker, "markersize": size, "markeredgewidth": edge, "markerfacecolor": fill or colour}
            dots = Line2D(xs, ys, linestyle="none", color=colour, **style)  # type: ignore[arg-type]
            dots.set_transform(_PIXELS)
            self._figure.add_artist(dots)

    def fields(
        self,
        boxes: Sequence[tuple[float, float, float, float]],
        colours: Sequence[str],
        *,
        edge: str = "",
        hatch: str = "",
    ) -> None:
        """Rectangles (x, y, width, height) in pixels from the upper left corner of the plot.

        Filled with ``colours``; or only hatched, or only framed, in the colour ``edge``.
        """
        if boxes:
            left, top, _, _ = self._box
            high = self._whole - top
            shapes = [
                [(left + x, high - y), (left + x + w, high - y), (left + x + w, high - y - h), (left + x, high - y - h)]
                for x, y, w, h in boxes
            ]
            width = 1.6 if edge and not hatch else 0.0
            style = {"facecolors": list(colours) or "none", "edgecolors": edge or "none", "linewidths": width}
            drawn = PolyCollection(shapes, hatch=hatch or None, transform=_PIXELS, **style)  # type: ignore[arg-type]
            self._figure.add_artist(drawn)

    def words(
        self,
        place: tuple[float, float],
        text: str,
        align: Align = "left",
        *,
        size: float = FONT,
        colour: str = "quiet",
        bold: bool = False,
        italic: bool = False,
        angle: float = 0.0,
        room: float = 0.0,
    ) -> None:
        """Text with its middle at ``place``: pixels from the plot's left edge, and a row.

        Within ``room`` pixels a long text becomes a little smaller first, then shorter.
        """
        x, row = place
        if room:
            needed = size * sum(_wide(letter) for letter in text)
            size = max(_SMALLEST, min(size, size * room / max(needed, 1.0)))
            text = clipped(text, int(room / (size * _LETTER) + 0.01))
        font = _font(size, "bold" if bold else "normal", "italic" if italic else "normal")
        base = self.down(row) - (0.0 if angle else _BASE * size)
        self._words.add(Word(self._box[0] + x, base, text, align, ink(colour), font, angle))

    def heading(self, x: float, text: str, align: Align = "left") -> None:
        """Small words above the plot."""
        _, top, _, _ = self._box
        base = self._whole - top + 4
        self._words.add(Word(self._box[0] + x, base, text, align, ink("quiet"), _font(SMALL - 0.5)))

    def scale(self) -> None:
        """Light lines at round values, with their numbers below."""
        low, high = self._limits
        ticks = [t for t in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= t <= high]
        top, bottom = self.down(-0.5), self.down(self._rows - 0.5)
        self._segments([[(self.at(t), top), (self.at(t), bottom)] for t in ticks], ink("grid"), 0.8)
        for tick, text in zip(ticks, _spelled(ticks), strict=True):
            self._words.add(Word(self.at(tick), bottom - 12, text, "center", ink("quiet"), _font(SMALL)))

    def _segments(
        self,
        ends: list[list[tuple[float, float]]],
        colour: str,
        width: float,
        *,
        alpha: float | None = None,
        dashed: bool = False,
    ) -> None:
        if ends:
            style = {"linestyles": [(0, (3.0, 3.0))]} if dashed else {}
            drawn = LineCollection(ends, colors=colour, linewidths=width, alpha=alpha, transform=_PIXELS, **style)  # type: ignore[arg-type]
            self._figure.add_artist(drawn)


def _spelled(ticks: Sequence[float]) -> list[str]:
    """The numbers of a scale, all with as many digits as the closest two need."""
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    formatter.create_dummy_axis()
    return [str(text) for text in formatter.format_ticks(list(ticks))]
