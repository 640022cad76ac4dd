"""Each metric by group: forest plots over the numbers that they show, and the heat maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.audit.report.figures.forest import ForestRow, forest_panel, group_rows, shared_scale
from services.audit.report.figures.heat_map import heat_map
from services.audit.report.findings import threshold_notice
from services.audit.report.legend import FOREST_WORDS, heat_legend, pipeline_legend
from services.audit.report.markup import Content, Markup, element, join
from services.audit.report.reading import EVERYONE, MISSING, QUALITY, Reading, Row, Target
from services.audit.report.spelling import NOTHING, count, interval, number, p_value, signed, unit
from services.audit.report.tables import figure, folded, grouped_table, on_screen, panels, quiet, section, stacked
from services.audit.report.wording import QUALITY_GAPS, counted_verdicts, verdict_mark

# Open on arrival; the others are one click away.
_LEADING = ("auroc", "dice", "psnr")
_MAPPED = ("auroc", "tpr", "fpr")
AT_A_THRESHOLD = ("tpr", "fpr", "balanced_accuracy")


def groups_section(reading: Reading) -> Markup:
    """Forest plots of the single attributes."""
    words = "One panel for a label, one row for a group. The scale is shared within a metric and attribute."
    legend = pipeline_legend(reading, "groups", *FOREST_WORDS)
    return section("Metrics by group", "groups", quiet(words), legend, *forests(reading, reading.single))


def forests(reading: Reading, attributes: Sequence[str], *, leading: Sequence[str] = _LEADING) -> Iterator[Markup]:
    """Each metric with its panels by attribute; only the leading metrics are open."""
    for metric in reading.metrics:
        blocks = list(_metric_blocks(reading, metric, attributes))
        if not blocks:
            continue
        title = reading.metric_title(metric)
        notice = threshold_notice(reading, short=True) if metric in AT_A_THRESHOLD else Markup("")
        notice = quiet(QUALITY_GAPS) if metric in QUALITY else notice
        verdicts = [c for c in reading.report["cells"] if c["metric"] == metric and c["attribute"] in attributes]
        note = counted_verdicts(verdicts)
        printed = any(reading.found(metric, attribute) for attribute in attributes)
        open_ = metric in leading
        head = element("b", title)
        yield folded(head, notice, *blocks, note=note, class_="figures", open_=open_, printed=printed)


def heat_section(reading: Reading) -> Markup:
    """Heat maps of the single attributes; nothing when no metric has labels to set side by side."""
    maps = list(heat_maps(reading, reading.single))
    if not maps:
        return Markup("")
    words = "How far each group lies from everyone, label by label."
    return section("Groups against everyone", "heat", quiet(words), heat_legend("heat"), *maps)


def heat_maps(reading: Reading, attributes: Sequence[str]) -> Iterator[Markup]:
    """A map for each pipeline; the first metric is open."""
    shown = 0
    for metric in _MAPPED:
        if attributes and len(reading.targets(metric)) > 1:
            maps = [figure(name, heat_map(reading, metric, name, attributes)) for name in reading.pipelines]
            title = f"{reading.metric_title(metric)} of each group minus everyone"
            notice = threshold_notice(reading, short=True) if metric in AT_A_THRESHOLD else Markup("")
            row = element("div", *maps, class_="maps")
            yield folded(element("b", title), notice, row, class_="figures", open_=not shown, printed=True)
            shown += 1


def numbers_table(reading: Reading, metric: str, attribute: str, targets: Sequence[Target] | None = None) -> Markup:
    """The numbers of a forest: value and difference to everyone over their intervals, adjusted p over the verdict.

    ``targets``: some of the metric's; None for all.
    """
    cells_by_row = {
        (target, group): reading.cells(target, metric, (attribute, group))
        for target in (reading.targets(metric) if targets is None else targets)
        for group in [*reading.groups[attribute], MISSING]
    }
    present = sorted({i for cells in cells_by_row.values() for i, _ in cells})
    columns: list[Content] = ["Label", "Group", "Patients"]
    columns += ["Value", "To everyone", "Adjusted p"] * len(present)
    rows = [_numbers_row(reading, place, cells, present) for place, cells in cells_by_row.items() if cells]
    groups: list[tuple[Content, int]] = [("", 3), *((reading.pipelines[i], 3) for i in present)]
    caption = f"{reading.metric_title(metric)} by {attribute}: states, positives, intervals and verdicts in small"
    return grouped_table(caption, groups, columns, rows, text_columns=2)


def _metric_blocks(reading: Reading, metric: str, attributes: Sequence[str]) -> Iterator[Markup]:
    """Panels and numbers by attribute; a metric with one target shows its attributes side by side."""
    targets = reading.targets(metric)
    drawn: list[Markup] = []
    for attribute in attributes:
        found = {target: group_rows(reading, target, metric, attribute) for target in targets}
        if not any(found.values()):
            continue
        if metric in QUALITY:
            for target, rows in found.items():
                drawn += _quality_panels(reading, metric, attribute, target, rows)
            continue
        scale = shared_scale([row for rows in found.values() for row in rows])
        figures = [
            _panel(reading, metric, attribute, target, rows=rows, scale=scale) for target, rows in found.items() if rows
        ]
        if len(targets) == 1:
            drawn += figures
        else:
            title = f"{reading.metric_title(metric)} by {attribute}"
            numbers = folded(f"{title} in numbers", numbers_table(reading, metric, attribute))
            block = join(element("h4", title), panels(*figures), numbers)
            shown = reading.found(metric, attribute)
            yield block if shown else on_screen(f"{title}: no gap found; drawn in report.html.", block)
    if drawn:
        yield panels(*drawn)
        tables = (numbers_table(reading, metric, attribute) for attribute in attributes)
        yield folded(f"{reading.metric_title(metric)} in numbers", *tables)


def _panel(
    reading: Reading,
    metric: str,
    attribute: str,
    target: Target,
    *,
    rows: Sequence[ForestRow],
    scale: tuple[float, float],
) -> Markup:
    whole = reading.cell(reading.pipelines[0], target, metric, EVERYONE)
    name = reading.target_title(target)
    title = f"{reading.metric_title(metric)} by {attribute}: {name}"
    single = len(reading.targets(metric)) == 1
    drawn = forest_panel(title, rows, scale, reference=whole["estimate"] if whole else None)
    return figure(f"by {attribute}" if single else name, drawn)


def _quality_panels(
    reading: Reading, metric: str, attribute: str, target: Target, rows: Sequence[ForestRow]
) -> Iterator[Markup]:
    """A panel for each pipeline: pipelines differ by far more than groups do, and one scale would hide the groups."""
    of_each = {}
    for series in range(len(reading.pipelines)):
        mine = [ForestRow(row.name, [pair for pair in row.cells if pair[0] == series]) for row in rows]
        if any(row.cells for row in mine):
            of_each[series] = [row for row in mine if row.cells]
    scales = {series: shared_scale(mine) for series, mine in of_each.items()}
    span = max((high - low for low, high in scales.values()), default=1.0)
    for series, mine in of_each.items():
        middle = sum(scales[series]) / 2
        name = reading.pipelines[series]
        whole = reading.cell(name, target, metric, EVERYONE)
        title = f"{reading.measured_title(metric, target)} by {attribute}: {name}"
        limits = middle - span / 2, middle + span / 2
        drawn = forest_panel(title, mine, limits, reference=whole["estimate"] if whole else None)
        several = len(reading.targets(metric)) > 1
        yield figure(f"{target[1]} by {attribute}: {name}" if several else f"by {attribute}: {name}", drawn)


def _numbers_row(
    reading: Reading, place: tuple[Target, str], cells: Sequence[tuple[int, Row]], present: Sequence[int]
) -> list[Content]:
    target, group = place
    first, found = cells[0][1], dict(cells)
    states = "/".join(dict.fromkeys(cell["state"] for _, cell in cells))
    positives = NOTHING if first["positives"] is None else f"{count(first['positives'])} positive"
    row: list[Content] = [
        reading.target_title(target),
        stacked(group, states),
        stacked(count(first["patients"]), positives),
    ]
    for i in present:
        row += _measured(found[i]) if i in found else [NOTHING] * 3
    return row


def _measured(cell: Row) -> list[Content]:
    of = unit(cell["metric"])
    ends = interval(cell["difference_ci_low"], cell["difference_ci_high"], of, plus=True)
    tested = cell["verdict"] is not None
    return [
        stacked(number(cell["estimate"], of), interval(cell["ci_low"], cell["ci_high"], of)),
        stacked(signed(cell["difference"], of), ends),
        stacked(p_value(cell["p_adjusted"]), verdict_mark(cell["verdict"], short=True)) if tested else NOTHING,
    ]
