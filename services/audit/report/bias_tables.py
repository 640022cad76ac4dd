"""Tables in the form in which studies of bias in image reconstruction print theirs.

Rows are tasks, columns pipelines. The baseline's column holds its gap; a candidate's holds its gap and below it the
change against the baseline with its standard error. Bold is the gap of a row that is nearest to equality, ties
included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.audit.report.findings import threshold_notice
from services.audit.report.groups import AT_A_THRESHOLD
from services.audit.report.markup import Content, Markup, element, join
from services.audit.report.reading import COMPARED, Reading, Row, Target
from services.audit.report.spelling import NOTHING, number, signed, stars, unit
from services.audit.report.tables import folded, grouped_table, quiet, section, stacked
from services.audit.report.wording import equal_value

# (definition, metric) with what the heading must say so that no two forms are confused.
_PRINTED = (
    ("eodd_half", "tpr,fpr", "half the sum of the largest TPR and the largest FPR difference"),
    ("eodd_worst", "tpr,fpr", "the larger of the largest TPR and the largest FPR difference"),
    ("eop", "tpr", "the largest TPR difference"),
    ("ser", "dice", "ratio of the largest to the smallest segmentation error; equal is 1"),
    ("delta_dice", "dice", "the largest Dice difference"),
)
_MOST_COLUMNS = 12
_RULE = (
    "Value: the gap. Below it: change against the baseline (standard error). Bold: the gap nearest to equality in its "
    "row and attribute, ties included. Stars: the change's p, adjusted for all changes tested: * p < 0.1, ** p < 0.05. "
    "The two definitions of EODD give different numbers and must not be compared with each other."
)


def bias_section(reading: Reading) -> Markup:
    """The tables of the single attributes; nothing when no such gap was measured."""
    tables = list(bias_tables(reading, reading.single))
    return section("Tables of bias", "bias", quiet(_RULE), *tables) if tables else Markup("")


def bias_tables(reading: Reading, attributes: Sequence[str]) -> Iterator[Markup]:
    """One table for each definition, attributes side by side; further attributes in further tables."""
    for definition, metric, words in _PRINTED:
        present = [a for a in attributes if reading.gap_targets(definition, metric, a)]
        each = max(1, _MOST_COLUMNS // len(reading.pipelines))
        parts = [
            _table(reading, definition, metric, words, present[i : i + each]) for i in range(0, len(present), each)
        ]
        if parts:
            at_a_threshold = any(part in AT_A_THRESHOLD for part in metric.split(","))
            notice = [threshold_notice(reading, short=True)] if at_a_threshold else []
            open_ = definition in ("eodd_half", "eop", "ser")
            title = reading.gap_title(definition, metric)
            yield folded(element("b", title), *notice, *parts, note=words, class_="figures", open_=open_, printed=True)
        if definition == "eop" and (tables := [_rates(reading, a) for a in present if a in reading.single]):
            title = element("b", "True positive rate by group beside EOP")
            beside = element("div", *tables, class_="maps")
            yield folded(title, beside, note="the rates that EOP is the range of", class_="figures", printed=True)


def _table(reading: Reading, definition: str, metric: str, words: str, attributes: Sequence[str]) -> Markup:
    targets: dict[Target, None] = {}
    for attribute in attributes:
        targets |= dict.fromkeys(reading.gap_targets(definition, metric, attribute))
    rows = []
    for target in targets:
        row: list[Content] = [reading.target_title(target)]
        for attribute in attributes:
            row += _entries(reading, target, metric, attribute, definition)
        rows.append(row)
    groups: list[tuple[Content, int]] = [("", 1), *((attribute, len(reading.pipelines)) for attribute in attributes)]
    columns = ["Task", *(list(reading.pipelines) * len(attributes))]
    return grouped_table(f"{reading.gap_title(definition, metric)}: {words}", groups, columns, rows)


def _rates(reading: Reading, attribute: str) -> Markup:
    """Each pipeline's TPR in every group, then its EOP; what is too small to enter EOP says so."""
    groups = reading.groups[attribute]
    rows: list[list[Content]] = []
    for target in reading.gap_targets("eop", "tpr", attribute):
        for name in reading.pipelines:
            gap = reading.gap(name, target, "tpr", attribute, "eop")
            cells = [_rate(reading.cell(name, target, "tpr", (attribute, group))) for group in groups]
            eop = element("b", number(gap["estimate"] if gap else None))
            rows.append([reading.target_title(target), name, *cells, eop])
    heads: list[tuple[Content, int]] = [("", 2), (f"by {attribute}", len(groups)), ("", 1)]
    columns: list[Content] = ["Task", "Pipeline", *groups, "EOP"]
    return grouped_table(f"True positive rate by {attribute}", heads, columns, rows, text_columns=2)


def _rate(cell: Row | None) -> Markup:
    value = number(cell["estimate"] if cell else None)
    small = cell is not None and cell["estimate"] is not None and cell["state"] not in COMPARED
    return stacked(value, "too few") if small else join(value)


def _entries(reading: Reading, target: Target, metric: str, attribute: str, definition: str) -> Iterator[Markup]:
    gaps = [reading.gap(name, target, metric, attribute, definition) for name in reading.pipelines]
    best = nearest_to_equal([gap["estimate"] if gap else None for gap in gaps], definition)
    for i, (name, gap) in enumerate(zip(reading.pipelines, gaps, strict=True)):
        text = number(gap["estimate"] if gap else None, unit(metric, definition))
        value: Content = element("b", text) if i in best else text
        if i == 0:
            yield join(value)
        else:
            yield stacked(value, _change(reading.change(name, target, metric, attribute, definition), metric))


def nearest_to_equal(values: Sequence[float | None], definition: str) -> list[int]:
    """Which values are nearest to equality, as printed; none when there is nothing to compare."""
    equal = equal_value(definition)
    distances = {i: abs(round(value, 3) - equal) for i, value in enumerate(values) if value is not None}
    if len(distances) < 2:
        return []
    least = min(distances.values())
    return [i for i, distance in distances.items() if distance - least < 1e-9]


def _change(change: Row | None, metric: str) -> Markup:
    if change is None or change["estimate"] is None:
        return join(NOTHING)
    of = unit(metric, change["definition"])
    error = number(change["standard_error"], of)
    return join(f"{signed(change['estimate'], of)} ({error})", element("sup", stars(change["p_adjusted"])))
