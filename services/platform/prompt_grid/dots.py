"""A dot for each prompt: its share of one group with 95 % limits, targets as dashed lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.audit.report.figures.forest import mark
from services.audit.report.figures.ink import ink, series_ink, series_marker
from services.audit.report.figures.plot import FONT, Plot, blank_figure
from services.audit.report.figures.svg import inline_svg
from services.audit.report.markup import Markup
from services.audit.report.spelling import clipped
from services.platform.prompt_grid.auditing import AFTER, BEFORE

_WIDTH, _COUNTS = 470.0, 64.0
_HEAD, _FOOT, _ROW = 20.0, 24.0, 23.0
_LETTER, _LEAST, _MOST = 6.4, 150.0, 560.0  # pixels of a prompt's letter, and of the column of prompts
_APART = 0.34  # of a row, between before and after
_SIZE = FONT + 0.5

Row = Mapping[str, Any]


def roles_of(report: Row) -> list[str]:
    """The roles in the order in which they are drawn and numbered: before, then after."""
    return [role for role in (BEFORE, AFTER) if role in report["models"]]


def share_dots(report: Row, judge: str, group: int) -> Markup:
    """One judge's shares of group number ``group``, a dot for each prompt and model; shapes as in :func:`key`."""
    prompts = report["prompts"]
    name = report["groups"][group]
    names = min(max(_LETTER * max(len(prompt["text"]) for prompt in prompts) + 12, _LEAST), _MOST)
    height = _ROW * len(prompts)
    figure = blank_figure(names + _WIDTH + _COUNTS, _HEAD + height + _FOOT)
    plot = Plot(figure, (names, _HEAD, _WIDTH, height), (0.0, 1.0), len(prompts))
    plot.scale()
    for target in report["targets"]:
        plot.upright(target[name], ink("ink"), dashed=True)
        plot.heading(target[name] * _WIDTH, f"target {100 * target[name]:.4g} %", "center")
    roles = roles_of(report)
    for series, role in enumerate(roles):
        rows = [row for row in report["by_prompt"] if row["judge"] == judge and row["role"] == role and row["n"]]
        _draw(plot, rows, group, series, (series - (len(roles) - 1) / 2) * _APART)
    plot.heading(_WIDTH + _COUNTS - 4, "images", "right")
    counts = {
        row["prompt_number"]: row["n"] for row in report["by_prompt"] if row["judge"] == judge and row["role"] == AFTER
    }
    for number, prompt in enumerate(prompts):
        plot.words((-10, number), clipped(prompt["text"], 90), "right", size=_SIZE, colour="ink", room=names - 12)
        plot.words((_WIDTH + _COUNTS - 4, number), str(counts[number]), "right", size=FONT)
    words = f"{len(prompts)} prompts; numbers in the table below"
    return inline_svg(figure, f"Share of {name} by {judge}", words)


def key(series: int) -> Markup:
    """The mark of one model, for the legend."""
    return mark(1 + series, f"dots {series}")


def _draw(plot: Plot, rows: Sequence[Row], group: int, series: int, offset: float) -> None:
    lines, marks = [], []
    for row in rows:
        share = row["shares"][group]
        place = row["prompt_number"] + offset
        lines.append((place, share["ci_low"], share["ci_high"]))
        marks.append((share["observed"], place))
    plot.lines(lines, series_ink(1 + series))
    plot.marks(marks, series_ink(1 + series), series_marker(1 + series), 5.4)
