"""Panels, their places and the dashboards made of them, in words of ours; the SDK's builders are in ``drawing``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

WIDTH = 24  # Grafana's grid

Kind = Literal["lines", "columns", "bars", "table", "number"]


@dataclass(frozen=True)
class Query:
    """PromQL, and the legend of what it finds."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Line:
    """How the series of one legend are drawn, where it differs from the panel. Colours are Grafana's names."""

    legend: str
    colour: str = ""
    width: int | None = None
    dashed: bool = False
    down_to: str = ""  # fill the space down to the series of this legend
    columns: bool = False
    right: bool = False  # on an axis of its own
    unit: str = ""
    listed: bool = True  # in the legend below the panel


@dataclass(frozen=True)
class Column:
    """A column of a table: its name in the data and on the screen; ``colours`` from a value on."""

    name: str
    title: str
    unit: str = "short"
    colours: Sequence[tuple[float | None, str]] = ()
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # value: (text, colour)
    decimals: int | None = None
    link: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. Its description says what a person should make of it.

    kind: "lines" or "columns" over time, "bars" or "number" of the newest values, or a "table".
    colours: (from this value on, colour), None is the bottom; ``at`` draws a line at each of them and shows zero.
    repeat: a variable; the panel is there once for each of its values.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: Kind = "lines"
    width: int = 8
    height: int = 8
    lowest: float | None = 0
    highest: float | None = None
    decimals: int | None = None
    lines: Sequence[Line] = ()
    columns: Sequence[Column] = ()
    joined_by: str = ""  # tables: the label that rows of several queries share; "" merges by all they share
    colours: Sequence[tuple[float | None, str]] = ()
    at: bool = False
    names_only: bool = False  # numbers: the legend alone, as for states
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # numbers: value: (text, colour)
    stacked: bool = False
    steps: bool = False  # what is drawn holds until the next value, as windows do
    logarithmic: bool = False
    repeat: str = ""
    empty: str = ""  # what to say where there is nothing
    axis: str = ""


@dataclass(frozen=True)
class Row:
    """A heading over the panels that follow."""

    title: str


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard: the values of label ``name`` among the series of ``among``."""

    name: str
    among: str
    several: bool = True


@dataclass(frozen=True)
class Mark:
    """A moment marked in all panels: when a series begins that was not there in the day before.

    Series are those of ``selector`` for which ``holds`` ("" or such as "== 1"); ``text`` may use the labels ``by``.
    """

    name: str
    selector: str
    by: str
    title: str
    text: str
    colour: str
    holds: str = ""


@dataclass(frozen=True)
class Board:
    """A dashboard; ``uid`` is its permanent name."""

    uid: str
    title: str
    parts: Sequence[Panel | Row]
    refresh: str
    since: str
    variables: Sequence[Variable] = ()
    marks: Sequence[Mark] = ()


def places(parts: Sequence[Panel | Row]) -> list[tuple[int, int]]:
    """(x, y) of each part: left to right, each in the first column that is free for its whole width."""
    heights = [0] * WIDTH
    found = []
    for part in parts:
        if isinstance(part, Row):
            x, width, height = 0, WIDTH, 1
        elif part.repeat:  # it fills its line from the left, and nothing is beside it
            x, width, height = 0, WIDTH, part.height
        else:
            width, height = part.width, part.height
            tops = [max(heights[x : x + width]) for x in range(WIDTH - width + 1)]
            x = tops.index(min(tops))
        top = max(heights[x : x + width])
        heights[x : x + width] = [top + height] * width
        found.append((x, top))
    return found
