"""Label by group: how far each group lies from everyone.

Colour gives side and size in steps of the metric's tolerance, hatching says that the interval crosses zero, grey that
there is too little data, a frame that the test found a gap. The number is printed in every cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.audit.report.figures.ink import DEPTHS, ink
from services.audit.report.figures.plot import FONT, SMALL, Plot, blank_figure
from services.audit.report.figures.svg import decoration, inline_svg
from services.audit.report.markup import Markup
from services.audit.report.reading import COMPARED, Reading, Row
from services.audit.report.spelling import NOTHING, clipped, signed, unit

# Shares of the tolerance at which the colour deepens: for AUROC 0.01, 0.03, 0.06, 0.10.
STEPS = (0.2, 0.6, 1.2, 2.0)
_WIDTH, _HEIGHT, _NAME, _BETWEEN = 35.0, 20.0, 156.0, 7.0
_SLANT = 38


@dataclass(frozen=True)
class HeatCell:
    """``depth`` -4..4 (None: grey), what is printed, and what else is drawn."""

    depth: int | None
    text: str
    hatched: bool = False
    framed: bool = False


def crosses_zero(cell: Row) -> bool:
    """Whether the difference to everyone could be zero: no interval, or one that holds zero."""
    low, high = cell["difference_ci_low"], cell["difference_ci_high"]
    return low is None or high is None or low <= 0 <= high


def heat_map(reading: Reading, metric: str, pipeline: str, attributes: Sequence[str]) -> Markup:
    """Labels down, groups across, one block of columns for each attribute."""
    targets = reading.targets(metric)
    places = [(a, group) for a in attributes for group in reading.groups[a]]
    starts = [(i + 0.0) * _WIDTH + _BETWEEN * list(attributes).index(a) for i, (a, _) in enumerate(places)]
    names = [clipped(group, 24) for _, group in places]
    head = 14 + 4.0 * max(map(len, names), default=0)
    tail = 6 + 4.4 * max((len(names[-1]) if names else 0) - 3, 0)
    body_width, body_height = (starts[-1] if starts else 0) + _WIDTH, len(targets) * _HEIGHT
    figure = blank_figure(_NAME + body_width + tail, head + body_height + 4)
    plot = Plot(figure, (_NAME, head, body_width, body_height), (0, body_width), len(targets))
    drawn: list[tuple[float, float, HeatCell]] = []
    for row, target in enumerate(targets):
        name = clipped(reading.target_title(target), 60)
        plot.words((-7, row), name, "right", size=FONT - 0.5, colour="ink", room=_NAME - 7)
        for place, x in zip(places, starts, strict=True):
            cell = heat_cell(reading, reading.cell(pipeline, target, metric, place))
            drawn.append((x, row * _HEIGHT, cell))
            plot.words((x + _WIDTH / 2, row), cell.text, "center", size=SMALL - 0.5, colour=_ink_on(cell))
    _draw(plot, drawn, _WIDTH, _HEIGHT)
    for text, x in zip(names, starts, strict=True):
        above = -0.5 - 5 / _HEIGHT
        plot.words((x + _WIDTH / 2 + 3, above), text, size=FONT - 0.5, colour="ink", angle=_SLANT)
    title = f"{reading.metric_title(metric)} of each group minus everyone: {pipeline}, by {' and '.join(attributes)}"
    return inline_svg(figure, title, f"{len(targets)} labels by {len(places)} groups; the numbers are in the tables")


def heat_cell(reading: Reading, cell: Row | None) -> HeatCell:
    """How a cell is drawn: grey and dashed without a value, grey with its number when it says too little."""
    if cell is None or cell["difference"] is None:
        return HeatCell(None, NOTHING)
    difference = float(cell["difference"])
    text = signed(difference, unit(cell["metric"]))
    if cell["state"] not in COMPARED:
        return HeatCell(None, text)
    share = abs(difference) / reading.tolerance(cell["metric"])
    depth = sum(share >= step for step in STEPS)
    return HeatCell(depth if difference > 0 else -depth, text, crosses_zero(cell), cell["verdict"] == "gap")


def swatch(place: str, depth: int | None, *, hatched: bool = False, framed: bool = False) -> Markup:
    """A little cell for the legend at ``place``."""
    figure = blank_figure(22, 13)
    plot = Plot(figure, (0, 0, 22, 13), (0, 22), 1)
    _draw(plot, [(0, 0, HeatCell(depth, "", hatched, framed))], 22, 13)
    return decoration(figure, f"swatch {depth} {hatched} {framed}, {place}")


def _draw(plot: Plot, cells: Sequence[tuple[float, float, HeatCell]], width: float, height: float) -> None:
    """The coloured fields, hatching over them, and the frames of findings."""

    def boxes(inset: float, chosen: Callable[[HeatCell], bool]) -> list[tuple[float, float, float, float]]:
        size = width - 2 * inset, height - 2 * inset
        return [(x + inset, y + inset, *size) for x, y, cell in cells if chosen(cell)]

    plot.fields(boxes(0.75, lambda cell: True), [_fill(cell.depth) for _, _, cell in cells])
    plot.fields(boxes(0.75, lambda cell: cell.hatched), (), edge=ink("hatch"), hatch="////")
    plot.fields(boxes(1.5, lambda cell: cell.framed), (), edge=ink("ink"))


def _ink_on(cell: HeatCell) -> str:
    if cell.depth is None:
        return "quiet"
    return "deep-ink" if abs(cell.depth) == DEPTHS else "ink"


def _fill(depth: int | None) -> str:
    if depth is None:
        return ink("unsure")
    return ink(f"h{'m' if depth < 0 else 'p'}{abs(depth)}") if depth else ink("h0")
