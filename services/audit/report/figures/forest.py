"""Forest plots: one panel for a label, a row for a group, a point with its interval for each pipeline.

Every row carries patients, positives and the state in words. Filled points enter gaps, hollow ones do not. The scale
is shared by the panels that belong together and made from what can carry a comparison; what lies beyond it ends in an
arrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.markers import CARETLEFT, CARETRIGHT

from services.audit.report.figures.ink import ink, series_ink, series_marker
from services.audit.report.figures.plot import FONT, SMALL, Plot, blank_figure
from services.audit.report.figures.svg import decoration, inline_svg
from services.audit.report.markup import Markup
from services.audit.report.reading import COMPARED, MISSING, Reading, Row, Target
from services.audit.report.spelling import clipped, count

_NAME, _PLOT, _PATIENTS, _POSITIVES, _STATE = 96.0, 132.0, 46.0, 36.0, 58.0
_HEAD, _FOOT, _GAP = 18.0, 20.0, 8.0
_STEP = 5.5
# What a state of two or four letters leaves of its column, for names that need it.
_SPARE = 32.0


@dataclass(frozen=True)
class ForestRow:
    """One line: its name and its cells as (number of the pipeline, cell); the first cell's counts are printed."""

    name: str
    cells: Sequence[tuple[int, Row]]


def group_rows(reading: Reading, target: Target, metric: str, attribute: str) -> list[ForestRow]:
    """A row for each group of the attribute that has cells."""
    groups = [*reading.groups[attribute], MISSING]
    rows = (ForestRow(group, reading.cells(target, metric, (attribute, group))) for group in groups)
    return [row for row in rows if row.cells]


def shared_scale(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """Limits that hold every comparable estimate and every interval of cells in state ok, with a little air."""
    cells = [cell for row in rows for _, cell in row.cells if cell["estimate"] is not None]
    shown = [cell for cell in cells if cell["state"] in COMPARED] or cells
    values = [cell["estimate"] for cell in shown]
    firm = [cell for cell in shown if cell["state"] == "ok"]
    values += [cell[end] for cell in firm for end in ("ci_low", "ci_high") if cell[end] is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    air = max((high - low) * 0.04, abs(high) * 1e-3, 1e-4)
    return low - air, high + air


def forest_panel(
    title: str,
    rows: Sequence[ForestRow],
    scale: tuple[float, float],
    *,
    reference: float | None = None,
    long_names: bool = False,
) -> Markup:
    """One panel. ``reference`` is the dashed line: the baseline's value over everyone.

    ``long_names`` gives names what short states leave; panels that stand under each other line up without it.
    """
    spare = _SPARE if long_names and all(len(state_words(row.cells)) <= 4 for row in rows) else 0.0
    names = _NAME + spare
    most = max((len(row.cells) for row in rows), default=1)
    height = max(1, len(rows)) * max(17.0, most * _STEP + 6)
    width = names + _PLOT + _GAP + _PATIENTS + _POSITIVES + _STATE - spare
    figure = blank_figure(width, _HEAD + height + _FOOT)
    plot = Plot(figure, (names, _HEAD, _PLOT, height), scale, len(rows))
    plot.scale()
    if reference is not None and scale[0] <= reference <= scale[1]:
        plot.upright(reference, ink("quiet"), dashed=True)
    offset = _STEP / (height / max(1, len(rows)))
    for series in dict.fromkeys(i for row in rows for i, _ in row.cells):
        _draw_series(plot, rows, series, offset, scale)
    _write_words(plot, rows, names)
    return inline_svg(figure, title, _in_words(rows))


def _draw_series(plot: Plot, rows: Sequence[ForestRow], series: int, offset: float, scale: tuple[float, float]) -> None:
    """Intervals as lines, estimates as marks; arrows where something lies beyond the scale."""
    low, high = scale
    lines: list[tuple[float, float, float]] = []
    marks: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    below: list[tuple[float, float]] = []
    above: list[tuple[float, float]] = []
    for i, row in enumerate(rows):
        for place, (number, cell) in enumerate(row.cells):
            value = cell["estimate"]
            if number != series or value is None:
                continue
            y = i + (place - (len(row.cells) - 1) / 2) * offset
            start, end = (cell["ci_low"], cell["ci_high"]) if cell["ci_low"] is not None else (value, value)
            if start < high and end > low:
                lines.append((y, max(start, low), min(end, high)))
            below += [(low, y)] if min(start, value) < low else []
            above += [(high, y)] if max(end, value) > high else []
            if low <= value <= high:
                marks[cell["state"] in COMPARED].append((value, y))
    colour = series_ink(series)
    plot.lines(lines, colour)
    plot.marks(below, colour, CARETLEFT, 4.0)
    plot.marks(above, colour, CARETRIGHT, 4.0)
    plot.marks(marks[True], colour, series_marker(series), 4.6, edge=1.1)
    plot.marks(marks[False], colour, series_marker(series), 4.6, fill=ink("paper"), edge=1.1)


def _write_words(plot: Plot, rows: Sequence[ForestRow], names: float) -> None:
    """Names on the left; patients, positives and state on the right, with their headings."""
    patients = _PLOT + _GAP + _PATIENTS
    positives = patients + _POSITIVES
    state = positives + 7
    plot.heading(patients, "patients", "right")
    plot.heading(positives, "pos.", "right")
    plot.heading(state, "state")
    for i, row in enumerate(rows):
        plot.words((-10, i), clipped(row.name, 60), "right", size=FONT - 0.5, colour="ink", room=names - 10)
    for i, row in enumerate(rows):
        first = row.cells[0][1]
        plot.words((patients, i), count(first["patients"]), "right", size=SMALL + 0.5)
        plot.words((positives, i), count(first["positives"]), "right", size=SMALL + 0.5)
    for i, row in enumerate(rows):
        plot.words((state, i), state_words(row.cells), size=SMALL)
        if all(cell["estimate"] is None for _, cell in row.cells):
            plot.words((_PLOT / 2, i), "no value", "center", size=SMALL, italic=True)


def state_words(cells: Sequence[tuple[int, Row]]) -> str:
    """The state of a row; all states when the pipelines differ."""
    states = list(dict.fromkeys(cell["state"] for _, cell in cells))
    return states[0] if len(states) == 1 else "/".join(state[:6] for state in states)


def _in_words(rows: Sequence[ForestRow]) -> str:
    """What a reader who cannot see the drawing is told; the numbers stand in a table below."""
    states = [state_words(row.cells) for row in rows]
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{len(rows)} rows ({told}); numbers in the table below"


def mark(series: int, place: str) -> Markup:
    """The shape of a pipeline, for the legend at ``place``."""
    figure = blank_figure(14, 12)
    plot = Plot(figure, (0, 0, 14, 12), (0, 1), 1)
    plot.lines([(0, 0, 1)], series_ink(series))
    plot.marks([(0.5, 0)], series_ink(series), series_marker(series), 5.2)
    return decoration(figure, f"mark {series}, {place}")
