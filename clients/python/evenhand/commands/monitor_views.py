"""Monitors in a terminal: plans, windows, alarms, and the table that is live."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from datetime import time as time_of_day
from typing import Any

import pandas as pd
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evenhand.client import Client
from evenhand.commands.console import err, out, print_fields, print_json
from evenhand.monitor_calls import Recorded
from evenhand.monitor_watch import Lookout, MonitorEvent
from evenhand.monitor_windows import Alarm, MonitorPlan, MonitorWindow, MonitorWindows
from evenhand.monitors import Monitor
from evenhand.summary import rich_table

LIVE_SERIES = 20  # of the live table; the others are counted
MIDNIGHT = time_of_day()
FEW_SERIES = 40  # of a plan that is printed whole


def print_plan(plan: MonitorPlan, *, as_json: bool) -> None:
    """What each series can show, and what to know before."""
    if as_json:
        print_json(plan.to_json())
        return
    out.print("Smallest lasting change of a gap that is found with power 0.8", highlight=False)
    out.print(rich_table(_series_of_plan(plan) if len(plan) <= FEW_SERIES else plan.detectable()))
    for warning in plan.warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True, highlight=False)


def _series_of_plan(plan: MonitorPlan) -> pd.DataFrame:
    rows = plan.to_pandas()
    changes = rows.pop("minimum_detectable_change")
    rows["smallest change"] = ["unknown" if pd.isna(c) else "none" if c > 1 else f"{c:.2g}" for c in changes]
    rows["cases_per_window"] = [f"{cases:.3g}" if cases else "unknown" for cases in rows["cases_per_window"]]
    return rows.rename(columns={"cases_per_window": "cases in a window"})


def print_recorded(found: Recorded, *, as_json: bool) -> None:
    """What became of a table of rows; columns that were not used are worth a word."""
    print_fields(found.to_dict(), as_json=as_json)
    if found.unused:
        err.print(f"[yellow]not watched:[/yellow] {escape(', '.join(found.unused))}", soft_wrap=True, highlight=False)
    if found.absent:
        err.print(
            f"[yellow]without a column:[/yellow] {escape(', '.join(found.absent))}", soft_wrap=True, highlight=False
        )


def print_windows(windows: MonitorWindows, *, series: bool, as_json: bool) -> None:
    """One row per window, or one per window and series."""
    if as_json:
        print_json([window.to_json() for window in windows])
    elif not windows:
        err.print("no window is closed yet")
    elif series:
        out.print(points_table(windows))
    else:
        out.print(rich_table(pd.DataFrame([_brief(window) for window in windows])))


def _brief(window: MonitorWindow) -> dict[str, Any]:
    """A window for a terminal of eighty columns."""
    proto = window.proto
    return {
        "window": f"{proto.index}" + (f", revision {proto.revision}" if proto.revision > 1 else ""),
        "from": _time_words(window.start_time),
        "to": _time_words(window.end_time),
        "records": proto.records,
        "patients": proto.patients,
        "labelled": proto.labelled,
        "late": proto.late_rows,
        "version": ", ".join(window.model_versions),
        "alarmed": sum(point.alarmed for point in proto.points),
    }


def _time_words(at: datetime | None) -> str:
    """The day alone at midnight."""
    if at is None:
        return ""
    return f"{at:%Y-%m-%d}" if at.time() == MIDNIGHT else f"{at:%Y-%m-%d %H:%M}"


def points_table(windows: Sequence[MonitorWindow]) -> Table:
    """Windows with their series: the gap of each alone, and the change so far with its interval."""
    table = Table()
    if len(windows) > 1:
        table.add_column("window", justify="right")
    table.add_column("series")
    for column in ("cases", "gap", "change", "interval", "e"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("state")
    for window in windows:
        for row in window.rows():
            series = f"{row['label']} {row['metric']}, {row['attribute']}: {row['group']}"
            state = Text("alarm", style="bold red") if row["alarmed"] else Text(row["state"])
            gap, change = _signed(row["gap"]), _signed(row["change"])
            interval = "" if row["low"] is None else f"{_signed(row['low'])} to {_signed(row['high'])}"
            index = [str(row["window"])] if len(windows) > 1 else []
            words = [escape(series), str(row["cases"]), gap, change, interval, f"{row['e_value']:.3g}"]
            table.add_row(*index, *words, state)
    return table


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def print_alarms(alarms: Sequence[Alarm], *, as_json: bool) -> None:
    """Each in a sentence, with the numbers that it rests on below."""
    if as_json:
        print_json([alarm.to_json() for alarm in alarms])
        return
    if not alarms:
        err.print("no alarm was raised")
    for alarm in alarms:
        out.print(_alarm_text(alarm), soft_wrap=True, highlight=False)


def _alarm_text(alarm: Alarm) -> str:
    row = alarm.to_dict()
    where = f"{row['label']} {row['metric']}, {row['attribute']}: {row['group']}"
    size = f"{_signed(row['change'])} ({_signed(row['low'])} to {_signed(row['high'])})"
    since = f"since window {row['since_window']}" + (f", {row['since_time']:%Y-%m-%d}" if row["since_time"] else "")
    moved = ", ".join(row["moved"]).replace("_", " ") or "nothing else"
    evidence = f"{row['patients']} patients; e = {row['e_value']:.3g}, {row['arm']}"
    lines = [
        f"[bold red]{escape(where)}[/bold red]  {size}",
        f"  {escape(row['summary'])}" if row["summary"] else "",
        f"  {since}; raised at window {row['window']}; {evidence}",
        f"  moved: {escape(moved)}; model version {escape(', '.join(row['model_versions']) or 'unknown')}",
        f"  {escape(row['name'])}",
    ]
    return "\n".join(line for line in lines if line)


def watch_monitor(
    client: Client, monitor: Monitor, *, until_alarm: bool, once: bool, every: float, as_json: bool
) -> bool:
    """Look again and again until there is nothing more to wait for; whether an alarm stands in the end."""
    lookout = Lookout(client.monitors.calls, monitor.name, past=True)
    events = _first_events(client.run(lookout.look()))
    if once:
        _print_once(lookout, as_json=as_json)
        return bool(lookout.alarms)
    lively = out.is_terminal and not as_json
    with Live(live_table(lookout), console=out, auto_refresh=False) if lively else _Lines(as_json) as shown:
        while True:
            if isinstance(shown, Live):
                shown.update(live_table(lookout), refresh=True)
            else:
                shown.show(events)
            if lookout.ended or (until_alarm and lookout.alarms):
                return bool(lookout.alarms)
            time.sleep(every)
            events = client.run(lookout.look())


class _Lines:
    """A line per event, where nobody looks at a table."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *exc: object) -> None:
        sys.stdout.flush()

    def show(self, events: Sequence[MonitorEvent]) -> None:
        for event in events:
            if self._as_json:
                sys.stdout.write(json.dumps(event.to_json(), ensure_ascii=False) + "\n")
            else:
                line = f"{event.time:%Y-%m-%d %H:%M:%S} {event.kind:<9} {event.text}"
                out.print(line, soft_wrap=True, highlight=False, markup=False)
        sys.stdout.flush()


def _first_events(events: Sequence[MonitorEvent]) -> list[MonitorEvent]:
    """Of what was there before: the last window, all alarms and the state."""
    closed = [event for event in events if event.kind == "window"]
    return [*closed[-1:], *(event for event in events if event.kind != "window")]


def _print_once(lookout: Lookout, *, as_json: bool) -> None:
    if not as_json:
        out.print(live_table(lookout))
        return
    print_json(
        {
            "monitor": lookout.monitor.to_json() if lookout.monitor is not None else None,
            "window": lookout.windows[-1].to_json() if lookout.windows else None,
            "alarms": [alarm.to_json() for alarm in lookout.alarms],
        }
    )


def live_table(lookout: Lookout) -> Group:
    """The monitor in a line, the series of its last window with the most evidence first, and what is wrong."""
    monitor = lookout.monitor
    if monitor is None:
        return Group(Text("not seen yet"))
    shown = monitor.proto.display_name or monitor.name
    rows = monitor.arrived
    head = Text.assemble((shown, "bold"), f"  {monitor.state}, windows closed: {monitor.closed_windows}, ")
    head.append(f"alarms: {len(lookout.alarms)}", style="bold red" if lookout.alarms else "")
    head.append(f", predictions: {rows['predictions']}, labels: {rows['labels']}")
    head.append(f"; last closed: window {lookout.windows[-1].index}" if lookout.windows else "")
    parts: list[Text | Table] = [head]
    if monitor.trouble:
        parts.append(Text(monitor.trouble, style="yellow"))
    if lookout.windows:
        last = lookout.windows[-1]
        points = sorted(last.proto.points, key=lambda point: (not point.alarmed, -point.e_value))
        brief = MonitorWindow(last.proto.__class__(index=last.index))
        brief.proto.points.extend(points[:LIVE_SERIES])
        parts.append(points_table([brief]))
        if len(points) > LIVE_SERIES:
            parts.append(Text(f"and {len(points) - LIVE_SERIES} more series", style="dim"))
    return Group(*parts, *(Text.from_markup(_alarm_text(alarm)) for alarm in lookout.alarms[:3]))
