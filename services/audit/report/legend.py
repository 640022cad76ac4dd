"""What the marks mean, once for each section that uses them."""

from __future__ import annotations

from services.audit.report.figures.forest import mark
from services.audit.report.figures.heat_map import STEPS, swatch
from services.audit.report.figures.ink import DEPTHS
from services.audit.report.markup import Markup, element, isolated, join
from services.audit.report.reading import Reading


def pipeline_legend(reading: Reading, place: str, *words: str) -> Markup:
    """At ``place``, the names of the pipelines beside their marks, then what hollow marks, dashes and arrows say."""
    names = [
        element("span", mark(series, place), " ", isolated(name), element("small", " baseline" if series == 0 else ""))
        for series, name in enumerate(reading.pipelines)
    ]
    return element("p", *names, *(element("small", text) for text in words), class_="legend")


FOREST_WORDS = (
    "line: interval of this one value",
    "hollow: too little data, enters no gap",
    "arrow: goes on beyond the scale",
    "dashed: everyone, as the baseline reads them (image quality: as that pipeline does)",
)
DUMBBELL_WORDS = (
    "left: gaps joined where the same groups entered both",
    "grey tick: the gap to expect from chance alone",
    "right: change with its paired interval, filled where it is more than chance",
)


def heat_legend(place: str) -> Markup:
    """The colours of the heat map in words."""
    depths = [swatch(place, depth) for depth in range(-DEPTHS, DEPTHS + 1)]
    scale = element("span", "below everyone ", *depths, " above everyone")
    steps = ", ".join(f"{step:g}" for step in STEPS)
    parts = [
        scale,
        element("span", swatch(place, 0, hatched=True), " interval crosses zero"),
        element("span", swatch(place, None), " too little data, or no value (–)"),
        element("span", swatch(place, 1, framed=True), " the test found a gap"),
        element("small", f"deeper from {steps} times the gap that would matter"),
    ]
    return element("p", join(*parts), class_="legend")
