"""A dot for each prompt: its share of one group with 95 % limits, the targets as dashed lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.audit.report.figures.ink import ink, series_ink, series_marker
from services.audit.report.figures.plot import FONT, SMALL, Plot, blank_figure
from services.audit.report.figures.svg import inline_svg
from services.audit.report.markup import Markup
from services.audit.report.spelling import clipped
from services.platform.prompt_grid.auditing import AFTER

_NAMES, _WIDTH, _COUNTS = 470.0, 420.0, 60.0
_HEAD, _FOOT, _ROW = 20.0, 22.0, 20.0
_APART = 0.3  # of a row, between before and after

Row = Mapping[str, Any]


def share_dots(report: Row, judge: str, group: int) -> Markup:
    """One judge's shares of group number ``group``; after as dots, before (if there is one) as hollow squares."""
    prompts = report["prompts"]
    name = report["groups"][group]
    figure = blank_figure(_NAMES + _WIDTH + _COUNTS, _HEAD + _ROW * len(prompts) + _FOOT)
    plot = Plot(figure, (_NAMES, _HEAD, _WIDTH, _ROW * len(prompts)), (0.0, 1.0), len(prompts))
    plot.scale()
    for target in report["targets"]:
        plot.upright(target[name], ink("ink"), dashed=True)
        plot.heading(target[name] * _WIDTH, f"target {100 * target[name]:.4g} %", "center")
    roles = list(report["models"])
    for series, role in enumerate(roles):
        rows = [row for row in report["by_prompt"] if row["judge"] == judge and row["role"] == role and row["n"]]
        _draw(plot, rows, group, series, (series - (len(roles) - 1) / 2) * _APART)
    plot.heading(_WIDTH + _COUNTS - 4, "images", "right")
    for number, prompt in enumerate(prompts):
        plot.words((-10, number), clipped(prompt["text"], 90), "right", size=FONT - 0.5, colour="ink", room=_NAMES - 12)
        count = next(
            row["n"]
            for row in report["by_prompt"]
            if (row["judge"], row["role"], row["prompt_number"]) == (judge, AFTER, number)
        )
        plot.words((_WIDTH + _COUNTS - 4, number), str(count), "right", size=SMALL)
    words = f"{len(prompts)} prompts; numbers in the table below"
    return inline_svg(figure, f"Share of {name} by {judge}", words)


def _draw(plot: Plot, rows: Sequence[Row], group: int, series: int, offset: float) -> None:
    lines, marks = [], []
    for row in rows:
        share = row["shares"][group]
        place = row["prompt_number"] + offset
        lines.append((place, share["ci_low"], share["ci_high"]))
        marks.append((share["observed"], place))
    colour = series_ink(1 + series)
    plot.lines(lines, colour)
    plot.marks(marks, colour, series_marker(series), 5.2, fill=ink("paper") if series else "", edge=1.2)
