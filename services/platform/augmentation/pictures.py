"""One picture: the named gaps of every arm with their intervals, drawn as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.audit.report.markup import Markup, element, join
from services.audit.report.spelling import interval, number

Row = Mapping[str, Any]

_WIDTH, _LEFT, _RIGHT, _LINE, _TOP = 960, 250, 250, 26, 14
_INK, _QUIET, _BASE = "var(--ink, #1b1d21)", "var(--quiet, #6a6f78)", "#2f6fb0"


def gap_figure(rows: Sequence[Row], title: str) -> Markup:
    """A line an arm: the gap as a dot with its interval over patients, and a tick for each SD over repeats.

    ``rows`` are of one gap and threshold. Empty where none has a value.
    """
    known = [row for row in rows if row["gap"] is not None]
    if not known:
        return Markup("")
    low = min(0.0, *(row["ci_low"] for row in known))
    high = max(0.0, *(row["ci_high"] for row in known))
    span = (high - low) or 1.0
    inner = _WIDTH - _LEFT - _RIGHT

    def at(value: float) -> float:
        return round(float(_LEFT + inner * (value - low) / span), 1)

    height = _TOP + _LINE * len(rows) + 34
    bottom = height - 34
    parts = [
        element("title", title),
        element("line", x1=at(0), x2=at(0), y1=_TOP - 6, y2=bottom, stroke=_QUIET, stroke_dasharray="3 3"),
        _text(at(0), bottom + 16, "0: no gap", anchor="middle", fill=_QUIET),
    ]
    for place, row in enumerate(rows):
        y = _TOP + _LINE * place + _LINE / 2
        parts.append(_text(_LEFT - 14, y + 4, row["arm"], anchor="end"))
        if row["gap"] is None:
            parts.append(_text(at(0) + 8, y + 4, "insufficient", fill=_QUIET))
            continue
        ink = _BASE if place else _INK
        parts += [
            element("line", x1=at(row["ci_low"]), x2=at(row["ci_high"]), y1=y, y2=y, stroke=ink, stroke_width=2),
            element("circle", cx=at(row["gap"]), cy=y, r=5, fill=ink),
            _text(_WIDTH - _RIGHT + 12, y + 4, f"{number(row['gap'])} {interval(row['ci_low'], row['ci_high'])}"),
        ]
    drawing = element(
        "svg", join(*parts), viewBox=f"0 0 {_WIDTH} {height}", role="img", style=f"width:{_WIDTH}px;max-width:100%"
    )
    return element("figure", element("figcaption", title), drawing)


def _text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = _INK) -> Markup:
    return element("text", words, x=x, y=y, text_anchor=anchor, fill=fill, font_size=13)
