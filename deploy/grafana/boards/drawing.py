"""From our panels to Grafana's JSON, by the builders of its SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    GridPos,
    Threshold,
    ThresholdsMode,
    ValueMap,
    VariableRefresh,
    VariableSort,
)

from boards.panels import WIDTH, Board, Column, Line, Mark, Panel, Row, Variable, places

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
RIBBON_OPACITY = 18


def as_json(board: Board) -> str:
    """The dashboard's file."""
    built = dashboard.Dashboard(board.title).uid(board.uid).tags(["evenhand"]).refresh(board.refresh)
    built = (
        built.time(board.since, "now").timezone("browser").tooltip(dashboard.dashboard.DashboardCursorSync.CROSSHAIR)
    )
    built = built.link(
        dashboard.DashboardLink("Evenhand")
        .type(DashboardLinkType.DASHBOARDS)
        .tags(["evenhand"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    for part, (x, y) in zip(board.parts, places(board.parts), strict=True):
        if isinstance(part, Row):
            built = built.with_row(dashboard.Row(part.title).grid_pos(GridPos(x=x, y=y, w=WIDTH, h=1)))
        else:
            built = built.with_panel(_panel(part).grid_pos(GridPos(x=x, y=y, w=part.width, h=part.height)))
    for variable in board.variables:
        built = built.with_variable(_variable(variable))
    document = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    for variable in document["templating"].setdefault("list", []):
        for key in ("auto", "auto_count", "auto_min"):  # of interval variables only; the SDK writes them for all
            variable.pop(key, None)
    document["annotations"] = {"list": [_mark(mark) for mark in board.marks]}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _panel(panel: Panel) -> Any:
    """The SDK's builder of one panel; every panel type has a builder class of its own."""
    builders = {"bars": _bars, "table": _table, "number": _number, "lines": _over_time, "columns": _over_time}
    builder = _asked(builders[panel.kind](panel), panel)
    builder = builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    given = {"max": panel.highest, "decimals": panel.decimals, "no_value": panel.empty or None}
    if panel.kind != "table":
        given["min"] = panel.lowest
    for name, value in given.items():
        if value is not None:
            builder = getattr(builder, name)(value)
    if panel.colours:
        steps = [Threshold(value=value, color=colour) for value, colour in panel.colours]
        builder = builder.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.colours and panel.kind in ("bars", "number"):
        builder = builder.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    if panel.kind in ("lines", "columns"):
        builder = builder.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    if panel.repeat:
        builder = builder.repeat(panel.repeat).repeat_direction("h").max_per_row(WIDTH // panel.width)
    if panel.words:
        builder = builder.mappings([ValueMap(options=_mappings(panel.words)[0]["options"])])
    for line in panel.lines:
        builder = builder.override_by_name(line.legend, _line(line))
    return builder


def _asked(builder: Any, panel: Panel) -> Any:
    """With the panel's queries; refIds are A, B, …"""
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expression).ref_id(chr(ord("A") + number))
        if panel.kind == "table":
            target = target.instant().format("table")
        else:
            target = target.legend_format(query.legend)
            target = target.instant() if panel.kind in ("bars", "number") else target.range()
        builder = builder.with_target(target)
    return builder


def _bars(panel: Panel) -> Any:
    builder = bargauge.Panel().display_mode(options.BarGaugeDisplayMode.BASIC)
    return builder.orientation(options.VizOrientation.HORIZONTAL)


def _number(panel: Panel) -> Any:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    builder = stat.Panel().graph_mode(options.BigValueGraphMode.NONE).reduce_options(last)
    return builder.text_mode(options.BigValueTextMode.NAME) if panel.names_only else builder


def _over_time(panel: Panel) -> Any:
    builder = timeseries.Panel().fill_opacity(0).line_width(2).show_points(options.VisibilityMode.NEVER)
    if panel.kind == "columns":
        builder = builder.draw_style(options.GraphDrawStyle.BARS).fill_opacity(70).line_width(0)
    if panel.at:  # the line is in sight even where all values are on one side of it
        style = common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.LINE)
        builder = builder.thresholds_style(style).axis_soft_min(0).axis_soft_max(0)
    if panel.steps:
        builder = builder.line_interpolation(options.LineInterpolation.STEP_AFTER)
    if panel.stacked:
        builder = builder.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if panel.logarithmic:
        builder = builder.scale_distribution(
            common.ScaleDistributionConfig().type(options.ScaleDistribution.LOG).log(10)
        )
    if panel.axis:
        builder = builder.axis_label(panel.axis)
    legend = common.VizLegendOptions().display_mode(options.LegendDisplayMode.LIST).show_legend(True)
    builder = builder.legend(legend.placement(options.LegendPlacement.BOTTOM))
    return builder.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI))


def _table(panel: Panel) -> Any:
    """Rows of several queries become one row for each value of the label that they share."""
    builder = table.Panel()
    if len(panel.queries) > 1:
        join = {"byField": panel.joined_by, "mode": "outer"} if panel.joined_by else {}
        name = "joinByField" if panel.joined_by else "merge"
        builder = builder.with_transformation(DataTransformerConfig(id_val=name, options=join))
    times = ["Time", *(f"Time {number}" for number in range(1, len(panel.queries) + 1))]
    numbers = ["Value", *(f"Value #{chr(ord('A') + number)}" for number in range(len(panel.queries)))]
    order = {column.name: place for place, column in enumerate(panel.columns)}
    titles = {column.name: column.title for column in panel.columns}
    tidy = {
        "excludeByName": dict.fromkeys(times + [name for name in numbers if name not in order], True),
        "indexByName": order,
        "renameByName": titles,
    }
    builder = builder.with_transformation(DataTransformerConfig(id_val="organize", options=tidy))
    for column in panel.columns:
        if properties := _column(column):
            builder = builder.override_by_name(column.title, properties)
    return builder


def _column(column: Column) -> list[DynamicConfigValue]:
    found = {}
    if column.unit != "short":
        found["unit"] = column.unit
    if column.decimals is not None:
        found["decimals"] = column.decimals
    if column.words:
        found["mappings"] = _mappings(column.words)
    if column.colours:
        steps = [{"value": value, "color": colour} for value, colour in column.colours]
        found["thresholds"] = {"mode": "absolute", "steps": steps}
    if column.colours or column.words:
        found["custom.cellOptions"] = {"type": "color-text"}
    if column.link:
        found["links"] = [{"title": "Open", "url": column.link}]
    return [DynamicConfigValue(id_val=name, value=value) for name, value in found.items()]


def _mappings(words: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    said = {
        value: {"text": text, "color": colour, "index": place}
        for place, (value, (text, colour)) in enumerate(words.items())
    }
    return [{"type": "value", "options": said}]


def _line(line: Line) -> list[DynamicConfigValue]:
    found: dict[str, Any] = {}
    if line.colour:
        found["color"] = {"mode": "fixed", "fixedColor": line.colour}
    if line.width is not None:
        found["custom.lineWidth"] = line.width
    if line.dashed:
        found["custom.lineStyle"] = {"fill": "dash", "dash": [8, 8]}
    if line.down_to:
        found["custom.fillBelowTo"] = line.down_to
        found["custom.fillOpacity"] = RIBBON_OPACITY
    if line.columns:
        found["custom.drawStyle"] = "bars"
        found["custom.fillOpacity"] = 25
        found["custom.lineWidth"] = 0
    if line.right:
        found["custom.axisPlacement"] = "right"
    if line.unit:
        found["unit"] = line.unit
    if not line.listed:
        found["custom.hideFrom"] = {"legend": True, "tooltip": False, "viz": False}
    return [DynamicConfigValue(id_val=name, value=value) for name, value in found.items()]


def _variable(variable: Variable) -> dashboard.QueryVariable:
    built = dashboard.QueryVariable(variable.name).label(variable.name.capitalize()).datasource(SOURCE)
    built = built.query(f"label_values({variable.among}, {variable.name})").sort(VariableSort.ALPHABETICAL_ASC)
    built = built.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return built.include_all(variable.several).multi(variable.several)


def _mark(mark: Mark) -> dict[str, Any]:
    """An annotation. The Prometheus source reads keys of it that the SDK has not."""
    before = f"max_over_time({mark.selector}[1d] offset $__interval)"  # a scrape that was missed begins nothing
    return {
        "name": mark.name,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "enable": True,
        "iconColor": mark.colour,
        "expr": f"max by ({mark.by}) ({mark.selector}{mark.holds}) unless max by ({mark.by}) ({before}{mark.holds})",
        "step": "60s",
        "titleFormat": mark.title,
        "textFormat": mark.text,
    }
