"""`evenhand upscalings`."""

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
    print_fields,
    print_resource,
    print_resources,
)
from evenhand.commands.generations import finish
from evenhand.commands.settings import Formats, Model, Out, Sampler, Seed, Steps, Title, given

HELP = """Super-resolution of single images.

evenhand upscalings create pelvis.dcm --out larger

evenhand upscalings create pelvis.png --model pelvis-upscaler --format npy --out larger
"""
app = typer.Typer(help=HELP, no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="upscalings/… or what follows the slash.")]


@app.command()
def create(
    context: typer.Context,
    *,
    image: Annotated[Path, typer.Argument(help="DICOM, NIfTI, PNG, TIFF or NPY file.")],
    model: Model = "",
    seed: Seed = 0,
    sampler: Sampler = "",
    steps: Steps = 0,
    tile: Annotated[int, typer.Option(min=0, help="Side of the tiles of a large image; 0: the model's size.")] = 0,
    formats: Formats = None,
    folder: Out = None,
    name: Title = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start an upscaling; with --out wait for it and write its files.

    Example: evenhand upscalings create pelvis.dcm --steps 20 --out larger
    """
    settings = given(model=model, seed=seed, sampler=sampler, steps=steps, tile=tile, formats=formats)
    with connected(context) as client:
        operation = client.upscalings.create(image, display_name=name, request_id=request_id, **settings)
        finish(operation, folder, watch=watch, as_json=as_json)


@app.command("list")
def list_upscalings(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Only those of this model.")] = "",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Upscalings, newest first."""
    with connected(context) as client:
        found = client.upscalings.list(model=model, limit=limit)
    print_resources(found, ["name", "display_name", "state", "model", "seed"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One upscaling: what was asked, where it stands, what it left."""
    with connected(context) as client:
        print_resource(client.upscalings.get(name), as_json=as_json)


@app.command()
def download(
    context: typer.Context,
    name: Name,
    filenames: Annotated[list[str] | None, typer.Argument(help="Files; all of them by default.")] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")] = Path("larger"),
    as_json: AsJson = False,
) -> None:
    """Write an upscaling's files into a folder, each checked against its sha256."""
    with connected(context) as client:
        paths = client.upscalings.get(name).download(folder, filenames or ())
    print_fields({str(path): path.stat().st_size for path in paths}, as_json=as_json)


@app.command()
def cancel(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Stop an upscaling."""
    with connected(context) as client:
        operation = client.upscalings.get(name).operation()
        operation.cancel()
    print_fields({"cancelling": name, "operation": operation.name}, as_json=as_json)


@app.command()
def delete(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Forget a finished upscaling."""
    with connected(context) as client:
        client.upscalings.delete(name)
    print_fields({"deleted": name}, as_json=as_json)
