"""The pipelines side by side, over everyone."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from services.audit.report.figures.forest import ForestRow, forest_panel, shared_scale
from services.audit.report.markup import Content, Markup, element, join
from services.audit.report.reading import EVERYONE, Reading, Row
from services.audit.report.spelling import NOTHING, interval, number, signed, stars, unit, with_unit
from services.audit.report.tables import figure, folded, panels, quiet, section, table

_LEADING = ("auroc", "tpr", "fpr")
# Prevalence is no pipeline's; BPSN and BNSP set groups against one another.
_NOT_OF_EVERYONE = ("prevalence", "auroc_bpsn", "auroc_bnsp")


def pipelines_section(reading: Reading, legend: Markup) -> Markup:
    """Means over labels, the overall values as forests, and each label's values with their changes."""
    words = "Over everyone, whatever their group. Stars mark changes against the baseline, as in the tables of bias."
    return section(
        "Pipelines side by side",
        "pipelines",
        quiet(words),
        _means(reading),
        legend,
        _forests(reading),
        folded("Each label in numbers", *_by_label(reading)),
    )


def _means(reading: Reading) -> Markup:
    metrics = [metric for metric in reading.metrics if metric not in _NOT_OF_EVERYONE]
    eodd = [a for a in reading.single if reading.gap_targets("eodd_half", "tpr,fpr", a)]
    columns = [
        "Pipeline",
        *(reading.metric_title(metric) for metric in metrics),
        *(f"EODD half-sum, {a}" for a in eodd),
    ]
    rows: list[list[Content]] = []
    for pipeline in reading.pipelines:
        row: list[Content] = [pipeline]
        for metric in metrics:
            cells = [reading.cell(pipeline, target, metric, EVERYONE) for target in reading.targets(metric)]
            row.append(_mean(cells, unit(metric)))
        for attribute in eodd:
            targets = reading.gap_targets("eodd_half", "tpr,fpr", attribute)
            row.append(_mean([reading.gap(pipeline, t, "tpr,fpr", attribute, "eodd_half") for t in targets], ""))
        rows.append(row)
    return table("Means over the labels that have a value", columns, rows)


def _mean(rows: list[Row | None], of: str) -> str:
    values = [row["estimate"] for row in rows if row is not None and row["estimate"] is not None]
    return with_unit(number(fmean(values) if values else None, of), of)


def _forests(reading: Reading) -> Markup:
    drawn = []
    for metric in reading.metrics:
        targets = reading.targets(metric)
        if len(targets) > 1 and metric in _LEADING:
            cells = ((reading.target_title(target), reading.cells(target, metric, EVERYONE)) for target in targets)
            rows = [ForestRow(name, found) for name, found in cells if found]
            title = f"{reading.metric_title(metric)} over everyone"
            drawn.append(figure(title, forest_panel(f"{title}, by label", rows, shared_scale(rows), long_names=True)))
    return panels(*drawn) if drawn else Markup("")


def _by_label(reading: Reading) -> Iterator[Markup]:
    for metric in reading.metrics:
        if metric in _NOT_OF_EVERYONE:
            continue
        columns: list[Content] = ["Label"]
        for i, pipeline in enumerate(reading.pipelines):
            columns += [pipeline, "Interval", *(["Change"] if i else [])]
        rows = [[reading.target_title(target), *_values(reading, target, metric)] for target in reading.targets(metric)]
        title = f"{reading.metric_title(metric)} of each label"
        yield table(f"{title}, over everyone", columns, rows)


def _values(reading: Reading, target: tuple[str, str], metric: str) -> Iterator[Content]:
    of = unit(metric)
    for i, pipeline in enumerate(reading.pipelines):
        cell = reading.cell(pipeline, target, metric, EVERYONE)
        yield number(cell["estimate"], of) if cell else NOTHING
        yield interval(cell["ci_low"], cell["ci_high"], of) if cell else NOTHING
        if i:
            change = reading.change(pipeline, target, metric, "", "overall")
            if change is None or change["estimate"] is None:
                yield NOTHING
            else:
                mark = element("sup", stars(change["p_adjusted"]))
                yield join(signed(change["estimate"], of), mark)
