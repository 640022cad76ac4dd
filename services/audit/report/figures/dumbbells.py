"""Gaps from baseline to candidate, and beside them the change with its paired interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.audit.report.figures.ink import ink, series_ink, series_marker
from services.audit.report.figures.plot import FONT, SMALL, Plot, blank_figure
from services.audit.report.figures.svg import inline_svg
from services.audit.report.markup import Markup
from services.audit.report.reading import RATIOS, Reading, Row, Target
from services.audit.report.spelling import clipped, number, p_value, unit

_NAME, _GAPS, _BETWEEN, _CHANGE, _WORDS = 152.0, 160.0, 26.0, 150.0, 66.0
_HEAD, _FOOT, _ROW = 18.0, 22.0, 17.0


@dataclass(frozen=True)
class Pair:
    """One row: a gap of the baseline, that of a candidate (none when the baseline is alone), and the change."""

    name: str
    series: int
    before: Row | None
    after: Row | None
    change: Row | None


def pairs(reading: Reading, definition: str, metric: str, attribute: str) -> list[Pair]:
    """Label by candidate; the label's name stands in its first row only."""
    rows: list[Pair] = []
    for target in reading.gap_targets(definition, metric, attribute):
        rows += _pairs_of(reading, target, metric, attribute, definition)
    return rows


def dumbbells(reading: Reading, definition: str, metric: str, attribute: str) -> Markup:
    """The figure of one kind of gap."""
    rows = pairs(reading, definition, metric, attribute)
    height = max(1, len(rows)) * _ROW
    paired = any(row.after is not None for row in rows)
    width = _NAME + _GAPS + (_BETWEEN + _CHANGE if paired else 0) + _WORDS
    figure = blank_figure(width, _HEAD + height + _FOOT)
    limits = _scale(_gap_values(rows), zero=1.0 if definition in RATIOS else 0.0)
    left = Plot(figure, (_NAME, _HEAD, _GAPS, height), limits, len(rows))
    left.scale()
    left.heading(0, "gap")
    for i, row in enumerate(rows):
        left.words((-8, i), clipped(row.name, 60), "right", size=FONT - 0.5, colour="ink", room=_NAME - 8)
    _draw_gaps(left, rows)
    last = left
    if paired:
        limits = _scale(_change_values(rows), zero=0.0)
        last = Plot(figure, (_NAME + _GAPS + _BETWEEN, _HEAD, _CHANGE, height), limits, len(rows))
        last.scale()
        last.upright(0.0, ink("quiet"))
        last.heading(0, "change and its interval")
        _draw_changes(last, rows)
    _write_ends(last, rows, (_CHANGE if paired else _GAPS) + _WORDS - 8, unit(metric, definition), paired=paired)
    title = f"{reading.gap_title(definition, metric)} by {attribute}: baseline to candidate"
    return inline_svg(figure, title, f"{len(rows)} rows; the numbers are in the tables of gaps and of bias")


def _pairs_of(reading: Reading, target: Target, metric: str, attribute: str, definition: str) -> list[Pair]:
    name = reading.target_title(target)
    before = reading.gap(reading.pipelines[0], target, metric, attribute, definition)
    rows: list[Pair] = []
    for series, candidate in enumerate(reading.pipelines[1:], start=1):
        after = reading.gap(candidate, target, metric, attribute, definition)
        if after is not None:
            change = reading.change(candidate, target, metric, attribute, definition)
            rows.append(Pair("" if rows else name, series, before, after, change))
    return rows or [Pair(name, 0, before, None, None)]


def _draw_gaps(plot: Plot, rows: Sequence[Pair]) -> None:
    """Bars join two gaps only where the report compares them: the same groups entered both."""
    floors = [((row.after or row.before or {}).get("noise_floor"), i) for i, row in enumerate(rows)]
    for series in sorted({row.series for row in rows}):
        mine = [(i, row) for i, row in enumerate(rows) if row.series == series]
        joined = [(i, _value(row.before), _value(row.after)) for i, row in mine if _joined(row)]
        plot.lines(joined, series_ink(series), 2.4, 0.45)
        alone = [(i, row.before) for i, row in mine if row.after is None and row.before is not None]
        ends = [(i, gap["ci_low"], gap["ci_high"]) for i, gap in alone if gap["ci_low"] is not None]
        plot.lines(ends, series_ink(0))
    plot.marks([(floor, i) for floor, i in floors if floor is not None], ink("quiet"), "|", 9.0, edge=1.4)
    known = [(0, row.before, i) for i, row in enumerate(rows)] + [
        (row.series, row.after, i) for i, row in enumerate(rows)
    ]
    for series in sorted({series for series, _, _ in known}):
        points = [(gap["estimate"], i) for of, gap, i in known if of == series and gap and gap["estimate"] is not None]
        plot.marks(points, series_ink(series), series_marker(series), 4.8)
    for i, row in enumerate(rows):
        if not any(gap is not None and gap["estimate"] is not None for gap in (row.before, row.after)):
            plot.words((_GAPS / 2, i), "no value", "center", size=SMALL, italic=True)


def _value(gap: Row | None) -> float:
    return float(gap["estimate"]) if gap is not None else 0.0


def _joined(row: Pair) -> bool:
    """Whether both gaps are there and the report holds their change."""
    both = all(gap is not None and gap["estimate"] is not None for gap in (row.before, row.after))
    return both and row.change is not None and row.change["estimate"] is not None


def _draw_changes(plot: Plot, rows: Sequence[Pair]) -> None:
    """Changes with their intervals: filled where they are more than chance."""
    for series in sorted({row.series for row in rows}):
        mine = [(i, row.change) for i, row in enumerate(rows) if row.series == series and row.change is not None]
        known = [(i, change) for i, change in mine if change["estimate"] is not None]
        colour, marker = series_ink(series), series_marker(series)
        plot.lines([(i, c["ci_low"], c["ci_high"]) for i, c in known if c["ci_low"] is not None], colour)
        found = [(c["estimate"], i) for i, c in known if c["verdict"] == "change"]
        others = [(c["estimate"], i) for i, c in known if c["verdict"] != "change"]
        plot.marks(found, colour, marker, 4.8, edge=1.1)
        plot.marks(others, colour, marker, 4.8, fill=ink("paper"), edge=1.1)
    for i, row in enumerate(rows):
        if row.change is None or row.change["estimate"] is None:
            both = all(gap is not None and gap["estimate"] is not None for gap in (row.before, row.after))
            words = "other groups entered" if both else "no value"
            plot.words((_CHANGE / 2 + 6, i), words, "left", size=SMALL, italic=True)


def _write_ends(plot: Plot, rows: Sequence[Pair], x: float, of: str, *, paired: bool) -> None:
    """On the right: the change's adjusted p, or the gap itself when there is no candidate."""
    plot.heading(x, "adjusted p" if paired else "gap", "right")
    for i, row in enumerate(rows):
        if paired:
            found = row.change is not None and row.change["verdict"] == "change"
            text = p_value(row.change["p_adjusted"] if row.change else None)
        else:
            found = row.before is not None and row.before["verdict"] == "gap"
            text = number(row.before["estimate"] if row.before else None, of)
        plot.words((x, i), text, "right", size=SMALL + 0.5, colour="ink" if found else "quiet", bold=found)


def _gap_values(rows: Sequence[Pair]) -> list[float]:
    gaps = [gap for row in rows for gap in (row.before, row.after) if gap is not None]
    values = [gap[key] for gap in gaps for key in ("estimate", "noise_floor") if gap[key] is not None]
    alone = [row.before for row in rows if row.after is None and row.before is not None]
    return values + [gap["ci_high"] for gap in alone if gap["ci_high"] is not None]


def _change_values(rows: Sequence[Pair]) -> list[float]:
    changes = [row.change for row in rows if row.change is not None]
    return [change[key] for change in changes for key in ("estimate", "ci_low", "ci_high") if change[key] is not None]


def _scale(values: Sequence[float], *, zero: float) -> tuple[float, float]:
    """Limits with ``zero`` (where nothing differs) always in sight."""
    low, high = min([zero, *values]), max([zero, *values])
    air = max((high - low) * 0.04, 1e-4)
    return (low - air if low < zero else low - air / 2), high + air
