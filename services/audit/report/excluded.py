"""What was too small to say anything: listed, so that nobody takes silence for equality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.audit.report.markup import Content, Markup, isolated
from services.audit.report.reading import COMPARED, Reading, Row, Target
from services.audit.report.spelling import count
from services.audit.report.tables import folded, quiet, section, table

Place = tuple[Target, str]


def excluded_section(reading: Reading) -> Markup:
    """Cells in state insufficient or undefined, one table for each attribute."""
    methods = reading.methods
    rule = (
        f"Kept out of every gap and every test: fewer than {methods['min_patients']} deciding patients or "
        f"{methods['min_cases']} cases where the metric needs them (insufficient), or no value at all (undefined)."
    )
    tables = [part for attribute in reading.groups for part in _of(reading, attribute)]
    if not tables:
        return section(
            "Too small to compare", "excluded", quiet("Every group had enough patients and cases in every metric.")
        )
    return section("Too small to compare", "excluded", quiet(rule), *tables)


def _of(reading: Reading, attribute: str) -> Iterator[Markup]:
    places: dict[Place, list[Row]] = {}
    for cell in reading.report["cells"]:
        if cell["attribute"] == attribute and cell["state"] not in COMPARED:
            places.setdefault(((cell["task"], cell["label"]), cell["group"]), []).append(cell)
    if places:
        columns = ["Label", "Group", "Patients", "Positives", "Fewest deciding patients", "Insufficient", "Undefined"]
        lines = [_line(reading, place, cells) for place, cells in places.items()]
        summary = f"By {attribute}: {len(lines):,} groups of a label"
        yield folded(summary, table(f"Small groups by {attribute}", columns, lines, text_columns=2, class_="wordy"))


def _line(reading: Reading, place: Place, cells: Sequence[Row]) -> list[Content]:
    target, group = place
    return [
        reading.target_title(target),
        group,
        count(max(cell["patients"] for cell in cells)),
        count(max((cell["positives"] for cell in cells if cell["positives"] is not None), default=None)),
        count(min(cell["deciding_patients"] for cell in cells)),
        _metrics(reading, cells, "insufficient"),
        _metrics(reading, cells, "undefined"),
    ]


def _metrics(reading: Reading, cells: Sequence[Row], state: str) -> Markup:
    """Metrics in a state; the pipelines are named where it is not all of them."""
    pipelines: dict[str, list[str]] = {}
    for cell in cells:
        if cell["state"] == state:
            pipelines.setdefault(cell["metric"], []).append(cell["pipeline"])
    told = []
    for metric, names in pipelines.items():
        every = metric == "prevalence" or len(names) == len(reading.pipelines)
        told.append(reading.metric_title(metric) + ("" if every else f" ({', '.join(names)})"))
    return isolated(", ".join(told) or "none")
