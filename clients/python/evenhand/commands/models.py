"""`evenhand models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from evenhand.commands import evaluate
from evenhand.commands.console import AsJson, Limit, connected, out, print_fields, print_resource, print_resources
from evenhand.summary import rich_table

app = typer.Typer(help="Models that are served now.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="models/… or what follows the slash.")]


@app.command("list")
def list_models(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Served models in order of their names."""
    with connected(context) as client:
        found = client.models.list(limit)
    print_resources(found, ["name", "version", "task", "family", "labels", "backend"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One model: what goes in and out, the attributes that a generator takes, thresholds, scores, licence, digest."""
    with connected(context) as client:
        print_resource(client.models.get(name), as_json=as_json)


@app.command()
def infer(
    context: typer.Context,
    name: Name,
    image: Annotated[Path, typer.Argument(help="DICOM, NIfTI, PNG, TIFF or NPY file.")],
    save: Annotated[Path | None, typer.Option("--out", help="Write the values as an NPY file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send one image through one model.

    Example: evenhand models infer chest-classifier scan.dcm
    """
    with connected(context) as client:
        prediction = client.models[name].infer(image)
    if save is not None:
        with save.open("wb") as file:
            np.save(file, prediction.numpy(), allow_pickle=False)
    if as_json:
        print_fields(prediction.to_dict(), as_json=True)
    else:
        out.print(rich_table(prediction.to_pandas().drop(columns="image"), f"{prediction.model} on {image.name}"))


app.command()(evaluate.evaluate)
