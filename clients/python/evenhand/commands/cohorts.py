"""`evenhand cohorts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.commands.console import (
    AsJson,
    Limit,
    RequestId,
    Watch,
    connected,
    follow,
    out,
    print_fields,
    print_resource,
    print_resources,
)
from evenhand.errors import InvalidInput
from evenhand.summary import rich_table

app = typer.Typer(help="Cohorts: images with patient attributes and labels.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="cohorts/… or what follows the slash.")]


@app.command()
def create(
    context: typer.Context,
    *,
    schema: Annotated[
        str, typer.Option(help="YAML file, or chexpert, ucsf-pdgm, phantom-{chest,brain,pelvis,cardiac}")
    ],
    images: Annotated[Path | None, typer.Option(help="Folder to send. Only files that the table names go.")] = None,
    folder: Annotated[str | None, typer.Option(help="Folder on the server instead: nothing is sent.")] = None,
    table: Annotated[Path | None, typer.Option(help="CSV with one row per record.")] = None,
    demographics: Annotated[
        Path | None, typer.Option(help="CSV with one row per patient, such as CheXpert's table of race.")
    ] = None,
    files: Annotated[
        list[str] | None, typer.Option(help="Where the table names no files: send only these, '*_FLAIR.nii.gz'.")
    ] = None,
    name: Annotated[str, typer.Option(help="What people will call it.")] = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Make a cohort from a folder of images and a table.

    Examples:

      evenhand cohorts create --images dicoms --table rows.csv --schema schema.yaml --watch

      evenhand cohorts create --images CheXpert --table CheXpert/CheXpert-v1.0-small/valid.csv --schema chexpert
      --demographics "CHEXPERT DEMO.csv"
    """
    if (images is None) == (folder is None):
        raise typer.BadParameter("name exactly one of --images and --folder")
    with connected(context) as client:
        if images is not None:
            operation = client.cohorts.create(
                images,
                table=table,
                demographics=demographics,
                files=files or (),
                schema=schema,
                display_name=name,
                request_id=request_id,
            )
        else:
            operation = client.cohorts.create_from_folder(
                str(folder),
                table=table,
                demographics=demographics,
                schema=schema,
                display_name=name,
                request_id=request_id,
            )
        if watch:
            cohort = follow(operation, resume=f"evenhand operations wait {operation.name}")
            print_resource(cohort, as_json=as_json)
        else:
            print_resource(operation, as_json=as_json)


@app.command("list")
def list_cohorts(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Cohorts, newest first."""
    with connected(context) as client:
        found = client.cohorts.list(limit)
    print_resources(found, ["name", "display_name", "patients", "records"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One cohort: its attributes, labels and refused rows."""
    with connected(context) as client:
        cohort = client.cohorts.get(name)
    print_resource(cohort, as_json=as_json)
    if as_json:
        return
    out.print(rich_table(cohort.to_pandas(), "Attributes"))
    out.print(rich_table(cohort.label_counts(), "Labels"))
    if cohort.refused_count:
        out.print(rich_table(cohort.refused, "Refused rows"))


@app.command()
def delete(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Forget a cohort that no unfinished audit uses."""
    if not name.strip("/"):
        raise InvalidInput("name a cohort", field="name")
    with connected(context) as client:
        client.cohorts.delete(name)
    print_fields({"deleted": name}, as_json=as_json)
