"""*Fairness overview*: verdicts of all monitors, then the gaps of the latest audits."""

from __future__ import annotations

from boards.panels import Board, Column, Line, Panel, Query, Row, Variable

SERIES = "monitor, label, metric, attribute, group"
OF_ONE = '{monitor="$monitor"} @ end()'  # the series of the whole chart is the one that leads at its end
LEADER = f"topk(1, max by ({SERIES}) (evenhand_monitor_e_value{OF_ONE} and evenhand_monitor_change{OF_ONE}))"
GREY, CALM, HOT = "gray", "green", "red"

VERDICTS = (
    Panel(
        "Monitors",
        "How many monitors are in each state. An alarm stays; a monitor that is finished has spent its error rate.",
        [Query("sum by (state) (evenhand_monitor_state)", "{{state}}")],
        kind="number",
        width=10,
        height=4,
        lines=[
            Line("alarmed", colour=HOT),
            Line("watching", colour=CALM),
            Line("waiting", colour="blue"),
            Line("finished", colour=GREY),
        ],
    ),
    Panel(
        "Alarms",
        "Series whose gap changed by more than noise explains.",
        [Query("sum(evenhand_monitor_alarm) or vector(0)")],
        kind="number",
        width=3,
        height=4,
        colours=[(None, CALM), (1, HOT)],
    ),
    Panel(
        "Largest change",
        "Of any series against its reference, with or without enough evidence.",
        [Query("max(abs(evenhand_monitor_change))")],
        kind="number",
        width=4,
        height=4,
        decimals=3,
        colours=[(None, "text")],
    ),
    Panel(
        "Cannot show anything",
        "Share of series with too few cases, or without a class, in their last window. Silence there is not fairness.",
        [Query("avg(evenhand_monitor_series_state < bool 2)")],
        kind="number",
        unit="percentunit",
        width=4,
        height=4,
        decimals=0,
        colours=[(None, CALM), (0.25, "orange")],
    ),
    Panel(
        "Overdue",
        "Monitors whose next window should have been closed a day ago.",
        [Query("count(time() - evenhand_monitor_window_due_seconds > 86400) or vector(0)")],
        kind="number",
        width=3,
        height=4,
        colours=[(None, CALM), (1, "orange")],
    ),
    Panel(
        "Verdicts",
        "A line for each monitor. Follow its name to its drift.",
        [
            Query("max by (monitor, state) (evenhand_monitor_state == 1)"),
            Query("sum by (monitor) (evenhand_monitor_alarm)"),
            Query("max by (monitor) (abs(evenhand_monitor_change))"),
            Query("max by (monitor) (evenhand_monitor_e_value)"),
            Query("avg by (monitor) (evenhand_monitor_series_state < bool 2)"),
            Query("max by (monitor) (evenhand_monitor_closed_windows)"),
            Query("max by (monitor) (evenhand_monitor_window_end_seconds) * 1000"),
            Query("min by (monitor) (evenhand_monitor_labelled_share)"),
        ],
        kind="table",
        width=24,
        height=7,
        joined_by="monitor",
        columns=[
            Column("monitor", "Monitor", link="/d/evenhand-drift?var-monitor=${__value.raw}"),
            Column(
                "state",
                "State",
                words={
                    "alarmed": ("alarmed", HOT),
                    "watching": ("watching", CALM),
                    "waiting": ("waiting", "blue"),
                    "finished": ("finished", GREY),
                },
            ),
            Column("Value #B", "Alarms", colours=[(None, CALM), (1, HOT)]),
            Column("Value #C", "Largest change", decimals=3),
            Column("Value #D", "Most evidence", decimals=1),
            Column("Value #E", "Cannot show", unit="percentunit", decimals=0),
            Column("Value #F", "Windows"),
            Column("Value #G", "Last window ended", unit="dateTimeAsIso"),
            Column("Value #H", "Labelled", unit="percentunit", decimals=0),
        ],
    ),
    Panel(
        "Alarms by cell",
        "Each with the change of its gap and the interval that is valid at any time.",
        [
            Query(f"max by ({SERIES}) (evenhand_monitor_{name} and evenhand_monitor_alarm == 1)")
            for name in ("change", "change_low", "change_high", "patients", "e_value")
        ],
        kind="table",
        width=24,
        height=7,
        empty="No alarm stands.",
        columns=[
            Column("monitor", "Monitor", link="/d/evenhand-drift?var-monitor=${__value.raw}"),
            Column("label", "Label"),
            Column("metric", "Metric"),
            Column("attribute", "Attribute"),
            Column("group", "Group"),
            Column("Value #A", "Change", decimals=3),
            Column("Value #B", "Low", decimals=3),
            Column("Value #C", "High", decimals=3),
            Column("Value #D", "Patients"),
            Column("Value #E", "Evidence", decimals=1),
        ],
    ),
)

WITH_INTERVALS = (
    Row("Gaps over time: of each monitor the series with the most evidence"),
    Panel(
        "$monitor",
        "Change of the gap with its interval, valid at any time: while it contains 0, noise is enough to explain it. "
        "Columns are the records that decide the metric.",
        [
            Query(f"max by ({SERIES}) (evenhand_monitor_change_high) and ({LEADER})", "high"),
            Query(f"max by ({SERIES}) (evenhand_monitor_change_low) and ({LEADER})", "low"),
            Query(
                f"max by ({SERIES}) (evenhand_monitor_change) and ({LEADER})",
                "{{label}} · {{metric}} · {{attribute}} {{group}}",
            ),
            Query(f"max by ({SERIES}) (evenhand_monitor_cases) and ({LEADER})", "cases"),
        ],
        width=12,
        height=9,
        lowest=None,
        colours=[(None, "transparent"), (0, "text")],
        at=True,
        steps=True,
        repeat="monitor",
        lines=[
            Line("high", colour="blue", width=0, down_to="low", listed=False),
            Line("low", colour="blue", width=0, listed=False),
            Line("cases", colour="gray", columns=True, right=True),
        ],
    ),
)

COHORT = 'cohort=~"$cohort",pipeline=~"$pipeline",attribute=~"$attribute"'
CELL = f'{COHORT},metric=~"$metric"'
VALUE = "cohort, pipeline, label, metric, attribute, group"
GAP = "cohort, pipeline, label, metric, attribute, definition"

OF_AUDITS = (
    Row("The latest audits"),
    Panel(
        "Largest gaps",
        "Point estimates of each cohort's last audit. A small group's gap is mostly noise: read it with its patients.",
        [
            Query(
                "topk(12, max by (pipeline, label, metric, attribute, definition) (evenhand_fairness_gap{"
                + COHORT
                + "}))",
                "{{pipeline}} · {{label}} · {{metric}} · {{attribute}} · {{definition}}",
            )
        ],
        kind="bars",
        width=12,
        height=16,
        decimals=3,
        colours=[(None, "blue")],
    ),
    Panel(
        "Metric by group",
        "Each group's value, audit after audit.",
        [
            Query(
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
            Query(
                'max by (attribute, group) (evenhand_subgroup_patients{cohort=~"$cohort",attribute=~"$attribute"})',
                "{{attribute}} {{group}}",
            )
        ],
        kind="bars",
        width=12,
        colours=[(None, "blue")],
    ),
    Panel(
        "Gaps with their intervals",
        "Simultaneous 95 % intervals of the largest difference between groups; from 0 on: no difference is shown.",
        [Query(f"max by ({GAP}) (evenhand_fairness_gap{part}{{{COHORT}}})") for part in ("", "_low", "_high")],
        kind="table",
        width=24,
        height=10,
        columns=[
            *(Column(name, name.capitalize()) for name in GAP.split(", ")),
            Column("Value #A", "Gap", decimals=3),
            Column("Value #B", "Low", decimals=3),
            Column("Value #C", "High", decimals=3),
        ],
    ),
    Panel(
        "All values",
        "Every published cell of the last audits.",
        [
            Query(
                "max by (cohort, pipeline, label, metric, attribute, group) (evenhand_subgroup_metric{" + CELL + "})"
            ),
        ],
        kind="table",
        width=24,
        height=10,
        columns=[
            *(Column(name, name.capitalize()) for name in VALUE.split(", ")),
            Column("Value", "Value", decimals=3),
        ],
    ),
)

OVERVIEW = Board(
    "evenhand-fairness",
    "Evenhand · Fairness overview",
    [*VERDICTS, *WITH_INTERVALS, *OF_AUDITS],
    refresh="1m",
    since="now-90d",
    variables=[
        Variable("monitor", "evenhand_monitor_change"),
        *(Variable(name, "evenhand_subgroup_metric") for name in ("cohort", "pipeline", "attribute", "metric")),
    ],
)
