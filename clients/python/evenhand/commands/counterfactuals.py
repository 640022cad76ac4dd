"""`evenhand counterfactuals`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from evenhand.commands.console import (
    AsJson,
    Limit,
    RequestId,
    Watch,
    connected,
    err,
    print_fields,
    print_resource,
    print_resources,
)
from evenhand.commands.generations import finish
from evenhand.commands.settings import (
    Formats,
    Guidance,
    Model,
    Out,
    Sampler,
    Seed,
    Steps,
    Title,
    Upscale,
    changes,
    given,
    pairs,
)
from evenhand.errors import InvalidInput

HELP = """One synthetic patient under other attributes: videos, frames, and what was measured on them.

evenhand counterfactuals create sex=Female:Male --hold age=63 -o video

evenhand counterfactuals create age=30:80 --frames 60 --classifier pelvis-race-classifier --watch
"""
app = typer.Typer(help=HELP, no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="counterfactuals/… or what follows the slash.")]
Changes = Annotated[list[str], typer.Argument(metavar="CHANGE", help="name=from:to, such as sex=Female:Male.")]


@app.command()
def create(
    context: typer.Context,
    *,
    change: Changes,
    hold: Annotated[list[str] | None, typer.Option(help="name=value that all frames share.")] = None,
    model: Model = "",
    frames: Annotated[int, typer.Option(min=0, help="Both ends included; 0: 180.")] = 0,
    path: Annotated[str, typer.Option(help="How embeddings are interpolated: linear or spherical.")] = "",
    both: Annotated[bool, typer.Option("--both", help="A second video, from the target back to the source.")] = False,
    seed: Seed = 0,
    sampler: Sampler = "",
    steps: Steps = 0,
    guidance: Guidance = 0.0,
    upscale: Upscale = "",
    classifier: Annotated[str, typer.Option(help="Attribute classifier whose probabilities are traced.")] = "",
    formats: Formats = None,
    folder: Out = None,
    name: Title = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start a counterfactual; with --out wait for it and write its files. Frames survive a restart of the platform.

    Example: evenhand counterfactuals create sex=Female:Male --hold age=63,race=White --upscale pelvis-upscaler -o video
    """
    source, target = changes(change)
    settings = given(
        held=pairs(hold, "--hold"),
        model=model,
        frames=frames,
        path=path,
        both_directions=both,
        seed=seed,
        sampler=sampler,
        steps=steps,
        guidance_scale=guidance,
        upscale_model=upscale,
        classifier_model=classifier,
        formats=formats,
    )
    with connected(context) as client:
        operation = client.counterfactuals.create(source, target, display_name=name, request_id=request_id, **settings)
        finish(operation, folder, watch=watch, as_json=as_json)


@app.command("list")
def list_counterfactuals(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Only those of this model.")] = "",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Counterfactuals, newest first."""
    with connected(context) as client:
        found = client.counterfactuals.list(model=model, limit=limit)
    print_resources(found, ["name", "display_name", "state", "model", "seed", "done"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One counterfactual: what was asked, where it stands, what it left, what a reader has to know."""
    with connected(context) as client:
        found = client.counterfactuals.get(name)
    print_resource(found, as_json=as_json)
    for warning in found.warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True, highlight=False)


@app.command()
def trace(
    context: typer.Context,
    name: Name,
    target: Annotated[Path, typer.Option("--out", "-o", help="CSV file to write.")] = Path("trace.csv"),
    as_json: AsJson = False,
) -> None:
    """Write what was measured on every frame: features and the classifier's probabilities.

    Example: evenhand counterfactuals trace counterfactuals/1b2c --out trace.csv
    """
    if target.suffix != ".csv":
        raise InvalidInput("the trace is written as .csv; `download` gives trace.parquet", field=str(target))
    with connected(context) as client:
        frame = client.counterfactuals.get(name).to_pandas()
    target.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(target, index=False)
    print_fields({str(target): len(frame), "columns": list(frame.columns)}, as_json=as_json)


@app.command()
def download(
    context: typer.Context,
    name: Name,
    filenames: Annotated[list[str] | None, typer.Argument(help="Files; all of them by default.")] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")] = Path("video"),
    as_json: AsJson = False,
) -> None:
    """Write a counterfactual's files into a folder, each checked against its sha256.

    Example: evenhand counterfactuals download counterfactuals/1b2c video.mp4 counterfactual.html
    """
    with connected(context) as client:
        paths = client.counterfactuals.get(name).download(folder, filenames or ())
    print_fields({str(path): path.stat().st_size for path in paths}, as_json=as_json)


@app.command()
def cancel(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Stop a counterfactual."""
    with connected(context) as client:
        operation = client.counterfactuals.get(name).operation()
        operation.cancel()
    print_fields({"cancelling": name, "operation": operation.name}, as_json=as_json)


@app.command()
def delete(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Forget a finished counterfactual."""
    with connected(context) as client:
        client.counterfactuals.delete(name)
    print_fields({"deleted": name}, as_json=as_json)
