"""Which numbers of a report go into which figure."""

from __future__ import annotations

from services.audit.report.charts import (
    Point,
    Row,
    dot_plot,
    dumbbells,
    heat_map,
    legend_mark,
    scale,
)
from services.audit.report.markup import Markup, element, number, signed
from services.audit.report.reading import EVERYONE, Reading, target_title
from services.audit.report.reading import Row as Gap

# Distance of a group's AUROC from the overall one at which the heat map's colour deepens.
HEAT_STEPS = (0.01, 0.03, 0.06, 0.10)


def legend(reading: Reading) -> Markup:
    """Names of the pipelines beside their marks, and what a hollow mark is."""
    names = [
        element("span", legend_mark(series), " ", name, element("small", " baseline" if series == 0 else ""))
        for series, name in enumerate(reading.pipelines)
    ]
    rule = "filled: enough data · hollow: insufficient, kept out of gaps (at an edge: beyond it) · dashed: baseline"
    return element("p", *names, element("small", rule), class_="legend")


def metric_by_group(reading: Reading, metric: str, attribute: str) -> list[Markup]:
    """One dot plot per label: groups down, the metric across, all on one scale that holds every comparable point."""
    groups = [*reading.groups[attribute], "(missing)"]
    targets = reading.targets(metric)
    plots: list[tuple[tuple[str, str], list[Row]]] = []
    for target in targets:
        rows = (_group_row(reading, target, metric, (attribute, group)) for group in groups)
        plots.append((target, [row for row in rows if row is not None]))
    points = [point for _, rows in plots for row in rows for point in row.points]
    shown = [point for point in points if not point.hollow] or points
    edges = [value for point in shown for value in (point.value, point.low, point.high) if value is not None]
    axis = scale(edges)
    panels = []
    for target, present in plots:
        title = f"{reading.metric_title(metric)} by {attribute}: {target_title(target)}"
        overall = reading.cell(reading.pipelines[0], target, metric, EVERYONE)
        value = overall["estimate"] if overall else None
        reference = value if value is not None and axis.low <= value <= axis.high else None
        caption = target_title(target) if len(plots) > 1 else f"by {attribute}"
        panels.append(_panel(caption, dot_plot(title, present, axis, reference=reference)))
    return panels


def gap_by_pipeline(reading: Reading, definition: str, metric: str, attribute: str) -> Markup:
    """A gap of every label: baseline to each candidate, or single points where the baseline has none."""
    rows: list[Row] = []
    for target in reading.gap_targets(definition, metric):
        found = [reading.gap(name, target, metric, attribute, definition) for name in reading.pipelines]
        gaps = [(i, gap) for i, gap in enumerate(found) if gap is not None and gap["estimate"] is not None]
        rows += _gap_rows(reading, target_title(target), gaps)
    axis = scale([point.value for row in rows for point in row.points], zero=definition != "ser")
    title = f"{reading.gap_title(definition, metric)}, {attribute}"
    return _panel(reading.gap_title(definition, metric), dumbbells(title, rows, axis))


def auroc_heat_map(reading: Reading, pipeline: str, attributes: list[str]) -> Markup:
    """Labels down, groups across; each cell is the group's AUROC minus everyone's."""
    targets = reading.targets("auroc")
    places = [(attribute, group) for attribute in attributes for group in reading.groups[attribute]]
    cells = [[_heat(reading, pipeline, target, place) for place in places] for target in targets]
    title = f"AUROC by group minus overall, {pipeline}"
    columns = [group for _, group in places]
    return element(
        "figure",
        element("figcaption", pipeline),
        heat_map(title, [target_title(target) for target in targets], columns, cells),
    )


def heat_legend() -> Markup:
    """The colours of the heat map in words."""
    low, *_, high = HEAT_STEPS
    swatches = [element("i", class_=f"swatch {_heat_class(sign * step)}") for sign, step in _legend_steps()]
    grey = element("i", class_="swatch unsure")
    scale_words = f"below everyone ← within {low:g} → above everyone; deepest from {high:g}"
    grey_words = "insufficient (value shown) or undefined (–)"
    return element("p", element("span", *swatches), scale_words, grey, grey_words, class_="legend")


def _legend_steps() -> list[tuple[int, float]]:
    return [*((-1, step) for step in reversed(HEAT_STEPS)), (1, 0.0), *((1, step) for step in HEAT_STEPS)]


def _heat(reading: Reading, pipeline: str, target: tuple[str, str], place: tuple[str, str]) -> tuple[str, str, str]:
    cell = reading.cell(pipeline, target, "auroc", place)
    whole = reading.cell(pipeline, target, "auroc", EVERYONE)
    where = f"{target_title(target)}, {place[1]}"
    if cell is None or whole is None or cell["estimate"] is None or whole["estimate"] is None:
        return "unsure", "–", f"{where}: undefined"
    difference = cell["estimate"] - whole["estimate"]
    hint = f"{where}: AUROC {number(cell['estimate'])}, {cell['patients']} patients, {cell['positives']} positives"
    sure = cell["state"] in ("ok", "wide")
    return (_heat_class(difference) if sure else "unsure"), signed(difference), f"{hint}, {cell['state']}"


def _heat_class(difference: float) -> str:
    depth = sum(abs(difference) >= step for step in HEAT_STEPS)
    return f"h{'m' if difference < 0 else 'p'}{depth}" if depth else "h0"


def _group_row(reading: Reading, target: tuple[str, str], metric: str, place: tuple[str, str]) -> Row | None:
    cells = [(i, reading.cell(name, target, metric, place)) for i, name in enumerate(reading.pipelines)]
    present = [(i, cell) for i, cell in cells if cell is not None]
    if not present:
        return None
    points = tuple(
        Point(
            series=i,
            value=cell["estimate"],
            low=cell["ci_low"],
            high=cell["ci_high"],
            hollow=cell["state"] == "insufficient",
            title=f"{cell['pipeline']}, {place[1]}: {number(cell['estimate'], metric)} ({cell['state']})",
        )
        for i, cell in present
        if cell["estimate"] is not None
    )
    first = present[0][1]
    note = f"n {first['records']:,}"
    if first["positives"] is not None:
        note += f", {first['positives']:,} pos"
    why = "undefined: no records" if not first["records"] else "undefined"
    return Row(place[1], points, note=note, absent="" if points else why)


def _gap_rows(reading: Reading, name: str, gaps: list[tuple[int, Gap]]) -> list[Row]:
    """``gaps`` are (series, gap) with a value. One row a candidate, or one for the baseline alone."""
    baseline = [_gap_point(i, gap) for i, gap in gaps if i == 0]
    candidates = [(i, gap) for i, gap in gaps if i > 0]
    if not gaps:
        return [Row(name, (), absent="fewer than two groups to compare")]
    if not candidates:
        return [Row(name, tuple(baseline), note=number(baseline[0].value, gaps[0][1]["metric"]))]
    rows: list[Row] = []
    for i, gap in candidates:
        change = reading.change(gap["pipeline"], gap)
        joined = change is not None and change["estimate"] is not None
        if change is not None and joined:
            note = signed(change["estimate"], gap["metric"])
        else:
            note = "other groups" if baseline else number(gap["estimate"], gap["metric"])
        rows.append(Row(name if not rows else "", (*baseline, _gap_point(i, gap)), note=note, joined=joined))
    return rows


def _gap_point(series: int, gap: Gap) -> Point:
    title = f"{gap['pipeline']}, {target_title((gap['task'], gap['label']))}: {number(gap['estimate'], gap['metric'])}"
    return Point(series, gap["estimate"], gap["ci_low"], gap["ci_high"], title=title)


def _panel(caption: str, chart: Markup) -> Markup:
    return element("figure", element("figcaption", caption), chart)
