"""*Drift of one model*: for each group the change of its gap with its interval, and what stands behind it."""

from __future__ import annotations

from boards.panels import Board, Column, Line, Mark, Panel, Query, Row, Variable

MONITOR = 'monitor="$monitor"'
SERIES = f'{MONITOR},label="$label",metric="$metric",attribute="$attribute"'
SHOWN = f'{SERIES},group=~"$group"'


def gauge(name: str, selector: str, by: str = "group") -> str:
    """Of all replicas that were scraped one: they show the same."""
    return f"max by ({by}) (evenhand_monitor_{name}{{{selector}}})"


STATE = (
    Panel(
        "State",
        "Of the monitor. An alarm stays.",
        [Query(f"max by (state) (evenhand_monitor_state{{{MONITOR}}} == 1)", "{{state}}")],
        kind="number",
        width=4,
        height=4,
        names_only=True,
        lines=[
            Line("alarmed", colour="red"),
            Line("watching", colour="green"),
            Line("waiting", colour="blue"),
            Line("finished", colour="gray"),
        ],
    ),
    Panel(
        "Alarms",
        "Over all labels, metrics and groups of the monitor.",
        [Query(f"sum({gauge('alarm', MONITOR, 'label, metric, attribute, group')})")],
        kind="number",
        width=3,
        height=4,
        colours=[(None, "green"), (1, "red")],
    ),
    Panel(
        "Windows closed",
        "Of those that were planned when the monitor was created.",
        [Query(f"max(evenhand_monitor_closed_windows{{{MONITOR}}})")],
        kind="number",
        width=3,
        height=4,
        colours=[(None, "text")],
    ),
    Panel(
        "Last window ended",
        "What is shown below is true of the time up to then: a window waits for its labels.",
        [Query(f"max(evenhand_monitor_window_end_seconds{{{MONITOR}}}) * 1000")],
        kind="number",
        unit="dateTimeFromNow",
        width=4,
        height=4,
        lowest=None,
        colours=[(None, "text")],
    ),
    Panel(
        "Labelled",
        "Share of the last window's records that have a label.",
        [Query(f"max(evenhand_monitor_labelled_share{{{MONITOR}}})")],
        kind="number",
        unit="percentunit",
        width=3,
        height=4,
        decimals=0,
        highest=1,
        colours=[(None, "red"), (0.5, "orange"), (0.8, "green")],
    ),
    Panel(
        "Labels take",
        "Median time from a record to its label in the last window, and how long a window waits.",
        [
            Query(f"max(evenhand_monitor_label_delay_seconds{{{MONITOR}}})", "median"),
            Query(f"max(evenhand_monitor_label_wait_seconds{{{MONITOR}}})", "waits"),
        ],
        kind="number",
        unit="s",
        width=4,
        height=4,
        colours=[(None, "text")],
    ),
    Panel(
        "Source",
        "Whether what arrives can be read.",
        [Query(f"max(evenhand_monitor_trouble{{{MONITOR}}})", "trouble")],
        kind="number",
        width=3,
        height=4,
        colours=[(None, "green"), (1, "red")],
        words={"0": ("read", "green"), "1": ("trouble", "red")},
    ),
)

CHANGES = (
    Row("Change of the $metric gap for $label, by $attribute: group against everyone else, less the reference"),
    Panel(
        "$group",
        "The interval is valid at any time, so it may be looked at every week: while it contains 0, noise is enough to "
        "explain the change. Columns are the records that decide the metric.",
        [
            Query(gauge("change_high", f'{SERIES},group="$group"'), "high"),
            Query(gauge("change_low", f'{SERIES},group="$group"'), "low"),
            Query(gauge("change", f'{SERIES},group="$group"'), "change"),
            Query(gauge("cases", f'{SERIES},group="$group"'), "cases"),
        ],
        lowest=None,
        height=9,
        colours=[(None, "transparent"), (0, "text")],
        at=True,
        steps=True,
        repeat="group",
        lines=[
            Line("high", colour="blue", width=0, down_to="low", listed=False),
            Line("low", colour="blue", width=0, listed=False),
            Line("change", colour="blue", width=2),
            Line("cases", colour="gray", columns=True, right=True),
        ],
    ),
)

BEHIND = (
    Row("What stands behind it"),
    Panel(
        "Evidence",
        "Grows while the change lasts. An alarm needs at least 1 / alpha, more where many series are watched at once.",
        [
            Query(gauge("e_value", SHOWN), "{{group}}"),
            Query(f"1 / max(evenhand_monitor_alpha{{{MONITOR}}})", "1 / alpha"),
        ],
        width=12,
        lowest=None,
        logarithmic=True,
        steps=True,
        lines=[Line("1 / alpha", colour="red", dashed=True, width=1)],
    ),
    Panel(
        "Cases in a window",
        "Records that decide the metric. With fewer than 10 nothing is said, with fewer than 60 only an interval.",
        [Query(gauge("cases", SHOWN), "{{group}}")],
        kind="columns",
        stacked=True,
        width=12,
    ),
    Panel(
        "Gap in a window",
        "Of each window alone, before the reference is taken off: it jumps with the noise of one window.",
        [Query(gauge("gap", SHOWN), "{{group}}")],
        width=8,
        lowest=None,
        colours=[(None, "transparent"), (0, "text")],
        at=True,
        steps=True,
    ),
    Panel(
        "$metric in a window",
        "Of each window alone.",
        [Query(gauge("metric", SHOWN), "{{group}}")],
        width=8,
        highest=1,
        steps=True,
        unit="percentunit",
    ),
    Panel(
        "Patients in a window",
        "Patients of the records that decide the metric.",
        [Query(gauge("patients", SHOWN), "{{group}}")],
        kind="columns",
        stacked=True,
        width=8,
    ),
    Panel(
        "What arrived",
        "Counts since the monitor was created. Labels of unknown records are kept until their records come.",
        [
            Query(f"max(evenhand_monitor_{name}{{{MONITOR}}})", legend)
            for name, legend in (
                ("unknown_labels", "labels of unknown records"),
                ("late_rows", "rows after closing"),
                ("conflicts", "refused: said otherwise before"),
            )
        ],
        width=12,
    ),
    Panel(
        "Versions of the model in the last window",
        "Where a version begins is marked in the charts.",
        [Query(f"max by (model, version) (evenhand_monitor_model_info{{{MONITOR}}})")],
        kind="table",
        width=12,
        columns=[Column("model", "Model"), Column("version", "Version")],
    ),
)

DRIFT = Board(
    "evenhand-drift",
    "Evenhand · Drift of one model",
    [*STATE, *CHANGES, *BEHIND],
    refresh="1m",
    since="now-90d",
    variables=[
        Variable("monitor", "evenhand_monitor_state", several=False),
        Variable("label", f"evenhand_monitor_change{{{MONITOR}}}", several=False),
        Variable("metric", f"evenhand_monitor_change{{{MONITOR}}}", several=False),
        Variable("attribute", f"evenhand_monitor_change{{{MONITOR}}}", several=False),
        Variable("group", f'evenhand_monitor_change{{{MONITOR},attribute="$attribute"}}'),
    ],
    marks=[
        Mark(
            "Alarms",
            f"evenhand_monitor_alarm{{{SERIES}}}",
            "label, metric, attribute, group",
            "Alarm",
            "{{metric}} · {{label}} · {{group}}",
            "red",
            holds=" == 1",
        ),
        Mark(
            "Model versions",
            f"evenhand_monitor_model_info{{{MONITOR}}}",
            "model, version",
            "Model version",
            "{{model}} {{version}}",
            "purple",
        ),
    ],
)
