"""`evenhand monitors record`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.commands.console import AsJson, connected
from evenhand.commands.monitor_views import print_recorded
from evenhand.monitor_frames import read_table

app = typer.Typer(
    help="Send what a monitor watches: predictions, and labels when they are known.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="monitors/… or what follows the slash.")]
Table = Annotated[Path, typer.Argument(help="CSV or Parquet.")]


@app.command("predictions")
def record_predictions(
    context: typer.Context,
    name: Name,
    file: Table,
    model_version: Annotated[str, typer.Option(help="Of the model that made them, unless the table says.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send predictions: record_id, patient_id, a column of scores per label, a column of levels per attribute.

    A column time (ISO 8601, UTC where no zone is given) says when each was
    made; without it, now. A column model_version marks changes of the model.
    The table is checked whole before a row is sent, and sending it again is
    harmless. Ids are kept as digests only.

    Example: evenhand monitors record predictions monitors/1b2c week1.csv --model-version 2
    """
    with connected(context) as client:
        monitor = client.monitors.get(name)
        found = monitor.record_predictions(read_table(file, monitor.proto), model_version=model_version)
    print_recorded(found, as_json=as_json)


@app.command("labels")
def record_labels(context: typer.Context, name: Name, file: Table, as_json: AsJson = False) -> None:
    """Send labels when they are known: record_id, and for each label a column of 1, 0, or nothing.

    They may come in any order, weeks later, and before their predictions.

    Example: evenhand monitors record labels monitors/1b2c truth1.csv
    """
    with connected(context) as client:
        monitor = client.monitors.get(name)
        found = monitor.record_labels(read_table(file, monitor.proto))
    print_recorded(found, as_json=as_json)
