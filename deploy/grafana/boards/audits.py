"""*Audits*: progress, rows a second, failures."""

from __future__ import annotations

from boards.panels import Board, Line, Panel, Query, Row

RATE = "[$__rate_interval]"
DONE, TOTAL = "evenhand_operation_rows_done", "evenhand_operation_rows_total"
STATE_LINES = (
    Line("running", colour="blue"),
    Line("pending", colour="yellow"),
    Line("succeeded", colour="green"),
    Line("failed", colour="red"),
    Line("cancelled", colour="gray"),
)

NOW = (
    Panel(
        "Audits",
        "Audits among the latest 500 operations, by what became of them.",
        [Query('sum by (state) (evenhand_operations{kind="audit"})', "{{state}}")],
        kind="number",
        width=12,
        height=4,
        lines=STATE_LINES,
    ),
    Panel(
        "Progress",
        "Committed rows of the audits that run now. What is committed survives any crash.",
        [Query(f'sum({DONE}{{kind="audit"}}) / clamp_min(sum({TOTAL}{{kind="audit"}}), 1)')],
        kind="number",
        unit="percentunit",
        width=6,
        height=4,
        highest=1,
        decimals=0,
        colours=[(None, "blue")],
    ),
    Panel(
        "Rows left",
        "Rows that running audits have still to do.",
        [Query(f'sum({TOTAL}{{kind="audit"}}) - sum({DONE}{{kind="audit"}})')],
        kind="number",
        width=6,
        height=4,
        decimals=0,
        colours=[(None, "blue")],
    ),
)

COURSE = (
    Row("In the course of time"),
    Panel(
        "Rows done and to do",
        "Of running audits. The lower line stops while workers are gone and goes on where it stopped.",
        [
            Query(f'sum({TOTAL}{{kind="audit"}})', "all rows"),
            Query(f'sum({DONE}{{kind="audit"}})', "committed"),
        ],
        width=12,
        lines=[Line("all rows", colour="gray", dashed=True), Line("committed", colour="blue")],
    ),
    Panel(
        "Rows a second",
        "Rows that audits commit, and rows that models compute for whoever asks.",
        [
            Query(f'sum(clamp_min(deriv({DONE}{{kind="audit"}}{RATE}), 0))', "audits commit"),
            Query(f"sum(rate(evenhand_batch_rows_sum{RATE}))", "models compute"),
        ],
        unit="rowsps",
        width=12,
        lines=[Line("audits commit", colour="blue"), Line("models compute", colour="purple")],
    ),
    Panel(
        "Operations by state",
        "All kinds of work among the latest 500 operations.",
        [Query("sum by (state) (evenhand_operations)", "{{state}}")],
        width=12,
        lines=STATE_LINES,
    ),
    Panel(
        "Failures",
        "Failed operations by kind, among the latest 500. An operation's error says why: `evenhand operations list`.",
        [Query('sum by (kind) (evenhand_operations{state="failed"})', "{{kind}}")],
        width=12,
    ),
)

OTHERS = (
    Row("Other work"),
    Panel(
        "Running, by kind",
        "Cohorts that are read, trainings, generations, alignments.",
        [Query('sum by (kind) (evenhand_operations{state="running"})', "{{kind}}")],
        width=12,
    ),
    Panel(
        "Progress, by kind",
        "Committed rows of all that runs.",
        [Query(f"sum by (kind) ({DONE}) / clamp_min(sum by (kind) ({TOTAL}), 1)", "{{kind}}")],
        kind="bars",
        unit="percentunit",
        width=12,
        highest=1,
        decimals=0,
        colours=[(None, "blue")],
    ),
)

AUDITS = Board(
    "evenhand-audits",
    "Evenhand · Audits",
    [*NOW, *COURSE, *OTHERS],
    refresh="10s",
    since="now-1h",
)
