"""Intersections: in a section of their own, because their tests are exploratory and their groups small."""

from __future__ import annotations

from collections.abc import Iterator

from services.audit.report.bias_tables import bias_tables
from services.audit.report.gaps import change_figures, gap_tables
from services.audit.report.groups import forests, heat_maps
from services.audit.report.legend import DUMBBELL_WORDS, FOREST_WORDS, heat_legend, pipeline_legend
from services.audit.report.markup import Markup, element
from services.audit.report.reading import Reading
from services.audit.report.tables import folded, quiet, section


def crossed_section(reading: Reading) -> Markup:
    """The same figures and tables as for single attributes, one block for each intersection."""
    if not reading.crossed:
        return Markup("")
    words = (
        "Exploratory: p values are adjusted for the share of false findings among all findings (Benjamini and "
        "Hochberg), not for any false finding at all. A finding here is a reason to look again, with other patients. "
        "With many small groups the between-group SD says more than the largest difference."
    )
    blocks = [part for attribute in reading.crossed for part in _block(reading, attribute)]
    return section("Intersections", "intersections", quiet(words), *blocks)


def _block(reading: Reading, attribute: str) -> Iterator[Markup]:
    only = [attribute]
    yield element("h3", attribute)
    maps = list(heat_maps(reading, only))
    if maps:
        yield folded("Groups against everyone", heat_legend(attribute), *maps)
    yield folded(
        "Metrics by group",
        pipeline_legend(reading, f"groups {attribute}", *FOREST_WORDS),
        *forests(reading, only, leading=("auroc",)),
    )
    yield folded("Gaps", *gap_tables(reading, only))
    yield folded(
        "From baseline to candidate",
        pipeline_legend(reading, f"changes {attribute}", *DUMBBELL_WORDS),
        *change_figures(reading, only),
    )
    if tables := list(bias_tables(reading, only)):
        yield folded("Tables of bias", *tables)
