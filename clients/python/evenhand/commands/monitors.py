"""`evenhand monitors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from evenhand.artifacts import write_whole
from evenhand.commands import monitor_record
from evenhand.commands.console import (
    AsJson,
    ExitCode,
    Limit,
    RequestId,
    Watch,
    connected,
    err,
    follow,
    out,
    print_fields,
    print_json,
    print_resource,
    print_resources,
)
from evenhand.commands.monitor_record import Name
from evenhand.commands.monitor_views import (
    points_table,
    print_alarms,
    print_plan,
    print_windows,
    watch_monitor,
)
from evenhand.errors import InvalidInput
from evenhand.monitor_windows import told_series

app = typer.Typer(help="Monitors: audits that go on while a model is at work.", no_args_is_help=True)
app.add_typer(monitor_record.app, name="record")

Index = Annotated[int, typer.Argument(min=0, help="Of the window, from 0.")]
LabelOption = Annotated[str, typer.Option("--label", help="Only this label.")]
AttributeOption = Annotated[str, typer.Option("--attribute", help="Only this attribute, such as sex or sex,age.")]
MetricOption = Annotated[str, typer.Option("--metric", help="Only this metric: tpr, fpr or flag_rate.")]
PICTURES = {".png", ".pdf", ".svg"}


@app.command()
def create(
    context: typer.Context,
    *,
    spec: Annotated[Path, typer.Argument(help="YAML file with labels, attributes and window.")],
    name: Annotated[str, typer.Option(help="What people will call it.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what it could show; nothing is created.")
    ] = False,
    records: Annotated[
        float, typer.Option("--records-per-window", min=0, help="Expected, for the plan; 0: not known.")
    ] = 0.0,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start to watch, or with --dry-run say what a monitor could show.

    The plan names for each label, metric and attribute the smallest
    lasting change of a gap that would be found, and groups that are too
    small to show anything. deploy/monitors has a whole example.

    monitor.yaml:

      labels: {Pneumonia: 0.13}
      attributes: {sex: [Female, Male]}
      window: {length: 7d, label_delay: 14d}
      reference: {first_windows: 4}

    Example: evenhand monitors create monitor.yaml --dry-run --records-per-window 800

    Example: evenhand monitors create monitor.yaml --name "Ward 3"
    """
    with connected(context) as client:
        if dry_run:
            print_plan(client.monitors.plan(spec, records_per_window=records), as_json=as_json)
            return
        monitor = client.monitors.create(spec, display_name=name, request_id=request_id)
    if as_json:
        print_json(monitor.to_json())
        return
    out.print(f"[bold]{escape(monitor.name)}[/bold] watches {len(monitor.plan)} series", highlight=False)
    for warning in monitor.plan.warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True, highlight=False)
    out.print(f"next: evenhand monitors record predictions {escape(monitor.name)} FILE", highlight=False)


@app.command("list")
def list_monitors(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Monitors, newest first.

    Example: evenhand monitors list
    """
    with connected(context) as client:
        found = client.monitors.list(limit)
    print_resources(found, ["name", "display_name", "state", "closed_windows", "alarms"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One monitor: what it watches, what arrived, where it stands and what is wrong.

    Example: evenhand monitors show monitors/1b2c
    """
    with connected(context) as client:
        print_resource(client.monitors.get(name), as_json=as_json)


@app.command()
def plan(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """What a monitor's groups can show, as it was computed when it was created.

    Example: evenhand monitors plan monitors/1b2c
    """
    with connected(context) as client:
        found = client.monitors.get(name).plan
    print_plan(found, as_json=as_json)


@app.command()
def delete(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Forget a monitor, what it recorded, its windows and its alarms.

    Example: evenhand monitors delete monitors/1b2c
    """
    with connected(context) as client:
        client.monitors.delete(name)
    print_fields({"deleted": name}, as_json=as_json)


@app.command()
def windows(
    context: typer.Context,
    *,
    name: Name,
    label: LabelOption = "",
    attribute: AttributeOption = "",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Closed windows, oldest first; with --label or --attribute, their series too.

    Example: evenhand monitors windows monitors/1b2c --label Pneumonia --attribute sex
    """
    with connected(context) as client:
        found = client.monitors.get(name).windows(label=label, attribute=attribute, limit=limit)
    print_windows(found, series=bool(label or attribute), as_json=as_json)


@app.command()
def window(context: typer.Context, name: Name, index: Index, as_json: AsJson = False) -> None:
    """One closed window with all its series.

    Example: evenhand monitors window monitors/1b2c 7
    """
    with connected(context) as client:
        found = client.monitors.get(name).window(index)
    print_resource(found, as_json=as_json)
    if not as_json:
        out.print(points_table([found]))


@app.command()
def alarms(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="monitors/…; all monitors without it.")] = "",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Alarms, newest first: which gap changed, by how much, since when, and what moved.

    Example: evenhand monitors alarms
    """
    with connected(context) as client:
        found = client.monitors.get(name).alarms(limit) if name else client.monitors.alarms(limit)
    print_alarms(found, as_json=as_json)


@app.command()
def watch(
    context: typer.Context,
    *,
    name: Name,
    until_alarm: Annotated[
        bool, typer.Option("--until-alarm", help="End with exit code 9 as soon as an alarm stands.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once instead of going on.")] = False,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Follow a monitor: a live table in a terminal, a line per event elsewhere.

    Events are windows that close, alarms, and trouble with the source. It
    ends with Ctrl-C (130), or when all planned windows are closed (0). With
    --until-alarm it ends with 9 when there is an alarm, also one from
    before; --once --until-alarm asks for a scheduled job whether there is:
    9 yes, 0 no. With --json each event is one line of JSON.

    Example: evenhand monitors watch monitors/1b2c --once --until-alarm
    """
    with connected(context) as client:
        monitor = client.monitors.get(name)
        try:
            alarmed = watch_monitor(client, monitor, until_alarm=until_alarm, once=once, every=every, as_json=as_json)
        except KeyboardInterrupt:
            err.print(f"\n{monitor.name} goes on. Watch it again: [bold]evenhand monitors watch {monitor.name}[/bold]")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if alarmed and until_alarm:
        raise typer.Exit(ExitCode.ALARM)


@app.command()
def rederive(
    context: typer.Context, *, name: Name, index: Index, watch: Watch = False, as_json: AsJson = False
) -> None:
    """Derive a closed window again from everything that is recorded, rows that came late too.

    Alarms that were raised stay.

    Example: evenhand monitors rederive monitors/1b2c 7 --watch
    """
    with connected(context) as client:
        operation = client.monitors.get(name).rederive(index)
        done = follow(operation, resume=f"evenhand operations wait {operation.name}") if watch else operation
        print_resource(done, as_json=as_json)


@app.command()
def plot(
    context: typer.Context,
    *,
    name: Name,
    file: Annotated[Path, typer.Option("--out", "-o", help="PNG, PDF or SVG file to write.")] = Path("drift.png"),
    label: LabelOption = "",
    attribute: AttributeOption = "",
    metric: MetricOption = "",
    as_json: AsJson = False,
) -> None:
    """Draw a gap's drift by group: each window, the change with its interval, n, alarms and model versions.

    What is left open is taken from the newest alarm, or else the first of
    what is watched. Needs matplotlib: pip install "evenhand[plot]".

    Example: evenhand monitors plot monitors/1b2c --label Pneumonia --attribute sex -o drift.png
    """
    if file.suffix not in PICTURES:
        raise InvalidInput("a picture is a .png, .pdf or .svg file", field=str(file))
    with connected(context) as client:
        monitor = client.monitors.get(name)
        which = told_series(monitor.proto, monitor.alarms(), label, attribute, metric)
        figure = monitor.drift_plot(*which)
    write_whole(file, figure.data(file.suffix.removeprefix(".")))
    drawn = dict(zip(("label", "attribute", "metric"), which, strict=True))
    print_fields({"file": str(file), **drawn}, as_json=as_json)
