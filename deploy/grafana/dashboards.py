"""The dashboards as code: `python deploy/grafana/dashboards.py` writes deploy/grafana/dashboards/*.json.

A panel's description says what a person should make of it. Every query is run against a real Prometheus that scraped
the real platform in tests/e2e/test_dashboards.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BarGaugeDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos, VariableRefresh

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
WIDTH = 24  # Grafana's grid


@dataclass(frozen=True)
class Panel:
    """One panel: ``queries`` are (PromQL, legend); ``kind`` is "lines", "bars" or "table"."""

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "lines"
    width: int = 8
    height: int = 8


RATE = "[$__rate_interval]"
REQUESTS = f"rate(evenhand_gateway_requests_total{RATE})"
BUCKETS = f"rate(evenhand_gateway_request_seconds_bucket{RATE})"
ROWS = f"rate(evenhand_batch_rows_sum{RATE})"
CALLS = f"rate(evenhand_batch_rows_count{RATE})"
FILLED = f"rate(evenhand_batch_padding_rows_total{RATE})"

SERVING = (
    Panel(
        "Requests",
        "Answered requests a second.",
        [(f"sum by (transport) ({REQUESTS})", "{{transport}}")],
        unit="reqps",
    ),
    Panel(
        "Latency",
        "From arrival to answer, all methods together.",
        [
            (f"histogram_quantile(0.5, sum by (le) ({BUCKETS}))", "median"),
            (f"histogram_quantile(0.99, sum by (le) ({BUCKETS}))", "99 %"),
        ],
        unit="s",
    ),
    Panel(
        "Not OK",
        "Answers other than OK. RESOURCE_EXHAUSTED is admission at work; INTERNAL is a fault of ours.",
        [(f'sum by (status) (rate(evenhand_gateway_requests_total{{status!="OK"}}{RATE}))', "{{status}}")],
        unit="reqps",
    ),
    Panel("Rows through models", "Rows a second that networks computed.", [(f"sum by (model) ({ROWS})", "{{model}}")]),
    Panel(
        "Rows in a batch",
        "Mean rows of a network call. Near 1 under load: callers do not overlap.",
        [(f"sum by (model) ({ROWS}) / sum by (model) ({CALLS})", "{{model}}")],
    ),
    Panel(
        "Padding",
        "Share of computed rows that only filled batches up.",
        [(f"sum by (model) ({FILLED}) / (sum by (model) ({FILLED}) + sum by (model) ({ROWS}))", "{{model}}")],
        unit="percentunit",
    ),
    Panel(
        "Slowest methods",
        "95 % of a method's answers come within this time.",
        [(f"histogram_quantile(0.95, sum by (le, method) ({BUCKETS}))", "{{method}}")],
        unit="s",
        width=12,
    ),
    Panel(
        "Queues",
        "Requests served and waiting. A queue that stays full wants more replicas.",
        [
            ("sum by (queue) (evenhand_gateway_running)", "{{queue}} running"),
            ("sum by (queue) (evenhand_gateway_waiting)", "{{queue}} waiting"),
        ],
        width=12,
    ),
)

COHORT = 'cohort=~"$cohort",pipeline=~"$pipeline",attribute=~"$attribute"'
CELL = f'{COHORT},metric=~"$metric"'

FAIRNESS = (
    Panel(
        "Largest gaps",
        "Point estimates of each cohort's last audit. A small group's gap is mostly noise: read it with its patients.",
        [
            (
                "topk(12, max by (pipeline, label, attribute, definition) (evenhand_fairness_gap{" + COHORT + "}))",
                "{{pipeline}} · {{label}} · {{attribute}} · {{definition}}",
            )
        ],
        kind="bars",
        width=12,
        height=16,
    ),
    Panel(
        "Metric by group",
        "Each group's value, audit after audit.",
        [
            (
                "avg by (pipeline, group, metric) (evenhand_subgroup_metric{" + CELL + "})",
                "{{pipeline}} · {{group}} · {{metric}}",
            )
        ],
        width=12,
    ),
    Panel(
        "Patients by group",
        "How many patients stand behind a group's values. With few, say nothing.",
        [
            (
                'max by (attribute, group) (evenhand_subgroup_patients{cohort=~"$cohort",attribute=~"$attribute"})',
                "{{group}}",
            )
        ],
        width=12,
    ),
    Panel(
        "All values",
        "Every published cell of the last audits.",
        [("evenhand_subgroup_metric{" + CELL + "}", "")],
        kind="table",
        width=WIDTH,
        height=10,
    ),
)


def query(panel: Panel, expression: str, legend: str) -> prometheus.Dataquery:
    built = prometheus.Dataquery().expr(expression).legend_format(legend)
    if panel.kind == "lines":
        return built.range()
    return built.instant().format("table") if panel.kind == "table" else built.instant()


def drawn(panel: Panel, x: int, y: int) -> Any:
    """The SDK's builder of one panel; every panel type has a builder class of its own."""
    builder: Any
    if panel.kind == "bars":
        builder = bargauge.Panel().display_mode(BarGaugeDisplayMode.BASIC).orientation("horizontal").min(0)
    elif panel.kind == "table":
        builder = table.Panel()
    else:
        builder = timeseries.Panel().fill_opacity(8).line_width(2).min(0)
    builder = builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    for expression, legend in panel.queries:
        builder = builder.with_target(query(panel, expression, legend))
    return builder.grid_pos(GridPos(x=x, y=y, w=panel.width, h=panel.height))


def places(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    """(x, y) of each panel: left to right, each in the first column that is free for its whole width."""
    heights = [0] * WIDTH
    found = []
    for panel in panels:
        tops = [max(heights[x : x + panel.width]) for x in range(WIDTH - panel.width + 1)]
        x = tops.index(min(tops))
        heights[x : x + panel.width] = [tops[x] + panel.height] * panel.width
        found.append((x, tops[x]))
    return found


def board(uid: str, title: str, panels: Sequence[Panel], *, refresh: str, since: str) -> dashboard.Dashboard:
    built = dashboard.Dashboard(title).uid(uid).tags(["evenhand"]).refresh(refresh).time(since, "now")
    for panel, (x, y) in zip(panels, places(panels), strict=True):
        built = built.with_panel(drawn(panel, x, y))
    return built.timezone("browser")


def with_variables(built: dashboard.Dashboard, names: Sequence[str]) -> dashboard.Dashboard:
    for name in names:
        built = built.with_variable(
            dashboard.QueryVariable(name)
            .label(name.capitalize())
            .query(f"label_values(evenhand_subgroup_metric, {name})")
            .datasource(SOURCE)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .multi(True)
        )
    return built


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    serving = board("evenhand-serving", "Evenhand · Serving", SERVING, refresh="10s", since="now-30m")
    fairness = board("evenhand-fairness", "Evenhand · Fairness", FAIRNESS, refresh="1m", since="now-30d")
    fairness = with_variables(fairness, ("cohort", "pipeline", "attribute", "metric"))
    for name, built in (("serving", serving), ("fairness", fairness)):
        text = JSONEncoder(sort_keys=True, indent=2).encode(built.build())
        (FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
